"""Poses for learned IK from files: mocap on the 23 body joints, and any motion that can be converted."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import NpzArchive, open_npz
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, POSE_INDICES
from soma_isaac.math.arrays import frozen_array
from soma_isaac.motion.resample import resample
from soma_isaac.pipelines.motion_in import MOTION_SUFFIXES, load_motion

FPS = 30.0
"""Frame rate [Hz] that motions are brought to: neighbouring frames teach little."""

CMU_TEST, CMU_VALIDATION = ("02", "05", "08", "12"), ("03", "10")
"""Subjects of the CMU mocap that no training sees, fixed before any result was known."""

AMASS_VALIDATION = ("HumanEva", "MPI_HDM05", "SFU", "MPI_mosh")
AMASS_TEST = ("Transitions_mocap", "SSM_synced")
"""SMPL-IK's split of AMASS, by data set."""

SPLITS = {"cmu": (CMU_VALIDATION, CMU_TEST), "amass": (AMASS_VALIDATION, AMASS_TEST)}
"""Whom to validate and test on."""

LAYOUT_KEYS = ("local_rotation_6d", "clip", "length")
NO_MOTIONS = ("shape", "_stagei")
"""Ends of the names of AMASS files that hold a body, no motion."""

_TAKE = re.compile(r"([^_]+)_\d+")
_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class PoseData:
    """Poses and what they were read from.

    Attributes:
        poses: All of them, with their subjects.
        digest: sha256, hex, of the bytes of all files in order.
        files: Number of files.
    """

    poses: PoseSet
    digest: str
    files: int


def read_poses(path: Path) -> PoseData:
    """Read a file or all motions of a folder.

    Args:
        path: A file in the layout of :func:`read_clip_table`; a motion of any format that converts; a folder of such
            motions, where the first folder below ``path`` (for AMASS: the data set) is the subject; or a pattern with
            ``*`` in its last part.

    Raises:
        InputRejected: There is nothing to read, or a file is not what it claims to be.
    """
    if path.is_dir():
        return _read_tree(path, sorted(path.rglob("*")))
    if "*" in path.name:
        return _read_tree(path.parent, sorted(path.parent.glob(path.name)))
    if path.suffix.lower() == ".npz":
        archive = open_npz(path)
        if all(key in archive for key in LAYOUT_KEYS):
            try:
                return PoseData(read_clip_table(archive), archive.digest, 1)
            except InputRejected as error:
                raise InputRejected(error.reason, error.path or str(path)) from error
    return _joined([_read_motion(path, path.parent.name)])


def read_clip_table(archive: NpzArchive) -> PoseSet:
    """Poses of a file of many clips.

    Its arrays: ``local_rotation_6d`` [N, 23, 6], first then second column of the local rotations relative to the
    T-pose in world-aligned axes; ``length`` [C] splits N into clips, ``clip`` [C] names them, ``joint_names`` [23].
    The subject is what stands before the take (``cmu_a/05/05_01`` is of subject 05), or else the folder (``salsa/01``).

    Raises:
        InputRejected: The arrays do not fit each other.
    """
    names, lengths = archive.texts("clip"), archive.numbers("length", (None,)).astype(np.int64)
    columns = archive.numbers("local_rotation_6d", (None, len(BODY_JOINT_NAMES), 6))
    if "joint_names" in archive and archive.texts("joint_names") != BODY_JOINT_NAMES:
        raise InputRejected("its joint names are not the 23 body joints in their order", archive.path)
    if len(names) != len(lengths) or (lengths < 0).any() or lengths.sum() != len(columns):
        raise InputRejected(
            f"{len(names)} clips of {lengths.sum()} frames in all, but {len(columns)} poses", archive.path
        )
    rotations = np.concatenate(
        [_rotations(columns[begin : begin + _CHUNK]) for begin in range(0, len(columns), _CHUNK)]
    )
    return PoseSet(rotations, np.repeat(np.array([subject_of(name) for name in names]), lengths))


def subject_of(clip: str) -> str:
    """Who a clip of that name shows."""
    parts = clip.replace("\\", "/").split("/")
    take = _TAKE.fullmatch(parts[-1])
    if take:
        return take[1]
    return parts[-2] if len(parts) > 1 else parts[-1]


def named_split(poses: PoseSet, name: str) -> dict[str, PoseSet]:
    """The parts of a split of ``SPLITS``; of those that it holds out, whoever is there.

    Raises:
        InputRejected: There is no such split, nobody to test on, or nobody is left.
    """
    if name not in SPLITS:
        raise InputRejected(f"no split named {name!r}; there are {', '.join(SPLITS)}")
    known = set(poses.subject.tolist())
    validation, test = ([subject for subject in part if subject in known] for part in SPLITS[name])
    if not test:
        raise InputRejected(
            f"the split {name!r} tests on {', '.join(SPLITS[name][1])}, and none of them is in the data; "
            "data.split=own with data.test=[...] names others"
        )
    return split(poses, validation, test)


def split(poses: PoseSet, validation: Collection[str], test: Collection[str]) -> dict[str, PoseSet]:
    """Training, validation and test poses by subject.

    Raises:
        InputRejected: A subject is in two of them or has no poses, or nobody is left.
    """
    twice = sorted(set(validation) & set(test))
    if twice:
        raise InputRejected(f"{', '.join(twice)} cannot be validated and tested on")
    if not poses.count or not set(poses.subject.tolist()) - set(validation) - set(test):
        raise InputRejected("nobody is left to train on")
    held = [*validation, *test]
    parts = {"train": poses.without(held) if held else poses}
    for name, subjects in (("validation", validation), ("test", test)):
        if subjects:
            parts[name] = poses.of(subjects)
    return parts


def _rotations(columns: np.ndarray) -> np.ndarray:
    """Rotations [M, 23, 3, 3] float32 of 6D columns [M, 23, 6]: they are of half precision, hence Gram-Schmidt."""
    first, second = columns[..., :3].astype(np.float64), columns[..., 3:].astype(np.float64)
    length = np.linalg.norm(first, axis=-1, keepdims=True)
    if (np.abs(length - 1.0) > 0.05).any():
        raise InputRejected("local_rotation_6d: a first column is no unit vector")
    first = first / length
    second = second - (first * second).sum(axis=-1, keepdims=True) * first
    second = second / np.maximum(np.linalg.norm(second, axis=-1, keepdims=True), 1e-6)
    return np.stack([first, second, np.cross(first, second)], axis=-1).astype(np.float32)


def _read_tree(root: Path, found: Sequence[Path]) -> PoseData:
    files = [path for path in found if path.suffix.lower() in MOTION_SUFFIXES and path.is_file()]
    files = [path for path in files if not path.stem.endswith(NO_MOTIONS)]
    if not files:
        raise InputRejected(f"holds no motions ({', '.join(MOTION_SUFFIXES)})", str(root))
    parts = []
    for path in files:
        below = path.relative_to(root).parts
        parts.append(_read_motion(path, below[0] if len(below) > 1 else root.name))
    return _joined(parts)


def _read_motion(path: Path, subject: str) -> tuple[np.ndarray, str, str]:
    motion = resample(load_motion(path), FPS)
    return motion.rotations[:, list(POSE_INDICES)].astype(np.float32), subject, motion.provenance.source_digest


def _joined(parts: Sequence[tuple[np.ndarray, str, str]]) -> PoseData:
    rotations = frozen_array("rotations", np.concatenate([part[0] for part in parts]), (None, 23, 3, 3), np.float32)
    subjects = np.repeat(np.array([part[1] for part in parts]), [len(part[0]) for part in parts])
    digest = hashlib.sha256("".join(part[2] for part in parts).encode()).hexdigest()
    return PoseData(PoseSet(rotations, subjects), digest, len(parts))
