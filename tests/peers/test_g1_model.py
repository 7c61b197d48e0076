"""Our G1 beside the one in the ``mjlab`` package, simulated by MuJoCo: kinematics, limits, masses, collision shapes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.robot import RobotModel, load_robot
from tests.oracles.random_motion import random_motion

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("mjlab") is None or importlib.util.find_spec("mujoco") is None,
        reason="mjlab and mujoco are not installed; make peers builds an environment that has them",
    ),
]


@pytest.fixture(scope="module")
def mujoco_model():
    import mujoco

    folder = importlib.util.find_spec("mjlab").submodule_search_locations[0]
    return mujoco.MjModel.from_xml_path(str(Path(folder, "asset_zoo/robots/unitree_g1/xmls/g1.xml")))


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return load_robot()


def test_names_limits_and_masses(mujoco_model, model: RobotModel) -> None:
    joints = [mujoco_model.joint(i).name for i in range(1, mujoco_model.njnt)]
    assert joints == list(model.joint_names)
    assert [mujoco_model.body(i).name for i in range(1, mujoco_model.nbody)] == list(model.body_names)
    # mjlab rounds the wrists to five decimals; Unitree's own digits differ by 2e-6 rad.
    np.testing.assert_allclose(mujoco_model.jnt_range[1:], np.stack([model.lower, model.upper], axis=1), atol=3e-6)
    np.testing.assert_allclose(mujoco_model.body_mass[1:], model.body_mass, atol=1e-9)
    np.testing.assert_allclose(mujoco_model.body_ipos[1:], model.body_com_b, atol=1e-9)
    principal = np.sort(mujoco_model.body_inertia[1:], axis=1)
    np.testing.assert_allclose(principal, np.linalg.eigvalsh(model.body_inertia_b), atol=1e-9)


def test_poses_and_velocities_of_a_whole_clip(mujoco_model, model: RobotModel) -> None:
    import mujoco

    clip = reference_clip(random_motion(model, 200, share=0.95), model)
    data = mujoco.MjData(mujoco_model)
    worst = np.zeros(4)
    twist = np.zeros(6)
    for frame in range(clip.frame_count):
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, clip.body_quat_wxyz[frame, 0])
        data.qpos[:] = np.r_[clip.body_pos_w[frame, 0], clip.body_quat_wxyz[frame, 0], clip.joint_pos[frame]]
        # MuJoCo's free joint: linear velocity in the world, angular velocity in the body's own axes.
        local = rotation.reshape(3, 3).T @ clip.body_ang_vel_w[frame, 0]
        data.qvel[:] = np.r_[clip.body_lin_vel_w[frame, 0], local, clip.joint_vel[frame]]
        mujoco.mj_forward(mujoco_model, data)
        worst[0] = max(worst[0], np.abs(data.xpos[1:] - clip.body_pos_w[frame]).max())
        signs = np.sign((data.xquat[1:] * clip.body_quat_wxyz[frame]).sum(axis=1, keepdims=True))
        worst[1] = max(worst[1], np.abs(data.xquat[1:] * signs - clip.body_quat_wxyz[frame]).max())
        for body in range(30):
            mujoco.mj_objectVelocity(mujoco_model, data, mujoco.mjtObj.mjOBJ_XBODY, body + 1, twist, 0)
            worst[2] = max(worst[2], np.abs(twist[3:] - clip.body_lin_vel_w[frame, body]).max())
            worst[3] = max(worst[3], np.abs(twist[:3] - clip.body_ang_vel_w[frame, body]).max())
    print("largest differences to MuJoCo: {:.2g} m, quaternion {:.2g}, {:.2g} m/s, {:.2g} rad/s".format(*worst))
    assert worst[0] < 1e-6 and worst[1] < 1e-6
    assert worst[2] < 1e-6 and worst[3] < 1e-6


def test_collision_shapes(mujoco_model, model: RobotModel) -> None:
    import mujoco

    shapes = model.shapes
    geoms = [mujoco_model.geom(i) for i in range(mujoco_model.ngeom)]
    geoms = {geom.name: geom for geom in geoms if geom.type[0] != mujoco.mjtGeom.mjGEOM_MESH and geom.name}
    assert sorted(geoms) == sorted(shapes.names) and len(shapes.names) == 33
    for index, name in enumerate(shapes.names):
        geom = geoms[name]
        assert mujoco_model.body(geom.bodyid[0]).name == model.body_names[shapes.bodies[index]]
        assert geom.size[0] == pytest.approx(shapes.radius[index], abs=1e-9)
        np.testing.assert_allclose(geom.pos, 0.5 * (shapes.p0[index] + shapes.p1[index]), atol=1e-9)
        if geom.type[0] == mujoco.mjtGeom.mjGEOM_SPHERE:
            np.testing.assert_array_equal(shapes.p0[index], shapes.p1[index])
            continue
        rotation = np.zeros(9)
        mujoco.mju_quat2Mat(rotation, geom.quat)
        ends = np.stack([geom.pos - geom.size[1] * rotation[2::3], geom.pos + geom.size[1] * rotation[2::3]])
        ours = np.stack([shapes.p0[index], shapes.p1[index]])
        assert min(np.abs(ends - ours).max(), np.abs(ends[::-1] - ours).max()) < 1e-9


def test_distances_equal_mujocos(mujoco_model, model: RobotModel) -> None:
    import mujoco

    from soma_isaac.retarget.collision import pair_distances

    motion = random_motion(model, 12, share=0.95, speed=4.0, seed=5)
    pos, rot = model.body_poses(motion.root_pos, motion.root_quat_wxyz, motion.joint_pos)
    ours = pair_distances(model.shapes, pos, rot)
    ids = [mujoco_model.geom(name).id for name in model.shapes.names]
    data = mujoco.MjData(mujoco_model)
    ends = np.zeros(6)
    worst = 0.0
    for frame in range(12):
        data.qpos[:] = np.r_[motion.root_pos[frame], motion.root_quat_wxyz[frame], motion.joint_pos[frame]]
        mujoco.mj_kinematics(mujoco_model, data)
        for index, (i, j) in enumerate(model.shapes.pairs):
            distance = mujoco.mj_geomDistance(mujoco_model, data, ids[i], ids[j], 2.0, ends)
            worst = max(worst, abs(distance - ours[frame, index]))
    print(f"largest difference of {ours.size} distances: {worst:.2g} m, deepest penetration {ours.min():.3g} m")
    assert ours.min() < 0.0  # penetrations are among them
    assert worst < 1e-5
