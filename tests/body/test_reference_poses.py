"""Older T-poses by version, identifier, digest and alias."""

import json

import numpy as np
import pytest

from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.orientations import reference_orientations
from soma_isaac.body.reference_poses import ReferenceCatalog, version_key
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.neutral_npz import ReferencePose
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS
from tests.body import model_files

DIGEST = "ab" * 32
ENTRIES = [
    {"id": "t_pose_world__v0.1.0", "data_key": "t_pose_world", "soma_version": "0.1.0", "aliases": ["first"]},
    {"id": "t_pose_world__v0.10.0", "data_key": "t_pose_world", "soma_version": "0.10.0"},
    {"id": "t_pose_world__v0.2.0", "data_key": "t_pose_world", "soma_version": "0.2.0", "aliases": ["old", "v27"]},
    {
        "id": f"t_pose_world__sha256_{DIGEST}",
        "data_key": "t_pose_world",
        "asset_revision": f"sha256:{DIGEST}",
    },
    {"id": "hands__v0.1.5", "data_key": "hands", "soma_version": "0.1.5", "aliases": ["first"]},
]


def turned_reference(seed):
    reference = reference_orientations()
    reference[1:] = reference[1:] @ matrix_from_rotvec(np.random.default_rng(seed).normal(size=(77, 3)) * 0.1)
    return reference


def pose_of(rotations, order=None):
    order = np.arange(78) if order is None else order
    row = {int(joint): place for place, joint in enumerate(order)}
    parents = [row[max(PUBLIC_PARENTS[joint], 0)] for joint in order]
    names = tuple(PUBLIC_JOINT_NAMES[joint] for joint in order)
    return ReferencePose(names, np.array(parents, dtype=np.int32), rotations[order])


def history(**changes):
    contents = {
        "schema_version": 2,
        "conventions": {"matrices": "column vectors"},
        "references": ENTRIES,
        "default_reference_id": "t_pose_world__v0.10.0",
    }
    return json.dumps(contents | changes)


@pytest.fixture
def catalog():
    return ReferenceCatalog({entry["id"]: pose_of(turned_reference(k)) for k, entry in enumerate(ENTRIES)}, history())


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({"version": "0.2.0"}, "t_pose_world__v0.2.0"),
        ({"version": "v0.9.9"}, "t_pose_world__v0.2.0"),
        ({"version": "0.2.0-rc.1"}, "t_pose_world__v0.1.0"),
        ({"version": "3.0.0"}, "t_pose_world__v0.10.0"),
        ({"version": "0.3.0", "data_key": "hands"}, "hands__v0.1.5"),
        ({"identifier": "t_pose_world__v0.1.0"}, "t_pose_world__v0.1.0"),
        ({"asset_revision": f"sha256:{DIGEST}"}, f"t_pose_world__sha256_{DIGEST}"),
        ({"alias": "old"}, "t_pose_world__v0.2.0"),
        ({"alias": "first"}, "t_pose_world__v0.1.0"),
        ({"alias": "first", "data_key": "hands"}, "hands__v0.1.5"),
    ],
)
def test_selectors(catalog, selector, expected):
    assert catalog.find(**selector) == expected


@pytest.mark.parametrize(
    "selector",
    [
        {},
        {"version": "0.0.9"},
        {"alias": "new"},
        {"version": "0.2.0", "alias": "old"},
        {"version": "two"},
        {"identifier": "x"},
    ],
)
def test_selectors_that_name_nothing_are_refused(catalog, selector):
    with pytest.raises(InputRejected):
        catalog.find(**selector)


def test_orientations_come_in_public_order(catalog):
    np.testing.assert_array_equal(catalog.orientations(version="0.2.0"), turned_reference(2))
    order = np.concatenate([[0], 1 + np.random.default_rng(5).permutation(77)])
    shuffled = ReferenceCatalog(
        {"t_pose_world__v0.1.0": pose_of(turned_reference(7), order)},
        history(references=ENTRIES[:1], default_reference_id="t_pose_world__v0.1.0"),
    )
    np.testing.assert_array_equal(shuffled.orientations(alias="first"), turned_reference(7))


def test_another_skeleton_is_refused():
    identifier = ENTRIES[0]["id"]
    contents = history(references=ENTRIES[:1], default_reference_id=identifier)
    pose = pose_of(turned_reference(0))
    renamed = ReferencePose(("Root", "Pelvis", *pose.joint_names[2:]), pose.parents, pose.rotations)
    with pytest.raises(RigMismatch, match="names differ"):
        ReferenceCatalog({identifier: renamed}, contents).orientations(identifier)
    parents = pose.parents.copy()
    parents[20] = 3
    rehung = ReferencePose(pose.joint_names, parents, pose.rotations)
    with pytest.raises(RigMismatch, match="another parent"):
        ReferenceCatalog({identifier: rehung}, contents).orientations(identifier)


def test_versions_sort_as_semantic_versions():
    ordered = [
        "0.1.0",
        "0.2.0-alpha",
        "0.2.0-alpha.1",
        "0.2.0-alpha.beta",
        "0.2.0-rc.2",
        "0.2.0-rc.11",
        "0.2.0",
        "0.10.0",
    ]
    assert sorted(ordered[::-1], key=version_key) == ordered
    assert version_key("v1.2.3+build.7") == version_key("1.2.3")
    for bad in ("1.2", "01.2.3", "1.2.3-01", "1.2.3 ", ""):
        with pytest.raises(InputRejected, match="semantic version"):
            version_key(bad)


def test_a_file_without_history_has_an_empty_catalog():
    catalog = ReferenceCatalog({}, "")
    assert catalog.records == () and catalog.default_identifier is None
    with pytest.raises(InputRejected, match="holds none"):
        catalog.find(version="1.0.0")


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        "{",
        "[]",
        history(schema_version=1),
        history(references=None),
        history(references=ENTRIES[:-1]),
        history(references=[*ENTRIES[:-1], {**ENTRIES[-1], "id": "hands__v0.1.6"}]),
        history(references=[*ENTRIES[:-1], {**ENTRIES[-1], "asset_revision": "sha256:00"}]),
        history(references=[*ENTRIES[:-1], "hands__v0.1.5"]),
        history(default_reference_id="t_pose_world__v9.0.0"),
    ],
)
def test_tables_of_contents_that_do_not_fit_are_refused(metadata):
    poses = {entry["id"]: pose_of(turned_reference(k)) for k, entry in enumerate(ENTRIES)}
    with pytest.raises(InputRejected):
        ReferenceCatalog(poses, metadata)


@pytest.mark.parametrize(
    ("selection", "entry"),
    [
        ("t_pose_world__v0.2.0", 2),
        (f"sha256:{DIGEST}", 3),
        ("v27", 2),
        ("0.3.0", 2),
        ("v1.0.0", 1),
        ({"version": "0.1.5"}, 0),
        ({"alias": "first", "data_key": "hands"}, 4),
    ],
)
def test_selections_in_short(catalog, selection, entry):
    np.testing.assert_array_equal(catalog.select(selection), turned_reference(entry))


def test_unknown_selections_are_refused(catalog):
    for selection, words in (("newest", "no reference pose 'newest'"), ({"name": "old"}, "no selector 'name'")):
        with pytest.raises(InputRejected, match=words):
            catalog.select(selection)


@pytest.mark.parametrize("identity", ["soma", "template"])
def test_a_layer_takes_reference_poses_by_name(rig, tmp_path, identity, random_poses):
    pose = pose_of(turned_reference(2))
    identifier = ENTRIES[2]["id"]
    record = {key: value for key, value in model_files.neutral_arrays().items() if not key.startswith("t_pose")}
    record |= {
        identifier: pose.rotations,
        f"{identifier}__joint_names": np.array(pose.joint_names),
        f"{identifier}__parent_ids": pose.parents,
        "reference_pose_history_metadata": np.array(history(references=ENTRIES[2:3], default_reference_id=identifier)),
    }
    (tmp_path / "SOMA_neutral.npz").write_bytes(model_files.npz(record))
    rotvecs, _, transl = random_poses(2)
    plain = SomaLayer(rig, identity, lod="xlo", assets=tmp_path)
    fixed = SomaLayer(rig, identity, lod="xlo", assets=tmp_path, reference_pose={"alias": "old"})
    for layer in (plain, fixed):
        layer.prepare_identity()
    expected = plain.pose(rotvecs, transl, reference_pose=turned_reference(2)).vertices.numpy()
    assert np.abs(plain.pose(rotvecs, transl).vertices.numpy() - expected).max() > 0.01
    np.testing.assert_array_equal(plain.pose(rotvecs, transl, reference_pose="0.2.0").vertices.numpy(), expected)
    np.testing.assert_allclose(fixed.pose(rotvecs, transl).vertices.numpy(), expected, atol=1e-5)
    with pytest.raises(InputRejected, match="holds t_pose_world__v0.2.0"):
        plain.pose(rotvecs, reference_pose="0.1.0")


def test_names_need_a_file_with_a_history(rig, tmp_path):
    with pytest.raises(InputRejected, match="holds none"):
        SomaLayer(rig, lod="xlo", reference_pose="0.2.0")
    with pytest.raises(InputRejected, match="assets=PATH"):
        SomaLayer(rig, lod="xlo", assets=tmp_path, reference_pose="0.2.0")
