"""The script's pipeline: clips of two layouts in, a sheet of pictures out."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.png import read_png
from soma_isaac.pipelines.isaaclab_scene import IsaacLabSceneConfig, run_isaaclab_scene
from tests.isaac.clips import swaying_clip, write_layouts


def test_the_scene_is_simulated_and_photographed(tmp_path):
    paths = write_layouts(tmp_path, swaying_clip())
    config = IsaacLabSceneConfig(
        output=str(tmp_path / "out" / "sheet.png"),
        references=[str(paths["amp"]), str(paths["csv"])],
        motions=["squat"],
        seconds=0.2,
        pictures=2,
        width=320,
        height=240,
        lod="low",
    )
    report = run_isaaclab_scene(config)
    sheet = read_png(tmp_path / "out" / "sheet.png")
    assert report.steps == 10 and report.resets == 0 and 0.0 < report.joint_error < 3.0
    assert sheet.shape[:2] == (2 * 240 + 3 * 4, 2 * 320 + 3 * 4)
    first, second = sheet[4:244, 4:324].astype(int), sheet[4:244, 328:648].astype(int)
    assert (np.abs(first - second).sum(axis=-1) > 60).sum() > 200  # the robot has fallen a little


def test_a_missing_clip_is_refused_before_anything_is_simulated(tmp_path):
    config = IsaacLabSceneConfig(output=str(tmp_path / "a.png"), references=[str(tmp_path / "none.npz")])
    with pytest.raises(InputRejected, match="none.npz"):
        run_isaaclab_scene(config)
