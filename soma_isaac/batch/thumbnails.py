"""Pictures of key frames: the person's body and the robot side by side, as PNG bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from soma_isaac.body import SomaBody
from soma_isaac.formats.png import png_bytes
from soma_isaac.math.frames import zup_from_yup_points, zup_from_yup_rotations
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.render.scene import Camera, SceneMesh, render_scene
from soma_isaac.render.shapes import capsule_mesh
from soma_isaac.retarget.collision import shape_ends
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.skeleton import forward_kinematics, template_rest_offsets

SIZE = (300, 230)
APART = 0.52
"""Distance [m] of each figure from the middle of the picture."""

CAMERA = Camera((3.7, -1.9, 1.55), (0.0, 0.0, 0.84), 0.44)
"""Frames a standing pair; for a jump or a wide pose it moves up and back."""

MARGIN = 0.94
"""Share of the picture that the figures may fill."""

PERSON_RGB = (0.83, 0.62, 0.48)
ROBOT_RGB = (0.30, 0.42, 0.60)
BONE_RGB = (0.22, 0.24, 0.28)
BONE_RADIUS = 0.022
SEGMENTS, RINGS = 12, 4


class Photographer:
    """Draws key frames of clip records (``retarget.details``); one body and one robot for all of them.

    Args:
        rig: The SOMA template rig; its low LOD is drawn.
        robot: The robot, drawn as its collision capsules and spheres, joined by bones.
        size: Width and height of a picture in pixels.
    """

    def __init__(self, rig: Rig, robot: RobotModel, size: tuple[int, int] = SIZE) -> None:
        self._body = SomaBody(rig, lod="low", threads=1)
        self._identity = self._body.prepare()
        self._triangles = rig.mesh("low").triangles
        self._robot = robot
        self._size = size
        self._template_stature = template_stature()

    def picture(self, details: Mapping[str, Any], key_frame: Mapping[str, Any]) -> bytes:
        """A key frame of a record as PNG bytes: the person on the left, the robot on the right.

        Both stand as far above the floor as they do in the clip, and are turned together so that the person faces the
        camera; their distance from each other is the picture's own.
        """
        rotations = matrix_from_rotvec(np.array(key_frame["soma_rotvec"]))
        forward = zup_from_yup_rotations(rotations[0]) @ np.array([0.0, 0.0, 1.0])
        turn = matrix_from_rotvec(np.array([0.0, 0.0, -np.arctan2(forward[1], forward[0])]))
        across = np.cross(np.subtract(CAMERA.target, CAMERA.position), (0.0, 0.0, 1.0))
        across *= APART / np.linalg.norm(across)
        meshes = [self._person(details, key_frame, rotations, turn, -across), *self._machine(key_frame, turn, across)]
        points = np.concatenate([mesh.vertices for mesh in meshes])
        return png_bytes(render_scene(meshes, framing(points, self._size), self._size))

    def _person(
        self,
        details: Mapping[str, Any],
        key_frame: Mapping[str, Any],
        rotations: np.ndarray,
        turn: np.ndarray,
        place: np.ndarray,
    ) -> SceneMesh:
        pose = self._body.pose(self._identity, rotations[None], np.zeros((1, 3)))
        # The template stands for the person: as large, Hips where the person's are.
        size = details["person"]["stature"] / self._template_stature
        vertices = zup_from_yup_points(pose.vertices.numpy()[0].astype(np.float64)) * size
        height = key_frame["soma_root"][1] - details["person"]["floor"]
        return SceneMesh(vertices @ turn.T + place + [0.0, 0.0, height], self._triangles, PERSON_RGB)

    def _machine(self, key_frame: Mapping[str, Any], turn: np.ndarray, place: np.ndarray) -> list[SceneMesh]:
        pos, rot = self._robot.body_poses(
            np.array([key_frame["robot_root_pos"]]) * [0.0, 0.0, 1.0],
            np.array([key_frame["robot_root_quat_wxyz"]]),
            np.array([key_frame["robot_joint_pos"]]),
        )
        return robot_meshes(self._robot, pos, rot, turn, place)


def robot_meshes(
    robot: RobotModel, pos: np.ndarray, rot: np.ndarray, turn: np.ndarray, place: np.ndarray
) -> list[SceneMesh]:
    """A robot as its collision capsules and spheres, joined by bones.

    Args:
        robot: The robot.
        pos: [1, B, 3] m, body origins.
        rot: [1, B, 3, 3], body to world.
        turn: [3, 3] rotation of the whole about the world's origin.
        place: [3] m, added after turning.
    """
    starts, ends = shape_ends(robot.shapes, pos, rot)
    capsules = [(a, b, float(r)) for a, b, r in zip(starts[0], ends[0], robot.shapes.radius, strict=True)]
    bones = [
        (pos[0, parent], pos[0, body], BONE_RADIUS) for body, parent in enumerate(robot.body_parents) if parent >= 0
    ]
    bones += [(pos[0, body], end, BONE_RADIUS) for body, end in zip(robot.shapes.bodies, starts[0], strict=True)]
    return [_joined(capsules, turn, place, ROBOT_RGB), _joined(bones, turn, place, BONE_RGB)]


def framing(points: np.ndarray, size: tuple[int, int]) -> Camera:
    """The standard camera, raised to the middle of ``points`` [V, 3] and moved back until all are in the picture."""
    start, aim = np.array(CAMERA.position), np.array(CAMERA.target)
    lift = max(0.0, 0.5 * float(points[:, 2].max()) - aim[2])
    aim[2] += lift
    start[2] += lift
    back = (start - aim) / np.linalg.norm(start - aim)
    right = np.cross(-back, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, -back)
    half = np.tan(0.5 * CAMERA.vertical_fov) * MARGIN
    local = points - aim
    # A point is in the picture if its distance from the axis is at most half the field's width at its depth.
    reach = np.maximum(np.abs(local @ up), np.abs(local @ right) * size[1] / size[0]) / half + local @ back
    distance = max(float(np.linalg.norm(start - aim)), float(reach.max()))
    position = aim + back * distance
    x, y, z = (float(value) for value in position)
    return Camera((x, y, z), (float(aim[0]), float(aim[1]), float(aim[2])), CAMERA.vertical_fov)


def template_stature() -> float:
    """Stature [m] of the template's joints in the T-pose, as ``HumanKeypoints.stature`` counts it."""
    offsets = template_rest_offsets()
    identity = np.broadcast_to(np.eye(3), (1, 77, 3, 3)).copy()
    rest, _ = forward_kinematics(identity, offsets[1:2], offsets)
    return float(np.ptp(rest[0, :, 1]))


def _joined(
    capsules: list[tuple[np.ndarray, np.ndarray, float]],
    turn: np.ndarray,
    place: np.ndarray,
    rgb: tuple[float, float, float],
) -> SceneMesh:
    """Capsules (start, end, radius) as one mesh."""
    vertices, triangles, count = [], [], 0
    for start, end, radius in capsules:
        points, faces = capsule_mesh(start, end, radius, SEGMENTS, RINGS)
        vertices.append(points)
        triangles.append(faces + count)
        count += len(points)
    return SceneMesh(np.concatenate(vertices) @ turn.T + place, np.concatenate(triangles), rgb)
