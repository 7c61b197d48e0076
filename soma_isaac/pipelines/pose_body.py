"""The body that a pose is for: an identity of any backend, a motion's own bones, or a custom character's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp

from soma_isaac.body import PreparedIdentity, SomaBody
from soma_isaac.body.identities.presets import preset
from soma_isaac.body.identity import device_array
from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import open_npz
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton
from soma_isaac.motion.soma import MotionIdentity
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, template_rest_offsets
from soma_isaac.sim.placement import hips_heights

SIZE_RANGE = (0.05, 10.0)
"""Of a character against the template: a figure of 9 cm to a giant of 17 m."""


@dataclass(frozen=True, eq=False)
class ShownBody:
    """A body that can be posed and drawn.

    Attributes:
        layer: What poses its skin.
        identity: The skin; its joints are where ``motion_identity`` has them.
        motion_identity: Its bones and where they come from.
        name: What to call it.
    """

    layer: SomaLayer
    identity: PreparedIdentity
    motion_identity: MotionIdentity
    name: str

    @property
    def body(self) -> SomaBody:
        """What poses the skin."""
        return self.layer.body

    @property
    def skeleton(self) -> BodySkeleton:
        """The 23 joints that learned IK poses."""
        return BodySkeleton.from_public_offsets(self.motion_identity.rest_offsets)


def identity_body(
    identity: str = "template",
    *,
    named: str | None = None,
    coefficients: list[float] | None = None,
    groups: dict[str, list[float]] | None = None,
    scale: float = 1.0,
    lod: str = "mid",
    assets: str | None = None,
    model_path: str | None = None,
) -> ShownBody:
    """A body of an identity model.

    Args:
        identity: ``template``, ``soma``, ``anny``, ``smpl``, ...
        named: A named body of the open shape space, e.g. ``child``; instead of ``identity`` and ``coefficients``.
        coefficients: Of the identity model; its defaults if ``None``.
        groups: Further groups of coefficients, ``bone_scales`` among them.
        scale: Factor on the body.
        lod: Level of detail of the skin.
        assets: Folder in SOMA-X layout with the identity model's files.
        model_path: The identity model's own file.

    Raises:
        InputRejected: A file is missing or not sound, or coefficients do not fit.
        MissingDependency: The identity model needs a package that is not installed.
    """
    layer = SomaLayer(identity="soma" if named is not None else identity, lod=lod, assets=assets, model_path=model_path)
    values = None if coefficients is None else np.array([coefficients], dtype=np.float64)
    values = preset(named)[None] if named is not None else values
    rows: dict[str, Any] = {name: np.array([row], np.float64) for name, row in (groups or {}).items()}
    scales, bones = rows.pop("scales", None), rows.pop("bone_scales", None)
    prepared = layer.prepare_identity(values, scales, bone_scales=bones, global_scale=scale, **rows)
    offsets = prepared.arrays.relative_offsets.numpy()[0].astype(np.float64)
    offsets[0], offsets[1] = 0.0, (0.0, float(hips_heights(layer.body, prepared)[0]), 0.0)
    kept = np.zeros(0) if values is None or scale != 1.0 or rows or scales is not None else values[0]
    model = "soma" if identity == "template" or named is not None else identity
    found = MotionIdentity(model, kept, None, offsets, "template" if identity == "template" and not named else "mesh")
    return ShownBody(layer, prepared, found, named or identity)


def bones_body(motion_identity: MotionIdentity, name: str, lod: str = "mid") -> ShownBody:
    """The template's skin on given bones: scaled as a whole, then stretched until every joint is in its place.

    Args:
        motion_identity: The bones.
        name: What to call it.
        lod: Level of detail of the skin.
    """
    layer = SomaLayer(lod=lod)
    offsets = motion_identity.rest_offsets
    scale = BodySkeleton.from_public_offsets(offsets).scale
    grown = layer.prepare_identity(global_scale=scale)
    lengths = np.linalg.norm(grown.arrays.relative_offsets.numpy()[0].astype(np.float64), axis=-1)
    ratios = np.ones((1, len(offsets)))
    ratios[0, 2:] = np.maximum(np.linalg.norm(offsets[2:], axis=-1), 1e-4) / np.maximum(lengths[2:], 1e-4)
    # Lengths go to the helpers along the limbs as well; directions of bones are ours to put right.
    prepared = layer.body.prepare(grown.rest_points, grown.bind_T_world_joint, joint_scales=ratios)
    moved = prepared.arrays.relative_offsets.numpy().astype(np.float64)
    moved[0, 2:] = offsets[2:]
    arrays = prepared.arrays._replace(relative_offsets=device_array(moved, wp.vec3, layer.device))
    return ShownBody(layer, replace(prepared, arrays=arrays), motion_identity, name)


def file_bones(path: Path) -> MotionIdentity:
    """The bones that a file has.

    Args:
        path: A motion (SOMA npz, BVH, ...), an npz with ``rest_offsets_m`` [78, 3], or a character at rest (``.usda``,
            ``.glb``, ``.gltf``, ``.vrm``).

    Raises:
        InputRejected: It has none.
    """
    if path.suffix.lower() == ".npz":
        archive = open_npz(path)
        if "rest_offsets_m" in archive and "poses" not in archive:
            offsets = archive.numbers("rest_offsets_m", (78, 3))
            return MotionIdentity("soma", np.zeros(0), None, offsets, "file")
    if path.suffix.lower() in (".npz", ".bvh"):
        return load_motion(path).identity
    from soma_isaac.pipelines.character_file import read_character
    from soma_isaac.pipelines.character_motion import CharacterRig

    character = read_character(path)
    try:
        rig = CharacterRig.from_joints(character.joints, character.metres_per_unit)
        size = rig.skeleton.scale
    except InputRejected as error:
        raise InputRejected(error.reason, str(path)) from error
    if not SIZE_RANGE[0] <= size <= SIZE_RANGE[1]:
        raise InputRejected(f"is a body of {size:.3g} times a person's size; is the file's unit right?", str(path))
    toes = [PUBLIC_JOINT_NAMES.index(f"{side}ToeBase") for side in ("Left", "Right")]
    if (rig.identity.rest_offsets[toes, 2] < 0.0).all():
        raise InputRejected("has its toes behind its heels: it is mirrored, or left and right are exchanged", str(path))
    return rig.identity


def stick_offsets(offsets: np.ndarray) -> np.ndarray:
    """Public offsets [78, 3] m of a body of which only the 23 body joints' offsets [23, 3] m are known.

    Fingers, face and ends are the template's by the body's size.

    Raises:
        InputRejected: The offsets are not those of a body.
    """
    skeleton = BodySkeleton(offsets)
    full = template_rest_offsets() * skeleton.scale
    full[[index + 1 for index in POSE_INDICES]] = skeleton.rest_offsets
    full[0] = 0.0
    if not full[1, 1] > 0.0:
        raise InputRejected(f"row 0 of the offsets is the T-pose Hips above the floor, not {full[1, 1]:.3g} m up")
    return full
