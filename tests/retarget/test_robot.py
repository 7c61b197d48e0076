"""The G1: its figures, order and kinematics against independent readers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.g1_urdf import g1_urdf_bytes
from soma_isaac.math.so3 import matrix_from_quat_wxyz
from soma_isaac.retarget.collision import pair_distances, segment_closest
from soma_isaac.retarget.robot import BUNDLED_URDF, G1_JOINT_NAMES, RobotModel, load_robot
from soma_isaac.rig.skeleton import data_path
from tests.oracles.random_motion import random_motion

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "g1_model"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data/g1_model is not here")
SIDES = ("left", "right")


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return load_robot()


def poses(model: RobotModel, frames: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    motion = random_motion(model, frames, share=0.95)
    return (
        motion.root_pos,
        motion.root_quat_wxyz,
        motion.joint_pos,
        *model.body_poses(motion.root_pos, motion.root_quat_wxyz, motion.joint_pos),
    )


def test_order_is_the_depth_first_order_of_unitree(model: RobotModel) -> None:
    assert model.joint_names == G1_JOINT_NAMES
    assert model.body_names[:3] == ("pelvis", "left_hip_pitch_link", "left_hip_roll_link")
    assert len(model.body_names) == 30
    assert [model.body_names[b] for b in model.foot_bodies] == ["left_ankle_roll_link", "right_ankle_roll_link"]


@needs_shared
def test_limits_are_unitrees(model: RobotModel) -> None:
    limits = json.loads((SHARED / "limits.json").read_text())
    for field, key in (
        ("lower", "lower"),
        ("upper", "upper"),
        ("velocity_limit", "velocity"),
        ("effort_limit", "effort"),
    ):
        expected = [limits[name][key] for name in model.joint_names]
        np.testing.assert_array_equal(getattr(model, field), expected)


@needs_shared
def test_kinematics_and_inertia_equal_mjlabs_model(model: RobotModel) -> None:
    pin = pytest.importorskip("pinocchio", reason="pinocchio is not installed")
    reference = pin.buildModelFromMJCF(str(SHARED / "g1_nomesh.xml"))
    assert tuple(reference.names)[2:] == model.joint_names
    np.testing.assert_allclose(reference.lowerPositionLimit[7:], model.lower, atol=3e-6)
    for body in range(30):
        inertia = reference.inertias[body + 1]
        assert inertia.mass == pytest.approx(model.body_mass[body], abs=1e-9)
        np.testing.assert_allclose(inertia.lever, model.body_com_b[body], atol=1e-9)
        np.testing.assert_allclose(inertia.inertia, model.body_inertia_b[body], atol=1e-9)
    data = reference.createData()
    root_pos, quat, joints, pos, rot = poses(model)
    for frame in range(len(pos)):
        pin.forwardKinematics(reference, data, np.r_[root_pos[frame], quat[frame][[1, 2, 3, 0]], joints[frame]])
        for body in range(30):
            np.testing.assert_allclose(data.oMi[body + 1].translation, pos[frame, body], atol=1e-9)
            np.testing.assert_allclose(data.oMi[body + 1].rotation, rot[frame, body], atol=1e-9)


@needs_shared
def test_collision_shapes_equal_mjlabs_model(model: RobotModel) -> None:
    # Read the MJCF by hand, not by the code that wrote the URDF.
    shapes = model.shapes
    found = {}
    root = ElementTree.parse(SHARED / "g1_nomesh.xml").getroot()
    for body in root.iter("body"):
        for geom in body.findall("geom"):
            if geom.get("class") in ("collision", "foot_capsule"):
                radius = float(geom.get("size", "0.01"))
                ends = geom.get("fromto") or " ".join([geom.get("pos", "")] * 2)
                found[geom.get("name")] = (body.get("name"), radius, np.array(ends.split(), dtype=float).reshape(2, 3))
    assert len(found) == len(shapes.names) == 33
    for index, name in enumerate(shapes.names):
        body, radius, ends = found[name]
        assert model.body_names[shapes.bodies[index]] == body
        assert shapes.radius[index] == radius
        np.testing.assert_allclose([shapes.p0[index], shapes.p1[index]], ends, atol=1e-9)


@needs_shared
def test_pairs_leave_out_what_mjlab_excludes(model: RobotModel) -> None:
    root = ElementTree.parse(SHARED / "g1_nomesh.xml").getroot()
    excluded = {frozenset((e.get("body1"), e.get("body2"))) for e in root.iter("exclude")}
    bodies, names = model.shapes.bodies, model.body_names
    adjacent = {frozenset((names[b], names[p])) for b, p in enumerate(model.body_parents) if p >= 0}
    possible = {frozenset((names[a], names[b])) for a, b in itertools.combinations(sorted(set(bodies.tolist())), 2)}
    checked = {frozenset((names[bodies[i]], names[bodies[j]])) for i, j in model.shapes.pairs}
    assert possible - checked == excluded | (adjacent & possible)


@needs_shared
def test_the_bundled_file_is_what_the_script_writes() -> None:
    assert data_path(BUNDLED_URDF).read_bytes() == g1_urdf_bytes((SHARED / "g1_nomesh.xml").read_bytes())


def test_our_pinocchio_model_equals_the_one_pinocchio_reads_itself(model: RobotModel) -> None:
    pin = pytest.importorskip("pinocchio", reason="pinocchio is not installed")
    text = data_path(BUNDLED_URDF).read_text()
    own, ours = pin.buildModelFromXML(text, pin.JointModelFreeFlyer()), model.pinocchio
    assert tuple(own.names) == tuple(ours.names)
    for field in ("lowerPositionLimit", "upperPositionLimit", "velocityLimit", "effortLimit"):
        np.testing.assert_array_equal(np.asarray(getattr(own, field))[-29:], np.asarray(getattr(ours, field))[-29:])
    for a, b in zip(own.inertias, ours.inertias, strict=True):
        np.testing.assert_allclose(a.matrix(), b.matrix(), atol=1e-12)
    assert [f.name for f in ours.frames if f.type == pin.FrameType.BODY] == list(model.body_names)
    geometry = pin.buildGeomFromUrdfString(own, text, pin.GeometryType.COLLISION)
    kinds = [type(g.geometry).__name__ for g in geometry.geometryObjects]
    assert kinds.count("Capsule") == 31 and kinds.count("Sphere") == 2


def test_twists_are_the_jacobian_of_the_poses(model: RobotModel) -> None:
    motion = random_motion(model, 3)
    rng = np.random.default_rng(1)
    lin, ang, joint_vel = rng.normal(size=(3, 3)), rng.normal(size=(3, 3)), rng.normal(size=(3, 29))
    pos, rot = model.body_poses(motion.root_pos, motion.root_quat_wxyz, motion.joint_pos)
    v, w = model.body_twists(pos, rot, lin, ang, joint_vel)
    step = 1e-6
    from scipy.spatial.transform import Rotation

    def moved(sign: float) -> tuple[np.ndarray, np.ndarray]:
        turned = Rotation.from_rotvec(sign * step * ang) * Rotation.from_matrix(
            matrix_from_quat_wxyz(motion.root_quat_wxyz)
        )
        return model.body_poses(
            motion.root_pos + sign * step * lin,
            turned.as_quat()[:, [3, 0, 1, 2]],
            motion.joint_pos + sign * step * joint_vel,
        )

    (after, rot_after), (before, rot_before) = moved(1.0), moved(-1.0)
    np.testing.assert_allclose(v, (after - before) / (2 * step), atol=1e-7)
    spin = (rot_after - rot_before) / (2 * step) @ np.swapaxes(rot, -1, -2)
    np.testing.assert_allclose(w, np.stack([spin[..., 2, 1], spin[..., 0, 2], spin[..., 1, 0]], axis=-1), atol=1e-7)


def test_unaligned_axes_follow_rodrigues(model: RobotModel) -> None:
    from dataclasses import replace

    from scipy.spatial.transform import Rotation

    axis = np.array([0.6, -0.64, 0.48])
    axes = model.joint_axes.copy()
    axes[0], axes[1] = axis, [0.0, 0.0, -1.0]
    odd = replace(model, joint_axes=axes)
    joints = np.zeros((2, 29))
    joints[:, 0], joints[:, 1] = [0.4, -1.1], [0.3, 0.9]
    _, rot = odd.body_poses(np.zeros((2, 3)), np.array([[1.0, 0, 0, 0]] * 2), joints)
    first = Rotation.from_rotvec(joints[:, :1] * axis).as_matrix()
    second = first @ model.body_rotations[2] @ Rotation.from_rotvec(joints[:, 1:2] * axes[1]).as_matrix()
    np.testing.assert_allclose(rot[:, 1], first, atol=1e-12)
    np.testing.assert_allclose(rot[:, 2], second, atol=1e-12)


def test_sole_corners_lie_under_the_foot_capsules(model: RobotModel) -> None:
    pos, rot = model.body_poses(np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]), np.zeros((1, 29)))
    corners = model.sole_corners(pos, rot)[0]
    shapes = model.shapes
    for side, foot in enumerate(model.foot_bodies):
        on_foot = shapes.bodies == foot
        lowest = (np.minimum(shapes.p0, shapes.p1)[on_foot, 2] - shapes.radius[on_foot]).min()
        assert lowest == pytest.approx(-0.035, abs=1e-12)
        np.testing.assert_allclose(corners[side][:, 2] - pos[0, foot, 2], -0.035, atol=1e-9)
        assert (corners[side][:2, 0] > corners[side][2:, 0]).all() and corners[side][0, 1] > corners[side][1, 1]


def test_segment_distances_equal_a_dense_search() -> None:
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(4, 300, 3))
    ends[1, :20] = ends[0, :20]  # a sphere against a capsule
    ends[3, :10] = ends[2, :10]  # two spheres
    ends[3, 20:40] = ends[2, 20:40] + 0.7 * (ends[1, 20:40] - ends[0, 20:40])  # parallel
    s, t, distance = segment_closest(*ends)
    grid = np.linspace(0.0, 1.0, 401)
    first = ends[0][:, None] + grid[:, None] * (ends[1] - ends[0])[:, None]
    gap = first - ends[2][:, None]
    along = (ends[3] - ends[2])[:, None]
    best = np.clip((gap * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-30), 0.0, 1.0)
    dense = np.linalg.norm(gap - best[..., None] * along, axis=-1).min(axis=1)
    assert (distance <= dense + 1e-9).all()
    np.testing.assert_allclose(distance, dense, atol=2e-4)
    gap = ends[0] + s[:, None] * (ends[1] - ends[0]) - ends[2] - t[:, None] * (ends[3] - ends[2])
    np.testing.assert_allclose(np.linalg.norm(gap, axis=-1), distance, atol=1e-12)


def test_crossed_arms_collide_and_the_zero_pose_does_not(model: RobotModel) -> None:
    root = (np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]))
    joints = np.zeros((1, 29))
    assert pair_distances(model.shapes, *model.body_poses(*root, joints)).min() > 0.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        joints[0, model.joint_index(f"{side}_shoulder_yaw_joint")] = -sign * 1.2
        joints[0, model.joint_index(f"{side}_elbow_joint")] = 0.3
    distances = pair_distances(model.shapes, *model.body_poses(*root, joints))[0]
    i, j = model.shapes.pairs[distances.argmin()]
    assert distances.min() < -0.02
    bodies = {model.body_names[model.shapes.bodies[k]] for k in (i, j)}
    assert any("wrist" in name or "elbow" in name for name in bodies)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_fixed_links_are_merged(model: RobotModel, tmp_path: Path) -> None:
    text = data_path(BUNDLED_URDF).read_text()
    extra = """
  <joint name="imu_joint" type="fixed"><origin xyz="0.1 0 0.2" rpy="0 0 1.5707963267948966"/>
    <parent link="torso_link"/><child link="imu_link"/></joint>
  <link name="imu_link"><inertial><origin xyz="0.05 0 0"/><mass value="2"/>
    <inertia ixx="0.01" ixy="0" ixz="0" iyy="0.02" iyz="0" izz="0.03"/></inertial></link>
  <joint name="logo_joint" type="fixed"><parent link="imu_link"/><child link="logo_link"/></joint>
  <link name="logo_link"/>
</robot>"""
    merged = load_robot(write(tmp_path / "own.urdf", text.replace("</robot>", extra)))
    assert merged.body_names == model.body_names and merged.joint_names == model.joint_names
    assert merged.digest != model.digest
    torso = model.body_index("torso_link")
    mass, com = model.body_mass[torso], model.body_com_b[torso]
    added = np.array([0.1, 0.05, 0.2])  # the box's centre, turned by 90 degrees
    assert merged.body_mass[torso] == pytest.approx(mass + 2.0)
    centre = (mass * com + 2.0 * added) / (mass + 2.0)
    np.testing.assert_allclose(merged.body_com_b[torso], centre, atol=1e-12)
    pin = pytest.importorskip("pinocchio", reason="pinocchio is not installed")
    own = pin.buildModelFromXML((tmp_path / "own.urdf").read_text(), pin.JointModelFreeFlyer())
    inertia = own.inertias[own.getJointId("waist_pitch_joint")]
    np.testing.assert_allclose(inertia.inertia, merged.body_inertia_b[torso], atol=1e-9)


def test_a_robot_with_meshes_gets_the_bundled_shapes(model: RobotModel, tmp_path: Path) -> None:
    text = data_path(BUNDLED_URDF).read_text()
    mesh = '<collision><geometry><mesh filename="package://x/pelvis.STL"/></geometry></collision></link>'
    own = load_robot(write(tmp_path / "mesh.urdf", text.replace("</link>", mesh, 1)))
    np.testing.assert_array_equal(own.shapes.p0, model.shapes.p0)
    np.testing.assert_array_equal(own.shapes.pairs, model.shapes.pairs)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (
            '<joint name="waist_roll_joint" type="revolute">',
            '<joint name="waist_roll_joint" type="fixed">',
            "29 joints",
        ),
        ('<joint name="waist_roll_joint" type="revolute">', '<joint name="w" type="revolute">', "29 joints"),
        ('<joint name="waist_roll_joint" type="revolute">', '<joint name="waist_roll_joint" type="prismatic">', "pris"),
        ('upper="0.52" velocity="30"', 'upper="0.52"', "limits are missing"),
        ('lower="-0.52" upper="0.52"', 'lower="0.52" upper="0.52"', "lower limit"),
        ('<parent link="waist_yaw_link"/>', '<parent link="torso_link"/>', "loop"),
        ('<child link="waist_roll_link"/>', '<child link="waist_yaw_link"/>', "no tree"),
    ],
)
def test_what_is_no_g1_is_refused(old: str, new: str, reason: str, tmp_path: Path) -> None:
    text = data_path(BUNDLED_URDF).read_text()
    path = write(tmp_path / "own.urdf", text.replace(old, new, 1))
    assert old in text
    with pytest.raises(InputRejected, match=reason) as caught:
        load_robot(path)
    assert caught.value.path == str(path)
