"""Skeleton fit, reposing and constants of posing in torch operations, for gradients to the shape of a body.

The formulas are those of :mod:`soma_isaac.body.skeleton_fit`, :mod:`soma_isaac.body.repose` and
:mod:`soma_isaac.body.identity`; everything but the skin is computed in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import warp as wp

from soma_isaac.body.align import align_method, scaled_normals
from soma_isaac.body.layout import JointLayout
from soma_isaac.body.skeleton_fit import FitTables
from soma_isaac.body.torch_pose import rigid, rigid_inverse, skew
from soma_isaac.body.torch_skin import torch_stream, warp_view
from soma_isaac.body.twist import TwistProgram
from soma_isaac.kernels.align import AUTO, launch_align
from soma_isaac.kernels.skeleton_fit import FEATURE_COUNT

_FLATNESS, _PRIOR = 1e-6, 0.05


class _BestRotation(torch.autograd.Function):
    """Rotations [N, 3, 3] float64 closest to covariances: Warp forward, the polar factor's derivative backward.

    With ``H = R M``, M symmetric, a change ``dH`` turns R by ``w``: ``(tr(M) 1 - M) w = axial(R^T dH - dH^T R)``.
    """

    @staticmethod
    def forward(ctx: Any, covariances: torch.Tensor, method: int) -> torch.Tensor:
        covariances = covariances.contiguous()
        rotations = torch.empty_like(covariances)
        given, out = (warp_view(values, wp.mat33d) for values in (covariances, rotations))
        with torch_stream(out.device):
            launch_align(covariances=given, method=method, rotations_out=out)
        if method == AUTO:
            covariances = _leaned(covariances)
        ctx.save_for_backward(covariances, rotations)
        return rotations

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        covariances, rotations = ctx.saved_tensors
        stretch = rotations.transpose(-1, -2) @ covariances
        stretch = 0.5 * (stretch + stretch.transpose(-1, -2))
        trace = stretch.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        unit = torch.eye(3, dtype=stretch.dtype, device=stretch.device)
        turned = rotations.transpose(-1, -2) @ gradients[0]
        axial = torch.stack(
            [
                turned[..., 2, 1] - turned[..., 1, 2],
                turned[..., 0, 2] - turned[..., 2, 0],
                turned[..., 1, 0] - turned[..., 0, 1],
            ],
            dim=-1,
        )
        system = trace[..., None, None] * unit - stretch
        along = _adjugate(system) @ axial[..., None]
        determinant = torch.linalg.det(system)
        scale = trace.abs().clamp_min(1e-30) ** 3
        regular = determinant.abs() > 1e-15 * scale  # elsewhere the rotation is not unique and has no derivative
        along = torch.where(
            regular[..., None], along[..., 0] / torch.where(regular, determinant, scale)[..., None], 0.0
        )
        return rotations @ skew(along), None


def _adjugate(symmetric: torch.Tensor) -> torch.Tensor:
    """Adjugates of symmetric matrices [..., 3, 3]."""
    rows = symmetric.unbind(-2)
    return torch.stack([torch.linalg.cross(rows[k - 2], rows[k - 1], dim=-1) for k in range(3)], dim=-2)


def _leaned(covariances: torch.Tensor) -> torch.Tensor:
    """Covariances with the identity blended in where they are flat, as the ``auto`` alignment has it."""
    size = covariances.abs().sum(dim=-1).amax(dim=-1).clamp_min(1e-30)
    share = (torch.linalg.det(covariances) / size**3).abs()
    weight = ((_FLATNESS - share) / _FLATNESS).clamp(0.0, 1.0)
    unit = torch.eye(3, dtype=covariances.dtype, device=covariances.device)
    return covariances + (_PRIOR * weight * size)[..., None, None] * unit


def best_rotations(covariances: torch.Tensor, method: int) -> torch.Tensor:
    """Rotations [..., 3, 3] that take ``b`` closest to ``a`` from ``H = sum a b^T`` [..., 3, 3], float64."""
    return _BestRotation.apply(covariances.reshape(-1, 3, 3), method).reshape(covariances.shape)


def arc_rotations(start: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
    """Smallest turns [..., 3, 3] that take directions to directions; opposite ones have no gradient."""
    a = start / torch.linalg.vector_norm(start, dim=-1, keepdim=True).clamp_min(1e-30)
    b = end / torch.linalg.vector_norm(end, dim=-1, keepdim=True).clamp_min(1e-30)
    turn = skew(torch.linalg.cross(a, b, dim=-1))
    cosine = (a * b).sum(dim=-1)[..., None, None]
    return torch.eye(3, dtype=a.dtype, device=a.device) + turn + turn @ turn / (1.0 + cosine).clamp_min(1e-12)


def normals(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Normals of two vectors, as long as the first; zero where they are (nearly) parallel."""
    normal = torch.linalg.cross(first, second, dim=-1)
    length, long, wide = (torch.linalg.vector_norm(v.detach(), dim=-1, keepdim=True) for v in (normal, first, second))
    usable = length > 1e-9 * long * wide
    safe = torch.where(usable, normal, torch.ones_like(normal))
    size = torch.linalg.vector_norm(torch.where(usable, first, torch.ones_like(first)), dim=-1, keepdim=True)
    return torch.where(usable, safe * size / torch.linalg.vector_norm(safe, dim=-1, keepdim=True), 0.0)


class TorchFit:
    """The skeleton fit of one rig and level of detail.

    Args:
        tables: Of :func:`soma_isaac.body.skeleton_fit.fit_tables`.
        method: ``auto``, ``kabsch`` or ``newton-schulz``; the latter's reflections have no gradient.
        device: Where tensors live.
    """

    def __init__(self, tables: FitTables, method: str, device: torch.device) -> None:
        self._method = align_method(method)
        self._device = device
        bind, points = tables.layout.bind_T_world_joint, tables.points
        joints, count = bind[:, :3, 3], len(bind)
        owners = np.repeat(np.arange(count), np.diff(tables.cluster_offsets))
        vectors = points[tables.cluster_vertices] - joints[owners]
        sizes = np.diff(tables.cluster_offsets)
        self._sums = self._tensor(np.stack([np.bincount(owners, vectors[:, k], count) for k in range(3)], axis=1))
        self._template = self._tensor(bind[:, :3, :3])
        self._rows = self._sparse_rows(tables, owners, vectors, sizes)
        inner = np.array([joint > 0 and len(children) > 0 for joint, children in enumerate(tables.children)])
        pairs = np.flatnonzero((sizes > 1) & inner)
        template_normals = np.zeros((count, 3))
        begin = tables.cluster_offsets[pairs]
        template_normals[pairs] = scaled_normals(vectors[begin], vectors[begin + 1])
        self._normals = self._tensor(template_normals)
        self._clustered = self._index(pairs)
        lone = np.flatnonzero((sizes == 1) & inner)
        self._lone = self._index(lone)
        self._lone_vectors = self._tensor(vectors[tables.cluster_offsets[lone]])
        self._one, self._several = (
            [(joint, children) for joint, children in enumerate(tables.children) if joint and wanted(len(children))]
            for wanted in (lambda n: n == 1, lambda n: n > 1)
        )
        arms = {joint: joints[children] - joints[joint] for joint, children in enumerate(tables.children)}
        self._one_index = [self._index(np.array([pair[k] for pair in self._one]).ravel()) for k in (0, 1)]
        self._one_arms = self._tensor(np.concatenate([arms[joint] for joint, _ in self._one]))
        width = max((len(children) for _, children in self._several), default=2)
        padded = np.zeros((len(self._several), width), dtype=np.int64)
        padded_arms = np.zeros((len(self._several), width, 3))
        for row, (joint, children) in enumerate(self._several):
            padded[row] = joint  # a padded child lies at its joint and adds nothing
            padded[row, : len(children)] = children
            padded_arms[row, : len(children)] = arms[joint]
        self._several_index = self._index(np.array([joint for joint, _ in self._several])), self._index(padded)
        self._several_arms = self._tensor(padded_arms)
        ends = [joint for joint, children in enumerate(tables.children) if joint and not len(children)]
        source = np.arange(count)
        source[ends] = tables.layout.parents[ends]
        self._source = self._index(source)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values, dtype=np.float64)).to(self._device)

    def _index(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.array(values, dtype=np.int64)).to(self._device)

    def _sparse_rows(
        self, tables: FitTables, owners: np.ndarray, vectors: np.ndarray, sizes: np.ndarray
    ) -> torch.Tensor:
        """[6 J, V]: the regressor, three weighted sums over clusters, and the first two vertices of each."""
        count, regressor = len(sizes), tables.regressor.tocoo()
        rows, columns = [regressor.coords[0]], [regressor.coords[1]]
        values = [regressor.data]
        for axis in range(3):
            rows.append((1 + axis) * count + owners)
            columns.append(tables.cluster_vertices)
            values.append(vectors[:, axis])
        for place in range(2):
            joints = np.flatnonzero(sizes > place)
            rows.append((4 + place) * count + joints)
            columns.append(tables.cluster_vertices[tables.cluster_offsets[joints] + place])
            values.append(np.ones(len(joints)))
        index = torch.from_numpy(np.stack([np.concatenate(rows), np.concatenate(columns)]).astype(np.int64))
        shape = (6 * count, len(tables.points))
        sparse = torch.sparse_coo_tensor(index, torch.from_numpy(np.concatenate(values)), shape, check_invariants=False)
        return sparse.coalesce().to(self._device)

    def features(self, points: torch.Tensor) -> torch.Tensor:
        """The features [B, J, 18] float64 of shapes [B, V, 3]; see :mod:`soma_isaac.kernels.skeleton_fit`."""
        batch, count = len(points), len(self._template)
        flat = points.double().permute(1, 0, 2).reshape(points.shape[1], -1)
        sums = torch.sparse.mm(self._rows, flat).reshape(6, count, batch, 3)
        position = sums[0].permute(1, 0, 2)
        covariance = sums[1:4].permute(2, 1, 3, 0) - position[..., :, None] * self._sums[:, None, :]
        firsts = [sums[4 + k].permute(1, 0, 2) - position for k in range(2)]
        return torch.cat([position, covariance.flatten(-2), *firsts], dim=-1)

    def bind(self, features: torch.Tensor) -> torch.Tensor:
        """Bind transforms [B, J, 4, 4] float64 of features [B, J, 18]."""
        if features.shape[-1] != FEATURE_COUNT:
            raise ValueError("features are not those of the skeleton fit")
        position, covariance = features[..., :3], features[..., 3:12].unflatten(-1, (3, 3))
        first, second = features[..., 12:15], features[..., 15:18]
        chosen = self._clustered
        normal = normals(first[:, chosen], second[:, chosen])
        full = covariance[:, chosen] + normal[..., :, None] * self._normals[chosen, None, :]
        unit = torch.eye(3, dtype=features.dtype, device=features.device)
        turn = unit.expand(*position.shape[:2], 3, 3).index_copy(1, chosen, best_rotations(full, self._method))
        if len(self._lone):
            turn = turn.index_copy(1, self._lone, arc_rotations(self._lone_vectors, first[:, self._lone]))
        joints, children = self._one_index
        onward = unit.expand_as(turn)
        arc = arc_rotations(
            (turn[:, joints] @ self._one_arms[..., None])[..., 0], position[:, children] - position[:, joints]
        )
        onward = onward.index_copy(1, joints, arc)
        if self._several:
            joints, children = self._several_index
            before = (turn[:, joints, None] @ self._several_arms[..., None])[..., 0]
            after = position[:, children] - position[:, joints, None]
            spread = torch.einsum("bjca,bjcd->bjad", after, before)
            across = [normals(vectors[:, :, 0], vectors[:, :, 1]) for vectors in (after, before)]
            spread = spread + across[0][..., :, None] * across[1][..., None, :]
            onward = onward.index_copy(1, joints, best_rotations(spread, self._method))
        turned = torch.cat([unit.expand(len(turn), 1, 3, 3), (onward @ turn)[:, 1:]], dim=1) @ self._template
        return rigid(turned[:, self._source], position)


def reposed_bind(bind: torch.Tensor, layout: JointLayout) -> torch.Tensor:
    """Fitted bind transforms [B, P, 4, 4] moved into the template's bind rotations; the root moves along."""
    parents = torch.from_numpy(np.maximum(layout.parents, 0).astype(np.int64)).to(bind.device)
    template = torch.from_numpy(layout.bind_T_world_joint[: layout.public_count, :3, :3].copy()).to(bind)
    above = bind[:, parents]
    offsets = (above[..., :3, :3].transpose(-1, -2) @ (bind[..., :3, 3] - above[..., :3, 3])[..., None])[..., 0]
    kept = torch.ones_like(offsets[0])
    kept[0] = 0.0
    kept[1, [0, 2]] = 0.0
    steps = (template[parents] @ (offsets * kept)[..., None])[..., 0]
    chain = np.eye(layout.public_count)
    for joint in range(1, layout.public_count):
        chain[joint] += chain[layout.parents[joint]]
    positions = torch.from_numpy(chain).to(bind) @ steps
    lift = torch.zeros_like(positions)
    lift[..., 1] = 1.0
    positions = positions - lift * positions[..., 1].amin(dim=1)[:, None, None]
    return rigid(template.expand(len(bind), -1, -1, -1), positions)


def expanded_bind(bind: torch.Tensor, layout: JointLayout, program: TwistProgram | None) -> torch.Tensor:
    """Public binds [I, P, 4, 4] with the helpers' after them: between their joints, template rotations."""
    if program is None:
        return bind
    template = torch.from_numpy(layout.bind_T_world_joint[layout.public_count :].copy()).to(bind)
    weights = torch.from_numpy(program.positions[:, : layout.public_count].copy()).to(bind)
    if np.abs(program.positions[:, layout.public_count :]).max(initial=0.0) > 0.0:
        start = torch.from_numpy(program.positions[:, layout.public_count :].copy()).to(bind)
        placed = weights @ bind[..., :3, 3] + start @ template[:, :3, 3]
    else:
        placed = weights @ bind[..., :3, 3]
    return torch.cat([bind, rigid(template[:, :3, :3].expand(len(bind), -1, -1, -1), placed)], dim=1)


def alignments(program: TwistProgram, anchor: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Constant rotations [I, C, 3, 3] left and right of every channel for an anchor pose [I, P, 4, 4]."""
    frames = segment_frames(program, anchor)
    aligned = np.flatnonzero(program.segments >= 0)
    unit = torch.eye(3, dtype=anchor.dtype, device=anchor.device)
    left = right = unit.expand(len(anchor), len(program.joints), 3, 3)
    if aligned.size:
        index = torch.from_numpy(aligned).to(anchor.device)
        frame = frames[:, program.segments[aligned].astype(np.int64)]
        rotations = anchor[..., :3, :3]
        references, joints = (table[aligned].astype(np.int64) for table in (program.references, program.joints))
        left = left.index_copy(1, index, frame.transpose(-1, -2) @ rotations[:, references])
        right = right.index_copy(1, index, rotations[:, joints].transpose(-1, -2) @ frame)
    return left, right


def segment_frames(program: TwistProgram, anchor: torch.Tensor) -> torch.Tensor:
    """Frames [I, S, 3, 3] of the segments; see :func:`soma_isaac.body.twist.segment_frames`."""
    start, end = (anchor[:, program.segment_ends[:, column].astype(np.int64)] for column in (0, 1))
    x = torch.nn.functional.normalize(end[..., :3, 3] - start[..., :3, 3], dim=-1)
    x = torch.where((x * start[..., :3, 0]).sum(dim=-1, keepdim=True) < 0.0, -x, x)
    unit = torch.eye(3, dtype=x.dtype, device=x.device)
    y = torch.zeros_like(x)
    for candidate in (unit[2].expand_as(x), unit[1].expand_as(x), start[..., :3, 2], start[..., :3, 1]):
        across = candidate - (candidate * x).sum(dim=-1, keepdim=True) * x
        length = torch.linalg.vector_norm(across.detach(), dim=-1, keepdim=True)
        y = torch.where(length > 1e-8, torch.nn.functional.normalize(across, dim=-1), y)
    z = torch.nn.functional.normalize(torch.linalg.cross(x, y, dim=-1), dim=-1)
    return torch.stack([x, torch.linalg.cross(z, x, dim=-1), z], dim=-1)


def skin_matrices(bind: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Matrices [..., 4, 4] that take skin from ``bind`` to ``target``."""
    return target @ rigid_inverse(bind)
