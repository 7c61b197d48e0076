"""The sparse normal equations of one pose, worked out once per rig: what is added to what, in which order.

The unknowns are a turn [rad] of each joint about its own position, in world axes, which takes along everything below
it, and a shift of the body. With ``X_kl`` the sums ``G_kl`` carried to the world, the block of joints i and j follows
from ``F_ij``, the sum of ``X_kl`` over all k below i and l below j. Twist helpers turn further by angles that depend on
the public turns: they add the rows of the twist channels, folded into the joints that drive them.

Blocks exist where two joints have a common vertex below them. Eliminated from the leaves to the body's shift, the
equations fill in almost nothing, so that a step costs as much as a few hundred 3x3 products.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.layout import JointLayout
from soma_isaac.body.twist import TwistProgram

TRANSPOSED, ADDED = 1, 2


@dataclass(frozen=True, eq=False)
class EquationPlan:
    """Lists of operations on numbered slots; all arrays are int32 but for factors.

    Attributes:
        joints: [n - 1] public joint of each rotational unknown in the order of elimination; the last unknown, n - 1,
            is the shift.
        groups: [N] public joint that each node turns with: itself or a helper's parent.
        sums: [., 3] destination slot, source slot, flags. The first Q slots hold ``X_kl`` of the pairs.
        slot_count: Number of 4x4 slots.
        blocks: [., 4] row unknown, column unknown, slot of ``F`` (-1: nothing of its own), flags.
        columns: [n + 1] where each unknown's blocks begin; the first is the diagonal.
        updates: [.] blocks that products of two blocks of a column are taken from, in order of computation.
        vector_count: Number of vectors; the first C are the gradients of the channels.
        coupling_count: Number of couplings of two channels.
        driven: [., 2] unknown and channel: the unknowns that drive each channel.
        twist_rows: [., 5] vector, slot, flags, public joint (0: the shift), helper; with ``twist_row_factors``.
        twist_pairs: [., 4] coupling, pair, first and second helper; with ``twist_pair_factors``.
        twist_folds: [., 3] vector, channel whose gradient is added to it, coupling that it is multiplied with.
        folds: [., 3] block, vectors whose outer product is added to it.
    """

    joints: np.ndarray
    groups: np.ndarray
    sums: np.ndarray
    slot_count: int
    blocks: np.ndarray
    columns: np.ndarray
    updates: np.ndarray
    vector_count: int
    coupling_count: int
    driven: np.ndarray
    twist_rows: np.ndarray
    twist_row_factors: np.ndarray
    twist_pairs: np.ndarray
    twist_pair_factors: np.ndarray
    twist_folds: np.ndarray
    folds: np.ndarray


Sum = tuple[int, int]
"""A slot and whether it is read transposed."""


class _Sums:
    """Sums of 4x4 slots, written once each; a sum of one slot is that slot."""

    def __init__(self, first_free: int) -> None:
        self.count = first_free
        self.operations: list[tuple[int, int, int]] = []

    def add(self, terms: list[Sum]) -> Sum | None:
        if len(terms) < 2:
            return terms[0] if terms else None
        slot, self.count = self.count, self.count + 1
        for number, (source, transposed) in enumerate(terms):
            self.operations.append((slot, source, TRANSPOSED * transposed + ADDED * (number > 0)))
        return slot, 0

    def live(self, used: set[int]) -> list[tuple[int, int, int]]:
        """The operations that the used slots depend on."""
        wanted, kept = set(used), []
        for operation in reversed(self.operations):
            if operation[0] in wanted:
                wanted.add(operation[1])
                kept.append(operation)
        return kept[::-1]


def equation_plan(
    layout: JointLayout, program: TwistProgram | None, nodes: np.ndarray, pairs: np.ndarray
) -> EquationPlan:
    """Plan the normal equations of a rig.

    Args:
        layout: The skinned joints.
        program: The compiled twist table; ``None`` without helpers.
        nodes: [N] skinned joints that move vertices.
        pairs: [Q, 2] nodes that share vertices.
    """
    public = layout.public_count
    groups = [int(k) if k < public else int(layout.helper_parents[k - public]) for k in nodes]
    sums = _Sums(len(pairs))
    rows, helper_columns = _row_sums(sums, layout, nodes, groups, pairs)
    joints = sorted({joint for joint, _ in rows}, reverse=True)
    form = _subtree_sums(sums, layout, rows, joints)
    unknown = {joint: number for number, joint in enumerate(joints)}
    paths = _paths(layout, program, unknown)
    twist = _TwistRows(program, nodes, pairs, helper_columns, unknown, paths)
    blocks, columns, updates = _elimination(joints, form, twist, paths)
    used = {slot for _, _, slot, _ in blocks} | {row[1] for row in twist.rows}
    return EquationPlan(
        joints=np.array(joints, dtype=np.int32),
        groups=np.array(groups, dtype=np.int32),
        sums=_table(sums.live(used), 3),
        slot_count=sums.count,
        blocks=_table(blocks, 4),
        columns=np.array(columns, dtype=np.int32),
        updates=np.array(updates, dtype=np.int32),
        vector_count=twist.vector_count,
        coupling_count=len(twist.couplings),
        driven=_table([(u, c) for c, path in enumerate(paths) for u in path], 2),
        twist_rows=_table(twist.rows, 5),
        twist_row_factors=np.array(twist.row_factors, dtype=np.float64),
        twist_pairs=_table(twist.pairs, 4),
        twist_pair_factors=np.array(twist.pair_factors, dtype=np.float64),
        twist_folds=_table(twist.folds, 3),
        folds=_table(_folds(blocks, twist, paths), 3),
    )


def _table(rows: list, width: int) -> np.ndarray:
    return np.array(rows, dtype=np.int32).reshape(-1, width)


def _row_sums(
    sums: _Sums, layout: JointLayout, nodes: np.ndarray, groups: list[int], pairs: np.ndarray
) -> tuple[dict[tuple[int, int], Sum], dict[tuple[int, int], Sum]]:
    """Sums over all nodes below a joint, for every public column (with its helpers) and every helper column."""
    by_public: dict[tuple[int, int], list[Sum]] = {}
    by_helper: dict[tuple[int, int], list[Sum]] = {}
    for pair, (first, second) in enumerate(pairs):
        for row, column, transposed in ((first, second, 0), (second, first, 1))[: 2 if first != second else 1]:
            by_public.setdefault((groups[row], groups[column]), []).append((pair, transposed))
            if nodes[column] >= layout.public_count:
                by_helper.setdefault((groups[row], int(nodes[column])), []).append((pair, transposed))
    return _climb(sums, layout, by_public), _climb(sums, layout, by_helper)


def _climb(sums: _Sums, layout: JointLayout, own: dict[tuple[int, int], list[Sum]]) -> dict[tuple[int, int], Sum]:
    """Add every joint's row to its parent's, from the leaves up."""
    terms = {key: list(value) for key, value in own.items()}
    done: dict[tuple[int, int], Sum] = {}
    for joint in range(layout.public_count - 1, 0, -1):
        for column in sorted({c for j, c in terms if j == joint}):
            total = sums.add(terms[joint, column])
            assert total is not None
            done[joint, column] = total
            terms.setdefault((int(layout.parents[joint]), column), []).append(total)
    return done


def _subtree_sums(
    sums: _Sums, layout: JointLayout, rows: dict[tuple[int, int], Sum], joints: list[int]
) -> dict[tuple[int, int], Sum]:
    """``F_ij`` for i <= j: the rows of i added up over everything below j."""
    form: dict[tuple[int, int], Sum] = {}
    children = {j: [c for c in joints if layout.parents[c] == j] for j in joints}
    for j in joints:
        for i in sorted(joints):
            if i > j:
                break
            terms = [rows[i, j]] if (i, j) in rows else []
            terms += [form[i, c] for c in children[j] if (i, c) in form]
            total = sums.add(terms)
            if total is not None:
                form[i, j] = total
    return form


def _paths(layout: JointLayout, program: TwistProgram | None, unknown: dict[int, int]) -> list[list[int]]:
    """The unknowns that drive each channel: the joints from its joint up to, but without, its reference."""
    paths: list[list[int]] = []
    for joint, reference in zip(
        *((program.joints, program.references) if program is not None else ((), ())), strict=True
    ):
        path, at = [], int(joint)
        while at not in (int(reference), -1):
            if at in unknown:
                path.append(unknown[at])
            at = int(layout.parents[at])
        paths.append(path)
    return paths


class _TwistRows:
    """Operations for the rows of the twist channels: the blocks of every unknown with every channel."""

    def __init__(
        self,
        program: TwistProgram | None,
        nodes: np.ndarray,
        pairs: np.ndarray,
        columns: dict[tuple[int, int], Sum],
        unknown: dict[int, int],
        paths: list[list[int]],
    ) -> None:
        self.vector_count = len(paths)
        self.vectors: dict[tuple[int, int], int] = {}
        self.couplings: dict[tuple[int, int], int] = {}
        self.rows: list[tuple[int, int, int, int, int]] = []
        self.row_factors: list[float] = []
        self.pairs: list[tuple[int, int, int, int]] = []
        self.pair_factors: list[float] = []
        self.folds: list[tuple[int, int, int]] = []
        if program is None:
            return
        public = program.positions.shape[1] - program.positions.shape[0]
        uses = self._uses(program, public)
        for (joint, helper), (slot, transposed) in columns.items():
            # The shift's row is read from the sums over the whole body, which are those below joint 1.
            for row, at in ((unknown[joint], joint), (len(unknown), 0))[: 2 if joint == 1 else 1]:
                for channel, factor in uses[helper]:
                    self.rows.append((self._vector(row, channel), slot, transposed, at, helper))
                    self.row_factors.append(factor)
        self._couple_channels(nodes, pairs, uses, public)
        for (first, second), coupling in self.couplings.items():
            self.folds += [(self._vector(u, second), first, coupling) for u in paths[first]]

    def _uses(self, program: TwistProgram, public: int) -> dict[int, list[tuple[int, float]]]:
        bounds = program.entry_offsets
        return {
            public + h: [(int(program.entry_channels[e]), float(program.entry_factors[e]))
                         for e in range(bounds[h], bounds[h + 1])]
            for h in range(len(bounds) - 1)
        }  # fmt: skip

    def _couple_channels(
        self, nodes: np.ndarray, pairs: np.ndarray, uses: dict[int, list[tuple[int, float]]], public: int
    ) -> None:
        for pair, (first, second) in enumerate(pairs):
            helper, second_helper = int(nodes[first]), int(nodes[second])
            if min(helper, second_helper) < public:
                continue
            for channel, factor in uses[helper]:
                for other, other_factor in uses[second_helper]:
                    for key in ((channel, other), (other, channel))[: 2 if first != second else 1]:
                        self.pairs.append(
                            (self.couplings.setdefault(key, len(self.couplings)), pair, helper, second_helper)
                        )
                        self.pair_factors.append(factor * other_factor)

    def _vector(self, unknown: int, channel: int) -> int:
        key = (unknown, channel)
        if key not in self.vectors:
            self.vectors[key] = self.vector_count
            self.vector_count += 1
        return self.vectors[key]


def _elimination(
    joints: list[int], form: dict[tuple[int, int], Sum], twist: _TwistRows, paths: list[list[int]]
) -> tuple[list[tuple[int, int, int, int]], list[int], list[int]]:
    """Blocks with their fill-in, column by column, and the destinations of all updates."""
    count = len(joints) + 1
    shift = count - 1
    below: list[set[int]] = [{shift} for _ in joints] + [set()]
    unknown = {joint: number for number, joint in enumerate(joints)}

    def couple(a: int, b: int) -> None:
        if a != b:
            below[min(a, b)].add(max(a, b))

    for i, j in form:
        couple(unknown[i], unknown[j])
    for u, channel in twist.vectors:
        for driver in paths[channel]:
            couple(u, driver)
    for column in range(count):
        ordered = sorted(below[column])
        for position, row in enumerate(ordered):
            below[row].update(ordered[position + 1 :])
    blocks: list[tuple[int, int, int, int]] = []
    columns = [0]
    index: dict[tuple[int, int], int] = {}
    for column in range(count):
        for row in (column, *sorted(below[column])):
            index[row, column] = len(blocks)
            slot, flags = -1, 0
            if row == shift:
                key = (1, 1) if column == shift else (1, joints[column])
                slot, flags = form[key]
            elif (joints[row], joints[column]) in form:  # rows come later in the order, so they are nearer to the root
                slot, flags = form[joints[row], joints[column]]
            blocks.append((row, column, slot, flags))
        columns.append(len(blocks))
    updates = [
        index[r, s] for column in range(count) for r in sorted(below[column]) for s in sorted(below[column]) if s <= r
    ]
    return blocks, columns, updates


def _folds(
    blocks: list[tuple[int, int, int, int]], twist: _TwistRows, paths: list[list[int]]
) -> list[tuple[int, int, int]]:
    """Outer products of vectors that are added to blocks: (block, left, right)."""
    folds: list[tuple[int, int, int]] = []
    for block, (row, column, _, _) in enumerate(blocks):
        for channel, path in enumerate(paths):
            if column in path and (row, channel) in twist.vectors:
                folds.append((block, twist.vectors[row, channel], channel))
            if row in path and (column, channel) in twist.vectors:
                folds.append((block, channel, twist.vectors[column, channel]))
    return folds
