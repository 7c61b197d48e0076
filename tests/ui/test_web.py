"""The real server without a browser: who may connect, and what goes over the wire while a clip plays."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

viser = pytest.importorskip("viser", reason="the preview page needs viser: pip install 'soma_isaac[web]'")
import msgspec  # noqa: E402
import zstandard  # noqa: E402
from websockets.exceptions import ConnectionClosed  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

from soma_isaac.rig.skeleton import data_path  # noqa: E402
from soma_isaac.ui.state import PanelSettings  # noqa: E402
from soma_isaac.ui.web import PreviewPage  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
LISTENING = "0A"
MARKS = itertools.count()


def listening_addresses(port):
    """Every local address, hexadecimal as the kernel tells it, that a TCP port of this machine listens on."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not Path(table).exists():
            continue
        for line in Path(table).read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            address, number = local.split(":")
            if state == LISTENING and int(number, 16) == port:
                found.add(address)
    return found


class Visitor:
    """A program that reads what a browser would get."""

    def __init__(self, page, origin=None):
        self.page = page
        self.socket = connect(
            page.url.replace("http", "ws"),
            origin=origin,
            subprotocols=[f"viser-v{viser.__version__}"],
            max_size=None,
            compression=None,
        )
        self.messages = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for message in self.socket:
                self.messages.append(message)
        except ConnectionClosed:
            pass

    def kinds(self):
        """Kinds of messages since the last call, with the bytes that all of them took.

        Messages come in order, so that all have come when the page is told one more: as an update, for who comes to the
        page gets its widgets as they are by then.
        """
        mark = f"mark {next(MARKS)}"
        self.page.controls.widgets.say("job", [("note", mark)])
        names, size, end = [], 0, time.monotonic() + 120.0
        while True:
            assert time.monotonic() < end, names
            messages, self.messages = self.messages, []
            for message in messages:
                told = self._told(message)
                last = [part["type"] == "GuiUpdateMessage" and mark in repr(part) for part in told]
                names += [part["type"] for part, is_mark in zip(told, last, strict=True) if not is_mark]
                size += len(message)
                if any(last):
                    return names, size
            time.sleep(0.02)

    @staticmethod
    def _told(message):
        size = int.from_bytes(message[8:16], "little")
        return msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(message[16 : 16 + size]))["messages"]

    def leave(self):
        self.socket.close()
        self._thread.join(60.0)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = PreviewPage(PanelSettings(references=str(tmp_path_factory.mktemp("refs"))), port=0)
    settle(made)
    yield made
    made.close()


def settle(page):
    """Steps until the page shows what the presenter's state asks for."""
    end = time.monotonic() + 120.0
    while True:
        page.step()
        state = page.presenter.state
        if state.picture is not None and not state.busy and state.clips and page._shown[0] == page.presenter.revision:
            break
        assert time.monotonic() < end, state.error
        time.sleep(0.002)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the kernel tells listening sockets under Linux only")
def test_it_listens_on_the_loopback_address_alone(page):
    assert page.url.startswith("http://127.0.0.1:")
    assert listening_addresses(page.server.get_port()) == {"0100007F"}


def test_pages_of_other_sites_are_refused_before_they_get_anything(page):
    for origin in ("https://example.com", f"http://example.com:{page.server.get_port()}", "null"):
        stranger = Visitor(page, origin)
        stranger._thread.join(60.0)
        assert not stranger._thread.is_alive() and stranger.socket.close_code == 1008
        assert stranger.messages == []
    for origin in (page.url, page.url.replace("127.0.0.1", "localhost"), None):
        friend = Visitor(page, origin)
        assert "SkinnedMeshMessage" in friend.kinds()[0]
        friend.leave()


def test_no_tunnel_to_the_internet_is_ever_opened(page):
    assert page.server.request_share_url() is None and page.server._share_tunnel is None


def test_a_playing_clip_sends_bones_only(page):
    presenter = page.presenter
    presenter.choose_clip(next(clip for clip in presenter.clips if clip.name == "walk.npz"))
    settle(page)
    visitor = Visitor(page)
    visitor.kinds()
    frames, kinds, size = 8, [], 0
    for frame in range(frames):
        presenter.seek(1.0 + frame / 30.0)
        settle(page)
        told, length = visitor.kinds()  # of each frame: one that was not sent yet is replaced by the next
        kinds, size = kinds + told, size + length
    visitor.leave()
    body = {"SetBoneOrientationMessage", "SetBonePositionMessage", "SetPositionMessage", "GuiUpdateMessage"}
    assert set(kinds) <= body and kinds.count("SetBoneOrientationMessage") > 50 * frames
    assert size / frames < 6000, "bytes per frame; 4,505 vertices would be 54,060"


def test_a_new_body_sends_its_skin_once(page):
    visitor = Visitor(page)
    visitor.kinds()
    page.presenter.set_size(1.1)
    settle(page)
    kinds, size = visitor.kinds()
    visitor.leave()
    assert kinds.count("SkinnedMeshMessage") == 1 and size > 200_000


def test_the_script_says_where_it_is_and_ends_politely(tmp_path):
    told = tmp_path / "told.txt"

    def start(*arguments):
        command = [sys.executable, str(ROOT / "scripts" / "preview.py"), "port=0", "browser=false", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with told.open("w") as out:
            return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.STDOUT)

    for argument, words in (("clips=nowhere", "clips: 'nowhere' is no folder"), ("host=0.0.0.0", "unknown key 'host'")):
        assert start(argument).wait(120) == 2 and words in told.read_text()
    running = start(f"clips={json.dumps(str(data_path('demo_clips')))}")
    try:
        end = time.monotonic() + 120.0
        while "for this machine alone" not in told.read_text():
            assert time.monotonic() < end and running.poll() is None, told.read_text()
            time.sleep(0.1)
        port = int(told.read_text().partition("The preview is at http://127.0.0.1:")[2].partition(",")[0])
        if Path("/proc/net/tcp").exists():
            assert listening_addresses(port) == {"0100007F"}
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.wait()
