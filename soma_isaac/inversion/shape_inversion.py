"""Identity coefficients from a rest mesh or from joint positions, for every identity model.

The most probable body (MAP): coefficients are normally distributed about the neutral body, points about the body's.
Meshes are in the rest pose of the identity model, joints where the public skeleton has them in that pose; scans in
other poses are not brought to it here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike

from soma_isaac.body.identities.base import IdentityModel
from soma_isaac.body.shape_observations import ShapeObservations, ShapeUnknowns, seen_topology
from soma_isaac.body.skeleton_fit import fit_tables
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.inversion.shape_solver import Solution, SolverSettings, solve_shape
from soma_isaac.rig.rig import Rig

DEFAULT_NOISE = 1e-3
"""Standard deviation [m] of each coordinate of a seen point, unless a prior weight says otherwise."""

OUTLIER_WEIGHT = 0.25
"""Points whose robust weight is less are reported as outliers: those beyond the robust distance."""

_ROOT = 1


@dataclass(frozen=True)
class ShapeResiduals:
    """What is left over for one body; lengths in the unit of the data, ``nan`` where nothing of the kind was seen.

    Attributes:
        vertex_mean: Mean distance of seen vertices.
        vertex_p95: 95 % of them are nearer.
        vertex_max: Largest one.
        joint_mean: Mean distance of seen joints.
        joint_max: Largest one.
        outliers: Share of seen points that the robust weights all but ignore; 0 without them.
        determined: How many coefficients the data decide, the others stay at the prior's mean.
        deviation: Root mean square of the coefficients in standard deviations; far above 1 is an unlikely body.
        at_bounds: Names of coefficients that ended at the end of their range.
        steps: Gauss-Newton steps.
        converged: The last step was too small to matter.
    """

    vertex_mean: float
    vertex_p95: float
    vertex_max: float
    joint_mean: float
    joint_max: float
    outliers: float
    determined: float
    deviation: float
    at_bounds: tuple[str, ...]
    steps: int
    converged: bool


@dataclass(frozen=True, eq=False)
class ShapeFit:
    """Fitted bodies.

    Attributes:
        coefficients: [B, K] float32, for :meth:`~soma_isaac.body.identities.base.IdentityModel.rest_points`.
        scales: [B, S] float32, or ``None`` where the model's scales were not fitted.
        rotation: [B, 3, 3] from the model's frame to that of the data.
        translation: [B, 3] in the unit of the data.
        similarity_scale: [B] units of the data per metre of the model; 1 unless it was freed.
        vertex_error: [B, V] distance of each vertex in the unit of the data, NaN where it was not seen; ``None``
            without a mesh.
        joint_error: [B, J] the same for joints, in the order of the input; ``None`` without joints.
        residuals: One per body.
    """

    coefficients: np.ndarray
    scales: np.ndarray | None
    rotation: np.ndarray
    translation: np.ndarray
    similarity_scale: np.ndarray
    vertex_error: np.ndarray | None
    joint_error: np.ndarray | None
    residuals: tuple[ShapeResiduals, ...]

    def placed(self, points: ArrayLike) -> np.ndarray:
        """Points [B, N, 3] of the model, e.g. its rest meshes, in the frame and unit of the data."""
        turned = np.asarray(points, dtype=np.float64) @ np.swapaxes(self.rotation, 1, 2)
        return turned * self.similarity_scale[:, None, None] + self.translation[:, None]


def fit_shape(
    model: IdentityModel,
    points: ArrayLike | None = None,
    joints: ArrayLike | None = None,
    *,
    prior_weight: float | None = None,
    free_similarity: bool = True,
    free_scale: bool = False,
    fit_scales: bool = False,
    scales: ArrayLike | None = None,
    robust: float | None = None,
    vertex_weights: ArrayLike | None = None,
    joint_weights: ArrayLike | None = None,
    joint_share: float = 1.0,
    topology: str = "auto",
    rig: Rig | None = None,
    steps: int = 40,
) -> ShapeFit:
    """Fit identity coefficients to rest meshes, to joint positions, or to both.

    Minimised is the weighted mean of squared distances, plus ``prior_weight`` times the squared coefficients in
    standard deviations. Where points are linear in the coefficients (see
    :mod:`soma_isaac.body.shape_observations`) and the similarity is held, this is one exact solve.

    Args:
        model: The identity model. A model that requires scales (mhr) gets its neutral ones by default.
        points: [B, V, 3] m, meshes in the rest pose, in SOMA topology or the model's own; ``None`` for none. Vertices
            that are not finite were not seen.
        joints: [B, 78 or 77, 3] m, public joints of the rest pose, with Root (which is not used) or from Hips on;
            ``None`` for none. Joints that are not finite were not seen.
        prior_weight: [m^2]; for N seen points with independent errors of s metres per coordinate ``s**2 / N``, by
            default with s = 1 mm. 0 for least squares; more where errors go together, as those of a body that the
            model cannot show.
        free_similarity: Find the rotation and translation of the data too.
        free_scale: Find the scale as well. The body's stature is then unknown, since any size fits.
        fit_scales: Fit the model's own ``scales`` too (body parts of mhr, local changes of anny).
        scales: [1, S] scales of the model to hold, where they are not fitted.
        robust: Distance, in the unit of the data, beyond which points count ever less (Geman and McClure); ``None``
            for least squares.
        vertex_weights: [V] or [B, V], at least 0; 0 for vertices to leave out.
        joint_weights: [J] or [B, J], likewise.
        joint_share: What the mean squared distance of joints counts against that of vertices, where both are given.
        topology: ``soma``, ``native``, or ``auto`` for what the number of vertices says.
        rig: Whose joints; the template's by default.
        steps: Gauss-Newton steps at most (per set of robust weights).

    Raises:
        InputRejected: Nothing is given, a shape, weight or option is wrong, or a body has too few seen points.
        RigMismatch: The rig does not fit the model's target.
    """
    _check_options(prior_weight, robust, joint_share, steps, free_similarity, free_scale, fit_scales, scales)
    unknowns = ShapeUnknowns.of(model, fit_scales)
    mesh = _Seen.of("points", points, vertex_weights, "vertex_weights")
    bones = _Seen.of("joints", joints, joint_weights, "joint_weights", joint_share if points is not None else 1.0)
    if mesh is None and bones is None:
        raise InputRejected("neither points nor joints are given")
    if mesh is not None and bones is not None and len(mesh.points) != len(bones.points):
        raise InputRejected(f"{len(mesh.points)} meshes and {len(bones.points)} sets of joints are given")
    vertices = None if mesh is None else seen_topology(model, mesh.points.shape[1], topology)
    regressor = None if bones is None else _joint_rows(model, rig or load_template_rig(), bones.points.shape[1])
    seen = ShapeObservations(model, unknowns, vertices, regressor, _held_scales(model, fit_scales, scales))
    parts = [part for part in (mesh, bones) if part is not None]
    target = np.concatenate([part.points for part in parts], axis=1)
    weights = np.concatenate([part.weights for part in parts], axis=1)
    counts = _seen_counts(weights, 3 if free_similarity else 1)
    solutions = []
    for count, body, shares in zip(counts, target, weights, strict=True):
        prior = DEFAULT_NOISE**2 / count if prior_weight is None else prior_weight
        settings = SolverSettings(float(prior), free_similarity, free_scale, robust, steps)
        solutions.append(solve_shape(seen, body, shares, settings))
    return _result(unknowns, seen, target, solutions, mesh, bones)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Vertices or joints: points [B, N, 3] (0 where not seen), normalised weights [B, N], and which were seen."""

    points: np.ndarray
    weights: np.ndarray
    visible: np.ndarray

    @classmethod
    def of(
        cls, name: str, points: ArrayLike | None, weights: ArrayLike | None, weights_name: str, share: float = 1.0
    ) -> _Seen | None:
        if points is None:
            if weights is not None:
                raise InputRejected(f"{weights_name} are given without {name}")
            return None
        values = np.asarray(points, dtype=np.float64)
        if values.ndim != 3 or values.shape[2] != 3:
            raise InputRejected(f"{name} have shape {values.shape}, expected (B, N, 3)")
        counts = np.ones(values.shape[1]) if weights is None else np.asarray(weights, dtype=np.float64)
        if counts.shape not in (values.shape[1:2], values.shape[:2]):
            raise InputRejected(f"{weights_name} have shape {counts.shape}, expected ({values.shape[1]},) or (B, N)")
        if not (np.isfinite(counts) & (counts >= 0.0)).all():
            raise InputRejected(f"{weights_name} are negative or not finite")
        visible = np.isfinite(values).all(axis=2) & (np.broadcast_to(counts, values.shape[:2]) > 0.0)
        counts = np.where(visible, counts, 0.0)
        total = counts.sum(axis=1, keepdims=True)
        normalised = share * counts / np.where(total > 0.0, total, 1.0)
        return cls(np.where(visible[..., None], values, 0.0), normalised, visible)


def _check_options(
    prior_weight: float | None,
    robust: float | None,
    joint_share: float,
    steps: int,
    free_similarity: bool,
    free_scale: bool,
    fit_scales: bool,
    scales: ArrayLike | None,
) -> None:
    for name, value in (("prior_weight", 0.0 if prior_weight is None else prior_weight), ("joint_share", joint_share)):
        if not (value >= 0.0 and np.isfinite(value)):
            raise InputRejected(f"{name} must be a number of at least 0, not {value!r}")
    if robust is not None and not robust > 0.0:
        raise InputRejected(f"robust must be a distance above 0, not {robust!r}")
    if steps < 1:
        raise InputRejected(f"steps must be at least 1, not {steps!r}")
    if free_scale and not free_similarity:
        raise InputRejected("free_scale needs free_similarity")
    if fit_scales and scales is not None:
        raise InputRejected("scales are either given or fitted (fit_scales), not both")


def _seen_counts(weights: np.ndarray, least: int) -> np.ndarray:
    """Seen points [B] of each body.

    Raises:
        InputRejected: A body has fewer than ``least``.
    """
    counts = (weights > 0.0).sum(axis=1)
    for body in np.flatnonzero(counts < least)[:1]:
        raise InputRejected(f"body {body} has {counts[body]} seen points, at least {least} are needed")
    return counts


def _joint_rows(model: IdentityModel, rig: Rig, count: int) -> scipy.sparse.csr_array:
    """Regressor [count, V] of the public joints, with a row for Root where there are 78."""
    tables = fit_tables(rig, model.target.lod, model.target.bag_vertices)
    total = tables.layout.public_count
    if count not in (total, total - _ROOT):
        raise InputRejected(f"{count} joints are given, expected {total} or (without Root) {total - _ROOT}")
    return scipy.sparse.csr_array(tables.regressor[total - count :])


def _held_scales(model: IdentityModel, fit_scales: bool, scales: ArrayLike | None) -> np.ndarray | None:
    group = model.spec.scales
    if scales is not None:
        if group is None:
            raise InputRejected(f"the {model.spec.name} identity model takes no scales")
        held = group.checked("scales", scales)
        if len(held) != 1:
            raise InputRejected(f"scales have {len(held)} rows, expected 1 for all bodies")
        return held
    return group.defaults() if group is not None and group.required and not fit_scales else None


def _result(
    unknowns: ShapeUnknowns,
    seen: ShapeObservations,
    target: np.ndarray,
    solutions: list[Solution],
    mesh: _Seen | None,
    bones: _Seen | None,
) -> ShapeFit:
    batch, split = len(target), 0 if mesh is None else mesh.points.shape[1]
    table = np.array([solution.unknowns for solution in solutions]).reshape(batch, unknowns.count)
    places = [solution.similarity for solution in solutions]
    errors = np.empty(target.shape[:2])
    for body, place in enumerate(places):
        shape = seen.points(table[body : body + 1])[0]
        errors[body] = np.linalg.norm(place.apply(shape) - target[body], axis=1)
    visible = np.concatenate([part.visible for part in (mesh, bones) if part is not None], axis=1)
    errors[~visible] = np.nan
    coefficients, scales = unknowns.values(table)
    return ShapeFit(
        coefficients=coefficients,
        scales=scales,
        rotation=np.array([place.rotation for place in places]).reshape(batch, 3, 3),
        translation=np.array([place.translation for place in places]).reshape(batch, 3),
        similarity_scale=np.array([place.scale for place in places]).reshape(batch),
        vertex_error=None if mesh is None else errors[:, :split],
        joint_error=None if bones is None else errors[:, split:],
        residuals=tuple(
            _residuals(unknowns, solution, row[:split], row[split:])
            for solution, row in zip(solutions, errors, strict=True)
        ),
    )


def _residuals(
    unknowns: ShapeUnknowns, solution: Solution, vertex_error: np.ndarray, joint_error: np.ndarray
) -> ShapeResiduals:
    vertex, joint = (row[np.isfinite(row)] for row in (vertex_error, joint_error))
    weights = solution.weights[np.isfinite(np.concatenate([vertex_error, joint_error]))]
    ends = (solution.unknowns <= unknowns.low) | (solution.unknowns >= unknowns.high)
    return ShapeResiduals(
        vertex_mean=float(vertex.mean()) if vertex.size else np.nan,
        vertex_p95=float(np.quantile(vertex, 0.95)) if vertex.size else np.nan,
        vertex_max=float(vertex.max()) if vertex.size else np.nan,
        joint_mean=float(joint.mean()) if joint.size else np.nan,
        joint_max=float(joint.max()) if joint.size else np.nan,
        outliers=float((weights < OUTLIER_WEIGHT).mean()),
        determined=solution.determined,
        deviation=float(np.sqrt(np.square(solution.unknowns).mean())),
        at_bounds=tuple(name for name, end in zip(unknowns.names, ends, strict=True) if end),
        steps=solution.steps,
        converged=solution.converged,
    )
