"""The Kit extension: registers soma_isaac with Isaac Sim and releases everything on shutdown."""

from __future__ import annotations

import carb
import omni.ext

import soma_isaac


class SomaIsaacExtension(omni.ext.IExt):
    """Entry point that Kit instantiates when ``soma_isaac`` is enabled."""

    def on_startup(self, ext_id: str) -> None:
        """Announce the version; window and menu entry come with the panel, which is not part of this release."""
        self._ext_id = ext_id
        carb.log_info(f"[{ext_id}] soma_isaac {soma_isaac.__version__} started")

    def on_shutdown(self) -> None:
        """Release what ``on_startup`` took."""
        carb.log_info(f"[{self._ext_id}] soma_isaac stopped")
