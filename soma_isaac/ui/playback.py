"""Where in a clip the picture is, and how time runs there: a plain value and what can be done to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from soma_isaac.ui.choices import SPEED_RANGE, clamped


@dataclass(frozen=True)
class Playback:
    """Time in a clip.

    Attributes:
        playing: Whether time runs.
        speed: Of the clip's time over the clock's.
        time: Seconds into the clip.
        duration: Of the clip [s]; 0 for a still pose or while it is not known.
    """

    playing: bool = False
    speed: float = 1.0
    time: float = 0.0
    duration: float = 0.0

    def of_new_clip(self) -> Playback:
        """At the start of another clip, of which no length is known yet; time runs if it ran."""
        return replace(self, time=0.0, duration=0.0)

    def of_still(self) -> Playback:
        """For a pose, in which no time runs."""
        return replace(self, playing=False, time=0.0, duration=0.0)

    def run(self, on: bool) -> Playback:
        """With time running, or not."""
        return replace(self, playing=bool(on))

    def at(self, time: float) -> Playback:
        """At a time [s] of the clip, its start or end where the time is beyond."""
        return replace(self, time=clamped(time, (0.0, self.duration)))

    def with_speed(self, speed: float) -> Playback:
        """With another speed, within ``SPEED_RANGE``."""
        return replace(self, speed=clamped(speed, SPEED_RANGE))

    def of_length(self, duration: float) -> Playback:
        """With the length [s] that the clip turned out to have; a clip that has become shorter is left at its end."""
        return replace(self, duration=duration, time=clamped(self.time, (0.0, duration)))

    def after(self, elapsed_s: float) -> Playback:
        """``elapsed_s`` [s] of the clock later; at its end a clip starts over."""
        if not self.playing or self.duration <= 0.0:
            return self
        return replace(self, time=(self.time + elapsed_s * self.speed) % self.duration)
