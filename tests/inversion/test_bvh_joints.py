"""BVH to SOMA: positions must come out as the file has them, and a T-pose must come out as the T-pose."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import parse_bvh
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.inversion.bvh_joints import read_bvh_motion, soma_from_bvh
from soma_isaac.inversion.bvh_names import bvh_families, match_family
from soma_isaac.inversion.bvh_skeleton import decide_unit
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import (
    POSE_JOINT_NAMES,
    PUBLIC_JOINT_NAMES,
    PUBLIC_PARENTS,
    forward_kinematics,
    template_rest_offsets,
    template_rest_rotations,
)

pytestmark = pytest.mark.filterwarnings("ignore:Gimbal lock")  # any angles do that give the same matrix

LEFT, UP, AHEAD = np.eye(3)
INDEX = {name: joint for joint, name in enumerate(POSE_JOINT_NAMES)}


def write_bvh(names, parents, offsets, rotations, positions, order="ZYX", fps_text="0.0333333"):
    """Text of a BVH file whose root has positions; local rotations [T, J, 3, 3]."""
    lines = ["HIERARCHY"]

    def joint(index, depth):
        pad = "  " * depth
        lines.append(f"{pad}{'ROOT' if parents[index] < 0 else 'JOINT'} {names[index]}")
        lines.append(pad + "{")
        lines.append(f"{pad}  OFFSET " + " ".join(f"{value:.6f}" for value in offsets[index]))
        channels = [f"{axis}rotation" for axis in order]
        if parents[index] < 0:
            channels = ["Xposition", "Yposition", "Zposition", *channels]
        lines.append(f"{pad}  CHANNELS {len(channels)} {' '.join(channels)}")
        children = [child for child, parent in enumerate(parents) if parent == index]
        for child in children:
            joint(child, depth + 1)
        if not children:
            lines.append(f"{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 0 0\n{pad}  }}")
        lines.append(pad + "}")

    joint(0, 0)
    order_of_rows, stack = [], [0]
    while stack:
        index = stack.pop()
        order_of_rows.append(index)
        stack.extend(child for child in reversed(range(len(parents))) if parents[child] == index)
    lines += ["MOTION", f"Frames: {len(rotations)}", f"Frame Time: {fps_text}"]
    for frame in range(len(rotations)):
        angles = [
            Rotation.from_matrix(rotations[frame, index]).as_euler(order, degrees=True) for index in order_of_rows
        ]
        values = [*positions[frame], *np.concatenate(angles)]
        lines.append(" ".join(f"{value:.7f}" for value in values))
    return "\n".join(lines) + "\n"


def convert(text, up_axis=None):
    return soma_from_bvh(parse_bvh(SourceBytes.of(text.encode(), "clip.bvh")), "clip", up_axis)


def bvh_positions(names, parents, offsets, rotations, positions):
    """Joint positions [T, J, 3] by the file's own kinematics."""
    world, place = rotations.copy(), np.zeros(rotations.shape[:2] + (3,))
    for joint, parent in enumerate(parents):
        if parent < 0:
            place[:, joint] = positions
        else:
            world[:, joint] = world[:, parent] @ rotations[:, joint]
            place[:, joint] = place[:, parent] + world[:, parent] @ offsets[joint]
    return {name: place[:, joint] for joint, name in enumerate(names)}, world


def soma_positions(motion):
    return forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)[0]


def wobble(frames, joints, size=0.35, seed=1):
    return matrix_from_rotvec(np.random.default_rng(seed).normal(0.0, size, (frames, joints, 3)))


# -- A skeleton with LAFAN1's names and axes (every bone along its own x), round numbers -----------------------------

CHAIN = [
    ("Hips", None, (0, 0, 0)),
    ("LeftUpLeg", "Hips", (0, 2, 10)),
    ("LeftLeg", "LeftUpLeg", (43, 0, 0)),
    ("LeftFoot", "LeftLeg", (42, 0, 0)),
    ("LeftToe", "LeftFoot", (17, 0, 0)),
    ("RightUpLeg", "Hips", (0, 2, -10)),
    ("RightLeg", "RightUpLeg", (43, 0, 0)),
    ("RightFoot", "RightLeg", (42, 0, 0)),
    ("RightToe", "RightFoot", (17, 0, 0)),
    ("Spine", "Hips", (7, -2.5, 0)),
    ("Spine1", "Spine", (12.5, 0, 0)),
    ("Spine2", "Spine1", (12.5, 0, 0)),
    ("Neck", "Spine2", (26, 0, 0)),
    ("Head", "Neck", (12, 0, 0)),
    ("LeftShoulder", "Spine2", (20, -1.5, 6)),
    ("LeftArm", "LeftShoulder", (11, 0, 0)),
    ("LeftForeArm", "LeftArm", (33, 0, 0)),
    ("LeftHand", "LeftForeArm", (25, 0, 0)),
    ("RightShoulder", "Spine2", (20, -1.5, -6)),
    ("RightArm", "RightShoulder", (11, 0, 0)),
    ("RightForeArm", "RightArm", (33, 0, 0)),
    ("RightHand", "RightForeArm", (25, 0, 0)),
]
LAFAN_NAMES = [name for name, _, _ in CHAIN]
LAFAN_PARENTS = [-1 if parent is None else LAFAN_NAMES.index(parent) for _, parent, _ in CHAIN]
LAFAN_OFFSETS = np.array([offset for _, _, offset in CHAIN], dtype=float)
SOMA_OF = {alias: joint for joint, aliases in bvh_families()[1].aliases.items() for alias in aliases}


def lafan_t_pose():
    """Local rotations [22, 3, 3] in which the skeleton stands in a T-pose, facing +Z."""
    axes = bvh_families()[1].axes
    world = np.array([axes[SOMA_OF[name]] for name in LAFAN_NAMES])
    local = world.copy()
    for joint, parent in enumerate(LAFAN_PARENTS):
        if parent >= 0:
            local[joint] = world[parent].T @ world[joint]
    return local


def test_lafan1_t_pose_is_somas_t_pose():
    local = lafan_t_pose()[None]
    motion = convert(write_bvh(LAFAN_NAMES, LAFAN_PARENTS, LAFAN_OFFSETS, local, [[0, 93, 0]]))
    # SOMA's own T-pose arms and legs are straight within half a degree; feet differ only by how far they turn out.
    angle = np.degrees(geodesic_angle(np.eye(3), motion.rotations[0]))
    feet = [INDEX[f"{side}{name}"] for side in ("Left", "Right") for name in ("Foot", "ToeBase")]
    assert np.delete(angle, feet).max() < 0.6 and angle.max() < 8.0
    place = soma_positions(motion)[0]
    assert place[INDEX["LeftHand"]] @ LEFT > 0.7 and place[INDEX["RightHand"]] @ LEFT < -0.7
    assert (place[INDEX["LeftToeBase"]] - place[INDEX["LeftFoot"]]) @ AHEAD > 0.14
    assert place[INDEX["Head"]] @ UP > 1.5
    note = " ".join(motion.provenance.notes)
    assert "family lafan1" in note and "unit decided to be cm" in note
    assert (motion.identity.model, motion.identity.rest_source) == ("bvh", "file")


def test_lafan1_positions_are_the_files_and_knees_bend_backwards():
    local = lafan_t_pose() @ wobble(5, 22)
    knee = LAFAN_NAMES.index("LeftLeg")
    local[4] = lafan_t_pose()
    local[4, knee] = local[4, knee] @ Rotation.from_euler("z", -60, degrees=True).as_matrix()
    positions = np.random.default_rng(2).normal(0.0, 30.0, (5, 3)) + [0, 93, 0]
    motion = convert(write_bvh(LAFAN_NAMES, LAFAN_PARENTS, LAFAN_OFFSETS, local, positions))
    expected, _ = bvh_positions(LAFAN_NAMES, LAFAN_PARENTS, LAFAN_OFFSETS, local, positions)
    place = soma_positions(motion)
    for name, points in expected.items():
        np.testing.assert_allclose(place[:, INDEX[SOMA_OF[name]]], points * 0.01, atol=2e-6, err_msg=name)
    bend = np.swapaxes(motion.rotations[4, INDEX["LeftLeg"]], -1, -2) @ motion.rotations[4, INDEX["LeftShin"]]
    assert (place[4, INDEX["LeftFoot"]] - place[4, INDEX["LeftShin"]]) @ AHEAD < -0.3
    np.testing.assert_allclose(Rotation.from_matrix(bend).as_rotvec() @ LEFT, np.radians(60), atol=0.02)


def test_the_persons_t_pose_stands_on_the_floor():
    motion = convert(write_bvh(LAFAN_NAMES, LAFAN_PARENTS, LAFAN_OFFSETS, lafan_t_pose()[None], [[0, 93, 0]]))
    offsets = motion.identity.rest_offsets
    toes = sum(
        offsets[PUBLIC_JOINT_NAMES.index(n), 1] for n in ("Hips", "LeftLeg", "LeftShin", "LeftFoot", "LeftToeBase")
    )
    template = template_rest_offsets()
    ratio = np.linalg.norm(offsets[PUBLIC_JOINT_NAMES.index("LeftHandIndex1")]) / np.linalg.norm(
        template[PUBLIC_JOINT_NAMES.index("LeftHandIndex1")]
    )
    assert toes == pytest.approx(0.0216 * ratio, abs=2e-3) and 0.9 < ratio < 1.2


# -- A skeleton with CMU's names: the zero pose is a T-pose with the legs apart, bones in world axes -----------------

CMU = [
    ("Hips", None, (0, 0, 0)),
    ("LHipJoint", "Hips", (0, 0, 0)),
    ("LeftUpLeg", "LHipJoint", (1.8, -1.7, 0.8)),
    ("LeftLeg", "LeftUpLeg", (2.4, -6.6, 0)),
    ("LeftFoot", "LeftLeg", (2.5, -6.9, 0)),
    ("LeftToeBase", "LeftFoot", (0.2, -0.5, 2.0)),
    ("RHipJoint", "Hips", (0, 0, 0)),
    ("RightUpLeg", "RHipJoint", (-1.8, -1.7, 0.8)),
    ("RightLeg", "RightUpLeg", (-2.4, -6.6, 0)),
    ("RightFoot", "RightLeg", (-2.5, -6.9, 0)),
    ("RightToeBase", "RightFoot", (-0.2, -0.5, 2.0)),
    ("LowerBack", "Hips", (0, 0, 0)),
    ("Spine", "LowerBack", (0, 2.2, 0)),
    ("Spine1", "Spine", (0, 2.2, -0.2)),
    ("Neck", "Spine1", (0, 0, 0)),
    ("Neck1", "Neck", (0, 1.5, 0.2)),
    ("Head", "Neck1", (0, 1.5, -0.2)),
    ("LeftShoulder", "Spine1", (0, 0, 0)),
    ("LeftArm", "LeftShoulder", (3.2, 0.9, 0.1)),
    ("LeftForeArm", "LeftArm", (5.0, 0, 0)),
    ("LeftHand", "LeftForeArm", (3.3, 0, 0)),
    ("LThumb", "LeftHand", (0, 0, 0)),
    ("RightShoulder", "Spine1", (0, 0, 0)),
    ("RightArm", "RightShoulder", (-3.2, 0.9, 0.1)),
    ("RightForeArm", "RightArm", (-5.0, 0, 0)),
    ("RightHand", "RightForeArm", (-3.3, 0, 0)),
    ("RThumb", "RightHand", (0, 0, 0)),
]
CMU_NAMES = [name for name, _, _ in CMU]
CMU_PARENTS = [-1 if parent is None else CMU_NAMES.index(parent) for _, parent, _ in CMU]
CMU_OFFSETS = np.array([offset for _, _, offset in CMU], dtype=float)
CMU_UNIT = 0.0254 / 0.45
YUP_TO_ZUP = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])


def cmu_clip(frames=4, size=0.3):
    rotations = wobble(frames, len(CMU), size)
    for name in ("LHipJoint", "RHipJoint"):
        rotations[:, CMU_NAMES.index(name)] = np.eye(3)
    return rotations, np.random.default_rng(3).normal(0.0, 3.0, (frames, 3)) + [0, 17, 0]


def check_cmu(motion, expected, turn=lambda points: points):
    place = soma_positions(motion)
    for joint, aliases in bvh_families()[2].aliases.items():
        name = next(alias for alias in aliases if alias in CMU_NAMES)
        np.testing.assert_allclose(place[:, INDEX[joint]], turn(expected[name]) * CMU_UNIT, atol=2e-6, err_msg=joint)


def test_cmu_zero_pose_has_its_legs_apart_in_soma_too():
    rotations = np.tile(np.eye(3), (1, len(CMU), 1, 1))
    motion = convert(write_bvh(CMU_NAMES, CMU_PARENTS, CMU_OFFSETS, rotations, [[0, 17, 0]]))
    left = Rotation.from_matrix(motion.rotations[0, INDEX["LeftLeg"]]).as_rotvec(degrees=True)
    np.testing.assert_allclose(left, [0, 0, np.degrees(np.arctan2(2.4, 6.6))], atol=0.3)
    assert np.degrees(geodesic_angle(np.eye(3), motion.rotations[0, INDEX["LeftArm"]])) < 0.6
    check_cmu(motion, bvh_positions(CMU_NAMES, CMU_PARENTS, CMU_OFFSETS, rotations, np.array([[0, 17, 0]]))[0])
    note = " ".join(motion.provenance.notes)
    assert "family cmu" in note and "CMU unit" in note and "LThumb" in note


def test_cmu_positions_are_the_files():
    rotations, positions = cmu_clip()
    motion = convert(write_bvh(CMU_NAMES, CMU_PARENTS, CMU_OFFSETS, rotations, positions, order="XYZ"))
    check_cmu(motion, bvh_positions(CMU_NAMES, CMU_PARENTS, CMU_OFFSETS, rotations, positions)[0])
    assert (motion.provenance.up_axis, motion.provenance.up_axis_source) == ("y", "format")


def test_z_up_files_are_noticed_whichever_way_their_zero_pose_faces():
    rotations, positions = cmu_clip(size=0.2)
    up = YUP_TO_ZUP
    for around in (np.eye(3), Rotation.from_euler("z", 90, degrees=True).as_matrix()):
        turn = around @ up
        turned = turn @ rotations @ turn.T
        text = write_bvh(CMU_NAMES, CMU_PARENTS, CMU_OFFSETS @ turn.T, turned, positions @ turn.T)
        motion = convert(text)
        assert (motion.provenance.up_axis, motion.provenance.up_axis_source) == ("z", "detected")
        expected = bvh_positions(CMU_NAMES, CMU_PARENTS, CMU_OFFSETS @ turn.T, turned, positions @ turn.T)[0]
        check_cmu(motion, expected, lambda points: points @ YUP_TO_ZUP)
    assert convert(text, "z").provenance.up_axis_source == "option"
    with pytest.raises(InputRejected, match="neither 'y' nor 'z'"):
        convert(text, "x")


def test_mixamo_names_are_lafans_and_a_name_space_does_not_matter():
    names = [f"mixamorig:{name}" for name in LAFAN_NAMES]
    axes = bvh_families()[1].axes
    world = [axes[SOMA_OF[name]] for name in LAFAN_NAMES]
    offsets = np.array(
        [
            offset if parent < 0 else world[parent] @ offset
            for offset, parent in zip(LAFAN_OFFSETS, LAFAN_PARENTS, strict=True)
        ]
    )
    rotations = wobble(3, 22)
    positions = np.tile([0.0, 93, 0], (3, 1))
    motion = convert(write_bvh(names, LAFAN_PARENTS, offsets, rotations, positions))
    assert "its zero pose is taken for the T-pose" in " ".join(motion.provenance.notes)
    expected, _ = bvh_positions(LAFAN_NAMES, LAFAN_PARENTS, offsets, rotations, positions)
    place = soma_positions(motion)
    for name, points in expected.items():
        np.testing.assert_allclose(place[:, INDEX[SOMA_OF[name]]], points * 0.01, atol=2e-6, err_msg=name)


# -- SOMA's own skeleton ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["t-pose", "rig axes"])
@pytest.mark.parametrize("root", [True, False])
def test_soma_files_come_back_exactly(layout, root):
    relative = wobble(4, 77, 0.4)
    hips = np.random.default_rng(4).normal(0.0, 0.5, (4, 3)) + [0, 1, 0]
    template = template_rest_offsets() * 1.05
    orient = template_rest_rotations() if layout == "rig axes" else np.tile(np.eye(3), (78, 1, 1))
    parents = np.array(PUBLIC_PARENTS)
    offsets = np.array([orient[max(parent, 0)].T @ offset for offset, parent in zip(template, parents, strict=True)])
    local = np.tile(np.eye(3), (4, 78, 1, 1))
    local[:, 1:] = np.swapaxes(orient[parents[1:]], -1, -2) @ relative @ orient[1:]
    names = list(PUBLIC_JOINT_NAMES)
    offsets *= 100.0
    if root:
        # The dummy root walks, the hips keep still in it: both kinds of file exist.
        offsets[1] = 0.0
    else:
        names, parents, offsets, local = names[1:], parents[1:] - 1, offsets[1:], local[:, 1:]
    motion = convert(write_bvh(names, list(parents), offsets, local, hips * 100.0))
    np.testing.assert_allclose(motion.rotations, relative, atol=1e-7)
    np.testing.assert_allclose(motion.root_translation, hips, atol=1e-8)
    np.testing.assert_allclose(motion.identity.rest_offsets[2:], template[2:], atol=2e-8)
    np.testing.assert_allclose(motion.identity.rest_offsets[1], template[1], atol=2e-3)
    assert ("zero pose" if layout == "t-pose" else "family's") in " ".join(motion.provenance.notes)


# -- What cannot be interpreted is refused ---------------------------------------------------------------------------


def test_units_are_told_by_the_legs():
    for leg, name in ((0.85, "m"), (85.0, "cm"), (850.0, "mm"), (33.5, "inch"), (14.3, "CMU"), (50.0, "cm")):
        metres, note = decide_unit(leg)
        assert 0.45 < leg * metres < 1.25 and f"to be {name}" in note
    for leg in (0.0, 3.0, 5000.0):
        with pytest.raises(InputRejected, match="no person's"):
            decide_unit(leg)


def test_unknown_skeletons_are_refused_with_the_nearest():
    with pytest.raises(InputRejected, match="nearest is 'lafan1', which lacks LeftHand"):
        match_family([name for name in LAFAN_NAMES if name != "LeftHand"])
    with pytest.raises(InputRejected, match="no known skeleton"):
        match_family(["a", "b"])


def test_a_zero_pose_that_is_no_t_pose_is_refused():
    offsets = LAFAN_OFFSETS[:, [1, 0, 2]] * [1, -1, 1]
    with pytest.raises(InputRejected, match="cannot be interpreted"):
        convert(write_bvh(LAFAN_NAMES, LAFAN_PARENTS, offsets * [1, 1, 0.001] + [0, 0, 0], wobble(1, 22), [[0, 93, 0]]))


def test_limbs_in_the_wrong_place_are_refused():
    parents = list(LAFAN_PARENTS)
    parents[LAFAN_NAMES.index("LeftHand")] = LAFAN_NAMES.index("Head")
    with pytest.raises(InputRejected, match="LeftHand elsewhere than below"):
        convert(write_bvh(LAFAN_NAMES, parents, LAFAN_OFFSETS, wobble(1, 22), [[0, 93, 0]]))


def test_reads_from_disk_with_the_name_in_provenance_and_errors(tmp_path):
    path = tmp_path / "clip.bvh"
    path.write_text(write_bvh(LAFAN_NAMES, LAFAN_PARENTS, LAFAN_OFFSETS, lafan_t_pose()[None], [[0, 93, 0]]))
    motion = read_bvh_motion(path, name="folder/clip.bvh")
    assert (motion.provenance.source, motion.provenance.format) == ("folder/clip.bvh", "bvh")
    assert (motion.fps, motion.provenance.fps_key) == (30.0, "Frame Time")
    assert read_bvh_motion(path, source_fps=60).provenance.fps_key == "option"
    path.write_text(path.read_text().replace("JOINT LeftHand", "JOINT Nobody"))
    with pytest.raises(InputRejected, match="clip.bvh.*lacks LeftHand"):
        read_bvh_motion(path)


SEED = Path(__file__).resolve().parents[3] / "shared" / "data" / "soma_motion" / "Neutral_walk_forward_002__A057.npz"


@pytest.mark.skipif(not SEED.exists(), reason="the BONES-SEED sample in ../shared is not here")
def test_a_real_walk_as_bvh_is_the_same_walk_as_npz():
    expected = load_motion(SEED)
    with np.load(SEED, allow_pickle=False) as archive:
        local = archive["human_local_transforms"][:120].astype(float)
        offsets = archive["human_reference_local_transforms"][:, :3].astype(float) * 100.0
    rotations = Rotation.from_quat(local[..., 3:].reshape(-1, 4)).as_matrix().reshape(-1, 78, 3, 3)
    # Below the dummy root, which BVH files of this kind leave out.
    hips = np.einsum("tab,tb->ta", rotations[:, 0], local[:, 1, :3]) * 100.0
    rotations[:, 1] = rotations[:, 0] @ rotations[:, 1]
    parents = list(np.array(PUBLIC_PARENTS[1:]) - 1)
    motion = convert(write_bvh(list(POSE_JOINT_NAMES), parents, offsets[1:], rotations[:, 1:], hips, fps_text="0.02"))
    assert motion.fps == expected.fps == 50.0
    np.testing.assert_allclose(motion.rotations, expected.rotations[:120], atol=2e-6)
    np.testing.assert_allclose(motion.root_translation, expected.root_translation[:120], atol=1e-6)
    np.testing.assert_allclose(motion.identity.rest_offsets[2:], expected.identity.rest_offsets[2:], atol=1e-6)
