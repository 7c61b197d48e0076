"""The twist table compiled against a joint layout: channels, helper entries, and what an identity adds to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.layout import JointLayout
from soma_isaac.errors import RigMismatch
from soma_isaac.kernels.twist import EULER, TWIST
from soma_isaac.rig.twist import TWIST_MODES, TwistSegment, TwistTable

_ALIGNED = "aligned_x_swing_twist"


@dataclass(frozen=True, eq=False)
class TwistProgram:
    """Channels and helpers by index; see :mod:`soma_isaac.kernels.twist` for what they compute.

    Attributes:
        joints: [C] int32, joint of each channel.
        references: [C] int32, joint it is seen from.
        methods: [C] int32, ``EULER`` or ``TWIST``.
        axes: [C] int32.
        signs: [C] float64.
        segments: [C] index of the segment whose frame aligns the channel; -1 for local modes.
        helper_axes: [H] int32.
        helper_signs: [H] float64.
        helper_ends: [H] int32, end joint of the helper's segment, whose bone scale the helper takes.
        entry_offsets: [H + 1] int32.
        entry_channels: [E] int32.
        entry_factors: [E] float64.
        segment_ends: [S, 2] int32, start and end joint of each segment.
        positions: [H, P + H] float64: helper positions as sums of joint positions.
    """

    joints: np.ndarray
    references: np.ndarray
    methods: np.ndarray
    axes: np.ndarray
    signs: np.ndarray
    segments: np.ndarray
    helper_axes: np.ndarray
    helper_signs: np.ndarray
    helper_ends: np.ndarray
    entry_offsets: np.ndarray
    entry_channels: np.ndarray
    entry_factors: np.ndarray
    segment_ends: np.ndarray
    positions: np.ndarray


def compile_twist(table: TwistTable, layout: JointLayout) -> TwistProgram:
    """Resolve names and collect the channels that at least one helper uses.

    Args:
        table: Segments, modes and the two parameter matrices.
        layout: A layout with the table's helpers.

    Raises:
        RigMismatch: A name is unknown, a mode is unknown, or an entry reads a channel that no segment defines or that
            two segments define differently.
    """
    channels, ambiguous = _channels(table, layout)
    helper_segment = {name: segment for segment in table.segments for name in segment.twist_joints}
    used: dict[tuple[str, int], int] = {}
    entries: list[list[tuple[int, float]]] = [[] for _ in table.joint_names]
    for helper, joint, factor in table.rotation_entries:
        slot = layout.index(helper) - layout.public_count
        if not 0 <= slot < len(entries):
            raise RigMismatch(f"the twist table drives {helper!r}, which is not a helper")
        if factor == 0.0:
            continue
        key = (_mode(table, helper), layout.public_index(joint))
        if key not in channels:
            raise RigMismatch(f"{helper!r} reads a {key[0]} channel of {joint!r}, which no segment defines")
        if key in ambiguous:
            raise RigMismatch(
                f"{helper!r} reads the {key[0]} channel of {joint!r}, which two segments define differently"
            )
        entries[slot].append((used.setdefault(key, len(used)), factor))
    rows = np.array([channels[key] for key in used], dtype=np.float64).reshape(-1, 6)
    offsets = np.cumsum([0, *(len(row) for row in entries)])
    return TwistProgram(
        joints=rows[:, 0].astype(np.int32),
        references=rows[:, 1].astype(np.int32),
        methods=rows[:, 2].astype(np.int32),
        axes=rows[:, 3].astype(np.int32),
        signs=rows[:, 4],
        segments=rows[:, 5].astype(np.int32),
        helper_axes=np.array([helper_segment[name].source_axis for name in table.joint_names], dtype=np.int32),
        helper_signs=np.array([helper_segment[name].source_sign for name in table.joint_names], dtype=np.float64),
        helper_ends=np.array(
            [layout.public_index(helper_segment[name].end_joint) for name in table.joint_names], dtype=np.int32
        ),
        entry_offsets=offsets.astype(np.int32),
        entry_channels=np.array([channel for row in entries for channel, _ in row], dtype=np.int32),
        entry_factors=np.array([factor for row in entries for _, factor in row], dtype=np.float64),
        segment_ends=np.array(
            [(layout.public_index(s.start_joint), layout.public_index(s.end_joint)) for s in table.segments],
            dtype=np.int32,
        ).reshape(-1, 2),
        positions=_positions(table, layout),
    )


def _mode(table: TwistTable, helper: str) -> str:
    mode = table.modes.get(helper)
    if mode not in TWIST_MODES:
        raise RigMismatch(f"{helper!r} has the twist mode {mode!r}; there are {', '.join(TWIST_MODES)}")
    return mode


_Channel = tuple[int, int, int, int, float, int]


def _channels(table: TwistTable, layout: JointLayout) -> tuple[dict[tuple[str, int], _Channel], set[tuple[str, int]]]:
    """(joint, reference, method, axis, sign, segment) by mode and joint; and the keys that are defined in two ways."""
    channels: dict[tuple[str, int], _Channel] = {}
    ambiguous: set[tuple[str, int]] = set()

    def define(mode: str, joint: int, channel: _Channel) -> None:
        if channels.setdefault((mode, joint), channel) != channel:
            ambiguous.add((mode, joint))

    for number, segment in enumerate(table.segments):
        start, end = layout.public_index(segment.start_joint), layout.public_index(segment.end_joint)
        define(_ALIGNED, end, (end, start, TWIST, 0, 1.0, number))
        if segment.reverse:
            define(_ALIGNED, start, (start, _reference(segment, start, layout), TWIST, 0, 1.0, number))
        for joint in (start, end):
            parent, axis, sign = int(layout.parents[joint]), segment.source_axis, segment.source_sign
            define("local_x_euler", joint, (joint, parent, EULER, axis, sign, -1))
            define("local_x_swing_twist", joint, (joint, parent, TWIST, axis, sign, -1))
    return channels, ambiguous


def _reference(segment: TwistSegment, start: int, layout: JointLayout) -> int:
    if segment.parent_joint is not None:
        return layout.public_index(segment.parent_joint)
    return int(layout.parents[start])


def _positions(table: TwistTable, layout: JointLayout) -> np.ndarray:
    positions = np.zeros((len(table.joint_names), len(layout.joint_names)))
    for helper, joint, weight in table.translation_entries:
        positions[layout.index(helper) - layout.public_count, layout.index(joint)] += weight
    unplaced = np.flatnonzero(~positions.any(axis=1))
    if unplaced.size:
        raise RigMismatch(f"the twist table does not place {table.joint_names[int(unplaced[0])]!r}")
    return positions


def expanded_bind(public_bind: np.ndarray, layout: JointLayout, program: TwistProgram | None) -> np.ndarray:
    """Bind transforms of public joints and helpers for fitted public joints.

    Helpers sit between their segment's fitted joints and keep the template's world bind rotation.

    Args:
        public_bind: [..., P, 4, 4] m, fitted public bind transforms.
        layout: The joint layout.
        program: The compiled twist table; ``None`` without helpers.

    Returns:
        [..., P + H, 4, 4] m.
    """
    lead = public_bind.shape[:-3]
    template = layout.bind_T_world_joint[layout.public_count :]
    bind = np.concatenate([public_bind, np.broadcast_to(template, (*lead, *template.shape))], axis=-3)
    if program is not None:
        bind[..., layout.public_count :, :3, 3] = program.positions @ bind[..., :3, 3]
    return bind


def alignments(program: TwistProgram, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The constant rotations left and right of every channel.

    Args:
        program: The compiled twist table.
        anchor: [..., P, 4, 4] anchor pose in which aligned channels are zero.

    Returns:
        Left and right [..., C, 3, 3]; identities for the local modes.
    """
    frames = segment_frames(program.segment_ends, anchor)
    rotations = anchor[..., :3, :3]
    aligned = program.segments >= 0
    shape = (*anchor.shape[:-3], len(program.joints), 3, 3)
    left, right = np.broadcast_to(np.eye(3), shape).copy(), np.broadcast_to(np.eye(3), shape).copy()
    frame = frames[..., program.segments[aligned], :, :]
    left[..., aligned, :, :] = np.swapaxes(frame, -1, -2) @ rotations[..., program.references[aligned], :, :]
    right[..., aligned, :, :] = np.swapaxes(rotations[..., program.joints[aligned], :, :], -1, -2) @ frame
    return left, right


def segment_frames(segment_ends: np.ndarray, anchor: np.ndarray) -> np.ndarray:
    """Frames of segments: x from start to end on the side of the start joint's x, y near the start joint's y.

    Args:
        segment_ends: [S, 2] start and end joint.
        anchor: [..., P, 4, 4] m.

    Returns:
        [..., S, 3, 3], axes as columns.
    """
    start, end = (anchor[..., segment_ends[:, column], :, :] for column in (0, 1))
    x = _unit(end[..., :3, 3] - start[..., :3, 3])
    x = np.where(np.sum(x * start[..., :3, 0], axis=-1, keepdims=True) < 0.0, -x, x)
    y = np.zeros_like(x)
    world_y, world_z = (np.broadcast_to(np.eye(3)[axis], x.shape) for axis in (1, 2))
    for candidate in (world_z, world_y, start[..., :3, 2], start[..., :3, 1]):
        across = candidate - np.sum(candidate * x, axis=-1, keepdims=True) * x
        length = np.linalg.norm(across, axis=-1, keepdims=True)
        y = np.where(length > 1e-8, across / np.maximum(length, 1e-30), y)
    z = _unit(np.cross(x, y))
    return np.stack([x, np.cross(z, x), z], axis=-1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-30)
