"""What the Isaac Lab scene refuses before anything of Isaac Lab is loaded."""

import subprocess
import sys
from pathlib import Path

import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.isaaclab_scene import IsaacLabSceneConfig, run_isaaclab_scene

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"output": "scene.jpg"}, "png"),
        ({"engine": "newtn"}, "newton"),
        ({"references": []}, "make refs"),
        ({"motions": []}, "motions"),
        ({"envs": 0}, "envs"),
        ({"seconds": float("nan")}, "seconds"),
        ({"pictures": 1000}, "pictures"),
    ],
)
def test_values_that_make_no_scene_are_refused(values, said):
    with pytest.raises(ConfigRefused, match=said):
        run_isaaclab_scene(IsaacLabSceneConfig(**{"references": ["a.npz"], **values}))


def test_a_reference_that_does_not_exist_is_refused_by_name():
    with pytest.raises(InputRejected, match="nothing.npz"):
        run_isaaclab_scene(IsaacLabSceneConfig(references=["nothing.npz"]))


def test_the_script_says_what_is_wrong_and_leaves_with_2():
    command = [sys.executable, "scripts/isaaclab_scene.py", "engin=newton"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "engine" in done.stderr
