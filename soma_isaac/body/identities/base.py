"""One interface for every identity model: coefficients in, a rest mesh in SOMA topology out.

Every backend has a native mesh. :meth:`IdentityModel.native_points` gives it in metres and SOMA's axes (Y up, facing
+Z, X to the character's left); :meth:`IdentityModel.rest_points` carries it over to the SOMA vertices that the
:class:`SomaTarget` asks for. Both have a twin that takes and gives torch tensors and keeps gradients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import Transfer
from soma_isaac.errors import InputRejected

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Coefficients:
    """One group of numbers that shape a body.

    Attributes:
        names: One per number; empty where only the file tells how many there are.
        default: Value of the average or neutral body.
        low: Lowest sensible value.
        high: Highest sensible value.
        ranges: Lowest and highest value of those that differ from the others, by name.
        unit: What a value means, e.g. ``standard deviations``.
        bounded: Values outside the range are refused rather than extrapolated.
        required: There is no neutral value to fall back on.
    """

    names: tuple[str, ...]
    default: float
    low: float
    high: float
    unit: str
    bounded: bool = False
    required: bool = False
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many numbers K."""
        return len(self.names)

    @property
    def limits(self) -> np.ndarray:
        """Lowest and highest sensible values [2, K] float32."""
        table = [self.ranges.get(name, (self.low, self.high)) for name in self.names]
        return np.array(table, dtype=np.float32).reshape(-1, 2).T

    def defaults(self, batch: int = 1) -> np.ndarray:
        """The neutral body's values [batch, K] float32."""
        return np.full((batch, self.count), self.default, dtype=np.float32)

    def checked(self, what: str, values: ArrayLike) -> np.ndarray:
        """Values [B, K] as float32.

        Raises:
            InputRejected: The shape differs, a value is not finite, or a bounded one is out of range.
        """
        try:
            array = np.asarray(values, dtype=np.float32)
        except (ValueError, TypeError) as error:
            raise InputRejected(f"{what} are no table of numbers ({error})") from error
        if array.ndim != 2 or array.shape[1] != self.count:
            raise InputRejected(f"{what} have shape {array.shape}, expected (B, {self.count})")
        low, high = self.limits
        wrong = ~np.isfinite(array)
        if self.bounded:
            wrong |= (array < low) | (array > high)
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            wanted = f"a value from {low[column]:.4g} to {high[column]:.4g}" if self.bounded else "a finite number"
            name, value = self.names[column], array[row, column]
            raise InputRejected(f"{what}: {name} of body {row} is {value}, expected {wanted}")
        return array


@dataclass(frozen=True)
class IdentitySpec:
    """What there is to know about an identity model without loading it.

    Attributes:
        name: How it is asked for, e.g. ``smpl``.
        coefficients: The shape coefficients.
        scales: A second group, e.g. body part scales; ``None`` where there is none.
        extras: Further optional groups by name.
        unit_metres: Metres per native unit.
        axes: Native axes that become (left, up, forward), e.g. ``+X +Z -Y``.
        licence: Terms of the model's data.
        origin: Where the files come from.
        files: Paths under the assets folder that are needed.
    """

    name: str
    coefficients: Coefficients
    unit_metres: float
    axes: str
    licence: str
    origin: str
    files: tuple[str, ...]
    scales: Coefficients | None = None
    extras: Mapping[str, Coefficients] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class LinearShape:
    """Points that are linear in the coefficients: mean + coefficients . directions.

    Attributes:
        mean: [V, 3] float32 m.
        directions: [K, V, 3] float32 m per unit coefficient (standard deviations already applied).
    """

    mean: np.ndarray
    directions: np.ndarray

    def points(self, coefficients: np.ndarray) -> np.ndarray:
        """Points [B, V, 3] float32 m of coefficients [B, K]."""
        flat = self.directions.reshape(len(self.directions), -1)
        return (coefficients @ flat + self.mean.reshape(-1)).reshape(len(coefficients), *self.mean.shape)

    def points_torch(self, coefficients: torch.Tensor) -> torch.Tensor:
        """Points [B, V, 3] m of coefficients [B, K], in their dtype and on their device, with gradients."""
        import torch

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(values).to(coefficients)

        flat = coefficients @ tensor(self.directions.reshape(len(self.directions), -1))
        return (flat + tensor(self.mean.reshape(-1))).reshape(len(coefficients), *self.mean.shape)


class IdentityModel(ABC):
    """A loaded identity model. Backends implement the native mesh; the way to SOMA topology is the same for all.

    Attributes:
        spec: What it takes, with the counts of the loaded file.
        target: The SOMA vertices that are delivered.
        native_triangles: [N, 3] int32 faces of the native mesh.
        native_linear: The native mesh as a linear function of the coefficients, where it is one.
        transfer: From the native mesh to the target; ``None`` where the native mesh is SOMA's own.
    """

    spec: IdentitySpec
    target: SomaTarget
    native_triangles: np.ndarray
    native_linear: LinearShape | None = None
    transfer: Transfer | None = None

    @property
    def linear(self) -> LinearShape | None:
        """The rest points themselves as a linear function of the coefficients, where they are one (``soma`` only).

        A topology transfer adds offsets along face normals, which are not linear.
        """
        return self.native_linear if self.transfer is None else None

    def rest_points(self, coefficients: ArrayLike, scales: ArrayLike | None = None, **extras: ArrayLike) -> np.ndarray:
        """Rest meshes in SOMA topology.

        Args:
            coefficients: [B, K] as ``spec.coefficients`` names them.
            scales: [B, S] or [1, S] as ``spec.scales`` names them; neutral by default.
            **extras: Further groups of ``spec.extras``, [B, E] or [1, E].

        Returns:
            [B, V, 3] float32 m, Y up, bind pose of the backend.

        Raises:
            InputRejected: A shape differs, a value is not finite or out of range, or a group is unknown or missing.
        """
        native = self.native_points(coefficients, scales, **extras)
        return native if self.transfer is None else self.transfer.apply(native)

    def native_points(
        self, coefficients: ArrayLike, scales: ArrayLike | None = None, **extras: ArrayLike
    ) -> np.ndarray:
        """Rest meshes in the backend's own topology [B, Vn, 3] float32 m, SOMA axes; arguments as above.

        Raises:
            InputRejected: As :meth:`rest_points`.
        """
        checked = self.spec.coefficients.checked("coefficients", coefficients)
        groups = self._checked_groups(len(checked), scales, extras)
        return self._native(checked, groups)

    def rest_points_torch(
        self, coefficients: torch.Tensor, scales: torch.Tensor | None = None, **extras: torch.Tensor
    ) -> torch.Tensor:
        """:meth:`rest_points` on torch tensors, with gradients; values are not checked.

        Raises:
            InputRejected: A shape differs, or a group is unknown or missing.
        """
        native = self.native_points_torch(coefficients, scales, **extras)
        return native if self.transfer is None else self.transfer.apply_torch(native)

    def native_points_torch(
        self, coefficients: torch.Tensor, scales: torch.Tensor | None = None, **extras: torch.Tensor
    ) -> torch.Tensor:
        """:meth:`native_points` on torch tensors, with gradients; values are not checked.

        Raises:
            InputRejected: A shape differs, or a group is unknown or missing.
        """
        if coefficients.ndim != 2 or coefficients.shape[1] != self.spec.coefficients.count:
            raise InputRejected(
                f"coefficients have shape {tuple(coefficients.shape)}, expected (B, {self.spec.coefficients.count})"
            )
        groups = {}
        for name, (group, values) in self._groups(scales, extras).items():
            if tuple(values.shape) not in ((len(coefficients), group.count), (1, group.count)):
                raise InputRejected(f"{name} have shape {tuple(values.shape)}, expected (B, {group.count})")
            groups[name] = values.expand(len(coefficients), -1)
        return self._native_torch(coefficients, groups)

    def blend_weights(self, coefficients: ArrayLike) -> np.ndarray:
        """What native points are linear in [B, D], where a fixed set of shapes is blended: the coefficients themselves.

        Raises:
            InputRejected: As :meth:`rest_points`.
        """
        return self.spec.coefficients.checked("coefficients", coefficients).astype(np.float64)

    def _groups(self, scales: Any, extras: Mapping[str, Any]) -> dict[str, tuple[Coefficients, Any]]:
        """The further groups that were given, with what they have to be."""
        known = dict(self.spec.extras)
        if self.spec.scales is not None:
            known["scales"] = self.spec.scales
        given = {name: values for name, values in {"scales": scales, **extras}.items() if values is not None}
        for name in given:
            if name not in known:
                offered = ", ".join(known) or "coefficients only"
                raise InputRejected(f"the {self.spec.name} identity model takes no {name!r}; it takes {offered}")
        for name, group in known.items():
            if group.required and name not in given:
                raise InputRejected(
                    f"the {self.spec.name} identity model needs {name} of shape (B, {group.count}) ({group.unit})"
                )
        return {name: (known[name], values) for name, values in given.items()}

    def _checked_groups(self, batch: int, scales: Any, extras: Mapping[str, Any]) -> dict[str, np.ndarray]:
        groups = {}
        for name, (group, values) in self._groups(scales, extras).items():
            checked = group.checked(name, values)
            if len(checked) not in (1, batch):
                raise InputRejected(f"{len(checked)} rows of {name} do not fit {batch} bodies; give 1 or {batch}")
            groups[name] = np.broadcast_to(checked, (batch, group.count))
        return groups

    @abstractmethod
    def _native(self, coefficients: np.ndarray, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        """Native points of checked arguments; every group in ``groups`` has B rows."""

    @abstractmethod
    def _native_torch(self, coefficients: torch.Tensor, groups: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The same with gradients."""


class LinearIdentity(IdentityModel):
    """An identity model whose native mesh is linear in its coefficients."""

    native_linear: LinearShape

    def _native(self, coefficients: np.ndarray, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        return self.native_linear.points(coefficients)

    def _native_torch(self, coefficients: torch.Tensor, groups: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return self.native_linear.points_torch(coefficients)
