"""Jacobians of the kinematics and of every task: against Pinocchio, and against finite differences by one checker."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from soma_isaac.math.so3 import matrix_from_rotvec, quat_wxyz_from_matrix, rotvec_from_matrix
from soma_isaac.retarget.avoidance import Avoidance, AvoidanceConfig, Encounters
from soma_isaac.retarget.collision import pair_distances
from soma_isaac.retarget.footplan import FootPlan
from soma_isaac.retarget.jacobian import (
    BodyPoses,
    Configuration,
    height_jacobian,
    log_left_inverse,
    moving_rotations,
    point_jacobian,
    pose_bodies,
    rotation_jacobian,
)
from soma_isaac.retarget.robot import load_robot
from soma_isaac.retarget.smoothing import BandedSystem, Smoothing
from soma_isaac.retarget.targets import BODIES, REACHED, SEGMENTS, Targets
from soma_isaac.retarget.tasks import PoseTasks, TaskWeights, soft_excess

ROBOT = load_robot()
MOVES = moving_rotations(ROBOT.tree)
DOF = 6 + len(ROBOT.joint_names)
FRAMES = 6


def random_configuration(frames: int = FRAMES, seed: int = 0, height: float = 0.6) -> Configuration:
    rng = np.random.default_rng(seed)
    quats = quat_wxyz_from_matrix(matrix_from_rotvec(rng.normal(scale=0.6, size=(frames, 3))))
    joints = rng.uniform(0.8 * ROBOT.lower, 0.8 * ROBOT.upper, size=(frames, len(ROBOT.joint_names)))
    return Configuration(rng.normal(size=(frames, 3)) * [1, 1, 0.1] + [0, 0, height], quats, joints)


def check_jacobian(
    function: Callable[[BodyPoses], np.ndarray], jacobian: np.ndarray, configuration: Configuration, tolerance: float
) -> None:
    """Compare ``jacobian`` [T, ..., 6 + N] of ``function`` (poses to [T, ...]) with central differences."""
    step = 1e-6
    numeric = np.empty(jacobian.shape)
    for coordinate in range(DOF):
        move = np.zeros((len(configuration), DOF))
        move[:, coordinate] = step
        ahead, behind = (function(pose_bodies(ROBOT, configuration.moved(sign * move))) for sign in (1.0, -1.0))
        numeric[..., coordinate] = (ahead - behind) / (2.0 * step)
    np.testing.assert_allclose(jacobian, numeric, atol=tolerance * max(1.0, float(np.abs(numeric).max())))


def test_points_heights_and_rotations_have_the_jacobians_of_their_finite_differences():
    configuration = random_configuration()
    bodies, offset = [3, 12, 15, 22, 29], np.array([0.1, -0.2, 0.3])

    def points(poses: BodyPoses) -> np.ndarray:
        return poses.positions[:, bodies] + poses.rotations[:, bodies] @ offset

    here = pose_bodies(ROBOT, configuration)
    full = point_jacobian(here, points(here), MOVES[bodies])
    check_jacobian(points, full, configuration, 1e-8)
    np.testing.assert_array_equal(height_jacobian(here, points(here), MOVES[bodies]), full[:, :, 2])

    def turns(poses: BodyPoses) -> np.ndarray:
        return rotvec_from_matrix(poses.rotations[:, bodies] @ here.rotations[:, bodies].swapaxes(-1, -2))

    check_jacobian(turns, rotation_jacobian(here, MOVES[bodies]), configuration, 1e-8)


def test_poses_and_jacobians_are_pinocchios():
    pin = pytest.importorskip("pinocchio", reason="the reference needs pinocchio")
    model = ROBOT.pinocchio
    data = model.createData()
    configuration = random_configuration(4, seed=3)
    poses = pose_bodies(ROBOT, configuration)
    bodies = np.arange(len(ROBOT.body_names))
    points = point_jacobian(poses, poses.positions, MOVES)
    turns = rotation_jacobian(poses, MOVES)
    for frame in range(4):
        w, x, y, z = configuration.root_quat_wxyz[frame]
        q = np.concatenate([configuration.root_pos[frame], [x, y, z, w], configuration.joint_pos[frame]])
        pin.computeJointJacobians(model, data, q)
        pin.updateFramePlacements(model, data)
        # Pinocchio's free flyer moves in the root's own axes, ours in the world's.
        to_world = np.eye(DOF)
        to_world[:3, :3] = to_world[3:6, 3:6] = poses.rotations[frame, 0]
        for body in bodies:
            index = model.getFrameId(ROBOT.body_names[body])
            np.testing.assert_allclose(data.oMf[index].translation, poses.positions[frame, body], atol=1e-12)
            np.testing.assert_allclose(data.oMf[index].rotation, poses.rotations[frame, body], atol=1e-12)
            theirs = pin.getFrameJacobian(model, data, index, pin.ReferenceFrame.LOCAL_WORLD_ALIGNED)
            np.testing.assert_allclose(points[frame, body] @ to_world, theirs[:3], atol=1e-11)
            np.testing.assert_allclose(turns[frame, body] @ to_world, theirs[3:], atol=1e-11)


def test_inverse_left_jacobian_of_the_logarithm():
    rng = np.random.default_rng(1)
    for angle in (0.0, 1e-8, 1e-4, 1e-2, 1.0, 2.0, 3.0):
        axis = rng.normal(size=3)
        rotvec = angle * axis / np.linalg.norm(axis)
        rotation, step = matrix_from_rotvec(rotvec), 1e-6
        numeric = np.stack(
            [
                (
                    rotvec_from_matrix(matrix_from_rotvec(d) @ rotation)
                    - rotvec_from_matrix(matrix_from_rotvec(-d) @ rotation)
                )
                / (2.0 * step)
                for d in step * np.eye(3)
            ],
            axis=1,
        )
        np.testing.assert_allclose(log_left_inverse(rotvec), numeric, atol=1e-8)


def random_targets(frames: int, seed: int) -> Targets:
    """Targets near a random configuration, so that errors of all kinds and sizes occur."""
    rng = np.random.default_rng(seed)

    def rotations(*shape: int) -> np.ndarray:
        return matrix_from_rotvec(rng.normal(scale=0.8, size=(frames, *shape, 3)))

    feet = FootPlan(
        rng.normal(size=(frames, 2, 3)), rotations(2), rng.random((frames, 2)) < 0.5, np.zeros((frames, 2), bool)
    )
    return Targets(
        scale=0.7,
        hips=rng.normal(size=(frames, 3)),
        trunk=rng.normal(size=(frames, 3)),
        segments=rng.normal(size=(frames, len(SEGMENTS), 3)),
        reach=rng.normal(size=(frames, len(REACHED), 3)),
        orientations=rotations(len(BODIES)),
        knee_axes=rotations(2)[..., 1],
        feet=feet,
    )


def test_every_task_has_the_jacobian_of_its_finite_differences():
    configuration, targets = random_configuration(seed=5, height=0.3), random_targets(FRAMES, 6)
    # Far beyond every orientation error: there the robust weighting is none, and residuals differentiate exactly.
    tasks = PoseTasks(ROBOT, targets, TaskWeights(bearable=1e9), 50.0)
    linear = tasks.linearise(pose_bodies(ROBOT, configuration), slice(None))
    soft = 14  # the last rows are soft penalties, whose slope is a curvature by design; their gradient is tested below
    check_jacobian(
        lambda poses: tasks.linearise(poses, slice(None)).residual[:, :-soft],
        linear.jacobian[:, :-soft],
        configuration,
        1e-6,
    )


def test_gradients_of_robust_and_soft_terms():
    configuration, targets = random_configuration(seed=7, height=0.25), random_targets(FRAMES, 8)
    weights = TaskWeights()
    tasks = PoseTasks(ROBOT, targets, weights, 50.0)
    tasks._turn_weights[:, 0] = weights.pelvis  # the pelvis' heading weighs more; here one weight per body

    def cost(poses: BodyPoses) -> np.ndarray:
        rows = tasks.linearise(poses, slice(None)).residual
        turning = slice(48, 48 + 18)
        plain = np.delete(rows[:, :-14], np.arange(turning.start, turning.stop), axis=1)
        error = rotvec_from_matrix(poses.rotations[:, tasks._oriented] @ targets.orientations.swapaxes(-1, -2))
        weight = tasks._turn_weights
        # Integral of the pseudo-Huber gradient where one body's three weights are equal.
        robust = weights.bearable**2 * (np.sqrt(1.0 + (error**2).sum(axis=2) / weights.bearable**2) - 1.0)
        low = tasks._points(poses, tasks._low_bodies, tasks._low_offsets)
        scaled = np.maximum((tasks._clearance - low[..., 2]) / weights.softness, -30.0)
        plus = weights.softness * np.logaddexp(0.0, scaled)
        return (
            0.5 * (plain**2).sum(axis=1)
            + (weight[:, :, 0] ** 2 * robust).sum(axis=1)
            + 0.5 * weights.ground**2 * (plus**2).sum(axis=1)
        )

    linear = tasks.linearise(pose_bodies(ROBOT, configuration), slice(None))
    gradient = np.einsum("tr,trd->td", linear.residual, linear.jacobian)
    check_jacobian(cost, gradient, configuration, 1e-6)


def test_gradient_of_self_collision():
    configuration = random_configuration(30, seed=11)
    config = AvoidanceConfig(reach=1.0)
    avoidance = Avoidance(ROBOT, config)
    poses = pose_bodies(ROBOT, configuration)
    found = avoidance.find(poses, 0)
    residual, jacobian, frames = avoidance.linearise(poses, found)
    assert len(frames) > 20, "random postures should collide"
    assert (np.diff(frames) >= 0).all()
    gradient = np.zeros((30, DOF))
    np.add.at(gradient, frames, jacobian * residual[:, None])

    def cost(moved: BodyPoses) -> np.ndarray:
        distance = pair_distances(ROBOT.shapes, moved.positions, moved.rotations, avoidance._pairs)
        plus = config.softness * np.logaddexp(0.0, np.maximum((config.margin - distance) / config.softness, -30.0))
        return 0.5 * config.weight**2 * (plus**2).sum(axis=1)

    check_jacobian(cost, gradient, configuration, 2e-3)  # rows below a thousandth of the softness are left out


def test_no_encounter_gives_no_rows():
    avoidance = Avoidance(ROBOT, AvoidanceConfig())
    nothing = Encounters(np.zeros(0, int), np.zeros((0, 2), int))
    residual, jacobian, frames = avoidance.linearise(pose_bodies(ROBOT, random_configuration(2)), nothing)
    assert residual.shape == (0,) and jacobian.shape == (0, DOF) and frames.shape == (0,)


@pytest.mark.parametrize("value", [-10.0, -0.02, -0.004, 0.0, 0.003, 0.05, 3.0])
def test_soft_excess_is_finite_and_pushes_outwards_only(value: float):
    residual, slope = soft_excess(np.array([value]), 0.004)
    assert np.isfinite(residual).all() and np.isfinite(slope).all()
    assert residual[0] >= 0.0 and 0.0 < slope[0] < 1.1
    if value > 0.04:
        np.testing.assert_allclose(residual * slope, value, rtol=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 9])
def test_banded_solve_is_the_dense_one(frames: int):
    rng = np.random.default_rng(frames)
    dof = 8
    smoothing = Smoothing({1: rng.random(dof) + 0.1, 3: rng.random(dof) + 0.1})
    bands = smoothing.bands(frames)
    roots = rng.normal(size=(frames, dof, dof))
    blocks = roots @ roots.swapaxes(1, 2) + np.eye(dof)
    gradient = rng.normal(size=(frames, dof))
    fixed = rng.random((frames, dof)) < 0.2
    moves = rng.normal(size=(frames, dof))
    step = BandedSystem(blocks.copy(), bands, gradient).step(fixed, moves)

    dense = np.zeros((frames * dof, frames * dof))
    for frame in range(frames):
        dense[frame * dof : (frame + 1) * dof, frame * dof : (frame + 1) * dof] = blocks[frame]
    for order, weight in smoothing.weights.items():
        difference = np.diff(np.eye(frames), n=order, axis=0) if frames > order else np.zeros((0, frames))
        dense += np.kron(difference.T @ difference, np.diag(weight))
    free = ~fixed.ravel()
    expected = np.where(fixed, moves, 0.0).ravel()
    rhs = -gradient.ravel() - dense @ expected
    expected[free] = np.linalg.solve(dense[np.ix_(free, free)], rhs[free])
    np.testing.assert_allclose(step.ravel(), expected, atol=1e-9)


def test_smoothing_gradient_belongs_to_its_penalty():
    rng = np.random.default_rng(2)
    base = random_configuration(9, seed=4)
    still = Configuration(base.root_pos, np.repeat(base.root_quat_wxyz[:1], 9, axis=0), base.joint_pos)
    smoothing = Smoothing({1: rng.random(DOF), 3: rng.random(DOF)})
    gradient = smoothing.gradient(still)

    def cost(moved: Configuration) -> float:
        values = np.concatenate([moved.root_pos, np.zeros((9, 3)), moved.joint_pos], axis=1)
        return sum(0.5 * (w * np.diff(values, n=order, axis=0) ** 2).sum() for order, w in smoothing.weights.items())

    for coordinate in (0, 2, 6, 20, 34):
        for frame in (0, 4, 8):
            move = np.zeros((9, DOF))
            move[frame, coordinate] = 1e-5
            numeric = (cost(still.moved(move)) - cost(still.moved(-move))) / 2e-5
            assert gradient[frame, coordinate] == pytest.approx(numeric, abs=1e-6)
