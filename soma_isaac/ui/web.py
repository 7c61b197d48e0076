"""The preview page: a viser server on 127.0.0.1 with the panel's presenter. Only this file names viser.

All tabs show one presenter: reloading the page loses nothing, and a job goes on while no tab is open.

The page can start jobs and write files, so only the user of this machine may press its buttons: the server listens on
the loopback address, refuses WebSockets that another site's page opens (their ``Origin`` says so), and never opens
viser's tunnel to the internet.
"""

from __future__ import annotations

from threading import Event
from time import monotonic
from urllib.parse import urlsplit

import numpy as np
import viser
from viser.infra import WebsockClientConnection

from soma_isaac.batch.thumbnails import CAMERA
from soma_isaac.ui.state import PanelSettings
from soma_isaac.ui.web_controls import Controls
from soma_isaac.ui.web_effectors import EffectorControls
from soma_isaac.ui.web_renderer import PageFrame, PagePresenter
from soma_isaac.ui.web_stage import Stage

HOST = "127.0.0.1"
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
FRAME_S, IDLE_S = 1.0 / 30.0, 0.2
"""Time [s] between looks at the presenter with and without somebody watching."""

BACK, ASIDE = 1.35, 0.45
"""How much farther off, and how far [m] to the side, the camera starts than for the panel's pictures: the controls
cover the right of the page."""

ERROR_S = 8.0
"""How long [s] an error pops up; it stays in the place for words."""

FOREIGN_ORIGIN = 1008  # RFC 6455: policy violation


class PreviewPage:
    """A page and the loop that keeps it up to date.

    Args:
        settings: The presenter's configuration.
        port: Where to listen; the next free one if it is taken, any free one for 0.
        before: Output folder of a run to compare with ``after`` from the start, or empty.
        after: Output folder of the other run.
        presenter: What the page shows; made from ``settings`` by default. It is closed with the page.
    """

    def __init__(
        self,
        settings: PanelSettings | None = None,
        *,
        port: int = 8080,
        before: str = "",
        after: str = "",
        presenter: PagePresenter | None = None,
    ) -> None:
        self.server = _LocalServer(HOST, port, verbose=False)
        self.server.gui.configure_theme(show_logo=False, show_share_button=False)
        start, aim = np.array(CAMERA.position), np.array(CAMERA.target)
        right = np.cross(aim - start, (0.0, 0.0, 1.0))
        aside = ASIDE * right / np.linalg.norm(right)
        self.server.initial_camera.position = aim + BACK * (start - aim) + aside
        self.server.initial_camera.look_at = aim + aside
        self.server.initial_camera.fov = CAMERA.vertical_fov
        self.presenter = PagePresenter(settings) if presenter is None else presenter
        if before:
            self.presenter.compare(before, after)
        # What the program itself sets comes back as an event of no client.
        self.controls = Controls(
            self.server.gui, self.presenter, lambda event: event.client_id is not None, before, after
        )
        self.stage = Stage(self.server.scene)
        self.effectors = EffectorControls(
            self.controls.widgets,
            self.server.scene,
            Stage.anchor(0),
            self.presenter,
            after=self.controls.body_folder,
        )
        self._stop = Event()
        self._then = monotonic()
        self._shown: object = None
        self._told = ""

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HOST}:{self.server.get_port()}"

    def run(self) -> None:
        """Keep the page up to date until :meth:`stop`, from whatever thread, or a keyboard interrupt."""
        while not self._stop.wait(FRAME_S if self.server.get_clients() else IDLE_S):
            self.step()

    def step(self) -> None:
        """Do what the user did, let time pass, show what has changed."""
        now = monotonic()
        elapsed, self._then = now - self._then, now
        obeyed = self.controls.obey()
        self.presenter.tick(elapsed)
        state = self.presenter.state
        frame, controls = state.picture, self.controls
        shown = (self.presenter.revision, controls.apart, controls.follow)
        if shown == self._shown and not obeyed:  # a wish that changed nothing is taken back on the page
            return
        self._shown = shown
        with self.server.atomic():
            controls.show(now)
            self.effectors.show(state)
            if isinstance(frame, PageFrame):
                self.stage.show(frame, skeleton=state.view.skeleton, apart=controls.apart, follow=controls.follow)
        self._tell(state.error)

    def _tell(self, error: str) -> None:
        """Pop a new error up: the place for words may have been scrolled away."""
        if error and error != self._told:
            for client in self.server.get_clients().values():
                client.add_notification("This did not work", error, color="red", auto_close_seconds=ERROR_S)
        self._told = error

    def stop(self) -> None:
        """Let :meth:`run` come to its end."""
        self._stop.set()

    def close(self) -> None:
        """End the server, the threads and a running job."""
        self.stop()
        self.server.stop()
        self.presenter.close()


class _LocalServer(viser.ViserServer):
    """A viser server for the user of this machine alone."""

    def __init__(self, host: str, port: int, *, verbose: bool) -> None:
        super().__init__(host, port, verbose=verbose)
        # viser has no setting for this. Should these names ever change, the page does not start, rather than open up.
        sockets = self._websock_server
        connections = sockets._live_connections

        async def refuse_other_sites(client: WebsockClientConnection) -> None:
            connection = connections[client.client_id]
            request = connection.request
            origin = None if request is None else request.headers.get("Origin")
            if not _is_local(origin):
                await connection.close(FOREIGN_ORIGIN, "this page is for the user of the machine it runs on")

        sockets.on_client_connect(refuse_other_sites)

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Never: a browser may ask for a tunnel to the internet even where the button is hidden."""
        return None


def _is_local(origin: str | None) -> bool:
    """Whether a page of this origin was loaded from this machine; programs other than browsers state none."""
    return origin is None or urlsplit(origin).hostname in LOCAL_NAMES
