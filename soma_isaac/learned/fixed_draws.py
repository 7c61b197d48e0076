"""Random numbers kept in a file, so that a test of learned IK asks the same of everybody, whatever the poses."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.npz import npz_bytes, open_npz
from soma_isaac.learned.effectors import KIND_NAMES, LOOK_AT, POSITION, ROTATION
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES
from soma_isaac.math.arrays import frozen_array

JOINT_COUNT = len(BODY_JOINT_NAMES)
MOST = 16
"""Most effectors of one kind."""

SLOTS = 19
"""Most effectors of a set: 16, and three positions where none was drawn."""

BODY_NUMBERS = 6
"""A random body is a size and five stretched groups of bones."""


@dataclass(frozen=True, eq=False)
class FixedDraws:
    """Draws of S seeds for M sets each; uniform numbers are in [0, 1), float32.

    Attributes:
        pose: [S, M] uniform, which pose.
        count: [S, M, 3] uint8, effectors of each kind.
        joint: [S, M, 3, 16] uint8, joints in the order in which each kind takes them.
        spread: [S, M, 19] uniform, for the tolerances.
        normal: [S, M, 19, 4] standard normal: noise or direction, and how far away a look-at's target is.
        body: [S, M, 6] uniform, for a random body.
    """

    pose: np.ndarray
    count: np.ndarray
    joint: np.ndarray
    spread: np.ndarray
    normal: np.ndarray
    body: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and ranges.

        Raises:
            InputRejected: Any of these fails.
        """
        lead = np.shape(self.pose)
        if len(lead) != 2:
            raise InputRejected(f"fixed draws of poses are [seeds, sets], not {list(lead)}")
        for name, tail, dtype in (
            ("pose", (), np.float32),
            ("count", (3,), np.uint8),
            ("joint", (3, MOST), np.uint8),
            ("spread", (SLOTS,), np.float32),
            ("normal", (SLOTS, 4), np.float32),
            ("body", (BODY_NUMBERS,), np.float32),
        ):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), (*lead, *tail), dtype))
        for name in ("pose", "spread", "body"):
            if getattr(self, name).min() < 0 or getattr(self, name).max() >= 1:
                raise InputRejected(f"fixed draws: {name} is not from 0 to 1")
        total = self.count.astype(int).sum(axis=-1)
        if self.count.max() > MOST or total.max() > SLOTS or self.count[..., POSITION].min() < 1:
            raise InputRejected("fixed draws: a set has no position effector, or more than there is room for")
        if self.joint.max() >= JOINT_COUNT:
            raise InputRejected("fixed draws: no such joint")

    @property
    def seed_count(self) -> int:
        """Number of seeds S."""
        return self.pose.shape[0]

    @property
    def set_count(self) -> int:
        """Number of sets M per seed."""
        return self.pose.shape[1]

    def first(self, sets: int, seeds: int | None = None) -> FixedDraws:
        """The first ``sets`` sets of the first ``seeds`` seeds."""
        return FixedDraws(*(getattr(self, each.name)[:seeds, :sets] for each in fields(self)))

    def chosen(self, seed: int, pose_count: int) -> np.ndarray:
        """Indices [M] of the poses among ``pose_count``."""
        return np.minimum((self.pose[seed].astype(np.float64) * pose_count).astype(np.int64), pose_count - 1)

    def slots(self, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Kinds and joints [M, 19] int64 and weights [M, 19] of one seed; positions come first, look-ats last."""
        edges = np.cumsum(self.count[seed].astype(np.int64), axis=-1)[:, None]  # [M, 1, 3]
        slot = np.arange(SLOTS)[None, :, None]
        kind = (slot >= edges).sum(axis=-1)
        used = kind < len(KIND_NAMES)
        kind = np.where(used, kind, POSITION)
        rank = slot[..., 0] - np.where(kind == POSITION, 0, np.take_along_axis(edges[:, 0], np.maximum(kind - 1, 0), 1))
        row = np.arange(self.set_count)[:, None]
        joint = self.joint[seed].astype(np.int64)[row, kind, np.minimum(rank, MOST - 1)]
        return kind, np.where(used, joint, 0), used.astype(np.float32)

    @classmethod
    def make(cls, seeds: int, sets: int, entropy: int) -> FixedDraws:
        """Draw as :func:`soma_isaac.learned.sampler.random_sets` does, with a number of effectors for every set."""
        random = np.random.default_rng(entropy)
        lead = (seeds, sets)
        size = random.integers(3, MOST + 1, lead)
        kinds = random.integers(0, 3, (*lead, MOST))
        drawn = np.arange(MOST) < size[..., None]
        count = np.stack([((kinds == kind) & drawn).sum(axis=-1) for kind in (POSITION, ROTATION, LOOK_AT)], axis=-1)
        count[..., POSITION] = np.maximum(count[..., POSITION], 3)
        orders = random.random((*lead, 2, JOINT_COUNT)).argsort(axis=-1)[..., :MOST]
        joint = np.concatenate([orders, random.integers(0, JOINT_COUNT, (*lead, 1, MOST))], axis=-2)
        return cls(
            random.random(lead, dtype=np.float32),
            count.astype(np.uint8),
            joint.astype(np.uint8),
            random.random((*lead, SLOTS), dtype=np.float32),
            random.standard_normal((*lead, SLOTS, 4), dtype=np.float32),
            random.random((*lead, BODY_NUMBERS), dtype=np.float32),
        )

    @classmethod
    def read(cls, path: Path) -> FixedDraws:
        """Read what :meth:`write` wrote.

        Raises:
            InputRejected: It is no such file.
        """
        archive = open_npz(path)
        names = [each.name for each in fields(cls)]
        missing = [name for name in names if name not in archive]
        if missing:
            raise InputRejected(f"no file of fixed draws: {', '.join(missing)} missing", str(path))
        return cls(*(archive.read(name) for name in names))

    def write(self, path: Path) -> None:
        """Write an npz file, atomically; equal draws give equal bytes."""
        write_file(path, npz_bytes({each.name: getattr(self, each.name) for each in fields(self)}))
