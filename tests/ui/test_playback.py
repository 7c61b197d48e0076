"""Time in a clip."""

import pytest

from soma_isaac.ui.choices import SPEED_RANGE
from soma_isaac.ui.playback import Playback

CLIP = Playback().of_length(4.0)


def test_time_runs_only_while_it_plays_and_starts_over_at_the_end():
    assert CLIP.after(1.0) == CLIP
    playing = CLIP.run(True)
    assert playing.after(1.5).time == 1.5
    assert playing.with_speed(2.0).at(3.0).after(1.0).time == pytest.approx(1.0)
    assert playing.run(False).after(1.0).time == 0.0


def test_a_clip_of_unknown_length_waits_and_then_runs():
    loading = CLIP.at(2.0).run(True).of_new_clip()
    assert (loading.time, loading.duration, loading.playing) == (0.0, 0.0, True)
    assert loading.after(1.0) == loading and loading.at(3.0).time == 0.0
    assert loading.of_length(2.0).after(0.5).time == 0.5


def test_times_and_speeds_stay_within_their_limits():
    assert CLIP.at(99.0).time == 4.0 and CLIP.at(-1.0).time == 0.0
    assert CLIP.with_speed(99.0).speed == SPEED_RANGE[1] and CLIP.with_speed(0.0).speed == SPEED_RANGE[0]
    assert CLIP.at(4.0).of_length(3.0).time == 3.0, "the file has become shorter"


def test_a_still_pose_stops_the_time_and_keeps_the_speed():
    still = CLIP.with_speed(2.0).at(1.0).run(True).of_still()
    assert still == Playback(speed=2.0)
