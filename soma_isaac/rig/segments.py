"""Named vertex sets of the SOMA skin, from its authored texture charts, its skin weights and its shape.

The texture layout cuts the skin where an artist would: the pocket behind each eyelid is one chart, the inside of the
mouth is four, each toe is one. The other sets follow from which joint moves a vertex most and where it lies.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from soma_isaac.errors import RigMismatch
from soma_isaac.rig.mesh import fan_triangles, vertex_normals
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES

EYE_REACH_M = 0.03
"""A pocket whose centre is this near to an eye joint is that eye's."""

TOE_GAP_M = 0.006
ARMPIT_REACH_M = 0.11

_HEAD = ("Head", "HeadEnd", "Jaw", "LeftEye", "RightEye")
_TORSO = ("Hips", "Spine1", "Spine2", "Chest", "LeftShoulder", "RightShoulder")
_FEET = ("LeftFoot", "LeftToeBase", "LeftToeEnd", "RightFoot", "RightToeBase", "RightToeEnd")


def texture_charts(uv_quads: np.ndarray) -> np.ndarray:
    """Chart number [F] of each face: faces that share texture vertices lie on one chart.

    Args:
        uv_quads: [F, 4] texture vertex of each corner.
    """
    count = int(uv_quads.max()) + 1
    edges = np.concatenate([uv_quads[:, [0, 1]], uv_quads[:, [1, 2]], uv_quads[:, [2, 3]]])
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    labels = connected_components(graph, directed=False)[1]
    return np.unique(labels[uv_quads[:, 0]], return_inverse=True)[1]


def body_segments(
    points: np.ndarray, quads: np.ndarray, uv_quads: np.ndarray, weights: np.ndarray, joints: np.ndarray
) -> dict[str, np.ndarray]:
    """Vertex sets under SOMA-X's names, ascending int32.

    ``eye_bags`` and ``mouth_bag`` are the pockets behind lids and lips without their rims, so that everything around
    them holds still when they are filled in. ``head``, ``torso`` and ``feet`` go by the joint that moves a vertex
    most. ``haircap`` is the scalp behind and above a line from the forehead over the ears to the nape; ``hair`` is the
    same set, for the body has no hair. ``between_toes`` face another toe at less than 6 mm. ``armpits`` face down or
    outward to the arm within 11 cm of the upper arm's joint, on the torso or where the arm begins.

    Args:
        points: [V, 3] m, bind pose.
        quads: [F, 4] faces.
        uv_quads: [F, 4] their texture vertices.
        weights: [V, 78] skin weights on the public joints.
        joints: [78, 3] m, bind positions of the public joints.

    Raises:
        RigMismatch: The charts are not those of the SOMA skin: not one pocket per eye, no mouth, or not ten toes.
    """
    owner = np.argmax(weights, axis=1)
    names = {name: index for index, name in enumerate(PUBLIC_JOINT_NAMES)}
    charts = texture_charts(uv_quads)
    on_head = np.isin(owner, [names[name] for name in _HEAD])
    on_foot = np.isin(owner, [names[name] for name in _FEET])
    normals = vertex_normals(points, fan_triangles(np.full(len(quads), 4), quads.ravel()))
    eyes, mouth = _pockets(points, quads, charts, on_head, joints[[names["LeftEye"], names["RightEye"]]])
    arms = joints[[names["LeftArm"], names["RightArm"]]]
    scalp = _scalp(points, on_head, joints[[names["LeftEye"], names["RightEye"]]], joints[names["Head"]])
    scalp &= ~(eyes | mouth)
    sets = {
        "eye_bags": eyes,
        "mouth_bag": mouth,
        "head": on_head,
        "feet": on_foot,
        "torso": np.isin(owner, [names[name] for name in _TORSO]),
        "between_toes": _between_toes(points, normals, quads, charts, on_foot),
        "hair": scalp,
        "haircap": scalp,
        "armpits": _armpits(points, normals, arms),
    }
    return {name: np.flatnonzero(chosen).astype(np.int32) for name, chosen in sets.items()}


def _pockets(
    points: np.ndarray, quads: np.ndarray, charts: np.ndarray, on_head: np.ndarray, eyes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masks [V] of the eye pockets and of the mouth: the head's charts other than its outside, without their rims."""
    inside = [chart for chart in range(charts.max() + 1) if on_head[quads[charts == chart]].all()]
    kind = np.zeros(len(charts), dtype=np.int8)
    eye_charts = 0
    for chart in inside:
        center = points[np.unique(quads[charts == chart])].mean(axis=0)
        is_eye = np.linalg.norm(eyes - center, axis=1).min() < EYE_REACH_M
        kind[charts == chart] = 1 if is_eye else 2
        eye_charts += is_eye
    if eye_charts != 2 or not (kind == 2).any():
        raise RigMismatch(f"the texture has {eye_charts} eye pockets and {len(inside) - eye_charts} mouth charts")
    rim = np.zeros(len(points), dtype=bool)
    rim[quads[kind == 0]] = True
    masks = []
    for wanted in (1, 2):
        mask = np.zeros(len(points), dtype=bool)
        mask[quads[kind == wanted]] = True
        masks.append(mask & ~rim)
    return masks[0], masks[1]


def _scalp(points: np.ndarray, on_head: np.ndarray, eyes: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Mask [V] of the head above a line 5 cm above the eyes in front, over the ears, 3 cm below the eyes behind."""
    back, front = points[on_head, 2].min(), points[on_head, 2].max()
    height = eyes[:, 1].mean() + np.interp(points[:, 2], [back, head[2] - 0.01, front], [-0.03, 0.025, 0.05])
    return on_head & (points[:, 1] > height)


def _between_toes(
    points: np.ndarray, normals: np.ndarray, quads: np.ndarray, charts: np.ndarray, on_foot: np.ndarray
) -> np.ndarray:
    """Mask [V] of toe vertices that look at another toe."""
    faces = [quads[charts == chart] for chart in range(charts.max() + 1)]
    # a toe's chart is small and in front of the ankle; the others of the foot are sole, back and sides
    toes = [part for part in faces if len(part) < 200 and on_foot[part].all() and points[part, 2].min() > 0.0]
    if len(toes) != 10:
        raise RigMismatch(f"the texture has {len(toes)} toe charts, expected 10")
    chosen = np.zeros(len(points), dtype=bool)
    vertices = [np.unique(part) for part in toes]
    for own in range(10):
        others = np.concatenate([vertices[other] for other in range(10) if other != own])
        distance, nearest = cKDTree(points[others]).query(points[vertices[own]])
        facing = (normals[vertices[own]] * normals[others[nearest]]).sum(axis=1) < -0.3
        chosen[vertices[own][(distance < TOE_GAP_M) & facing]] = True
    return chosen


def _armpits(points: np.ndarray, normals: np.ndarray, arms: np.ndarray) -> np.ndarray:
    """Mask [V] of the skin below the shoulder joints that looks down, or outward to the arm."""
    chosen = np.zeros(len(points), dtype=bool)
    for arm in arms:
        offset = points - arm
        near = (np.linalg.norm(offset, axis=1) < ARMPIT_REACH_M) & (offset[:, 1] < -0.03)
        outward = normals[:, 0] * np.sign(arm[0])
        chosen |= near & ((normals[:, 1] < -0.35) | ((outward > 0.6) & (offset[:, 0] * np.sign(arm[0]) < 0.0)))
    return chosen
