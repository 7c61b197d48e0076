"""Pictures of a body, and of a G1 beside it, for the panel: slow work that belongs off the UI thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from soma_isaac.batch.thumbnails import APART, CAMERA, PERSON_RGB, robot_meshes
from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.math.so3 import matrix_from_quat_wxyz, matrix_from_rotvec, quat_wxyz_from_matrix
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.sample import between_rotations, frame_share, pose_at
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.render.scene import Camera, SceneMesh, render_scene
from soma_isaac.render.shapes import capsule_mesh
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.rig.skeleton import template_rest_offsets
from soma_isaac.ui.choices import STILL_POSES, PreviewRequest, SliderSpec
from soma_isaac.ui.overlay import draw_skeleton
from soma_isaac.ui.preview_models import (
    ROBOT_STANDS,
    PreviewModels,
    body_coefficients,
    body_joints,
    body_sliders,
    ground,
)

PLACE_RGB, LOOK_RGB = (0.90, 0.10, 0.10), (0.15, 0.35, 0.85)
EFFECTOR_M = 0.045
_BACK = np.subtract(CAMERA.position, CAMERA.target)
_BODY_MARGIN = 1.16
_PAIR_MARGIN = 1.2
_HEADROOM_M = 1.8
"""How high a body of the template's size may reach before the camera steps back; its head is at 1.78 m."""


@dataclass(frozen=True, eq=False)
class PreviewPicture:
    """A picture and what was learned while it was made.

    Attributes:
        image: [H, W, 3] uint8 sRGB.
        coefficients: [K] of the body shown.
        sliders: What can be moved on it, one per coefficient.
        duration: Of the clip [s]; 0 for a still pose.
        fps: Of the clip [Hz].
        note: What the picture does not show though it was asked for, and why; usually empty.
        joints: Places of the 23 body joints [m] in the body's own Y-up world; empty where there is no body.
        rest_joints: The same in the T-pose.
    """

    image: np.ndarray
    coefficients: tuple[float, ...]
    sliders: tuple[SliderSpec, ...]
    duration: float
    fps: float
    note: str = ""
    joints: tuple[tuple[float, float, float], ...] = ()
    rest_joints: tuple[tuple[float, float, float], ...] = ()


class PreviewRenderer:
    """Draws requests and keeps what successive ones share.

    For one thread. Nothing is loaded before the first request.
    """

    def __init__(self) -> None:
        self._models = PreviewModels()

    def draw(self, request: PreviewRequest) -> PreviewPicture:
        """Draw one picture.

        Args:
            request: What to draw.

        Raises:
            InputRejected: A clip or a model file is not sound, or a coefficient is out of range.
            MissingDependency: The identity model needs a package that is not installed.
            OSError: A file cannot be read.
        """
        hush_warp()
        layer = self._models.layer(request.body)
        coefficients = body_coefficients(layer, request.body)
        identity, hips_height = self._models.identity(layer, request.body, coefficients)
        motion = self._models.motion(request)
        stride = hips_height / motion.identity.rest_offsets[1, 1]
        rotations, hips = pose_at(motion, request.time)
        root = hips * stride
        if request.clip is None and request.still == STILL_POSES[1]:
            root = identity.bind_T_world_joint[0, 1, :3, 3]
        pose = layer.pose(rotations[None], root[None], identity=identity)
        facing, start = ground(request, motion, stride)

        def placed(points: np.ndarray) -> np.ndarray:
            return (zup_from_yup_points(points.astype(np.float64)) - start) @ facing.T

        vertices, joints = placed(pose.vertices.numpy()[0]), placed(pose.joints.numpy()[0])
        tall = hips_height / template_rest_offsets()[1, 1]
        if request.posed:  # hands may be anywhere; in a clip a camera that goes to and fro would be worse
            tall *= max(1.0, float(vertices[:, 2].max()) / (_HEADROOM_M * tall))
        camera, aside = _camera(request, joints[0], tall)
        meshes, note = [SceneMesh(vertices - aside, layer.triangles, PERSON_RGB)], ""
        if request.posed:
            meshes += effector_balls(request, placed, aside)
            note = " ".join(motion.provenance.notes)
        if request.view.robot:
            machine, words = self._machine(request, joints[0], facing, aside)
            meshes, note = meshes + machine, " ".join(filter(None, (note, words)))
        size = request.view.size
        if request.draft:
            size = (size[0] // 2, size[1] // 2)
        image = render_scene(meshes, camera, size)
        if request.view.skeleton:
            draw_skeleton(image, joints - aside, camera)
        length = 0.0 if request.clip is None else (motion.frame_count - 1) / motion.fps
        shown, places = tuple(float(value) for value in coefficients), body_joints(pose.joints.numpy()[0])
        rest = self._models.rest_joints(request.body, coefficients)
        return PreviewPicture(image, shown, body_sliders(layer), length, motion.fps, note, places, rest)

    def _machine(
        self, request: PreviewRequest, hips: np.ndarray, facing: np.ndarray, aside: np.ndarray
    ) -> tuple[list[SceneMesh], str]:
        """The robot beside the body, at the same moment of the clip if there is a reference of it."""
        robot, reference, note = self._models.robot, None, ""
        if request.clip is not None:
            reference = self._models.reference(request.clip, request.references)
            if reference is None:
                note = "The G1 stands still: prepare G1 references to see it do this clip."
        if reference is None:
            root, quat = np.array([[0.0, 0.0, ROBOT_STANDS]]), np.array([[1.0, 0.0, 0.0, 0.0]])
            pos, rot = robot.body_poses(root, quat, np.zeros((1, len(robot.joint_names))))
            turn, place = np.eye(3), hips * [1.0, 1.0, 0.0] + aside
        else:
            pos, rot = robot.body_poses(*reference_pose(reference, robot, request.time))
            turn, place = facing, aside - facing @ (reference.body_pos_w[0, 0] * [1.0, 1.0, 0.0])
        return robot_meshes(robot, pos, rot, turn, place), note


def effector_balls(
    request: PreviewRequest, placed: Callable[[np.ndarray], np.ndarray], aside: np.ndarray
) -> list[SceneMesh]:
    """A ball at the point of every effector: red where a joint shall be, blue where one shall look.

    Args:
        request: What is shown.
        placed: From the body's world to the picture's.
        aside: [3] m, how far the body was moved in the picture.
    """
    balls = []
    for effector in request.effectors:
        point = placed(np.array([effector.point]))[0] - aside
        balls.append(SceneMesh(*capsule_mesh(point, point, EFFECTOR_M), LOOK_RGB if effector.look else PLACE_RGB))
    return balls


def reference_pose(clip: ReferenceClip, robot: RobotModel, time: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pelvis [1, 3] m, its quaternion [1, 4] wxyz and joints [1, N] rad (the robot's order) of a reference at a time.

    Args:
        clip: The reference.
        robot: Whose joints.
        time: s; between frames the pose is between theirs.
    """
    first, second, share = frame_share(time, clip.fps, clip.frame_count)
    order = [clip.joint_names.index(name) for name in robot.joint_names]

    def between(values: np.ndarray) -> np.ndarray:
        return values[first] * (1.0 - share) + values[second] * share

    turns = matrix_from_quat_wxyz(clip.body_quat_wxyz[[first, second], 0])
    quat = quat_wxyz_from_matrix(between_rotations(turns[:1], turns[1:], share))
    return between(clip.body_pos_w[:, 0])[None], quat, between(clip.joint_pos)[order][None]


def _camera(request: PreviewRequest, hips: np.ndarray, tall: float) -> tuple[Camera, np.ndarray]:
    """The camera and half the way from the body to the robot [3] m (zero without the robot).

    Args:
        request: What to draw.
        hips: [3] m, where the body is.
        tall: Its leg length over the template's.
    """
    angle = np.deg2rad(request.view.turn)
    back = matrix_from_rotvec(np.array([0.0, 0.0, angle])) @ _BACK
    right = np.cross(-back, (0.0, 0.0, 1.0))
    aside = right / np.linalg.norm(right) * (APART if request.view.robot else 0.0)
    away = back * (max(tall, 1.0) * (_PAIR_MARGIN if request.view.robot else _BODY_MARGIN))
    x, y, z = (float(value) for value in (hips[0], hips[1], CAMERA.target[2] * tall))
    eye = (x + float(away[0]), y + float(away[1]), z + float(away[2]))
    return Camera(eye, (x, y, z), CAMERA.vertical_fov), aside
