"""The Newton scene's settings; the simulation itself runs in tests/peers/test_newton.py."""

import importlib.util

import numpy as np
import pytest

from soma_isaac.errors import MissingDependency, OutputConflict
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.newton_scene import NewtonSceneConfig, circle, prepare_command_line, run_newton_scene


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"output": "scene.glb"}, "output"),
        ({"count": 0}, "count"),
        ({"dt": 0.5}, "dt"),
        ({"fps": 1000.0}, "fps"),
        ({"presets": ["adult_mael"]}, "adult_male"),
        ({"presets": []}, "presets"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(values, named):
    with pytest.raises(ConfigRefused, match=named):
        run_newton_scene(NewtonSceneConfig(**{"output": "scene.usdc", **values}))


def test_a_recording_that_exists_is_not_overwritten_unasked(tmp_path):
    (tmp_path / "scene.usdc").write_bytes(b"mine")
    with pytest.raises(OutputConflict, match="replace=true"):
        run_newton_scene(NewtonSceneConfig(output=str(tmp_path / "scene.usdc"), count=1))
    assert (tmp_path / "scene.usdc").read_bytes() == b"mine"


def test_an_unknown_key_ends_with_2(capsys):
    with pytest.raises(SystemExit) as ended:
        prepare_command_line(["bodies=3"])
    assert ended.value.code == 2 and "unknown key" in capsys.readouterr().err


def test_people_face_the_robot():
    places = circle(5, 2.0)
    np.testing.assert_allclose(np.linalg.norm(places[:, :3, 3], axis=1), 2.0)
    ahead = places[:, :3, 2]  # a SOMA body faces its own z
    np.testing.assert_allclose(ahead, -places[:, :3, 3] / 2.0, atol=1e-12)
    np.testing.assert_allclose(places[:, :3, 1], np.tile([0.0, 0.0, 1.0], (5, 1)), atol=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("newton") is not None, reason="newton is installed")
def test_without_newton_it_says_what_to_install(tmp_path):
    with pytest.raises(MissingDependency, match="newton"):
        run_newton_scene(NewtonSceneConfig(output=str(tmp_path / "scene.usdc"), count=1))
    assert not list(tmp_path.iterdir())
