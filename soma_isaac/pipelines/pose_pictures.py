"""Pictures of posed bodies with their effectors drawn: targets, the ways to them, and what joints look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, Effectors
from soma_isaac.learned.skeleton import BodyPose, body_kinematics
from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.pipelines.pose_body import ShownBody
from soma_isaac.render import Camera, SceneMesh, render_scene
from soma_isaac.render.lettering import draw_text
from soma_isaac.render.shapes import capsule_mesh

SKIN_RGB = (0.80, 0.62, 0.50)
POSITION_RGB = (0.90, 0.10, 0.10)
MISSED_RGB = (0.95, 0.75, 0.05)
LOOK_RGB = (0.15, 0.35, 0.85)
AXIS_RGB = ((0.85, 0.1, 0.1), (0.1, 0.6, 0.15), (0.1, 0.25, 0.85))
BALL_M, ROD_M, AXIS_M = 0.042, 0.008, 0.2
FOV = 0.42


@dataclass(frozen=True)
class View:
    """Where a picture is taken from.

    Attributes:
        azimuth: About the vertical [rad], 0 from where the world's +Z (Y-up) looks at the person, growing to its left.
        elevation: Above the horizon [rad].
        size: Pixels, width and height.
    """

    azimuth: float = 0.6
    elevation: float = 0.12
    size: tuple[int, int] = (420, 520)


def pose_picture(
    shown: ShownBody, pose: BodyPose, effectors: Effectors, index: int, view: View, caption: str = ""
) -> np.ndarray:
    """Pose ``index`` with its effectors [H, W, 3] uint8.

    Red balls are position targets that are met within a millimetre; where one is missed it is yellow, and a rod joins
    it to its joint. Three rods are a rotation that is asked for; a blue rod is a line of sight to what is looked at.
    """
    meshes = [body_mesh(shown, pose, index), *effector_meshes(shown, pose, effectors, index)]
    points = np.concatenate([mesh.vertices for mesh in meshes])
    return captioned(render_scene(meshes, framing(points, view), view.size), caption)


def body_mesh(shown: ShownBody, pose: BodyPose, index: int, rgb: tuple[float, float, float] = SKIN_RGB) -> SceneMesh:
    """The skin in one pose, Z-up."""
    rotations = pose.full()[index : index + 1]
    posed = shown.layer.pose(rotations, pose.root_position[index : index + 1], identity=shown.identity)
    vertices = zup_from_yup_points(posed.vertices.numpy()[0].astype(np.float64))
    return SceneMesh(vertices, shown.layer.triangles, rgb)


def effector_meshes(shown: ShownBody, pose: BodyPose, effectors: Effectors, index: int) -> list[SceneMesh]:
    """The effectors of one set, Z-up."""
    one = slice(index, index + 1)
    positions, _ = body_kinematics(pose.rotations[one], pose.root_position[one], shown.skeleton.rest_offsets)
    meshes: list[SceneMesh] = []
    radius = BALL_M * shown.skeleton.scale
    for slot in np.flatnonzero(effectors.weight[index] > 0.0):
        kind, joint = effectors.kind[index, slot], effectors.joint[index, slot]
        place, target = positions[0, joint], effectors.target[index, slot]
        if kind == POSITION:
            missed = np.linalg.norm(place - target) > max(1e-3, effectors.tolerance[index, slot])
            meshes.append(ball(target, MISSED_RGB if missed else POSITION_RGB, radius))
            if missed:
                meshes.append(rod(place, target, MISSED_RGB))
        elif kind == ROTATION:
            axes = effectors.rotation[index, slot]
            meshes += [rod(place, place + AXIS_M * axes[:, k], AXIS_RGB[k]) for k in range(3)]
        elif kind == LOOK_AT:
            meshes += [rod(place, target, LOOK_RGB), ball(target, LOOK_RGB, radius)]
    return meshes


def ball(centre: np.ndarray, rgb: tuple[float, float, float], radius: float = BALL_M) -> SceneMesh:
    """A ball about a point [3] m of the Y-up world."""
    at = zup_from_yup_points(centre)
    return SceneMesh(*capsule_mesh(at, at, radius), rgb)


def rod(start: np.ndarray, end: np.ndarray, rgb: tuple[float, float, float], radius: float = ROD_M) -> SceneMesh:
    """A rod between points [3] m of the Y-up world."""
    return SceneMesh(*capsule_mesh(zup_from_yup_points(start), zup_from_yup_points(end), radius, 8, 3), rgb)


def framing(points: np.ndarray, view: View) -> Camera:
    """A camera that has points [N, 3] m (Z-up) in the picture."""
    low, high = points.min(axis=0), points.max(axis=0)
    centre = 0.5 * (low + high)
    to = np.array([np.cos(view.azimuth), np.sin(view.azimuth), np.tan(view.elevation)])
    to /= np.linalg.norm(to)
    across, up = np.array([-np.sin(view.azimuth), np.cos(view.azimuth), 0.0]), np.array([0.0, 0.0, 1.0])
    half = np.tan(0.5 * FOV)
    offset = points - centre
    wide = np.abs(offset @ across) / (half * view.size[0] / view.size[1])
    tall = np.abs(offset @ up) / half
    distance = float((np.maximum(wide, tall) + offset @ to).max()) * 1.06
    x, y, z = (float(value) for value in centre + distance * to)
    return Camera((x, y, z), (float(centre[0]), float(centre[1]), float(centre[2])), FOV)


def captioned(picture: np.ndarray, caption: str) -> np.ndarray:
    """The picture with a line of text in its upper left corner."""
    picture = picture.copy()
    for row, line in enumerate(caption.split("\n")):
        draw_text(picture, line, 10, 10 + 14 * row, 2)
    return picture
