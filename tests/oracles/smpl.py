"""A mean SMPL person for tests: forward kinematics written joint by joint, and AMASS clips of it."""

from __future__ import annotations

import io

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.inversion.smpl_body import PELVIS_FROM_TRANS, SMPL_PARENTS, ZERO_POSES

# trunk and collar of the same person; not needed by the package
_REST = {
    3: (0.0, 0.109, -0.027),
    6: (0.0, 0.135, 0.001),
    9: (0.0, 0.053, 0.025),
    12: (0.0, 0.214, -0.043),
    13: (0.080, 0.120, -0.036),
    15: (0.0, 0.065, 0.051),
    16: (0.094, 0.032, -0.009),
}


def offsets(model: str = "smplh") -> np.ndarray:
    """Joint offsets [22, 3] m from the parents in the zero pose."""
    result = np.zeros((22, 3))
    for joint, key in ((1, "hip"), (4, "knee"), (7, "ankle"), (10, "ball"), (18, "elbow"), (20, "wrist")):
        result[joint] = ZERO_POSES[model][key]
    for joint, offset in _REST.items():
        result[joint] = offset
    for left in (1, 4, 7, 10, 13, 16, 18, 20):
        result[left + 1] = result[left] * [-1.0, 1.0, 1.0]
    return result


def joint_positions(poses: np.ndarray, trans: np.ndarray, scale: float, model: str = "smplh") -> np.ndarray:
    """World positions [T, 22, 3] m in the file's axes of rotation vectors ``poses`` [T, 66 or more]."""
    local = Rotation.from_rotvec(np.reshape(poses[:, :66], (-1, 3))).as_matrix().reshape(-1, 22, 3, 3)
    world, place = [local[:, 0]], [trans + scale * np.array(PELVIS_FROM_TRANS[model])]
    rest = offsets(model) * scale
    for joint in range(1, 22):
        parent = SMPL_PARENTS[joint]
        world.append(world[parent] @ local[:, joint])
        place.append(place[parent] + world[parent] @ rest[joint])
    return np.stack(place, axis=1)


def random_clip(seed: int = 0, frames: int = 40, amplitude: float = 0.5, width: int = 156) -> dict[str, np.ndarray]:
    """A smooth random AMASS clip, Z-up: ``amplitude`` rad of motion about standing upright."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / 120.0
    rate, phase = rng.uniform(0.2, 1.5, width), rng.uniform(0, 2 * np.pi, width)
    poses = amplitude * np.sin(2 * np.pi * rate * time[:, None] + phase)
    upright = Rotation.from_matrix([[0, 0, 1], [1, 0, 0], [0, 1, 0]]) * Rotation.from_rotvec(0.3 * poses[:, :3])
    poses[:, :3] = upright.as_rotvec()
    trans = np.array([0.1, 0.2, 0.92]) + 0.05 * np.sin(2 * np.pi * time[:, None] * rate[:3])
    return {
        "poses": poses,
        "trans": trans,
        "betas": np.zeros(16),
        "gender": np.array("female"),
        "mocap_framerate": np.array(120.0),
    }


def npz(arrays: dict[str, np.ndarray], **changes: np.ndarray | None) -> bytes:
    """Bytes of an npz of ``arrays`` with ``changes``; ``None`` removes a key."""
    merged = {**arrays, **changes}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{key: value for key, value in merged.items() if value is not None})
    return buffer.getvalue()
