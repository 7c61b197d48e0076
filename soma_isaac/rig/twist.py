"""The twist table: which helper joints exist and how public rotations drive them (sidecar JSON, schema 1.1.0)."""

from __future__ import annotations

from dataclasses import dataclass

TWIST_MODES = ("local_x_euler", "local_x_swing_twist", "aligned_x_swing_twist")


@dataclass(frozen=True)
class TwistSegment:
    """One limb segment with twist helpers between two public joints.

    Attributes:
        start_joint: Public joint at the segment's start; parent of the helpers.
        end_joint: Public joint at the segment's end.
        parent_joint: Public joint against which ``start_joint``'s twist is measured (reverse segments).
        twist_joints: Helper names from start to end.
        reverse: Helpers near the start cancel the twist that ``start_joint`` received.
        source_axis: 0, 1 or 2: local axis of extraction (ignored by ``aligned_x_swing_twist``).
        source_sign: +1 or -1.
    """

    start_joint: str
    end_joint: str
    parent_joint: str | None
    twist_joints: tuple[str, ...]
    reverse: bool = False
    source_axis: int = 0
    source_sign: float = 1.0


@dataclass(frozen=True)
class TwistTable:
    """All segments and the two sparse parameter matrices, by name.

    Attributes:
        segments: The limb segments.
        modes: Extraction mode per helper joint name.
        rotation_entries: (helper, public joint, factor): helper angle = sum of factor x channel angle.
        translation_entries: (helper, joint, weight): helper bind position = sum of weight x joint position.
    """

    segments: tuple[TwistSegment, ...]
    modes: dict[str, str]
    rotation_entries: tuple[tuple[str, str, float], ...]
    translation_entries: tuple[tuple[str, str, float], ...]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Helper joints in segment order."""
        return tuple(name for segment in self.segments for name in segment.twist_joints)
