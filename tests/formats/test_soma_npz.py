"""SOMA animation npz: ours comes back bit for bit, and SOMA-X's in either convention, unit and row count."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.formats.soma_npz import is_soma_npz, read_soma_npz, soma_npz_bytes
from soma_isaac.math.frames import ROTATION_ZUP_FROM_YUP, zup_from_yup_points
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import (
    POSE_JOINT_NAMES,
    POSE_PARENTS,
    PUBLIC_JOINT_NAMES,
    template_rest_offsets,
    template_rest_rotations,
)

pytestmark = pytest.mark.py312


def some_motion(frames: int = 6, seed: int = 0) -> SomaMotion:
    rng = np.random.default_rng(seed)
    rotations = Rotation.from_rotvec(rng.normal(size=(frames * 77, 3)) * 0.3).as_matrix().reshape(frames, 77, 3, 3)
    place = rng.normal(size=(frames, 3)) * 0.1 + [0.0, 0.9, 0.0]
    identity = MotionIdentity("smplh", np.arange(16.0), "female", template_rest_offsets() * 0.97, "estimated")
    return SomaMotion(
        59.94, rotations, place, identity, Provenance("a", "0" * 64, "amass", "mocap_framerate", "z", "format")
    )


def soma_x(motion: SomaMotion, **changes: np.ndarray | None) -> dict[str, np.ndarray]:
    """What SOMA-X's own writer stores: 32-bit rotation vectors, no frame rate."""
    rotvecs = Rotation.from_matrix(motion.rotations.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 77, 3)
    arrays = {
        "poses": rotvecs.astype(np.float32),
        "transl": motion.root_translation.astype(np.float32),
        "joint_names": np.array(POSE_JOINT_NAMES),
        "identity_model_type": np.array("smpl"),
        "identity_coeffs": np.zeros((1, 10), dtype=np.float32),
        "keep_root": np.bool_(False),
        "absolute_pose": np.bool_(False),
        "rotation_repr": np.array("rotvec"),
        "unit": np.array("meters"),
        "joint_orient": template_rest_rotations().astype(np.float32),
        "allow_pickle": np.array(False),
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


def read(
    data: bytes | dict[str, np.ndarray], source_fps: float | None = None, up_axis: str | None = None
) -> SomaMotion:
    data = npz_bytes(data) if isinstance(data, dict) else data
    archive = NpzArchive(SourceBytes.of(data, "m.npz"))
    assert is_soma_npz(archive)
    return read_soma_npz(archive, "m", source_fps, up_axis)


def test_our_own_bytes_come_back_bit_for_bit():
    motion = some_motion()
    data = soma_npz_bytes(motion)
    back = read(data)
    for name in ("rotations", "root_translation"):
        np.testing.assert_array_equal(getattr(back, name), getattr(motion, name))
    np.testing.assert_array_equal(back.identity.coefficients, motion.identity.coefficients)
    np.testing.assert_array_equal(back.identity.rest_offsets, motion.identity.rest_offsets)
    assert back.fps == 59.94 and back.provenance.fps_key == "fps"
    assert (back.identity.model, back.identity.gender, back.identity.rest_source) == ("smplh", "female", "estimated")
    assert soma_npz_bytes(back) == data


def test_nothing_is_written_that_is_not_read():
    motion = some_motion()
    giant = replace(motion.identity, rest_offsets=12.0 * motion.identity.rest_offsets)
    for changed, words in (
        (replace(motion, root_translation=motion.root_translation + 1e4), "beyond 1000 at frame 0"),
        (replace(motion, identity=giant), "a bone of more than 10 m"),
    ):
        with pytest.raises(InputRejected, match=words):
            soma_npz_bytes(changed)


def test_soma_x_files_need_a_frame_rate():
    motion = some_motion()
    with pytest.raises(InputRejected, match=r"no frame rate.*source\.fps="):
        read(soma_x(motion))
    back = read(soma_x(motion), source_fps=30.0)
    assert back.fps == 30.0 and back.identity.rest_source == "template"
    np.testing.assert_allclose(back.rotations, motion.rotations, atol=1e-6)
    np.testing.assert_allclose(back.root_translation, motion.root_translation, atol=1e-6)


def test_absolute_poses_are_the_rigs_local_rotations():
    """R_abs = O_parent^T R_rel O_j, written joint by joint."""
    motion, orient = some_motion(seed=1), template_rest_rotations()
    absolute = np.empty_like(motion.rotations)
    for joint, parent in enumerate(POSE_PARENTS):
        parent_orient = np.eye(3) if parent < 0 else orient[parent + 1]
        absolute[:, joint] = parent_orient.T @ motion.rotations[:, joint] @ orient[joint + 1]
    stored = soma_x(
        motion, poses=absolute, absolute_pose=np.bool_(True), rotation_repr=np.array("matrix"), joint_orient=None
    )
    np.testing.assert_allclose(read(stored, 30.0).rotations, motion.rotations, atol=1e-9)


def test_a_root_row_is_folded_into_the_hips():
    motion = some_motion(seed=2)
    turn = Rotation.from_rotvec([0.0, 0.7, 0.0])
    rotvecs = soma_x(motion)["poses"]
    with_root = np.concatenate([np.broadcast_to(turn.as_rotvec(), (6, 1, 3)), rotvecs], axis=1)
    stored = soma_x(motion, poses=with_root, keep_root=np.bool_(True), joint_names=np.array(PUBLIC_JOINT_NAMES))
    back = read(stored, 30.0)
    np.testing.assert_allclose(back.rotations[:, 0], turn.as_matrix() @ motion.rotations[:, 0], atol=1e-6)
    np.testing.assert_allclose(back.rotations[:, 1:], motion.rotations[:, 1:], atol=1e-6)
    np.testing.assert_allclose(back.root_translation, turn.apply(np.array(motion.root_translation)), atol=1e-6)


def test_units_orders_and_the_older_key():
    motion = some_motion(seed=3)
    plain = soma_x(motion)
    order = np.random.default_rng(0).permutation(77)
    shuffled = {**plain, "poses": plain["poses"][:, order], "joint_names": plain["joint_names"][order]}
    shuffled |= {"unit": np.array("centimeters"), "root_translation": plain["transl"] * 100.0}
    del shuffled["transl"]
    back, wanted = read(shuffled, 30.0), read(plain, 30.0)
    np.testing.assert_array_equal(back.rotations, wanted.rotations)
    np.testing.assert_allclose(back.root_translation, wanted.root_translation, atol=1e-6)


def test_another_t_pose_keeps_the_joints_own_axes():
    """World axes G_j O_file of every joint stay; told from the template they are G'_j O_template."""
    motion, orient = some_motion(seed=4), template_rest_rotations()
    turn = Rotation.from_rotvec(np.random.default_rng(5).normal(size=(78, 3)) * 0.1).as_matrix()
    theirs = turn @ orient
    back = read(soma_x(motion, joint_orient=theirs), 30.0)

    def axes(rotations, orients):
        world = rotations.copy()
        for joint, parent in enumerate(POSE_PARENTS):
            if parent >= 0:
                world[:, joint] = world[:, parent] @ rotations[:, joint]
        return world @ orients[1:]

    np.testing.assert_allclose(axes(back.rotations, orient), axes(motion.rotations, theirs), atol=1e-6)
    assert "differs from the template" in " ".join(back.provenance.notes)


def test_people_who_stand_along_z_are_turned():
    standing = some_motion(seed=6)
    calm = standing.rotations.copy()
    calm[:, 0] = Rotation.from_rotvec([0.05, 1.0, 0.0]).as_matrix()
    turned = calm.copy()
    turned[:, 0] = ROTATION_ZUP_FROM_YUP @ calm[:, 0]
    as_z = soma_x(standing, transl=zup_from_yup_points(standing.root_translation))
    as_z["poses"] = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 77, 3)
    for up_axis, how in ((None, "detected"), ("z", "option")):
        back = read(as_z, 30.0, up_axis)
        assert (back.provenance.up_axis, back.provenance.up_axis_source) == ("z", how)
        np.testing.assert_allclose(back.rotations, calm, atol=1e-9)
        np.testing.assert_allclose(back.root_translation, standing.root_translation, atol=1e-12)
    assert read(as_z, 30.0, "y").provenance.up_axis == "y"


def test_what_the_file_leaves_open_is_noted():
    bare = soma_x(some_motion(), unit=None, absolute_pose=None, joint_orient=None, identity_model_type=None)
    notes = " ".join(read(bare, 30.0).provenance.notes)
    assert "unit" in notes and "convention" in notes and "bone lengths" in notes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"poses": np.zeros((6, 76, 3))}, "expected"),
        ({"transl": np.zeros((5, 3))}, "expected numbers"),
        ({"unit": np.array("inches")}, "unit 'inches'"),
        ({"rotation_repr": np.array("matrix")}, "rotation_repr"),
        ({"joint_names": np.array([*POSE_JOINT_NAMES[:-1], "Tail"])}, "Tail"),
        ({"joint_orient": np.zeros((78, 3, 3))}, "rotation matrix"),
        ({"joint_orient": np.zeros((3, 3, 3))}, "77 or 78"),
        ({"absolute_pose": np.array(2)}, "truth value"),
        ({"global_scale": np.array(0.0)}, "global_scale"),
    ],
)
def test_what_is_refused(changes, reason):
    with pytest.raises(InputRejected, match=reason) as caught:
        read(soma_x(some_motion(), **changes), 30.0)
    assert caught.value.path in ("m.npz", None)
