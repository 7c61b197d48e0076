"""scripts/stage.py: people on a stage, as plain USD reads them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdSkel

from soma_isaac.errors import OutputConflict
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.stage_people import StageConfig, write_stage
from soma_isaac.rig.skeleton import data_path

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"output": "people.glb"}, "output"),
        ({"count": 0}, "count"),
        ({"spacing": np.nan}, "spacing"),
        ({"lod": "high"}, "mid, low, xlo"),
        ({"presets": ["adult_mael"]}, "adult_male"),
        ({"presets": []}, "presets"),
    ],
)
def test_values_that_do_not_fit_are_refused_by_name(values, named):
    with pytest.raises(ConfigRefused, match=named):
        write_stage(StageConfig(**{"output": "people.usda", **values}))


def test_two_people_of_their_own_build_stand_apart_and_move(tmp_path, capfd):
    final = tmp_path / "made" / "people.usda"
    clips = [str(data_path("demo_clips") / name) for name in ("wave.npz", "walk.npz")]
    report = write_stage(
        StageConfig(str(final), motions=clips, presets=["child", "tall"], count=2, lod="low", relative=True)
    )
    assert report.people == ("/World/Person_0", "/World/Person_1") and 6.3 < report.seconds < 7.1
    assert "Could not open asset" not in capfd.readouterr().err
    text = final.read_text()
    rig = os.path.relpath(data_path("SOMA_template_rig.usda"), final.parent)
    assert text.count(f"@{rig}@") == 2 and f"@{data_path('SOMA_template_rig.usda')}@" not in text
    stage = Usd.Stage.Open(str(final))
    assert UsdGeom.GetStageUpAxis(stage) == "Z" and UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert stage.GetEndTimeCode() == pytest.approx(report.seconds * stage.GetTimeCodesPerSecond(), abs=0.5)
    tops = []
    for path in report.people:
        root = UsdSkel.Root.Get(stage, path)
        cache = UsdSkel.Cache()
        cache.Populate(root, Usd.PrimDefaultPredicate)
        (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
        assert len(binding.GetSkinningTargets()) == 1
        query = cache.GetSkelQuery(binding.GetSkeleton())
        to_world = np.array(root.ComputeLocalToWorldTransform(0))
        joints = np.array([np.array(query.ComputeJointSkelTransforms(code)) @ to_world for code in (0.0, 300.0)])
        assert np.abs(joints[1, 1:, 3, :3] - joints[0, 1:, 3, :3]).max() > 0.2
        places = joints[0, 1:, 3, :3]
        assert -0.05 < places[:, 2].min() < 0.1
        tops.append((places[0, 0], places[:, 2].max()))
    (left, child), (right, tall) = tops
    assert child < 1.4 < 1.7 < tall and right - left == pytest.approx(1.2, abs=0.1)
    with pytest.raises(OutputConflict, match="replace"):
        write_stage(StageConfig(str(final)))


def test_command_line(tmp_path):
    output = tmp_path / "a.usdc"
    command = [sys.executable, str(ROOT / "scripts" / "stage.py"), f"output={output}", "count=1", "lod=xlo"]
    clip = data_path("demo_clips") / "squat.npz"
    done = subprocess.run([*command, f"motions=[{clip}]"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["people"] == ["/World/Person_0"]
    again = subprocess.run([*command, f"motions=[{clip}]"], capture_output=True, text=True, cwd=tmp_path)
    assert again.returncode == 2 and "exists" in again.stderr
    wrong = subprocess.run([*command, "cuont=2"], capture_output=True, text=True, cwd=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'count'" in wrong.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.usdc"]
