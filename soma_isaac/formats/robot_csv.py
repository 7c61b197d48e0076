"""Unitree's LAFAN1 CSV: x y z, qx qy qz qw of the root, then the joints; one frame per line, no header, no rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes, parse_fps, read_source, require_finite, require_frames
from soma_isaac.math.so3 import continuous_quats, wxyz_from_xyzw, xyzw_from_wxyz
from soma_isaac.motion.robot import RobotMotion


def robot_csv_bytes(root_pos: np.ndarray, root_quat_wxyz: np.ndarray, joint_pos: np.ndarray) -> bytes:
    """The file of a root pose and joints over time, nine significant digits.

    Args:
        root_pos: [T, 3] m.
        root_quat_wxyz: [T, 4]; written as xyzw.
        joint_pos: [T, N] rad.
    """
    rows = np.concatenate([root_pos, xyzw_from_wxyz(root_quat_wxyz), joint_pos], axis=1)
    # + 0.0 turns -0 into 0
    text = "".join(",".join(f"{value + 0.0:.9g}" for value in row) + "\n" for row in rows.tolist())
    return text.encode("ascii")


def read_robot_csv(source: Path | bytes, fps: float, joint_names: Sequence[str]) -> RobotMotion:
    """Read a CSV of Unitree's LAFAN1 layout: x y z qx qy qz qw and the joints, one frame per line, no header.

    Args:
        source: A file or its bytes.
        fps: Frame rate [Hz]; the file does not say.
        joint_names: Names of the joint columns in their order (depth first for Unitree's own files).

    Returns:
        The motion, quaternions normalised and continuous, without contacts.

    Raises:
        InputRejected: A line has another number of columns, a value is not a finite number, or a quaternion is not
            unit.
    """
    content = SourceBytes.of(source, "clip.csv") if isinstance(source, bytes) else read_source(source)
    columns = 7 + len(joint_names)
    rows = []
    for number, line in enumerate(content.data.decode("utf-8", "replace").splitlines(), start=1):
        cells = line.split(",")
        if not line.strip():
            continue
        if len(cells) != columns:
            raise InputRejected(f"line {number} has {len(cells)} columns, expected {columns}", content.path)
        try:
            rows.append([float(cell) for cell in cells])
        except ValueError:
            raise InputRejected(f"line {number} is not all numbers (a header is not expected)", content.path) from None
        require_frames(len(rows), content.path)
    require_frames(len(rows), content.path)
    values = np.array(rows)
    require_finite("the CSV", values, content.path)
    quats = wxyz_from_xyzw(values[:, 3:7])
    norms = np.linalg.norm(quats, axis=1, keepdims=True)
    if np.abs(norms - 1.0).max() > 1e-3:
        frame = int(np.abs(norms - 1.0).argmax())
        raise InputRejected(f"frame {frame}: columns 4 to 7 are no unit quaternion (xyzw)", content.path)
    try:
        return RobotMotion(
            fps=parse_fps(fps, "source.fps", content.path),
            joint_names=tuple(joint_names),
            root_pos=values[:, :3],
            root_quat_wxyz=continuous_quats(quats / norms),
            joint_pos=values[:, 7:],
            foot_contacts=np.zeros((len(values), 2), dtype=np.bool_),
        )
    except InputRejected as error:
        raise InputRejected(error.reason, content.path) from error
