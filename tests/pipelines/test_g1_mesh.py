"""The main job with the user's SMPL files: the same AMASS clip by mesh and by joint rotations."""

import json

import numpy as np
import pytest

from soma_isaac.batch.job import ConversionJob
from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.g1_clip import convert_clip
from soma_isaac.pipelines.g1_config import G1RefsConfig
from soma_isaac.pipelines.g1_refs import plan_g1_refs
from soma_isaac.pipelines.run_config import OutputConfig, SmplConfig, SourceConfig
from tests.body.model_files import write_smpl
from tests.oracles.smpl import npz
from tests.pipelines.test_g1_refs import short_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("g1")
    write_smpl(root / "models", "smplh", gender="FEMALE")
    (root / "clips").mkdir()
    clip = short_clip("squat", frames=60)
    (root / "clips/squat.npz").write_bytes(npz({**clip, "gender": np.array("female")}))
    (root / "clips/soma.npz").write_bytes(npz({**clip, "gender": np.array("male")}))
    return root


def planned(folder, models=None, name="squat.npz"):
    config = G1RefsConfig(
        source=SourceConfig(str(folder / "clips")), output=OutputConfig(str(folder / "out")), formats=["csv"]
    )
    if models is not None:
        config.smpl = SmplConfig(str(models))
    plan = plan_g1_refs(config)
    entry = next(entry for entry in plan.entries if entry.input == name)
    source = str(plan.source / name)
    return entry, ConversionJob(name, source, entry.sha256, entry.outputs, str(plan.out), plan.settings)


def details(job):
    done = convert_clip(job)
    assert done.files.keys() == set(job.outputs)
    return json.loads(done.files["details/squat.json"]), done.files["csv/squat.csv"]


def test_both_ways_give_a_clip_and_say_which(folder):
    first, joints = planned(folder)
    second, mesh = planned(folder, folder / "models")
    assert first.key != second.key  # a folder of one way is not taken for the other's
    by_joints, csv_joints = details(joints)
    by_mesh, csv_mesh = details(mesh)
    assert by_joints["person"]["rest_source"] == "estimated" and by_mesh["person"]["rest_source"] == "mesh"
    assert any("converted by mesh" in note for note in by_mesh["source"]["notes"])
    assert csv_joints != csv_mesh
    for record in (by_joints, by_mesh):
        assert record["metrics"]["jl_frac"] == 0.0 and record["metrics"]["fps"] == 50.0
    assert by_joints["metrics"]["frames"] == by_mesh["metrics"]["frames"]
    # The record by mesh carries the figures that the other way gives on its own.
    other = by_mesh["comparison"]
    assert "comparison" not in by_joints
    for name, value in other["metrics"].items():
        assert value == pytest.approx(by_joints["metrics"][name], rel=1e-4, abs=1e-6), name
    assert other["stature"] == pytest.approx(by_joints["person"]["stature"], abs=1e-3)
    assert 0.0 < other["joint_difference_deg"]["mean"] < other["joint_difference_deg"]["largest"]


def test_a_clip_without_its_model_is_refused_not_converted_another_way(folder):
    _, job = planned(folder, folder / "models", "soma.npz")
    with pytest.raises(InputRejected, match="needs a smplh model of gender male"):
        convert_clip(job)
