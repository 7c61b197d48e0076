"""The command of the preview page: its settings, and from a composed Hydra config to an exit code."""

from __future__ import annotations

import os
import signal
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from soma_isaac.errors import MissingDependency
from soma_isaac.pipelines.config import ConfigRefused, check_command_line, check_ranges
from soma_isaac.pipelines.single_run import run_single


@dataclass
class PreviewConfig:
    """Keys of ``scripts/preview.py``.

    Attributes:
        port: Where on 127.0.0.1 to listen; the next free port if it is taken, any free one for 0.
        clips: Folder of motions; ``null`` for the bundled ones.
        references: Where prepared G1 references go and are looked for.
        pictures: Where rendered batches go.
        export: Where an export goes at first.
        assets: Folder in SOMA-X layout for identity models that need files.
        before: Output folder of a run, to compare with ``after`` from the start.
        after: Output folder of the other run.
        jobs_python: Python of the jobs; looked for if ``null``.
        workers: Processes of a job.
        browser: Open the page in a browser, where there is a display.
    """

    port: int = 8080
    clips: str | None = None
    references: str = "out/g1_refs"
    pictures: str = "out/bodies"
    export: str = "out/body.usda"
    assets: str | None = None
    before: str | None = None
    after: str | None = None
    jobs_python: str | None = None
    workers: int = 1
    browser: bool = True


def check_config(config: PreviewConfig) -> None:
    """Refuse values that no page can be made with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    check_ranges(config, {"port": (0, 65535), "workers": (1, 256)})
    if (config.before is None) is not (config.after is None):
        raise ConfigRefused("before and after: a comparison takes both")
    for key in ("clips", "before", "after"):
        folder = getattr(config, key)
        if folder is not None and not Path(folder).expanduser().is_dir():
            raise ConfigRefused(f"{key}: {folder!r} is no folder")


def run_preview(config: PreviewConfig) -> Sequence[str]:
    """Serve the page until SIGINT or SIGTERM; says on stdout where it is.

    Returns:
        Nothing more to say.

    Raises:
        ConfigRefused: A value is out of range.
        MissingDependency: viser is not installed.
    """
    check_config(config)
    from soma_isaac.ui.state import PanelSettings

    try:
        from soma_isaac.ui.web import PreviewPage
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "viser":
            raise
        raise MissingDependency("viser", "the preview page", 'pip install "soma_isaac[web]"') from error
    settings = PanelSettings(
        clips_folder=config.clips or "",
        references=config.references,
        pictures=config.pictures,
        export_path=config.export,
        assets=config.assets,
        jobs_python=config.jobs_python or "",
        workers=config.workers,
    )
    page = PreviewPage(settings, port=config.port, before=config.before or "", after=config.after or "")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: page.stop())
    sys.stdout.write(f"The preview is at {page.url}, for this machine alone; Ctrl-C ends it.\n")
    sys.stdout.flush()
    if config.browser and _has_display():
        webbrowser.open(page.url)
    try:
        page.run()
    finally:
        page.close()
    return ()


def _has_display() -> bool:
    """Whether a browser with a window can be opened; on a bare terminal one in the terminal would be."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("preview_schema", PreviewConfig, arguments)


def preview_command(config: DictConfig) -> int:
    """Serve the page; exit codes of :func:`.single_run.run_single`, 0 where the user ended it."""
    return run_single(config, PreviewConfig, run_preview)
