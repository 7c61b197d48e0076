"""The skinning energy of a rig as a quadratic form: which joints move which vertices, and what is summed of a body.

See :mod:`soma_isaac.kernels.inversion_moments` for the formulas. Nodes are the skinned joints that move vertices, twist
helpers included; pairs are nodes that share vertices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp

from soma_isaac.body.identity import PreparedIdentity, device_array
from soma_isaac.body.layout import top_influences
from soma_isaac.body.soma import SomaBody
from soma_isaac.body.twist import TwistProgram, expanded_bind
from soma_isaac.errors import RigMismatch
from soma_isaac.kernels.inversion_moments import NodeEntries, PairEntries, launch_levers, launch_pair_sums


@dataclass(frozen=True, eq=False)
class SkinTables:
    """Who moves what at one level of detail.

    Attributes:
        nodes: [N] skinned joints that move vertices, ascending.
        pairs: [Q, 2] nodes (indices into ``nodes``) that share vertices, first <= second.
        node_counts: [N] vertices that each node moves.
        entries: The vertices of the nodes.
        pair_entries: The vertices of the pairs.
    """

    nodes: np.ndarray
    pairs: np.ndarray
    node_counts: np.ndarray
    entries: NodeEntries
    pair_entries: PairEntries


def skin_tables(body: SomaBody) -> SkinTables:
    """Collect nodes and pairs of a body's mesh.

    Raises:
        RigMismatch: The root moves vertices, which no pose could then explain.
    """
    offsets, joints, weights = top_influences(body.rig.mesh(body.lod), body.layout)
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    nodes, columns = np.unique(joints, return_inverse=True)
    if nodes[0] == 0:
        raise RigMismatch(f"the joint {body.layout.joint_names[0]!r} moves vertices; inversion needs a free root")
    order = np.lexsort((rows, columns))
    starts = np.searchsorted(columns[order], np.arange(len(nodes) + 1))
    device = body.device
    first, second, shared, products = _vertex_pairs(offsets, columns, weights)
    keys, pair_of = np.unique(first * len(nodes) + second, return_inverse=True)
    pairs = np.stack([keys // len(nodes), keys % len(nodes)], axis=1)
    pair_order = np.lexsort((shared, pair_of))
    return SkinTables(
        nodes=nodes,
        pairs=pairs,
        node_counts=np.diff(starts),
        entries=NodeEntries(
            offsets=device_array(starts.astype(np.int32), wp.int32, device),
            vertices=device_array(rows[order].astype(np.int32), wp.int32, device),
            weights=device_array(weights[order], wp.float32, device),
        ),
        pair_entries=PairEntries(
            offsets=device_array(
                np.searchsorted(pair_of[pair_order], np.arange(len(pairs) + 1)).astype(np.int32), wp.int32, device
            ),
            vertices=device_array(shared[pair_order].astype(np.int32), wp.int32, device),
            weights=device_array(products[pair_order], wp.float32, device),
            first=device_array(pairs[:, 0].astype(np.int32), wp.int32, device),
            second=device_array(pairs[:, 1].astype(np.int32), wp.int32, device),
        ),
    )


def _vertex_pairs(
    offsets: np.ndarray, nodes: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """First and second node, vertex and product of weights for every two entries of a vertex, each pair once."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []
    counts = np.diff(offsets)
    for a in range(int(counts.max(initial=0))):
        for b in range(a, int(counts.max(initial=0))):
            vertices = np.flatnonzero(counts > b)
            left, right = offsets[vertices] + a, offsets[vertices] + b
            low, high = np.minimum(nodes[left], nodes[right]), np.maximum(nodes[left], nodes[right])
            parts.append((low, high, vertices, weights[left] * weights[right]))
    first, second, shared, products = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return first.astype(np.int64), second.astype(np.int64), shared, products


@dataclass(frozen=True, eq=False)
class BodyGeometry:
    """Where the joints of I identities are, in float64; what the solver reads besides the sums.

    Turns are rotations since the bind pose, in world axes: a skinned joint's turn is ``W B^-1``.

    Attributes:
        bind_rotations: [I, K, 3, 3] of all skinned joints.
        centres: [I, K, 3] m, bind positions, in the frame of the rest points.
        offsets: [I, K, 3] m, from the parent in the bind pose, bone scales included; a joint is at
            ``p_parent + turn_parent offset``.
        zero_turns: [I, P, 3, 3] ``E_j = O_j B_j^T``, turns at zero pose: ``turn_j = G_j E_j`` with the product
            ``G_j`` of T-pose-relative rotations.
    """

    bind_rotations: np.ndarray
    centres: np.ndarray
    offsets: np.ndarray
    zero_turns: np.ndarray


def body_geometry(body: SomaBody, identity: PreparedIdentity, program: TwistProgram | None) -> BodyGeometry:
    """Collect the geometry of prepared identities; ``program`` is the body's compiled twist table."""
    layout = body.layout
    public = layout.public_count
    bind = expanded_bind(identity.bind_T_world_joint, layout, program)
    rotations = bind[..., :3, :3]
    parents = np.maximum(layout.parents, 0)
    local = identity.arrays.absolute_offsets.numpy().astype(np.float64)
    count = max(len(local), len(bind))
    offsets = np.zeros((count, bind.shape[1], 3))
    offsets[:, :public] = (rotations[:, parents] @ local[..., None])[..., 0]
    if identity.arrays.helpers is not None:
        local = identity.arrays.helpers.bind_offsets.numpy().astype(np.float64)
        offsets[:, public:] = (rotations[:, layout.helper_parents] @ local[..., None])[..., 0]
    return BodyGeometry(
        bind_rotations=np.broadcast_to(rotations, (count, *rotations.shape[1:])),
        centres=np.broadcast_to(bind[..., :3, 3], (count, bind.shape[1], 3)),
        offsets=offsets,
        zero_turns=np.broadcast_to(
            body.orientations @ np.swapaxes(rotations[:, :public], -1, -2), (count, public, 3, 3)
        ),
    )


def levers(tables: SkinTables, points: wp.array, centres: wp.array, vertex_weights: wp.array) -> wp.array:
    """The weighted levers [R, E] vec4 of R bodies, or of one body with R weightings; see :func:`pair_sums`."""
    rows = max(points.shape[0], vertex_weights.shape[0])
    result = wp.empty((rows, len(tables.entries.vertices)), dtype=wp.vec4, device=points.device)
    launch_levers(tables.entries, points=points, centres=centres, vertex_weights=vertex_weights, levers_out=result)
    return result


def pair_sums(tables: SkinTables, points: wp.array, centres: np.ndarray, vertex_weights: wp.array) -> wp.array:
    """The sums ``G_kl`` [R, Q] mat44d of R bodies, or of one body with R weightings.

    Args:
        tables: The mesh.
        points: [1 or R, V] vec3, m, rest shapes.
        centres: [1 or R, N, 3] m, bind positions of the nodes.
        vertex_weights: [1 or R, V] float32.
    """
    rows = max(points.shape[0], vertex_weights.shape[0])
    sums = wp.empty((rows, len(tables.pairs)), dtype=wp.mat44d, device=points.device)
    launch_pair_sums(
        tables.pair_entries,
        points=points,
        centres=device_array(centres, wp.vec3, points.device),
        vertex_weights=vertex_weights,
        sums_out=sums,
    )
    return sums
