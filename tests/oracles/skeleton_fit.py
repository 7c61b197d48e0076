"""Float64 oracle of the skeleton fit: regression by its saddle point system, alignment by SVD, joint by joint."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.rig.rig import Rig
from tests.oracles.body import public_parent


def folded(rig: Rig, lod: str) -> dict[str, np.ndarray]:
    """Weight of every vertex [V] by public joint; other joints' weights go to their nearest public ancestor."""
    mesh = rig.mesh(lod)
    weights = {name: np.zeros(mesh.vertex_count) for name in rig.public_joint_names}
    for joint, name in enumerate(rig.skeleton.joint_names):
        owner = name if name in weights else public_parent(rig, name)
        for slot in range(mesh.joint_indices.shape[1]):
            weights[owner] += np.where(mesh.joint_indices[:, slot] == joint, mesh.joint_weights[:, slot], 0.0)
    return weights


def regression(points: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Weights [N] of thin radial functions |r| with affine precision, from the textbook's saddle point system."""
    count = len(points)
    system = np.zeros((count + 4, count + 4))
    system[:count, :count] = np.linalg.norm(points[:, None] - points, axis=2)
    system[:count, count] = 1.0
    system[:count, count + 1 :] = points
    system[count:, :count] = system[:count, count:].T
    right = np.concatenate([np.linalg.norm(points - query, axis=1), [1.0], query])
    return np.linalg.solve(system, right)[:count]


def kabsch(target: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Best proper rotation [3, 3]; the scaled normals of the first two vectors join the sets."""
    covariance = target.T @ source
    normals = [np.cross(vectors[0], vectors[1]) for vectors in (target, source)]
    if min(np.linalg.norm(normal) for normal in normals) > 1e-12:
        a, b = (
            normal / np.linalg.norm(normal) * np.linalg.norm(vectors[0])
            for normal, vectors in zip(normals, (target, source), strict=True)
        )
        covariance += np.outer(a, b)
    u, _, vt = np.linalg.svd(covariance)
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


def shortest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Smallest rotation [3, 3] that takes one direction to another."""
    axis = np.cross(start, end)
    angle = np.arctan2(np.linalg.norm(axis), start @ end)
    return Rotation.from_rotvec(axis / max(np.linalg.norm(axis), 1e-300) * angle).as_matrix()


def rotations(rig: Rig, lod: str, points: np.ndarray, joints: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Bind rotations of the public joints for a shape [V, 3] whose joints are known."""
    weights, mesh = folded(rig, lod), rig.mesh(lod)
    template = {name: rig.skeleton.bind_T_world_joint[rig.skeleton.index(name)] for name in rig.public_joint_names}
    children = {name: [c for c in rig.public_joint_names if public_parent(rig, c) == name] for name in template}
    root = rig.public_joint_names[0]
    result = {root: template[root][:3, :3]}
    for name in rig.public_joint_names[1:]:
        if not children[name]:
            result[name] = result[public_parent(rig, name)]
            continue
        origin = template[name][:3, 3]
        rows = weights[name] > 0.01
        turn = kabsch(points[rows] - joints[name], mesh.points[rows] - origin)
        before = np.array([turn @ (template[child][:3, 3] - origin) for child in children[name]])
        after = np.array([joints[child] - joints[name] for child in children[name]])
        rest = shortest_turn(before[0], after[0]) if len(before) == 1 else kabsch(after, before)
        result[name] = rest @ turn @ template[name][:3, :3]
    return result
