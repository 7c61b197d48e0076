"""Pictures of a body, and of a G1 beside it, for the panel: slow work that belongs off the UI thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from soma_isaac.batch.thumbnails import APART, CAMERA, PERSON_RGB, robot_meshes
from soma_isaac.body.identities.presets import preset
from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.skin_animation import identity_skeleton
from soma_isaac.errors import InputRejected
from soma_isaac.formats.reference_clip import read_reference_clip
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.math.frames import zup_from_yup_points, zup_from_yup_rotations
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.still_pose import still_pose
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.render.scene import Camera, SceneMesh, render_scene
from soma_isaac.retarget.robot import RobotModel, load_robot
from soma_isaac.rig.skeleton import data_path, template_rest_offsets
from soma_isaac.ui.choices import STILL_POSES, BodyChoice, Clip, PreviewRequest, SliderSpec
from soma_isaac.ui.overlay import draw_skeleton

CORRECTIVES_FILE = "SOMA_correctives.safetensors"
_REFERENCE_FORMATS = ("mjlab", "beyondmimic", "amp")
_KEPT_LAYERS, _KEPT_IDENTITIES, _KEPT_MOTIONS = 3, 8, 4
_BACK = np.subtract(CAMERA.position, CAMERA.target)
_BODY_MARGIN = 1.16
_PAIR_MARGIN = 1.2
_ROBOT_STANDS = 0.793
"""Height [m] of a G1's pelvis over its soles with all joints at zero."""

_Kept = TypeVar("_Kept")


@dataclass(frozen=True, eq=False)
class PreviewPicture:
    """A picture and what was learned while it was made.

    Attributes:
        image: [H, W, 3] uint8 sRGB.
        coefficients: [K] of the body shown; empty for the template.
        sliders: What the identity model offers, one per coefficient.
        duration: Of the clip [s]; 0 for a still pose.
        fps: Of the clip [Hz].
        note: What the picture does not show though it was asked for, and why; usually empty.
    """

    image: np.ndarray
    coefficients: tuple[float, ...]
    sliders: tuple[SliderSpec, ...]
    duration: float
    fps: float
    note: str = ""


class PreviewRenderer:
    """Draws requests and keeps what successive ones share: layers, identities, motions, the robot.

    For one thread. Nothing is loaded before the first request.
    """

    def __init__(self) -> None:
        self._layers: OrderedDict[Hashable, SomaLayer] = OrderedDict()
        self._identities: OrderedDict[Hashable, tuple[PreparedIdentity, float]] = OrderedDict()
        self._motions: OrderedDict[Hashable, SomaMotion] = OrderedDict()
        self._references: OrderedDict[Hashable, ReferenceClip] = OrderedDict()
        self._robot: RobotModel | None = None

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
        layer = self._layer(request.body)
        coefficients = _coefficients(layer, request.body)
        identity, hips_height = self._identity(layer, request.body, coefficients)
        motion = self._motion(request)
        frame = min(int(max(request.time, 0.0) * motion.fps), motion.frame_count - 1)
        stride = hips_height / motion.identity.rest_offsets[1, 1]
        path = zup_from_yup_points(motion.root_translation * stride)
        root = motion.root_translation[frame] * stride
        if request.clip is None and request.still == STILL_POSES[1]:
            root = identity.bind_T_world_joint[0, 1, :3, 3]
        pose = layer.pose(motion.rotations[frame][None], root[None], identity=identity)
        facing, start = _facing(motion), path[0] * [1.0, 1.0, 0.0]

        def placed(points: np.ndarray) -> np.ndarray:
            return (zup_from_yup_points(points.astype(np.float64)) - start) @ facing.T

        vertices, joints = placed(pose.vertices.numpy()[0]), placed(pose.joints.numpy()[0])
        camera, aside = _camera(request, joints[0], hips_height / template_rest_offsets()[1, 1])
        meshes, note = [SceneMesh(vertices - aside, layer.triangles, PERSON_RGB)], ""
        if request.view.robot:
            machine, note = self._machine(request, joints[0], facing, aside)
            meshes += machine
        image = render_scene(meshes, camera, request.view.size)
        if request.view.skeleton:
            draw_skeleton(image, joints - aside, camera)
        length = 0.0 if request.clip is None else (motion.frame_count - 1) / motion.fps
        shown = tuple(float(value) for value in coefficients)
        return PreviewPicture(image, shown, _sliders(layer), length, motion.fps, note)

    def _layer(self, body: BodyChoice) -> SomaLayer:
        def load() -> SomaLayer:
            file = data_path(CORRECTIVES_FILE) if body.correctives else None
            if file is not None and not file.is_file():
                raise InputRejected("this version ships without pose correctives; switch them off", str(file))
            return SomaLayer(
                load_template_rig(),
                identity=body.backend,
                lod=body.lod,
                twist=body.twist,
                correctives=file,
                assets=body.assets,
                threads=1,
            )

        return _kept(self._layers, _layer_key(body), _KEPT_LAYERS, load)

    def _identity(self, layer: SomaLayer, body: BodyChoice, coefficients: np.ndarray) -> tuple[PreparedIdentity, float]:
        def prepare() -> tuple[PreparedIdentity, float]:
            values = None if layer.identity_model is None else coefficients[None]
            identity = layer.prepare_identity(values, global_scale=body.size)
            return identity, float(identity_skeleton(layer.body, identity).rest_T_world_joint[1, 1, 3])

        key = (_layer_key(body), coefficients.tobytes(), body.size)
        return _kept(self._identities, key, _KEPT_IDENTITIES, prepare)

    def _motion(self, request: PreviewRequest) -> SomaMotion:
        if request.clip is None:
            return _kept(self._motions, request.still, _KEPT_MOTIONS, lambda: still_pose(request.still != "T-pose"))
        clip = request.clip
        key = (clip.path, _stamp(Path(clip.path)))
        return _kept(self._motions, key, _KEPT_MOTIONS, lambda: load_motion(Path(clip.path), name=clip.name))

    def _machine(
        self, request: PreviewRequest, hips: np.ndarray, facing: np.ndarray, aside: np.ndarray
    ) -> tuple[list[SceneMesh], str]:
        """The robot beside the body, at the same moment of the clip if there is a reference of it."""
        if self._robot is None:
            self._robot = load_robot()
        robot, reference, note = self._robot, None, ""
        if request.clip is not None:
            reference = self._reference(request.clip, request.references)
            if reference is None:
                note = "The G1 stands still: prepare G1 references to see it do this clip."
        if reference is None:
            root, quat = np.array([[0.0, 0.0, _ROBOT_STANDS]]), np.array([[1.0, 0.0, 0.0, 0.0]])
            pos, rot = robot.body_poses(root, quat, np.zeros((1, len(robot.joint_names))))
            turn, place = np.eye(3), hips * [1.0, 1.0, 0.0] + aside
        else:
            frame = min(int(request.time * reference.fps), reference.frame_count - 1)
            order = [reference.joint_names.index(name) for name in robot.joint_names]
            pelvis = reference.body_pos_w[frame, :1]
            quat = reference.body_quat_wxyz[frame, :1]
            pos, rot = robot.body_poses(pelvis, quat, reference.joint_pos[frame, order][None])
            turn, place = facing, aside - facing @ (reference.body_pos_w[0, 0] * [1.0, 1.0, 0.0])
        return robot_meshes(robot, pos, rot, turn, place), note

    def _reference(self, clip: Clip, folder: str) -> ReferenceClip | None:
        path = reference_path(clip, folder)
        if path is None:
            return None
        return _kept(self._references, (str(path), _stamp(path)), _KEPT_MOTIONS, lambda: read_reference_clip(path))


def reference_path(clip: Clip, folder: str) -> Path | None:
    """The prepared G1 reference of a clip, ``None`` where there is none.

    Args:
        clip: The clip.
        folder: Output folder of ``prepare_g1_refs.py``.
    """
    stem = clip.name.rpartition(".")[0]
    for name in dict.fromkeys((stem, Path(stem).name)):  # a clip that was prepared alone lies at the top
        for kind in _REFERENCE_FORMATS:
            path = Path(folder).expanduser() / kind / f"{name}.npz"
            if path.is_file():
                return path
    return None


def _kept(cache: OrderedDict[Hashable, _Kept], key: Hashable, limit: int, make: Callable[[], _Kept]) -> _Kept:
    """``cache[key]``, made if it is missing; beyond ``limit`` the least recently used entry goes."""
    if key not in cache:
        cache[key] = make()
        while len(cache) > limit:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _layer_key(body: BodyChoice) -> Hashable:
    return replace(body, preset=None, coefficients=None, size=1.0)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _coefficients(layer: SomaLayer, body: BodyChoice) -> np.ndarray:
    """The coefficients [K] to shape the body with."""
    model = layer.identity_model
    if model is None:
        return np.zeros(0, np.float32)
    if body.coefficients is not None:
        return np.array(body.coefficients, np.float32)
    if body.preset is not None and body.backend == "soma":
        return np.asarray(preset(body.preset), np.float32)
    return model.spec.coefficients.defaults()[0]


def _sliders(layer: SomaLayer) -> tuple[SliderSpec, ...]:
    model = layer.identity_model
    if model is None:
        return ()
    group = model.spec.coefficients
    low, high = group.limits
    return tuple(
        SliderSpec(name, float(a), float(b), group.unit) for name, a, b in zip(group.names, low, high, strict=True)
    )


def _facing(motion: SomaMotion) -> np.ndarray:
    """The rotation [3, 3] about the vertical after which the person looks along +X at the start."""
    forward = zup_from_yup_rotations(motion.rotations[0, 0]) @ np.array([0.0, 0.0, 1.0])
    return matrix_from_rotvec(np.array([0.0, 0.0, -np.arctan2(forward[1], forward[0])]))


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
