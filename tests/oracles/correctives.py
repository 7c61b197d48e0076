"""Random corrective models in SOMA-X's checkpoint layout, and their offsets in float64 from dense matrices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

JOINTS = 78


@dataclass
class Checkpoint:
    """Dense matrices of a checkpoint, in its own unit (cm), masks apart."""

    bind: np.ndarray
    first: np.ndarray
    second: np.ndarray
    first_mask: np.ndarray | None
    second_mask: np.ndarray | None
    use_tanh: bool
    per_joint: int

    def save(self, path: Path) -> None:
        """Write it as SOMA-X does: torch.save of a dictionary with sparse tensors."""
        import torch

        record = {
            "C_max": self.per_joint,
            "use_tanh": self.use_tanh,
            "bindpose": torch.tensor(self.bind, dtype=torch.float32),
            "W1": torch.tensor(self.first, dtype=torch.float32).to_sparse(),
            "W2": torch.tensor(self.second, dtype=torch.float32).to_sparse(),
            "meta": {"epochs": 3, "name": "random", "rates": [0.1, 0.2]},
        }
        for name, mask in (("M1_mask", self.first_mask), ("M2_mask", self.second_mask)):
            if mask is not None:
                record[name] = torch.tensor(mask, dtype=torch.float32).to_sparse()
        torch.save(record, path)

    def masked(self) -> tuple[np.ndarray, np.ndarray]:
        """Both layers with their masks applied."""
        first, second = self.first, self.second
        if self.first_mask is not None:
            first = first * np.repeat(np.repeat(self.first_mask, 6, axis=0), self.per_joint, axis=1)
        if self.second_mask is not None:
            second = second * np.repeat(np.repeat(self.second_mask, self.per_joint, axis=0), 3, axis=1)
        return first, second

    def offsets(self, local_rotations: np.ndarray) -> np.ndarray:
        """Offsets [B, V, 3] m for absolute local rotations [B, 78, 3, 3]."""
        first, second = self.masked()
        turned = np.swapaxes(self.bind[:, :3, :3], -1, -2) @ local_rotations - np.eye(3)
        hidden = np.maximum(turned[..., :2].reshape(len(turned), -1) @ first, 0.0)
        if self.use_tanh:
            hidden = np.tanh(hidden)
        return (hidden @ second).reshape(len(turned), -1, 3) * 0.01


def random_checkpoint(
    vertex_count: int, seed: int, *, use_tanh: bool = True, masks: bool = True, per_joint: int = 4
) -> Checkpoint:
    """Offsets of a few millimetres; bind rotations, root included, differ from the identity."""
    rng = np.random.default_rng(seed)
    units = JOINTS * per_joint
    bind = np.tile(np.eye(4), (JOINTS, 1, 1))
    bind[:, :3, :3] = Rotation.from_rotvec(rng.normal(scale=0.2, size=(JOINTS, 3))).as_matrix()

    def sparse(shape: tuple[int, int], density: float, scale: float) -> np.ndarray:
        return rng.normal(scale=scale, size=shape) * (rng.random(shape) < density)

    first, second = sparse((6 * JOINTS, units), 0.05, 0.6), sparse((units, 3 * vertex_count), 0.02, 0.08)
    first_mask = second_mask = None
    if masks:
        first_mask = (rng.random((JOINTS, JOINTS)) < 0.5).astype(float)
        second_mask = (rng.random((JOINTS, vertex_count)) < 0.4) * rng.uniform(0.5, 1.0, (JOINTS, vertex_count))
    return Checkpoint(bind, first, second, first_mask, second_mask, use_tanh, per_joint)
