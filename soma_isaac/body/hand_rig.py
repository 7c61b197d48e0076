"""Hands cut from a body rig: 25 joints from the wrist on, in the wrist's frame, with their part of each mesh.

The frame is the wrist's in the bind pose. The cut rig has a dummy root above the wrist, like the body's above the Hips,
so that a hand is posed by the same code as a body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.layout import joint_layout
from soma_isaac.body.regressor import folded_weights
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.rig.mesh import edge_use
from soma_isaac.rig.rig import Rig, SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton
from soma_isaac.rig.template import packed_weights

SIDES = ("left", "right")
HAND_WEIGHT = 0.25
"""Share of a vertex's weight on the 25 joints from which on it may belong to the hand.

A face of the low mesh whose corners all have more belongs to the hand; the mid hand is what one subdivision makes of
those faces. On SOMA's mesh every share from 0.20 to 0.33 gives the same cut, which has SOMA-X's own counts: 2859 mid,
718 low and 134 xlo vertices, on either side.
"""


@dataclass(frozen=True, eq=False)
class HandCut:
    """A hand as a rig of its own.

    Attributes:
        side: ``left`` or ``right``.
        rig: ``Root`` and the 25 joints; its meshes have the hand's vertices only. Binds and points are in the wrist's
            bind frame, the T-pose in the frame that the wrist has in the T-pose.
        vertices: For each LOD, the body mesh's vertex of each vertex of the hand.
        joints: [25] the hand's joints among the body's public joints, the wrist first.
        wrist_from_rest: [3, 3] rotation from the wrist's T-pose axes to its bind axes.
        T_body_wrist: [4, 4] m, the wrist's bind transform on the body.
    """

    side: str
    rig: Rig
    vertices: dict[str, np.ndarray]
    joints: np.ndarray
    wrist_from_rest: np.ndarray
    T_body_wrist: np.ndarray


def hand_joints(rig: Rig, side: str) -> np.ndarray:
    """Public joints [25] of a hand, the wrist first, in the rig's order.

    Raises:
        InputRejected: ``side`` is another word.
        RigMismatch: The rig has no such hand.
    """
    if side not in SIDES:
        raise InputRejected(f"side is {side!r}; there are {', '.join(SIDES)}")
    prefix = f"{side.capitalize()}Hand"
    joints = [index for index, name in enumerate(rig.public_joint_names) if name.startswith(prefix)]
    if not joints or rig.public_joint_names[joints[0]] != prefix:
        raise RigMismatch(f"the rig has no joint {prefix!r} above the {side} hand's fingers")
    return np.array(joints)


def cut_hand(
    rig: Rig, side: str, *, mid_vertices: np.ndarray | None = None, mid_border: np.ndarray | None = None
) -> HandCut:
    """Cut a hand off a rig.

    Skin weights on other joints are dropped, vertices on the open end follow the wrist alone, and rows are scaled back
    to 1.

    Args:
        rig: The body.
        side: ``left`` or ``right``.
        mid_vertices: [Vh] mid vertices of the hand; found by their weights otherwise, see :data:`HAND_WEIGHT`.
        mid_border: [N] those of them, counted in the hand, that are on the open end; found otherwise.

    Raises:
        InputRejected: ``side`` is another word.
        RigMismatch: The rig lacks the hand or the low mesh, or its mid mesh is not one subdivision of the low one.
    """
    joints = hand_joints(rig, side)
    layout = joint_layout(rig, twist=False)
    bind, rest = layout.bind_T_world_joint, layout.rest_T_world_joint
    weights = {lod: folded_weights(mesh, layout)[:, joints] for lod, mesh in rig.meshes.items()}
    if mid_vertices is None:
        mid_vertices = _mid_vertices(rig, weights)
    elif mid_vertices.max(initial=0) >= rig.mesh("mid").vertex_count:
        raise RigMismatch(f"the hand has vertices beyond the {rig.mesh('mid').vertex_count} of the mid mesh")
    vertices = _vertices(rig, mid_vertices)
    wrist = joints[0]
    meshes = {}
    for lod, chosen in vertices.items():
        border = mid_border if lod == "mid" else None
        meshes[lod] = _cut_mesh(rig.mesh(lod), chosen, weights[lod], bind[wrist], border, side)
    names = ("Root", *(rig.public_joint_names[joint] for joint in joints))
    above = {joint: number + 1 for number, joint in enumerate(joints)}
    parents = np.array([-1, 0, *(above[layout.parents[joint]] for joint in joints[1:])])
    skeleton = Skeleton(
        names,
        parents,
        np.concatenate([np.eye(4)[None], np.linalg.solve(bind[wrist], bind[joints])]),
        np.concatenate([np.eye(4)[None], np.linalg.solve(rest[wrist], rest[joints])]),
    )
    return HandCut(
        side=side,
        rig=Rig(skeleton, names, None, meshes, f"{rig.digest} {side} hand"),
        vertices=vertices,
        joints=joints,
        wrist_from_rest=bind[wrist, :3, :3].T @ rest[wrist, :3, :3],
        T_body_wrist=bind[wrist],
    )


def _mid_vertices(rig: Rig, weights: dict[str, np.ndarray]) -> np.ndarray:
    """Mid vertices of the hand: the low faces that lie in it, subdivided once.

    Low vertices come first in the mid mesh, then a point on every edge, then one in every face.
    """
    mid, low = rig.mesh("mid"), rig.mesh("low")
    first_face_point = mid.vertex_count - len(low.face_vertex_counts)
    face = np.repeat(np.arange(len(low.face_vertex_counts)), low.face_vertex_counts)
    outside = weights["low"].sum(axis=1)[low.face_vertex_indices] <= HAND_WEIGHT
    inside = np.bincount(face, outside, len(low.face_vertex_counts)) == 0
    corners = mid.face_vertex_indices.reshape(-1, 4) if (mid.face_vertex_counts == 4).all() else np.zeros((0, 4), int)
    points = corners.max(axis=1, initial=0) - first_face_point
    if len(corners) != len(low.face_vertex_indices) or (np.bincount(points) != low.face_vertex_counts).any():
        raise RigMismatch("the mid mesh is not one subdivision of the low mesh; say which mid vertices are the hand's")
    return np.unique(corners[inside[points]]).astype(np.int32)


def _vertices(rig: Rig, mid_vertices: np.ndarray) -> dict[str, np.ndarray]:
    """The hand's vertices in each LOD: low ones are mid ones; xlo ones lie on a mid triangle that touches the hand."""
    vertices = {"mid": mid_vertices}
    mid = rig.mesh("mid")
    if "low" in rig.meshes:
        vertices["low"] = np.flatnonzero(np.isin(np.arange(rig.mesh("low").vertex_count), mid_vertices))
    if "xlo" in rig.meshes:
        under = TopologyTransfer(mid.points, mid.triangles, rig.mesh("xlo").points).corners
        vertices["xlo"] = np.flatnonzero(np.isin(under, mid_vertices).any(axis=1))
    return vertices


def _cut_mesh(
    mesh: SkinnedMesh,
    vertices: np.ndarray,
    weights: np.ndarray,
    wrist: np.ndarray,
    border: np.ndarray | None,
    side: str,
) -> SkinnedMesh:
    """Part of a mesh in the wrist's frame; joints count from 1, after the dummy root."""
    number = np.full(mesh.vertex_count, -1)
    number[vertices] = np.arange(len(vertices))
    face = np.repeat(np.arange(len(mesh.face_vertex_counts)), mesh.face_vertex_counts)
    whole = np.bincount(face, number[mesh.face_vertex_indices] < 0, len(mesh.face_vertex_counts)) == 0
    triangles = number[mesh.triangles]
    triangles = triangles[(triangles >= 0).all(axis=1)]
    if border is None:
        edges, uses = edge_use(triangles)
        border = np.unique(edges[uses == 1])
    own = weights[vertices].copy()
    own[border] = 0.0
    own[border, 0] = 1.0
    total = own.sum(axis=1, keepdims=True)
    if (total <= 0.0).any():
        raise RigMismatch(f"vertex {int(vertices[int(np.argmin(total))])} of {mesh.name} has no weight on the hand")
    joint_indices, joint_weights = packed_weights(own / total)
    name = f"{side[0]}_hand_{mesh.name.removeprefix('c_skin_')}"
    return SkinnedMesh(
        name,
        (mesh.points[vertices] - wrist[:3, 3]) @ wrist[:3, :3],
        mesh.face_vertex_counts[whole],
        number[mesh.face_vertex_indices[whole[face]]],
        triangles,
        np.where(joint_weights > 0.0, joint_indices + 1, 0),
        joint_weights,
    )
