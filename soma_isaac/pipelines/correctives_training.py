"""Distil pose correctives for the open rig from an elastic solid around each large joint.

Anny, whose bodies the open shape space is made of, poses its SOMA rig by linear blend skinning with the weights that
our rig has too, so there is nothing to learn from it. The target here is :mod:`soma_isaac.pipelines.elastic_joint`: the
same bones inside flesh that keeps its shape and volume. Offsets are taken back to the rest shape through the blended
transforms. Each joint's hidden units see only where its bone points (the first column of its turned frame), so twist,
which the helpers carry, changes nothing; they are chosen greedily from a fixed pool, their offsets by ridge
regression. The left side is solved; the right is its mirror image, for mirrored poses have equal local rotations in
the SOMA rig.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse

from soma_isaac.body.layout import JointLayout, joint_layout
from soma_isaac.body.regressor import folded_weights
from soma_isaac.errors import RigMismatch
from soma_isaac.formats.corrective_model import INPUTS_PER_JOINT, CorrectiveWeights, write_correctives
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.math.so3 import shortest_arc
from soma_isaac.pipelines.corrective_plans import PLANS, JointPlan, bone_directions, joint_region, unit_vector
from soma_isaac.pipelines.elastic_joint import RIM, ElasticJoint, JointRegion
from soma_isaac.rig.decimate import mirror_indices
from soma_isaac.rig.mesh import edge_use
from soma_isaac.rig.rig import Rig

MIRROR = np.array([-1.0, 1.0, 1.0])
POOL = 3000
GAIN = 0.7
"""Length of a unit's weights; larger ones bend sharply and do badly between the poses that they were fitted to."""

RIDGE = 1e-2
SMOOTHING = (0.5, -0.53, 0.5, -0.53)
"""Shares of the way to the neighbours' mean, there and back (Taubin 1995), so that the offsets do not shrink."""

LEAST_OFFSET_M = 1e-4
"""Offsets of one unit below this are left out."""

_HELD_OUT_SHARE = 5
_MM = 1000.0


@dataclass(frozen=True)
class CorrectivesConfig:
    """What to train.

    Attributes:
        output: The safetensors file.
        seed: Of the pool of units.
    """

    output: Path
    seed: int = 7


@dataclass(frozen=True)
class JointFigures:
    """What training one joint gave.

    Attributes:
        poses: Poses solved.
        offset_mm: Mean and largest target offset over the vertices that move by more than 1 mm in some pose.
        fitted_mm: Mean error of the model there.
        held_out_mm: Mean error of a model fitted without a fifth of the poses, on these.
        held_out_offset_mm: Mean offset in these poses, which is the error without correctives.
        volume_ml: Change of the body's volume when blended, corrected, elastic, by angle from the bind pose [deg] (near
            90 and the largest).
    """

    poses: int
    offset_mm: tuple[float, float]
    fitted_mm: float
    held_out_mm: float
    held_out_offset_mm: float
    volume_ml: dict[int, tuple[float, float, float]]


@dataclass(frozen=True)
class CorrectivesReport:
    """Figures by joint, size of the file, hidden units and offsets in it."""

    joints: dict[str, JointFigures]
    byte_count: int
    unit_count: int
    entry_count: int


@dataclass(frozen=True, eq=False)
class _Trained:
    """One joint: vertices [N], weights [3, C] of the units, offsets [C, N, 3] m."""

    plan: JointPlan
    vertices: np.ndarray
    first: np.ndarray
    second: np.ndarray


def train_correctives(config: CorrectivesConfig) -> CorrectivesReport:
    """Solve, fit, write.

    Raises:
        RigMismatch: The rig is not mirror symmetric.
    """
    rig = load_template_rig()
    layout = joint_layout(rig, twist=False)
    weights = folded_weights(rig.mesh("mid"), layout)
    random = np.random.default_rng(config.seed)
    trained, figures = [], {}
    for plan in PLANS:
        region = joint_region(rig, layout, weights, plan)
        result, numbers = _train(rig, layout, region, plan, bone_directions(region, plan), random)
        trained.append(result)
        figures[plan.joint] = numbers
    model = assembled(rig, layout, trained)
    write_correctives(config.output, model)
    return CorrectivesReport(figures, config.output.stat().st_size, model.unit_count, len(model.vertex_units))


def bone_inputs(layout: JointLayout, joint: str, rotations: np.ndarray) -> np.ndarray:
    """What the units of a joint see [P, 3]: first column of its turned bind frame, less the bind's.

    Args:
        layout: The rig's public joints.
        joint: Name.
        rotations: [P, 3, 3] of the joint in the world of the bind pose.
    """
    frame = layout.bind_T_world_joint[layout.index(joint), :3, :3]
    return (frame.T @ rotations @ frame)[:, :, 0] - np.array([1.0, 0.0, 0.0])


def hidden(inputs: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Units [P, C] of inputs [P, 3]."""
    return np.tanh(np.maximum(inputs @ first, 0.0))


def chosen_units(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Weights [3, C] and offsets [C, D] of units that explain targets [P, D] at inputs [P, 3], weighed by ``weights``.

    Each step takes from a pool the unit that, with those already taken, leaves the least of the targets.
    """
    directions = random.normal(size=(3, POOL))
    directions *= GAIN / np.linalg.norm(directions, axis=0)
    weights = weights / weights.mean()
    pool = hidden(inputs, directions) * weights[:, None]
    targets = targets * weights[:, None]
    scores, _ = np.linalg.qr(targets.T)
    small = targets @ scores
    rest, residual, taken = pool.copy(), small.copy(), []
    for _ in range(count):
        gain = ((rest.T @ residual) ** 2).sum(axis=1) / ((rest**2).sum(axis=0) + RIDGE * len(inputs))
        gain[taken] = -1.0
        best = int(gain.argmax())
        taken.append(best)
        axis = rest[:, best] / max(np.linalg.norm(rest[:, best]), 1e-12)
        residual = residual - np.outer(axis, axis @ residual)
        rest = rest - np.outer(axis, axis @ rest)
    units = pool[:, taken]
    second = np.linalg.solve(units.T @ units + RIDGE * np.eye(count), units.T @ targets)
    return directions[:, taken], second


def assembled(rig: Rig, layout: JointLayout, trained: list[_Trained]) -> CorrectiveWeights:
    """The model of both sides.

    Raises:
        RigMismatch: The rig's frames or vertices are not mirror images.
    """
    mirror = mirror_indices(rig.mesh("mid").points)
    if (mirror < 0).any():
        raise RigMismatch("the rig's mid mesh is not mirror symmetric")
    total = 2 * sum(result.first.shape[1] for result in trained)
    first = np.zeros((INPUTS_PER_JOINT * layout.public_count, total))
    second = scipy.sparse.lil_array((total, 3 * len(mirror)))
    begin = 0
    for result in trained:
        for side in ("Left", "Right"):
            joint = layout.index(result.plan.joint.replace("Left", side))
            units = slice(begin, begin + result.first.shape[1])
            begin = units.stop
            first[INPUTS_PER_JOINT * joint + np.array([0, 2, 4]), units] = result.first
            vertices, offsets = result.vertices, result.second
            if side == "Right":
                _check_mirrored(layout, result.plan.joint)
                vertices, offsets = mirror[vertices], offsets * MIRROR
            kept = np.linalg.norm(offsets, axis=2) >= LEAST_OFFSET_M
            columns = (3 * vertices[:, None] + np.arange(3)).ravel()
            second[units.start : units.stop, columns] = (offsets * kept[..., None]).reshape(len(offsets), -1)
    return CorrectiveWeights.from_matrices(
        local_bind_rotations(layout),
        first,
        scipy.sparse.csr_array(second),
        squash=True,
        note="scripts/train_correctives.py: elastic flesh at elbow, knee, wrist, shoulder and hip of the template",
    )


def local_bind_rotations(layout: JointLayout) -> np.ndarray:
    """Bind rotations [78, 3, 3] of the public joints in their parents' frames; the root's in the world."""
    world = layout.bind_T_world_joint[: layout.public_count, :3, :3]
    local = np.swapaxes(world[np.maximum(layout.parents, 0)], 1, 2) @ world
    local[0] = world[0]
    return local


def _train(
    rig: Rig,
    layout: JointLayout,
    region: JointRegion,
    plan: JointPlan,
    directions: np.ndarray,
    random: np.random.Generator,
) -> tuple[_Trained, JointFigures]:
    solid = ElasticJoint(region)
    bone = unit_vector(region.child_end - region.center)
    rotations = np.array([shortest_arc(bone, direction) for direction in directions])
    offsets = np.array([_rest_offsets(solid, rotation, solid.solve(rotation)[0]) for rotation in rotations])
    offsets = _smoothed(rig, solid.vertices, offsets)
    moving = np.linalg.norm(offsets, axis=2).max(axis=0) > LEAST_OFFSET_M
    offsets = offsets[:, moving]
    inputs = bone_inputs(layout, plan.joint, rotations)
    held_out = np.zeros(len(rotations), dtype=bool)
    held_out[random.permutation(len(rotations))[: len(rotations) // _HELD_OUT_SHARE]] = True
    flat = offsets.reshape(len(offsets), -1)
    # small turns are what bodies do most, and large ones have large offsets: weighed by the angle, both count
    weights = 1.0 / np.arccos(np.clip(directions @ bone, -1.0, 1.0))
    trial = chosen_units(inputs[~held_out], flat[~held_out], weights[~held_out], plan.units, random)
    unseen = (hidden(inputs[held_out], trial[0]) @ trial[1]).reshape(-1, *offsets.shape[1:])
    first, second = chosen_units(inputs, flat, weights, plan.units, random)
    result = _Trained(plan, solid.vertices[moving], first, second.reshape(plan.units, -1, 3))
    modelled = (hidden(inputs, first) @ second).reshape(offsets.shape)
    clear = np.linalg.norm(offsets, axis=2).max(axis=0) > 1e-3
    length = np.linalg.norm(offsets[:, clear], axis=2) * _MM
    error = np.linalg.norm((modelled - offsets)[:, clear], axis=2) * _MM
    angles = np.degrees(np.arccos(np.clip(directions @ bone, -1.0, 1.0)))
    volumes = {}
    for pose in (int(np.argmin(np.abs(angles - 90.0))), int(np.argmax(angles))):
        blended, corrected, elastic = (
            _volume_change(region, rotations[pose], result.vertices, moved)
            for moved in (np.zeros_like(offsets[0]), modelled[pose], offsets[pose])
        )
        volumes[round(float(angles[pose]))] = (blended, corrected, elastic)
    return result, JointFigures(
        poses=len(rotations),
        offset_mm=(float(length.mean()), float(length.max())),
        fitted_mm=float(error.mean()),
        held_out_mm=float(np.linalg.norm((unseen - offsets[held_out])[:, clear], axis=2).mean()) * _MM,
        held_out_offset_mm=float(length[held_out].mean()),
        volume_ml=volumes,
    )


def _rest_offsets(solid: ElasticJoint, rotation: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Offsets [N, 3] of the rest shape that blending turns into the elastic skin, faded out at the rim."""
    region = solid.region
    rest = region.points[solid.vertices] - region.center
    blend = np.eye(3) + region.shares[solid.vertices, None, None] * (rotation - np.eye(3))
    offsets = np.linalg.solve(blend, (skin - region.center)[..., None])[..., 0] - rest
    share = np.linalg.norm(rest, axis=1) / region.radius
    return offsets * np.clip((1.0 - share) / (1.0 - RIM), 0.0, 1.0)[:, None]


def _smoothed(rig: Rig, vertices: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Offsets [P, N, 3] evened out over the skin, so that the lattice does not show; zero outside."""
    mesh = rig.mesh("mid")
    edges = edge_use(mesh.triangles)[0]
    graph = scipy.sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(mesh.vertex_count,) * 2)
    graph = scipy.sparse.csr_array(graph + graph.T)
    degree = graph.sum(axis=1)[vertices]
    mean = scipy.sparse.diags_array(1.0 / degree) @ graph[vertices][:, vertices]
    flat = np.swapaxes(offsets, 0, 1).reshape(len(vertices), -1)
    for share in SMOOTHING:
        flat = flat + share * (mean @ flat - flat)
    return np.swapaxes(flat.reshape(len(vertices), len(offsets), 3), 0, 1)


def _volume_change(region: JointRegion, rotation: np.ndarray, vertices: np.ndarray, offsets: np.ndarray) -> float:
    """Change of the body's volume [ml] when the joint turns and the rest shape is corrected."""
    rest = region.points - region.center
    moved = rest.copy()
    moved[vertices] += offsets
    posed = moved + region.shares[:, None] * (moved @ (rotation - np.eye(3)).T)
    return (_volume(posed, region.triangles) - _volume(rest, region.triangles)) * 1e6


def _volume(points: np.ndarray, triangles: np.ndarray) -> float:
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", np.cross(a, b), c) / 6.0)


def _check_mirrored(layout: JointLayout, joint: str) -> None:
    """Mirrored poses must have equal local rotations: the right frame is the left's image turned about its own x."""
    frames = [layout.bind_T_world_joint[layout.index(name), :3, :3] for name in (joint, joint.replace("Left", "Right"))]
    if np.abs(np.diag(MIRROR) @ frames[0] + frames[1]).max() > 1e-3:
        raise RigMismatch(f"the frames of {joint} and its right counterpart are not mirror images")
