"""What to repair, as people write it down: a YAML or JSON file of holds over seconds or frames of a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.value_file import check_names, number, numbers, read_values
from soma_isaac.learned.effectors import joint_index
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton, body_kinematics
from soma_isaac.math.frames import yup_from_zup_points
from soma_isaac.math.resample import resample_points
from soma_isaac.motion.soma import SomaMotion, check_fps
from soma_isaac.pipelines.pose_effectors import LARGEST_M, axis_of, point_of, rotation_of
from soma_isaac.pipelines.repair_targets import Hold

LARGEST_FRAME = 1e6
"""No clip has so many frames, nor seconds."""

WHERE_KEYS = ("position", "path", "path_file", "offset")
HOLD_KEYS = (
    *("joint", "begin_s", "end_s", "frames"),
    *(*WHERE_KEYS, "path_fps"),
    *("rotation_deg", "rotation_wxyz", "look_at", "direction"),
)


def read_holds(path: Path, motion: SomaMotion, up_axis: str | None = None) -> list[Hold]:
    """Read what a clip shall be held to.

    The file has ``hold``: a list of entries that name a ``joint`` and when: ``begin_s`` and ``end_s`` [s], or
    ``frames``: [first, after the last]; and what, of which one of

    * ``position``: [x, y, z] m, a fixed point;
    * ``path``: a list of points, or ``path_file``: FILE.npz or FILE.npz:KEY beside the file (N x 3; without a key the
      array ``path``), one per frame, or with ``path_fps`` [Hz] at another rate from the beginning of the range on;
    * ``offset``: [x, y, z] m added to where the clip has the joint (lift a foot: [0, 0.05, 0]);

    and any of ``rotation_deg`` or ``rotation_wxyz``, and ``look_at`` with ``direction``, as for single poses.

    Args:
        path: The file.
        motion: The clip.
        up_axis: ``y`` or ``z``; by default what the file says under ``up_axis``, else ``y``.

    Raises:
        InputRejected: The file is not of this form, or a range is not within the clip.
    """
    try:
        values = read_values(path)
        check_names(values, ("up_axis", "hold"), "the file")
        z_up, entries = axis_of(values, up_axis) == "z", values.get("hold")
        if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
            raise InputRejected("the file needs hold: a list of what to hold")
        return [_hold(entry, f"hold {k + 1}", motion, path.parent, z_up) for k, entry in enumerate(entries)]
    except InputRejected as error:
        raise InputRejected(error.reason, error.path or str(path)) from error


def _hold(entry: Any, what: str, motion: SomaMotion, folder: Path, z_up: bool) -> Hold:
    check_names(entry, HOLD_KEYS, what)
    if not isinstance(entry.get("joint"), str):
        raise InputRejected(f"{what} names no joint")
    for key, needed in (("direction", "look_at"), ("path_fps", "path or path_file")):
        if key in entry and not any(each in entry for each in needed.split(" or ")):
            raise InputRejected(f"{what} gives {key}, which goes with {needed}")
    try:
        return _checked_hold(entry, what, motion, folder, z_up)
    except InputRejected as error:
        if error.path is not None or error.reason.startswith(what):
            raise
        raise InputRejected(f"{what}: {error.reason}") from error


def _checked_hold(entry: Mapping[str, Any], what: str, motion: SomaMotion, folder: Path, z_up: bool) -> Hold:
    joint_index(entry["joint"])
    begin, end = _range(entry, what, motion)
    look = np.asarray(point_of(entry, "look_at", what, z_up)) if "look_at" in entry else None
    ahead = {"direction": np.asarray(point_of(entry, "direction", what, z_up))} if "direction" in entry else {}
    path = _path(entry, what, motion, folder, z_up, (begin, end))
    return Hold(entry["joint"], begin, end, path, rotation_of(entry, what, z_up), look, **ahead)


def _range(entry: Mapping[str, Any], what: str, motion: SomaMotion) -> tuple[int, int]:
    given = [key for key in ("begin_s", "end_s", "frames") if key in entry]
    if given not in (["begin_s", "end_s"], ["frames"]):
        raise InputRejected(f"{what} needs begin_s and end_s, or frames: [first, after the last]")
    if "frames" in entry:
        frames = numbers(entry["frames"], (2,), f"{what}: frames", LARGEST_FRAME)
        begin, end = (int(value) for value in frames)
        if (frames != [begin, end]).any():
            raise InputRejected(f"{what}: frames are whole numbers, not {frames[0]:g} and {frames[1]:g}")
    else:
        seconds = (number(entry[key], f"{what}: {key}", 0.0, LARGEST_FRAME) for key in given)
        begin, end = (round(value * motion.fps) for value in seconds)
    if not 0 <= begin < end <= motion.frame_count:
        raise InputRejected(f"{what} is over frames {begin} to {end}; the clip has 0 to {motion.frame_count}")
    return begin, end


def _path(
    entry: Mapping[str, Any], what: str, motion: SomaMotion, folder: Path, z_up: bool, frames: tuple[int, int]
) -> np.ndarray | None:
    given = [key for key in WHERE_KEYS if key in entry]
    if len(given) > 1:
        raise InputRejected(f"{what} gives {' and '.join(given)}; one of them says where")
    if not given:
        return None
    count = frames[1] - frames[0]
    if given[0] == "position":
        return np.asarray(point_of(entry, "position", what, z_up))
    if given[0] == "offset":
        skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
        part = slice(*frames)
        rotations = motion.rotations[part][:, list(POSE_INDICES)]
        positions, _ = body_kinematics(rotations, motion.root_translation[part], skeleton.rest_offsets)
        return positions[:, joint_index(entry["joint"])] + point_of(entry, "offset", what, z_up)
    points = numbers(entry["path"], (None, 3), f"{what}: path") if given[0] == "path" else _from_file(entry, folder)
    if not (np.abs(points) <= LARGEST_M).all():
        raise InputRejected(f"{what}: {given[0]} has a point that is not finite, or beyond {LARGEST_M:g} m")
    points = yup_from_zup_points(points) if z_up else points
    if "path_fps" in entry:
        fps = check_fps(number(entry["path_fps"], f"{what}: path_fps"))
        # No more of it than is asked for: a long path at 1 Hz would fill the memory at 1000.
        points = resample_points(points[: int((count + 16) * fps / motion.fps) + 16], fps, motion.fps)
    if len(points) < count or (len(points) > count and "path_fps" not in entry):
        raise InputRejected(f"{what} has a path of {len(points)} points for {count} frames at {motion.fps:g} Hz")
    return points[:count]


def _from_file(entry: Mapping[str, Any], folder: Path) -> np.ndarray:
    name, _, key = str(entry["path_file"]).partition(".npz:")
    file = folder / Path(name if not key and name.endswith(".npz") else f"{name}.npz").expanduser()
    return open_npz(file).numbers(key or "path", (None, 3))
