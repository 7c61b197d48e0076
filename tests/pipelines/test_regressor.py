"""The shipped regressor weights belong to the shipped template, and are what a factorisation gives."""

import numpy as np

from soma_isaac.body.identities.presets import open_shape_space
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.layout import joint_layout
from soma_isaac.body.regressor import folded_weights, joint_regressor, regressor_vertices
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.regressor_npz import regressor_bytes, regressor_key, shipped_regressor_weights
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.pipelines.regressor import SMALLEST_GROUP
from soma_isaac.rig.skeleton import data_path


def _template(lod):
    rig = load_template_rig()
    layout = joint_layout(rig, twist=False)
    mesh = rig.mesh(lod)
    bags = SomaTarget.of(rig, lod, read_neutral(open_shape_space())).bag_vertices
    vertices = regressor_vertices(folded_weights(mesh, layout), layout.parents, bags)
    return mesh.points, layout.bind_T_world_joint[:, :3, 3], vertices


def test_every_large_group_of_the_template_is_shipped():
    known = shipped_regressor_weights()
    for lod in ("mid", "low"):
        points, joints, vertices = _template(lod)
        for rows in {rows.tobytes(): rows for rows in vertices if len(rows) >= SMALLEST_GROUP}.values():
            group = [joint for joint, own in enumerate(vertices) if own.tobytes() == rows.tobytes()]
            assert regressor_key(points[rows], joints[group]) in known, (lod, group)


def test_shipped_weights_are_the_factorised_ones():
    points, joints, vertices = _template("low")
    anew = joint_regressor(points, joints, vertices)
    shipped = joint_regressor(points, joints, vertices, shipped_regressor_weights())
    np.testing.assert_allclose(shipped @ points, anew @ points, atol=1e-7)
    np.testing.assert_allclose(np.abs(anew - shipped).max(), 0.0, atol=1e-4)


def test_shipped_weights_find_the_template_joints_at_both_levels():
    for lod in ("mid", "low"):
        points, joints, vertices = _template(lod)
        found = joint_regressor(points, joints, vertices, shipped_regressor_weights()) @ points
        np.testing.assert_allclose(found[1:], joints[1:], atol=1e-7)


def test_another_rig_finds_no_entry():
    points, joints, vertices = _template("low")
    rows = max(vertices, key=len)
    group = [joint for joint, own in enumerate(vertices) if own.tobytes() == rows.tobytes()]
    known = shipped_regressor_weights()
    assert regressor_key(points[rows], joints[group]) in known
    assert regressor_key(points[rows] * 1.01, joints[group]) not in known
    assert regressor_key(points[rows][:-1], joints[group]) not in known


def test_file_is_its_own_round_trip():
    assert regressor_bytes(shipped_regressor_weights()) == data_path("SOMA_regressor.npz").read_bytes()
