"""Orders of joints and bodies, and the velocity frames, between which trainers differ; all from the clip's own tree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from soma_isaac.math.so3 import matrix_from_quat_wxyz
from soma_isaac.motion.clip import ReferenceClip


def breadth_first(body_parents: Sequence[int]) -> np.ndarray:
    """Body indices [B] level by level, in each level grouped by parent and in their given order: PhysX's link order."""
    children: list[list[int]] = [[] for _ in body_parents]
    for body, parent in enumerate(body_parents):
        if parent >= 0:
            children[parent].append(body)
    order = [0]
    for body in order:  # grows while it is walked: a queue
        order.extend(children[body])
    return np.array(order)


def depth_first(body_parents: Sequence[int]) -> np.ndarray:
    """Body indices [B], each followed by its whole subtree, siblings in their given order: MuJoCo's order."""
    children: list[list[int]] = [[] for _ in body_parents]
    for body, parent in enumerate(body_parents):
        if parent >= 0:
            children[parent].append(body)
    order, stack = [], [0]
    while stack:
        body = stack.pop()
        order.append(body)
        stack.extend(reversed(children[body]))
    return np.array(order)


def reordered(clip: ReferenceClip, bodies: np.ndarray) -> ReferenceClip:
    """The clip with its bodies in the given order of indices [B] (root first), joints following their bodies."""
    joints = bodies[1:] - 1
    place = np.argsort(bodies)
    return replace(
        clip,
        joint_names=tuple(clip.joint_names[joint] for joint in joints),
        body_names=tuple(clip.body_names[body] for body in bodies),
        body_parents=tuple(
            -1 if clip.body_parents[body] < 0 else int(place[clip.body_parents[body]]) for body in bodies
        ),
        joint_pos=clip.joint_pos[:, joints],
        joint_vel=clip.joint_vel[:, joints],
        body_pos_w=clip.body_pos_w[:, bodies],
        body_quat_wxyz=clip.body_quat_wxyz[:, bodies],
        body_lin_vel_w=clip.body_lin_vel_w[:, bodies],
        body_ang_vel_w=clip.body_ang_vel_w[:, bodies],
        body_com_b=clip.body_com_b[bodies],
    )


def com_offset_velocity(clip: ReferenceClip) -> np.ndarray:
    """Velocity [T, B, 3] in m/s of each centre of mass relative to its link origin: ``w x (R c)``, world axes."""
    arms = np.einsum("tbij,bj->tbi", matrix_from_quat_wxyz(clip.body_quat_wxyz), clip.body_com_b)
    return np.cross(clip.body_ang_vel_w, arms)
