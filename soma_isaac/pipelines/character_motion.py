"""Clips of a custom character as SOMA motions and back: its bones become the body, its rest axes are divided out.

With the world rotation ``W_j`` of a joint and its axes ``A_j`` in the rest pose, ``G_j = W_j A_j^T`` is its turn since
then. The rest pose and SOMA's T-pose differ (an A-pose, feet turned out), so that a SOMA limb that moves rigidly with
joint j has ``G_soma = G_j C_j``, where ``C_j`` turns SOMA's T-pose bone into the character's. Back it is
``W_j = G_soma C_j^T A_j``: for joints that have a counterpart the way there and back is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import BvhClip
from soma_isaac.inversion.bvh_names import REQUIRED, BvhFamily, match_family
from soma_isaac.inversion.bvh_skeleton import (
    BvhTPose,
    bone_offsets,
    decide_unit,
    leg_length,
    rest_offsets,
    rest_turns,
    t_pose,
)
from soma_isaac.learned.skeleton import BodySkeleton
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.pipelines.character_names import match_character
from soma_isaac.rig.skeleton import (
    POSE_JOINT_NAMES,
    POSE_PARENTS,
    PUBLIC_JOINT_NAMES,
    PUBLIC_PARENTS,
    forward_kinematics,
)


@dataclass(frozen=True, eq=False)
class CharacterRig:
    """A character's joints at rest, and the SOMA joints that they stand for.

    Attributes:
        joint_names: J names, as in its file; parents precede children.
        parent_indices: [J] int32, -1 for roots.
        offsets: [J, 3] from each joint's parent, in the parent's own axes, unit of the file.
        axes: [J, 3, 3] world rotations at rest, Y-up, seen from the person (x left, y up, z ahead).
        matched: The joint's index by SOMA joint.
        metres: Metres per unit.
        exact: Whether the rest pose is SOMA's own T-pose, so that no bone needs to be turned.
    """

    joint_names: tuple[str, ...]
    parent_indices: np.ndarray
    offsets: np.ndarray
    axes: np.ndarray
    matched: Mapping[str, int]
    metres: float
    exact: bool = False

    def __post_init__(self) -> None:
        """Check shapes, order, rotations and that it has what a body needs.

        Raises:
            InputRejected: Any of these fails.
        """
        count = len(self.joint_names)
        for name, tail, dtype in (("parent_indices", (), np.int32), ("offsets", (3,), None), ("axes", (3, 3), None)):
            value = frozen_array(name, getattr(self, name), (count, *tail), dtype or np.float64)
            object.__setattr__(self, name, value)
        check_rotations("axes (joint)", self.axes)
        if any(parent >= joint for joint, parent in enumerate(self.parent_indices)):
            raise InputRejected("the character's parents do not precede their children")
        if not self.metres > 0.0:
            raise InputRejected(f"the character's unit is {self.metres!r} m")
        if "Hips" not in self.matched:
            raise InputRejected("the character has no hips")
        pose = self._t_pose()
        object.__setattr__(self, "_turns", {} if self.exact else rest_turns(pose, self.matched))
        body = rest_offsets(self._as_bvh(), self.matched, pose, self.turns, self.metres)
        object.__setattr__(self, "rest_offsets", frozen_array("rest_offsets", body, (78, 3)))

    @classmethod
    def from_rest(
        cls,
        joint_names: tuple[str, ...],
        parent_indices: np.ndarray,
        rest_T_world_joint: np.ndarray,
        *,
        metres_per_unit: float | None = None,
        names: Mapping[str, str] | None = None,
    ) -> CharacterRig:
        """A character given by its joints at rest (T-pose or A-pose, facing +Z, Y-up).

        Args:
            joint_names: J names; parents precede children.
            parent_indices: [J], -1 for roots.
            rest_T_world_joint: [J, 4, 4] transforms at rest, unit of the file.
            metres_per_unit: Metres per unit; ``None`` decides by the length of the legs.
            names: The character's joint by SOMA joint; ``None`` looks into ``config/character_names.yaml``.

        Raises:
            InputRejected: The joints are those of no known skeleton, or the arrays are not sound.
        """
        rest = frozen_array("rest_T_world_joint", rest_T_world_joint, (len(joint_names), 4, 4))
        if names is None:
            matched = match_character(joint_names)[1]
        else:
            unknown = [f"{joint}: {name}" for joint, name in names.items() if name not in joint_names]
            if unknown or not set(names) <= {"Root", *POSE_JOINT_NAMES}:
                raise InputRejected(f"the name table has joints that are not there: {', '.join(unknown[:5]) or 'SOMA'}")
            matched = {joint: joint_names.index(name) for joint, name in names.items()}
        parents = np.asarray(parent_indices, dtype=np.int32)
        above = np.where(parents[:, None, None] < 0, np.eye(4), rest[parents])
        offsets = (np.linalg.inv(above) @ rest)[:, :3, 3]
        axes = rest[:, :3, :3]
        if metres_per_unit is None:
            bare = cls(joint_names, parents, offsets, axes, matched, 1.0)
            metres_per_unit = decide_unit(leg_length(bare._as_bvh(), matched, offsets))[0]
        return cls(joint_names, parents, offsets, axes, matched, metres_per_unit)

    @classmethod
    def from_bvh(cls, clip: BvhClip) -> CharacterRig:
        """The skeleton of a BVH file (Y-up).

        Raises:
            InputRejected: The skeleton is none that we know, or its size fits no unit.
        """
        family, matched = match_family(clip.joint_names)
        offsets, _ = bone_offsets(clip, matched["Hips"])
        pose = t_pose(clip, family, matched, offsets)
        metres, _ = decide_unit(leg_length(clip, matched, offsets))
        return cls(clip.joint_names, clip.parent_indices, offsets, pose.axes, matched, metres, pose.exact)

    @classmethod
    def from_joints(cls, joints: np.ndarray, metres_per_unit: float | None = None) -> CharacterRig:
        """A character of which only the places of its joints are known, e.g. of ``read_character``: T-pose or A-pose.

        Its joints are the SOMA joints that it has, with axes along the person's.

        Args:
            joints: [78, 3] in the unit and world of its file, NaN for joints that it lacks.
            metres_per_unit: Metres per unit; ``None`` decides by the length of the legs.

        Raises:
            InputRejected: Limbs are missing, or the pose is neither.
        """
        joints = np.asarray(joints, dtype=np.float64)
        if joints.shape != (len(PUBLIC_JOINT_NAMES), 3):
            raise InputRejected(f"joints have shape {joints.shape}, expected (78, 3)")
        known = [row for row in range(1, len(joints)) if np.isfinite(joints[row]).all()]
        names = tuple(PUBLIC_JOINT_NAMES[row] for row in known)
        lacking = [name for name in REQUIRED if name not in names]
        if lacking:
            raise InputRejected(f"the character lacks {', '.join(lacking[:5])}")
        parents, offsets = [], np.zeros((len(known), 3))
        for index, row in enumerate(known):
            walk = PUBLIC_PARENTS[row]
            while walk > 0 and walk not in known:
                walk = PUBLIC_PARENTS[walk]
            parents.append(known.index(walk) if walk in known else -1)
            offsets[index] = joints[row] - joints[walk] if walk in known else joints[row]
        matched = {name: index for index, name in enumerate(names)}
        still = _still_bvh(names, np.array(parents, np.int32), offsets)
        pose = t_pose(still, BvhFamily("character", MappingProxyType({}), None, False), matched, offsets)
        metres = decide_unit(leg_length(still, matched, offsets))[0] if metres_per_unit is None else metres_per_unit
        return cls(names, np.array(parents, np.int32), offsets, pose.axes, matched, metres)

    @property
    def turns(self) -> Mapping[str, np.ndarray]:
        """``C_j`` [3, 3] by SOMA joint; identity where left out."""
        return self.__dict__["_turns"]

    @property
    def identity(self) -> MotionIdentity:
        """The character as a SOMA body: its own bones, the template's where it has none."""
        return MotionIdentity("soma", np.zeros(0), None, self.__dict__["rest_offsets"], "file")

    @property
    def skeleton(self) -> BodySkeleton:
        """The 23 joints that learned IK poses."""
        return BodySkeleton.from_public_offsets(self.identity.rest_offsets)

    def soma_motion(self, rotations: np.ndarray, hips: np.ndarray, fps: float, source: str = "character") -> SomaMotion:
        """The character's clip as a SOMA motion.

        Args:
            rotations: [T, J, 3, 3] local rotations, each joint's axes in its parent's.
            hips: [T, 3] position of the joint that stands for Hips, unit of the file, Y-up world.
            fps: Frame rate [Hz].
            source: What to call it.

        Raises:
            InputRejected: A shape differs or a matrix is no rotation.
        """
        rotations = frozen_array("rotations", rotations, (None, len(self.joint_names), 3, 3))
        check_rotations("rotations (frame, joint)", rotations)
        hips = frozen_array("hips", hips, (len(rotations), 3))
        world = self._chain(rotations)
        turned = np.empty((len(rotations), len(POSE_JOINT_NAMES), 3, 3))
        local = np.empty_like(turned)
        for joint, (name, parent) in enumerate(zip(POSE_JOINT_NAMES, POSE_PARENTS, strict=True)):
            above = turned[:, parent] if parent >= 0 else np.broadcast_to(np.eye(3), (len(rotations), 3, 3))
            if name in self.matched:
                index = self.matched[name]
                turned[:, joint] = world[:, index] @ self.axes[index].T @ self.turns.get(name, np.eye(3))
            else:
                turned[:, joint] = above
            local[:, joint] = np.swapaxes(above, -1, -2) @ turned[:, joint]
        unmatched = [name for k, name in enumerate(self.joint_names) if k not in self.matched.values()]
        notes = (f"joints without a SOMA counterpart: {', '.join(unmatched[:12])}",) if unmatched else ()
        origin = Provenance(source, "", "character", "none", "y", "format", notes)
        return SomaMotion(fps, local, hips * self.metres, self.identity, origin)

    def character_motion(
        self, motion: SomaMotion, rotations: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """A SOMA motion as the character's clip.

        A motion of another body keeps its joint rotations; the Hips go as far as the character's legs are long.

        Args:
            motion: The motion.
            rotations: [T, J, 3, 3] local rotations that joints without a SOMA counterpart have (of the clip that was
                repaired, say); at rest if ``None``.

        Returns:
            Local rotations [T, J, 3, 3] and Hips positions [T, 3] in the character's unit.

        Raises:
            InputRejected: A shape differs.
        """
        frames, offsets = motion.frame_count, motion.identity.rest_offsets
        _, turned = forward_kinematics(motion.rotations, motion.root_translation, offsets)
        above = np.where(self.parent_indices[:, None, None] < 0, np.eye(3), self.axes[self.parent_indices])
        rest = np.swapaxes(above, -1, -2) @ self.axes
        local = np.broadcast_to(rest, (frames, *rest.shape)).copy()
        if rotations is not None:
            local[:] = frozen_array("rotations", rotations, (frames, len(self.joint_names), 3, 3))
        stands_for = {index: name for name, index in self.matched.items()}
        world = np.empty_like(local)
        for joint, parent in enumerate(self.parent_indices):
            over = world[:, parent] if parent >= 0 else np.broadcast_to(np.eye(3), (frames, 3, 3))
            if joint in stands_for and stands_for[joint] in POSE_JOINT_NAMES:
                name = stands_for[joint]
                since_rest = turned[:, POSE_JOINT_NAMES.index(name)] @ self.turns.get(name, np.eye(3)).T
                local[:, joint] = np.swapaxes(over, -1, -2) @ since_rest @ self.axes[joint]
            world[:, joint] = over @ local[:, joint]
        stride = float(self.identity.rest_offsets[1, 1] / offsets[1, 1])
        return local, motion.root_translation * stride / self.metres

    def positions(self, rotations: np.ndarray, hips: np.ndarray) -> np.ndarray:
        """Joint positions [T, J, 3] of the character's own clip, its unit; joints above the hips are left out (NaN)."""
        world = self._chain(rotations)
        places = np.full((len(rotations), len(self.joint_names), 3), np.nan)
        places[:, self.matched["Hips"]] = hips
        for joint, parent in enumerate(self.parent_indices):
            if joint != self.matched["Hips"] and parent >= 0:
                places[:, joint] = places[:, parent] + world[:, parent] @ self.offsets[joint]
        return places

    def _chain(self, rotations: np.ndarray) -> np.ndarray:
        world = np.array(rotations)
        for joint, parent in enumerate(self.parent_indices):
            if parent >= 0:
                world[:, joint] = world[:, parent] @ rotations[:, joint]
        return world

    def _t_pose(self) -> BvhTPose:
        bones = np.array(self.offsets)
        inner = np.flatnonzero(self.parent_indices >= 0)
        bones[inner] = np.einsum("jab,jb->ja", self.axes[self.parent_indices[inner]], self.offsets[inner])
        return BvhTPose(self.axes, bones, 0.0, "the character's rest pose", self.exact)

    def _as_bvh(self) -> BvhClip:
        """The skeleton in the form that the converters measure."""
        return _still_bvh(self.joint_names, self.parent_indices, self.offsets)


def _still_bvh(names: tuple[str, ...], parents: np.ndarray, offsets: np.ndarray) -> BvhClip:
    return BvhClip(
        joint_names=names,
        parent_indices=parents,
        offsets=offsets,
        end_parents=np.zeros(0, np.int32),
        end_offsets=np.zeros((0, 3)),
        rotations=np.broadcast_to(np.eye(3), (1, len(names), 3, 3)),
        positioned_joints=np.zeros(0, np.int32),
        positions=np.zeros((1, 0, 3)),
        fps=30.0,
        fps_key="none",
        digest="",
        notes=(),
    )
