"""What the preview page shows: skins and links that are sent once, and their bones at a time of a clip.

A page skins in the browser with four joints per vertex, the rig has up to eight; :func:`four_influences` says which
four stand for them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.batch.thumbnails import BONE_RADIUS, RINGS, SEGMENTS
from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.skin_animation import identity_mesh, identity_skeleton
from soma_isaac.body.soma import SomaBody
from soma_isaac.math.so3 import quat_wxyz_from_matrix
from soma_isaac.render.shapes import capsule_mesh
from soma_isaac.retarget.robot import RobotModel

INFLUENCES = 4


@dataclass(frozen=True, eq=False)
class Skin:
    """One identity's skin at its bind pose, with the bones that move it.

    Attributes:
        points: [V, 3] m, float32.
        triangles: [F, 3] int32.
        weights: [V, B] float32, at most four per row are not zero, rows sum to 1.
        joints: [B] which joint of the body each bone is.
        bind_positions: [B, 3] m.
        bind_wxyz: [B, 4].
    """

    points: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    joints: np.ndarray
    bind_positions: np.ndarray
    bind_wxyz: np.ndarray


@dataclass(frozen=True, eq=False)
class BodyFigure:
    """A body at one moment, in its own Y-up world.

    Attributes:
        skin: Its skin.
        bone_positions: [B, 3] m.
        bone_wxyz: [B, 4].
        joints: [77, 3] m, in pose order.
        place: [3] m, where the origin of its world stands in the page's Z-up world.
        wxyz: [4], how that world is turned.
    """

    skin: Skin
    bone_positions: np.ndarray
    bone_wxyz: np.ndarray
    joints: np.ndarray
    place: np.ndarray
    wxyz: np.ndarray


@dataclass(frozen=True, eq=False)
class Links:
    """A robot's links as meshes in their own axes.

    Attributes:
        names: [L].
        shells: Vertices [V, 3] m and triangles [F, 3] of each link's capsules and spheres; ``None`` where it has none.
        struts: The same of the rods that join its origin to what hangs on it.
    """

    names: tuple[str, ...]
    shells: tuple[tuple[np.ndarray, np.ndarray] | None, ...]
    struts: tuple[tuple[np.ndarray, np.ndarray] | None, ...]


@dataclass(frozen=True, eq=False)
class RobotFigure:
    """A robot at one moment, in its own Z-up world.

    Attributes:
        links: Its links.
        positions: [L, 3] m.
        wxyzs: [L, 4].
        place: [3] m, where the origin of its world stands in the page's world.
        wxyz: [4], how that world is turned.
    """

    links: Links
    positions: np.ndarray
    wxyzs: np.ndarray
    place: np.ndarray
    wxyz: np.ndarray


Figure = BodyFigure | RobotFigure


def four_influences(joints: np.ndarray, weights: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four joints per vertex in the place of more.

    As long as a vertex has more than four, the joint whose motion is most like that of another of its joints gives its
    weight to that one: the pair with the least product of weight and distance. That keeps the weight on its side of
    the body, where leaving out the smallest weight would not (the skin between the legs hangs on five joints).

    Args:
        joints: [V, K].
        weights: [V, K], rows sum to 1.
        places: [J, 3] m, the joints' bind positions.

    Returns:
        Joints and weights [V, 4].
    """
    weights = weights.copy()
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1)
    while (rows := np.flatnonzero((weights > 0.0).sum(axis=1) > INFLUENCES)).size:
        given, at = weights[rows], joints[rows]
        cost = given[:, :, None] * apart[at[:, :, None], at[:, None, :]]
        absent = given <= 0.0
        cost[absent[:, :, None] | absent[:, None, :] | np.eye(joints.shape[1], dtype=bool)] = np.inf
        giver, taker = np.divmod(cost.reshape(len(rows), -1).argmin(axis=1), joints.shape[1])
        weights[rows, taker] += weights[rows, giver]
        weights[rows, giver] = 0.0
    order = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCES]
    return np.take_along_axis(joints, order, axis=1), np.take_along_axis(weights, order, axis=1)


def body_skin(body: SomaBody, identity: PreparedIdentity) -> Skin:
    """The skin of one identity with four joints per vertex; joints that move no vertex are left out.

    Args:
        body: The body.
        identity: One identity of it.

    Raises:
        InputRejected: There are several identities.
    """
    mesh, bind = identity_mesh(body, identity), identity_skeleton(body, identity).bind_T_world_joint
    joints, weights = four_influences(mesh.joint_indices, mesh.joint_weights, bind[:, :3, 3])
    used, bones = np.unique(joints[weights > 0.0], return_inverse=True)
    dense = np.zeros((len(joints), len(used)), np.float32)
    vertices = np.nonzero(weights > 0.0)[0]
    dense[vertices, bones] = weights[weights > 0.0]
    return Skin(
        np.asarray(mesh.points, np.float32),
        np.asarray(mesh.triangles, np.int32),
        dense,
        used,
        bind[used, :3, 3],
        quat_wxyz_from_matrix(bind[used, :3, :3]),
    )


def robot_links(robot: RobotModel) -> Links:
    """The links of a robot as its collision capsules and spheres, joined by rods.

    Args:
        robot: The robot.
    """
    shells: list[list[tuple[np.ndarray, np.ndarray, float]]] = [[] for _ in robot.body_names]
    struts: list[list[tuple[np.ndarray, np.ndarray, float]]] = [[] for _ in robot.body_names]
    shapes = robot.shapes
    for body, start, end, radius in zip(shapes.bodies, shapes.p0, shapes.p1, shapes.radius, strict=True):
        shells[body].append((start, end, float(radius)))
        struts[body].append((np.zeros(3), start, BONE_RADIUS))
    for body, parent in enumerate(robot.body_parents):
        if parent >= 0:
            struts[parent].append((np.zeros(3), robot.body_translations[body], BONE_RADIUS))
    return Links(robot.body_names, tuple(map(_joined, shells)), tuple(map(_joined, struts)))


def _joined(capsules: list[tuple[np.ndarray, np.ndarray, float]]) -> tuple[np.ndarray, np.ndarray] | None:
    meshes = [capsule_mesh(start, end, radius, SEGMENTS, RINGS) for start, end, radius in capsules]
    if not meshes:
        return None
    firsts = np.cumsum([0, *(len(points) for points, _ in meshes[:-1])])
    triangles = [faces + first for (_, faces), first in zip(meshes, firsts, strict=True)]
    return np.concatenate([points for points, _ in meshes]).astype(np.float32), np.concatenate(triangles)
