"""The pictures of ``docs/bodies.md``: identities in poses, levels of detail, correctives on and off."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.body.identities.presets import preset
from soma_isaac.body.layer import OPEN_CORRECTIVES, SomaLayer
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.png import png_bytes
from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.render import Camera, SceneMesh, render_scene
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, data_path

SKIN_RGB = ((0.83, 0.62, 0.48), (0.66, 0.47, 0.36), (0.88, 0.70, 0.58), (0.50, 0.36, 0.29), (0.78, 0.58, 0.45))
SOMA_BODIES = ("toddler", "child", "adult_female", "adult_male", "heavy", "muscular")
ANNY_BODIES = (
    (0.3, -0.1, 0.5, 0.5, 0.5, 0.5),
    (0.7, 0.33, 0.5, 0.4, 0.5, 0.5),
    (1.0, 0.67, 0.4, 0.4, 0.6, 0.6),
    (0.0, 0.67, 0.9, 0.5, 0.7, 0.7),
    (0.2, 0.8, 0.3, 1.0, 0.4, 0.3),
    (0.8, 1.0, 0.2, 0.3, 0.3, 0.4),
)
"""Phenotypes gender, age, muscle, weight, height, proportions (see ``anny``'s spec)."""

CLIP_FRAMES = (("walk", 420), ("reach", 466))
"""Clip and frame of the second and third pose; the first is the T-pose."""


@dataclass(frozen=True)
class CloseUp:
    """A view of one bent joint.

    Attributes:
        joint: In the middle of the picture.
        rotations: Rotation vectors [rad] of the joints that leave the T-pose.
        towards: From the joint to the camera [m], Z-up, +X ahead, +Y the person's left.
    """

    joint: str
    rotations: Mapping[str, tuple[float, float, float]]
    towards: tuple[float, float, float]


CLOSE_UPS = (
    CloseUp("LeftForeArm", {"LeftForeArm": (0.0, -2.2, 0.0)}, (0.35, 0.1, 1.05)),
    CloseUp("LeftArm", {"LeftArm": (0.0, 0.0, 1.0), "LeftShoulder": (0.0, 0.0, 0.25)}, (1.1, 0.35, 0.1)),
    CloseUp("LeftLeg", {"LeftLeg": (-1.9, 0.0, 0.0), "LeftShin": (1.4, 0.0, 0.0)}, (0.35, 1.15, 0.25)),
    CloseUp("LeftShin", {"LeftLeg": (-0.9, 0.0, 0.0), "LeftShin": (2.3, 0.0, 0.0)}, (-0.1, 1.1, 0.05)),
)

ROW = ((1500, 430), 0.33)
"""Pixels and field of view of a row of six people."""


@dataclass(frozen=True)
class BodyPicturesConfig:
    """Where the pictures go.

    Attributes:
        output: Folder.
        anny: Also draw Anny's bodies (extra ``anny``).
    """

    output: Path
    anny: bool = True


def draw_body_pictures(config: BodyPicturesConfig) -> list[Path]:
    """Draw and write all pictures.

    Returns:
        The files.

    Raises:
        MissingDependency: Anny's bodies are asked for and the package is not installed.
    """
    pictures: dict[str, Callable[[], np.ndarray]] = {
        "identities_soma": lambda: _rows(_layer("soma"), np.stack([preset(name) for name in SOMA_BODIES])),
        "levels_of_detail": _levels,
        "correctives": _correctives,
    }
    if config.anny:
        pictures["identities_anny"] = lambda: _rows(_layer("anny"), np.array(ANNY_BODIES))
    files = []
    config.output.mkdir(parents=True, exist_ok=True)
    for name, draw in pictures.items():
        path = config.output / f"{name}.png"
        write_file(path, png_bytes(draw()))
        files.append(path)
    return files


def _layer(identity: str, **options: object) -> SomaLayer:
    return SomaLayer(identity=identity, **options)  # pyright: ignore[reportArgumentType]


def _poses() -> list[np.ndarray]:
    """T-pose and two frames of the bundled clips, each [77, 3, 3], facing the same way."""
    poses = [np.tile(np.eye(3), (77, 1, 1))]
    for clip, frame in CLIP_FRAMES:
        motion = load_motion(data_path(f"demo_clips/{clip}.npz"))
        pose = np.array(motion.rotations[min(frame, motion.frame_count - 1)])
        ahead = pose[0] @ [0.0, 0.0, 1.0]
        pose[0] = matrix_from_rotvec(np.array([0.0, -np.arctan2(ahead[0], ahead[2]), 0.0])) @ pose[0]
        poses.append(pose)
    return poses


def _standing(vertices: np.ndarray) -> np.ndarray:
    """Y-up vertices [V, 3] in the Z-up world with their lowest point on the floor."""
    points = zup_from_yup_points(vertices.astype(np.float64))
    return points - [0.0, 0.0, points[:, 2].min()]


def _line_up(shapes: Sequence[np.ndarray], triangles: Sequence[np.ndarray], apart: float) -> list[SceneMesh]:
    places = (np.arange(len(shapes)) - 0.5 * (len(shapes) - 1)) * apart
    return [
        SceneMesh(_standing(shape) + [0.0, place, 0.0], faces, SKIN_RGB[i % len(SKIN_RGB)])
        for i, (shape, faces, place) in enumerate(zip(shapes, triangles, places, strict=True))
    ]


def _rows(layer: SomaLayer, coefficients: np.ndarray) -> np.ndarray:
    """One row of people per pose."""
    layer.prepare_identity(coefficients)
    (size, fov), rows = ROW, []
    for pose, apart in zip(_poses(), (1.75, 1.25, 1.25), strict=True):
        vertices = layer.pose(np.tile(pose, (len(coefficients), 1, 1, 1))).vertices.numpy()
        meshes = _line_up(list(vertices), [layer.triangles] * len(vertices), apart)
        distance = 9.5 * apart / 1.75 + 0.6
        rows.append(render_scene(meshes, Camera((distance, 0.0, 1.5), (0.0, 0.0, 0.92), fov), size))
    return np.concatenate(rows)


def _levels() -> np.ndarray:
    """The three levels of detail of one body in a pose, from the front."""
    pose, shapes, triangles = _poses()[2], [], []
    for lod in ("xlo", "low", "mid"):
        layer = _layer("soma", lod=lod)
        layer.prepare_identity(preset("adult_female")[None])
        shapes.append(layer.pose(pose[None]).vertices.numpy()[0])
        triangles.append(layer.triangles)
    meshes = _line_up(shapes, triangles, 1.0)
    return render_scene(meshes, Camera((4.4, 0.0, 1.4), (0.0, 0.0, 0.9), 0.5), (960, 540))


def _correctives() -> np.ndarray:
    """Elbow, shoulder, hip and knee bent far, without (above) and with (below) correctives."""
    layer = _layer("soma", correctives=OPEN_CORRECTIVES)
    layer.prepare_identity(preset("adult_male")[None])
    return np.concatenate(
        [
            np.concatenate([_close_up(layer, view, correctives=switch) for view in CLOSE_UPS], axis=1)
            for switch in (False, True)
        ]
    )


def _close_up(layer: SomaLayer, view: CloseUp, *, correctives: bool) -> np.ndarray:
    pose = np.zeros((77, 3))
    for joint, rotvec in view.rotations.items():
        pose[POSE_JOINT_NAMES.index(joint)] = rotvec
    posed = layer.pose(pose[None], correctives=correctives)
    vertices = zup_from_yup_points(posed.vertices.numpy()[0].astype(np.float64))
    centre = zup_from_yup_points(posed.joints.numpy()[0, POSE_JOINT_NAMES.index(view.joint)].astype(np.float64))
    x, y, z = (float(value) for value in centre + view.towards)
    camera = Camera((x, y, z), (float(centre[0]), float(centre[1]), float(centre[2])), 0.34)
    mesh = SceneMesh(vertices, layer.triangles, SKIN_RGB[0])
    return render_scene([mesh], camera, (340, 340), floor_height=None)
