"""Files for the layer's benchmark: our rig and shape space, and a random corrective checkpoint of SOMA-X's size."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
JOINTS, UNITS, JOINTS_PER_VERTEX = 78, 24, 3


def write_assets(folder: Path, python: Path) -> None:
    """Write the files; ``python`` has torch, which the checkpoint is saved with."""
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json", "SOMA_neutral.npz"):
        shutil.copy(CHECKOUT / "data" / name, folder / name)
    subprocess.run([str(python), __file__, str(folder)], check=True)


def write_checkpoint(path: Path, vertex_count: int) -> None:
    """Every vertex follows all 24 units of three joints: 3.9 million weights, as in SOMA-X's v0.1 file of 95 MB."""
    import numpy as np
    import torch

    random = np.random.default_rng(0)
    joints = np.stack([random.permutation(JOINTS)[:JOINTS_PER_VERTEX] for _ in range(vertex_count)])
    rows = (joints[:, :, None] * UNITS + np.arange(UNITS)).reshape(vertex_count, -1)
    columns = np.broadcast_to(np.arange(vertex_count)[:, None], rows.shape)
    index = np.stack([np.repeat(rows, 3), (columns[..., None] * 3 + np.arange(3)).ravel()])
    values = random.normal(scale=0.01, size=index.shape[1])
    shape = (JOINTS * UNITS, 3 * vertex_count)
    mask = np.stack([joints.ravel(), np.repeat(np.arange(vertex_count), JOINTS_PER_VERTEX)])
    first = random.normal(scale=0.3, size=(6 * JOINTS, JOINTS * UNITS)).astype(np.float32)
    near = np.abs(np.subtract.outer(np.arange(JOINTS), np.arange(JOINTS))) <= 2
    torch.save(
        {
            "C_max": UNITS,
            "use_tanh": True,
            "bindpose": torch.eye(3).repeat(JOINTS, 1, 1),
            "W1": torch.from_numpy(first * np.repeat(np.repeat(near, 6, axis=0), UNITS, axis=1)).to_sparse(),
            "W2": torch.sparse_coo_tensor(torch.from_numpy(index), torch.from_numpy(values).float(), shape).coalesce(),
            "M1_mask": torch.from_numpy(near.astype(np.float32)).to_sparse(),
            "M2_mask": torch.sparse_coo_tensor(
                torch.from_numpy(mask), torch.ones(mask.shape[1]), (JOINTS, vertex_count)
            ).coalesce(),
            "meta": {},
        },
        path,
    )


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]) / "correctives_model.pt", 18056)
