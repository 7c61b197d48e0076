"""A robot as a Pinocchio model, built joint by joint from our figures rather than from the file.

Order, merged links and limits then agree by construction, and Pinocchio needs neither meshes nor a newer URDF parser.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

from soma_isaac.errors import MissingDependency, RigMismatch

if TYPE_CHECKING:
    from soma_isaac.retarget.robot import RobotModel


def require_pinocchio() -> None:
    """Say early, and without loading it, that Pinocchio is missing.

    Raises:
        MissingDependency: Pinocchio is not installed.
    """
    if importlib.util.find_spec("pinocchio") is None:
        raise _missing()


def _missing() -> MissingDependency:
    return MissingDependency("pin", "the robot's dynamics", "pip install 'soma_isaac[retarget]'")


def pinocchio_model(robot: RobotModel) -> Any:
    """The ``pinocchio.Model`` of a robot: free flyer ``root_joint``, then its joints in their order; bodies are frames.

    Raises:
        MissingDependency: Pinocchio is not installed.
        RigMismatch: Pinocchio ordered the joints differently.
    """
    try:
        import pinocchio as pin
    except ImportError as error:
        raise _missing() from error
    model = pin.Model()
    model.name = robot.name
    bounds = np.full(7, np.inf)
    joint_ids = [
        model.addJoint(
            0, pin.JointModelFreeFlyer(), pin.SE3.Identity(), "root_joint", bounds[:6], bounds[:6], -bounds, bounds
        )
    ]
    for joint, name in enumerate(robot.joint_names):
        body = joint + 1
        joint_ids.append(
            model.addJoint(
                joint_ids[robot.body_parents[body]],
                _pinocchio_joint(pin, robot.joint_axes[joint]),
                pin.SE3(robot.body_rotations[body], robot.body_translations[body]),
                name,
                robot.effort_limit[joint : joint + 1],
                robot.velocity_limit[joint : joint + 1],
                robot.lower[joint : joint + 1],
                robot.upper[joint : joint + 1],
            )
        )
    for body, name in enumerate(robot.body_names):
        inertia = pin.Inertia(float(robot.body_mass[body]), robot.body_com_b[body], robot.body_inertia_b[body])
        model.appendBodyToJoint(joint_ids[body], inertia, pin.SE3.Identity())
        model.addBodyFrame(name, joint_ids[body], pin.SE3.Identity(), 0)
    if tuple(model.names)[2:] != robot.joint_names:
        raise RigMismatch("Pinocchio ordered the joints differently")
    return model


def _pinocchio_joint(pin: Any, axis: np.ndarray) -> Any:
    # The aligned joint types have cheaper Jacobians than the general one.
    for kind, aligned in zip((pin.JointModelRX, pin.JointModelRY, pin.JointModelRZ), np.eye(3), strict=True):
        if np.array_equal(axis, aligned):
            return kind()
    return pin.JointModelRevoluteUnaligned(axis)
