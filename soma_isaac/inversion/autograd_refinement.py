"""Refine a pose by gradients through the torch layer.

A second opinion on Gauss-Newton steps: every evaluation runs the whole body, twist helpers, skinning and pose
correctives included, and so do its derivatives. Importing this module does not import torch; calling it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.layer import UNITS_PER_METRE
from soma_isaac.body.orientations import absolute_from_relative
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.inversion.batch import PoseInversionResult
from soma_isaac.inversion.refinement_scaling import VertexMoves
from soma_isaac.inversion.targets import TargetReader
from soma_isaac.inversion.weights import checked_weights
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.math.so3 import matrix_from_rotvec

if TYPE_CHECKING:
    from soma_isaac.body.torch_identity import TorchIdentity
    from soma_isaac.body.torch_layer import TorchSomaLayer

OPTIMIZERS = ("lbfgs", "adam")

_MILLIMETRES = 1e3
_HISTORY = 30
_SMALLEST = 1e-9
_PART = 4


@dataclass(frozen=True)
class RefinementSettings:
    """How a pose is refined.

    Attributes:
        optimizer: ``lbfgs``, which converges fast where the fit is near, or ``adam``, which takes every frame for
            itself but first moves each joint by ``learning_rate``, whatever its error is.
        steps: Evaluations at most.
        learning_rate: Of Adam, for joints [rad] and, as a share of the body's height, for the translation.
        robust: Distance [m] from which on vertices count ever less (Geman and McClure); ``None`` for least squares.
        prior: Share of turns away from ``prior_pose``, as in
            :class:`soma_isaac.inversion.settings.InversionSettings`, for the template's height.
        prior_pose: [77, 3, 3] T-pose-relative rotations; by default what each frame starts from.
    """

    optimizer: str = "lbfgs"
    steps: int = 100
    learning_rate: float = 3e-3
    robust: float | None = None
    prior: float = 0.0
    prior_pose: ArrayLike | None = None

    def __post_init__(self) -> None:
        """Check names and signs.

        Raises:
            InputRejected: The optimizer is unknown or a number is out of range.
        """
        if self.optimizer not in OPTIMIZERS:
            raise InputRejected(f"no optimizer {self.optimizer!r}; there are {', '.join(OPTIMIZERS)}")
        for name in ("steps", "prior"):
            if not getattr(self, name) >= 0:
                raise InputRejected(f"{name} must be at least 0, not {getattr(self, name)!r}")
        for name in ("learning_rate", "robust"):
            value = getattr(self, name)
            if value is not None and not 0.0 < value < np.inf:
                raise InputRejected(f"{name} must be a finite number above 0, not {value!r}")


def refine(
    fit: PoseInversionResult,
    vertices: ArrayLike,
    layer: TorchSomaLayer,
    settings: RefinementSettings | None = None,
    *,
    identity: TorchIdentity | None = None,
    vertex_weights: ArrayLike | None = None,
    transfer: TopologyTransfer | None = None,
) -> PoseInversionResult:
    """Lower what is left of a fit by gradient descent.

    The variables are a rotation vector per joint, which turns the given rotation from the right, and a shift of the
    body. Every frame ends where its loss was lowest, hence never above the loss of the fit that is given. All frames
    are in memory at once, and L-BFGS searches along one line for all of them: give long clips in parts of some dozens.

    Args:
        fit: Where to start.
        vertices: [B, V, 3] in the layer's unit, as for
            :meth:`soma_isaac.inversion.pose_inversion.PoseInversion.fit`; those that are not finite do not count.
        layer: Whose bodies; with correctives if it has them.
        settings: How to refine.
        identity: From the layer's ``prepare_identity``; by default what was prepared last.
        vertex_weights: [V] or [1 or B, V]; by default what each vertex counted in the end of ``fit``.
        transfer: From another topology to the layer's mesh.

    Returns:
        Poses in the form of ``fit``. ``per_vertex_error`` is measured on the bodies that the layer poses, without
        weights; ``steps`` are the evaluations before the best, 0 where nothing was better than the given pose.

    Raises:
        InputRejected: A shape does not fit, a frame has no vertex that counts, or no identity is prepared.
    """
    import torch

    settings = settings or RefinementSettings()
    targets, missing = TargetReader(layer.layer.body, transfer).read(vertices)
    frames, count = targets.shape
    if fit.rotations.shape[0] != frames:
        raise InputRejected(f"{frames} frames of vertices do not fit a result of {len(fit.rotations)} frames")
    weights = checked_weights(fit.vertex_weights if vertex_weights is None else vertex_weights, count)
    if len(weights) not in (1, frames):
        raise InputRejected(f"{len(weights)} rows of vertex_weights do not fit {frames} frames")
    if missing is not None:
        weights = np.where(missing, 0.0, weights)
    empty = np.flatnonzero(weights.sum(axis=1) <= 0.0)
    if empty.size and frames:
        raise InputRejected(f"frame {int(empty[0])} has no vertex that counts")
    points = torch.from_numpy(targets.numpy().copy()).to(layer.device)
    descent = _Descent(fit, points, layer, settings, identity, weights / weights.sum(axis=1, keepdims=True))
    if frames and settings.steps:
        descent.run()
    rotations, translation = descent.pose()
    errors = np.zeros((0, count), dtype=np.float32)
    if frames:
        with torch.no_grad():
            posed = layer.pose(*descent.tensors(rotations, translation), identity=identity).vertices
        errors = (posed - points).norm(dim=-1).cpu().numpy()
    if missing is not None:
        errors[missing] = np.nan
    body = layer.layer.body
    return PoseInversionResult(
        rotations=rotations,
        absolute_rotations=absolute_from_relative(rotations, body.orientations, body.layout.parents),
        root_translation=translation,
        per_vertex_error=errors,
        vertex_weights=weights,
        steps=descent.best_steps,
    )


class _Descent:
    """Frames on their way down, and the best of each.

    Args:
        fit: Where to start.
        points: [B, V, 3] float32 tensor.
        layer: Whose bodies.
        settings: How to refine.
        identity: Of the layer.
        shares: [1 or B, V] vertex weights that add up to 1.
    """

    def __init__(
        self,
        fit: PoseInversionResult,
        points: Any,
        layer: TorchSomaLayer,
        settings: RefinementSettings,
        identity: TorchIdentity | None,
        shares: np.ndarray,
    ) -> None:
        import torch

        frames, joints = fit.rotations.shape[:2]
        self._layer, self._settings, self._identity, self._points = layer, settings, identity, points
        self._start = np.asarray(fit.rotations, dtype=np.float64), np.asarray(fit.root_translation, dtype=np.float64)
        self._rotations, self._translation = self.tensors(*self._start)
        self._shares = torch.from_numpy(np.asarray(shares, dtype=np.float64)).to(layer.device)
        self._unit = UNITS_PER_METRE[layer.layer.output_unit]
        self._height = float(np.ptp(layer.layer.rig.mesh(layer.layer.lod).points[:, 1]))
        prior = self._start[0]
        if settings.prior_pose is not None:
            prior = frozen_array("prior_pose", settings.prior_pose, (joints, 3, 3))[None]
            check_rotations("prior_pose", prior)
        self._prior = torch.from_numpy(np.array(prior)).to(layer.device)
        self._variables = torch.zeros(
            (frames, 3 * joints + 3), dtype=torch.float64, device=layer.device, requires_grad=True
        )
        self._scalings: Any = None
        self._best = self._variables.detach().clone()
        self._lowest = torch.full((frames,), torch.inf, dtype=torch.float64, device=layer.device)
        self._done = 0
        self.best_steps = np.zeros(frames, dtype=np.int64)

    def tensors(self, rotations: np.ndarray, translation: np.ndarray) -> tuple[Any, Any]:
        """A pose as float32 tensors on the layer's device."""
        import torch

        arrays = (np.array(part, dtype=np.float32) for part in (rotations, translation))
        rotations_out, translation_out = (torch.from_numpy(array).to(self._layer.device) for array in arrays)
        return rotations_out, translation_out

    def pose(self) -> tuple[np.ndarray, np.ndarray]:
        """The best rotations [B, 77, 3, 3] and translations [B, 3] so far, float64."""
        turns, shifts = (part.detach().cpu().numpy() for part in self._moves(self._best))
        return self._start[0] @ matrix_from_rotvec(turns), self._start[1] + shifts * (self._height * self._unit)

    def run(self) -> None:
        """Take the steps."""
        import torch

        with torch.enable_grad():
            if self._settings.optimizer == "adam":
                optimizer = torch.optim.Adam([self._variables], lr=self._settings.learning_rate)
                for _ in range(self._settings.steps):
                    optimizer.step(lambda: self._evaluate(optimizer))
            else:
                moves = VertexMoves(self._layer.layer.body)
                first = self._settings.steps // _PART
                for steps in (first, first, self._settings.steps - 2 * first):
                    if steps:
                        self._search(steps, moves)
        with torch.no_grad():
            self._keep(self._losses())

    def _search(self, steps: int, moves: VertexMoves) -> None:
        """Evaluate at most ``steps`` times, in variables that suit the best poses so far."""
        import torch

        self._start = self.pose()
        self._rotations, self._translation = self.tensors(*self._start)
        self._scalings = self._scaled(moves)
        self._best.zero_()
        with torch.no_grad():
            self._variables.zero_()
        optimizer = torch.optim.LBFGS(
            [self._variables],
            max_iter=steps,
            max_eval=steps,
            history_size=_HISTORY,
            tolerance_grad=0.0,
            tolerance_change=_SMALLEST,
            line_search_fn="strong_wolfe",
        )
        optimizer.step(lambda: self._evaluate(optimizer))

    def _evaluate(self, optimizer: Any) -> Any:
        optimizer.zero_grad()
        losses = self._losses()
        self._keep(losses.detach())
        self._done += 1
        total = losses.sum()
        total.backward()
        return total

    def _scaled(self, moves: VertexMoves) -> Any:
        """Matrices [B, 234, 234] from the variables to turns and shift."""
        import torch

        with torch.no_grad():
            posed = self._layer.pose(self._rotations, self._translation, identity=self._identity)
        vertices, transforms = (part.cpu().numpy().astype(np.float64) for part in (posed.vertices, posed.transforms))
        transforms[..., :3, 3] /= self._unit
        prior = self._settings.prior * self._height**2
        scalings = moves.scalings(
            vertices / self._unit, transforms, self._shares.cpu().numpy(), height=self._height, prior=prior
        )
        return torch.from_numpy(scalings).to(self._layer.device)

    def _moves(self, variables: Any) -> tuple[Any, Any]:
        """Rotation vectors [B, 77, 3] rad and shifts [B, 3] in body heights of variables [B, 234]."""
        if self._scalings is not None:
            variables = (self._scalings @ variables[..., None])[..., 0]
        return variables[:, :-3].unflatten(-1, (-1, 3)), variables[:, -3:]

    def _keep(self, losses: Any) -> None:
        better = losses < self._lowest
        self._lowest[better] = losses[better]
        self._best[better] = self._variables.detach()[better]
        self.best_steps[better.cpu().numpy()] = self._done

    def _losses(self) -> Any:
        """Losses [B] in square millimetres, so that an optimizer's thresholds mean the same for every unit."""
        from soma_isaac.body.torch_pose import rotation_matrices

        turns, shifts = self._moves(self._variables)
        rotations = self._rotations @ rotation_matrices(turns).float()
        shifts = (shifts * (self._height * self._unit)).float()
        posed = self._layer.pose(rotations, self._translation + shifts, identity=self._identity).vertices
        squares = (posed - self._points).double().square().sum(dim=-1) / self._unit**2
        if self._settings.robust is not None:
            squares = squares / (1.0 + squares / self._settings.robust**2)
        losses = (squares * self._shares).sum(dim=-1)
        if self._settings.prior > 0.0:
            # |A - B|^2 / 2 of two rotations is the square of the angle between them, where it is small.
            away = (rotations.double() - self._prior).square().sum(dim=(-1, -2, -3)) / 2.0
            losses = losses + self._settings.prior * self._height**2 * away
        return losses * _MILLIMETRES**2
