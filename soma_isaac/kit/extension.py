"""The Kit extension: window, menu entry, action and settings of the panel; everything is given back on shutdown."""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import carb
import carb.settings
import omni.ext

import soma_isaac
from soma_isaac.kit.frames import each_frame
from soma_isaac.kit.menu import MenuEntry

if TYPE_CHECKING:
    from soma_isaac.kit.stage import KitStage
    from soma_isaac.ui.panel import Panel
    from soma_isaac.ui.presenter import Presenter
    from soma_isaac.ui.state import PanelSettings

NAME = "soma_isaac"
"""Under which the settings stand in extension.toml, whatever the folder of the extension is called."""
ACTION = "toggle_window"


class SomaIsaacExtension(omni.ext.IExt):
    """Entry point that Kit instantiates when ``soma_isaac`` is enabled.

    The panel is made when its window is first shown, and lives until shutdown or hot reload. Bodies that it has put on
    the stage stay there, and so does their undo.
    """

    def on_startup(self, ext_id: str) -> None:
        """Add the menu entry; open the window if the settings say so."""
        self._ext_id = ext_id
        self._presenter: Presenter | None = None
        self._panel: Panel | None = None
        self._frames: Any = None
        self._last = monotonic()
        path = str(self._setting("menu_path") or "Tools/SOMA")
        self._menu: MenuEntry | None = MenuEntry(NAME, ACTION, path, self.toggle, self.is_visible)
        if self._setting("show_at_start"):
            self.toggle()
        carb.log_info(f"[{ext_id}] soma_isaac {soma_isaac.__version__} started")

    def on_shutdown(self) -> None:
        """Give back the menu entry, the frames and the window; end threads and a running job."""
        if self._menu is not None:
            self._menu.remove()
            self._menu = None
        self._frames = None
        if self._panel is not None:
            self._panel.close()
            self._panel = None
        if self._presenter is not None:
            self._presenter.close()
            self._presenter = None
        carb.log_info(f"[{self._ext_id}] soma_isaac stopped")

    def is_visible(self) -> bool:
        """Whether the window is shown."""
        return self._panel is not None and bool(self._panel.window.visible)

    def toggle(self) -> None:
        """Show the window, or hide it; a running job goes on either way."""
        if self._panel is None:
            self._open()
        else:
            self._panel.window.visible = not self._panel.window.visible

    def _open(self) -> None:
        # Imported here: Warp, USD and the widgets are loaded when somebody looks.
        from soma_isaac.ui.panel import Panel
        from soma_isaac.ui.presenter import Presenter

        self._presenter = Presenter(self._panel_settings(), stage=_open_stage())
        self._panel = Panel(self._presenter)
        self._last = monotonic()
        self._frames = each_frame(f"{NAME}.panel", self._on_frame)

    def _on_frame(self) -> None:
        now = monotonic()
        elapsed, self._last = now - self._last, now
        if self._panel is not None and self._panel.window.visible:
            self._panel.update(elapsed)

    def _panel_settings(self) -> PanelSettings:
        from soma_isaac.ui.state import PanelSettings

        # Kit's working folder may be anything, also one that may not be written: relative paths mean the user's home.
        home = Path.home() / "soma_isaac"
        return PanelSettings(
            clips_folder=str(self._setting("clips_folder") or ""),
            references=str(self._setting("references") or home / "g1_refs"),
            pictures=str(self._setting("pictures") or home / "bodies"),
            export_path=str(self._setting("export_path") or home / "body.usda"),
            assets=str(self._setting("assets") or "") or None,
            jobs_python=str(self._setting("jobs_python") or ""),
            workers=int(self._setting("workers") or 1),
        )

    def _setting(self, name: str) -> Any:
        return carb.settings.get_settings().get(f"/exts/{NAME}/{name}")


def _open_stage() -> KitStage | None:
    """The application's stage, where it has one."""
    try:
        from soma_isaac.kit.stage import KitStage
    except ImportError:
        return None
    return KitStage()
