"""Two runs side by side: which clips both have, and how far apart they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, forward_kinematics
from soma_isaac.ui.choices import Clip

PLOTTED = 400
"""Most points of a curve; between them the largest value of each stretch is kept."""


@dataclass(frozen=True, eq=False)
class Difference:
    """How far two versions of a clip are apart.

    Attributes:
        times: [n] s, ends of equal stretches of the time that both have.
        mean: [n] m, mean over the joints, the largest of each stretch.
        largest: [n] m, of the joint that is farthest off.
        overall: Mean over joints and frames [m].
        worst: The largest distance [m].
        worst_name: Of which joint.
        worst_time: When [s].
        what: What the distances are of.
        note: What has to be said of the comparison; usually empty.
    """

    times: np.ndarray
    mean: np.ndarray
    largest: np.ndarray
    overall: float
    worst: float
    worst_name: str
    worst_time: float
    what: str
    note: str = ""

    def text(self) -> str:
        """The figures in one sentence."""
        return (
            f"{self.what}: {1e3 * self.overall:.1f} mm apart on average, at most {1e3 * self.worst:.1f} mm "
            f"({self.worst_name} at {self.worst_time:.2f} s)."
        )


def common_clips(clips: Iterable[Clip], against: str) -> tuple[Clip, ...]:
    """Those of ``clips`` that a file of the same name stands for in another folder.

    Args:
        clips: Of the one run.
        against: Output folder of the other.
    """
    return tuple(clip for clip in clips if counterpart(clip, against) is not None)


def counterpart(clip: Clip, against: str) -> Clip | None:
    """The clip of the same name in another folder, ``None`` where there is none."""
    path = Path(against).expanduser() / clip.name
    return Clip(clip.name, str(path)) if path.is_file() else None


def difference(before: SomaMotion | ReferenceClip, after: SomaMotion | ReferenceClip) -> Difference:
    """Distances of joints (of motions, each on its own skeleton) or of robot links (of references), by name.

    Args:
        before: One version.
        after: The other, at any rate; places between its frames are interpolated.

    Raises:
        InputRejected: One is a motion and the other a reference, or they have no link in common.
    """
    if isinstance(before, SomaMotion) is not isinstance(after, SomaMotion):
        raise InputRejected("one run holds a motion under this name, the other a G1 reference; choose another clip")
    first_names, first = _places(before)
    second_names, second = _places(after)
    names = [name for name in first_names if name in second_names]
    if not names:
        raise InputRejected("the two references have no link in common")
    lengths = [(len(first) - 1) / before.fps, (len(second) - 1) / after.fps]
    times = np.arange(int(min(lengths) * before.fps + 1e-6) + 1) / before.fps
    apart = np.linalg.norm(
        _sampled(first[:, [first_names.index(name) for name in names]], before.fps, times)
        - _sampled(second[:, [second_names.index(name) for name in names]], after.fps, times),
        axis=-1,
    )
    frame, part = np.unravel_index(apart.argmax(), apart.shape)
    starts = np.unique(np.linspace(0, len(times), min(PLOTTED, len(times)), endpoint=False).astype(int))
    note = ""
    if abs(lengths[0] - lengths[1]) > 1.0 / min(before.fps, after.fps) + 1e-6:
        note = f"The first lasts {lengths[0]:.2f} s, the second {lengths[1]:.2f} s; the common part counts."
    return Difference(
        times[np.append(starts[1:], len(times)) - 1],
        np.maximum.reduceat(apart.mean(axis=1), starts),
        np.maximum.reduceat(apart.max(axis=1), starts),
        float(apart.mean()),
        float(apart[frame, part]),
        names[part],
        float(times[frame]),
        "Joints" if isinstance(before, SomaMotion) else "G1 links",
        note,
    )


def _places(clip: SomaMotion | ReferenceClip) -> tuple[list[str], np.ndarray]:
    """Names and places [T, N, 3] m."""
    if isinstance(clip, SomaMotion):
        offsets = clip.identity.rest_offsets
        return list(POSE_JOINT_NAMES), forward_kinematics(clip.rotations, clip.root_translation, offsets)[0]
    return list(clip.body_names), clip.body_pos_w


def _sampled(places: np.ndarray, fps: float, times: np.ndarray) -> np.ndarray:
    """Places [n, N, 3] at times [n] s."""
    at = np.clip(times * fps, 0.0, len(places) - 1)
    first = np.minimum(at.astype(int), max(len(places) - 2, 0))
    share = (at - first)[:, None, None]
    return places[first] * (1.0 - share) + places[np.minimum(first + 1, len(places) - 1)] * share
