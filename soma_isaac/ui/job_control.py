"""What a user does about jobs: plain Python on the presenter's state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from soma_isaac.errors import InputRejected
from soma_isaac.ui.jobs import LIVE, FolderJob, g1_refs_command, jobs_python, render_bodies_command
from soma_isaac.ui.plain_words import plain_words

if TYPE_CHECKING:
    from soma_isaac.ui.state import PanelSettings, PanelState


class JobControl:
    """Starts jobs in a child process, one at a time, and follows the one that runs.

    Args:
        settings: Which Python runs them, in how many processes.
        read: Gives the state.
        change: Changes fields of it.
    """

    def __init__(self, settings: PanelSettings, read: Callable[[], PanelState], change: Callable[..., None]) -> None:
        self._settings, self._read, self._change = settings, read, change
        self._job: FolderJob | None = None

    @property
    def live(self) -> bool:
        """Whether a job runs."""
        return self._read().job.state in LIVE

    def prepare_references(self) -> None:
        """Start the main job; nothing happens while one runs."""
        state, out = self._read(), _absolute(self._read().references)
        self._start(
            lambda source, python: g1_refs_command(
                source, out, python, self._settings.workers, state.overwrite_references
            ),
            out,
            "clip",
        )

    def render_batch(self) -> None:
        """Start the batch renderer; nothing happens while a job runs."""
        state, out = self._read(), _absolute(self._read().pictures)
        self._start(
            lambda source, python: render_bodies_command(
                source, out, state.body_count, python, self._settings.workers, state.overwrite_references
            ),
            out,
            "scene",
        )

    def cancel(self) -> None:
        """Cancel the job that runs."""
        if self._job is not None:
            self._job.cancel()

    def follow(self) -> bool:
        """Let the state say how the job stands; call it once per frame.

        Returns:
            Whether results have come since the last call.
        """
        before = self._read().job
        if self._job is None or self._job.status == before:
            return False
        self._change(job=self._job.status)
        return self._read().job.ended != before.ended

    def close(self) -> None:
        """End a running job."""
        if self._job is not None:
            self._job.close()

    def _start(self, command_of: Callable[[str, str | None], list[str]], out: str, unit: str) -> None:
        state = self._read()
        if self.live:
            return
        if state.only_clip and state.clip is None:
            self._change(error="Choose a clip, or switch 'only the chosen clip' off.")
            return
        source = state.clip.path if state.only_clip and state.clip is not None else state.clips_folder
        try:
            command = command_of(_absolute(source), jobs_python(self._settings.jobs_python or None))
            job = FolderJob(command, Path(out), unit)
            job.start()
        except (InputRejected, OSError) as error:
            self._change(error=plain_words(error))
            return
        self._job = job
        self._change(job=job.status, message="", error="")


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
