"""Videos: every picture in order, equal bytes for equal pictures, nothing half written."""

import sys
from fractions import Fraction

import numpy as np
import pytest

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.mp4 import write_mp4


def pictures(count, height=48, width=64):
    """A picture per number; its brightness and the place of its bar tell which."""
    for number in range(count):
        picture = np.full((height, width, 3), 20 + 5 * number, np.uint8)
        picture[:, 4 * number : 4 * number + 8] = (250, 120, 20)
        yield picture


def decoded(path):
    av = pytest.importorskip("av")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, stream.average_rate


def test_a_video_shows_its_pictures_in_order_and_has_the_same_bytes_again(tmp_path):
    pytest.importorskip("av")
    for name in ("one.mp4", "two.mp4"):
        assert write_mp4(tmp_path / name, pictures(14), 30.0) == 14
    for _ in range(20):
        write_mp4(tmp_path / "two.mp4", pictures(14), 30.0)
        assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    frames, rate = decoded(tmp_path / "one.mp4")
    assert len(frames) == 14 and rate == 30
    for number, (frame, picture) in enumerate(zip(frames, pictures(14), strict=True)):
        difference = np.abs(frame.astype(int) - picture)
        assert difference.mean() < 6.0 and difference[:, 60:].max() < 12, number
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.mp4", "two.mp4"]


def test_odd_sides_grow_by_one_and_rates_are_fractions(tmp_path):
    pytest.importorskip("av")
    write_mp4(tmp_path / "odd.mp4", pictures(3, 47, 63), 12.5)
    frames, rate = decoded(tmp_path / "odd.mp4")
    assert frames[0].shape == (48, 64, 3) and rate == Fraction(25, 2)


def test_what_ends_a_video_early_leaves_the_old_one(tmp_path):
    pytest.importorskip("av")
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"before")

    def broken():
        yield from pictures(3)
        raise InputRejected("the fourth picture is torn")

    with pytest.raises(InputRejected, match="torn"):
        write_mp4(path, broken(), 10.0)
    with pytest.raises(InputRejected, match="at least one picture"):
        write_mp4(path, [], 10.0)
    with pytest.raises(InputRejected, match="picture 2"):
        write_mp4(path, [*pictures(1), *pictures(1, 40)], 10.0)
    with pytest.raises(OSError):
        write_mp4(tmp_path / "nowhere" / "clip.mp4", pictures(2), 10.0)
    assert path.read_bytes() == b"before" and [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]


def test_the_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[video\]"):
        write_mp4(tmp_path / "clip.mp4", pictures(1), 10.0)
