"""Reference clips of a robot as device arrays, in whatever order of joints and bodies a simulator has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.body.soma import warp_device
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.clip_order import com_offset_velocity
from soma_isaac.formats.reference_clip import read_reference_clip
from soma_isaac.formats.robot_csv import read_robot_csv
from soma_isaac.kernels.reference_sampling import ReferenceArrays, ReferenceSample, launch_sample_reference
from soma_isaac.math.so3 import xyzw_from_wxyz
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.sim.robot_tree import RobotTree


def load_reference(path: Path, *, tree: RobotTree | None = None, csv_fps: float = 50.0) -> ReferenceClip:
    """Read a clip of any of the four layouts that we write (beyondmimic, mjlab, amp, csv).

    Args:
        path: An npz that names its joints and bodies, or a CSV of root and joints without header.
        tree: The robot of a CSV, whose joints stand in its order (depth first) and whose links follow from it.
        csv_fps: Frame rate of a CSV [Hz], which it does not say itself.

    Raises:
        InputRejected: The file is not sound, does not name its order, or is a CSV and no robot is given.
    """
    if path.suffix.lower() != ".csv":
        return read_reference_clip(path)
    if tree is None:
        raise InputRejected("a CSV has no bodies; the robot that it is for is needed", str(path))
    return tree.clip(read_robot_csv(path, csv_fps, tree.joint_names))


class ReferenceLibrary:
    """Several clips on one device, all in one order of joints and bodies.

    Attributes:
        joint_names: [J] order of the joint arrays.
        body_names: [B] order of the body arrays.
        durations: [C] s, from the first frame to the last.
        rates: [C] Hz.
        arrays: What the kernels read.
        device: Where they are.
    """

    def __init__(
        self,
        clips: Sequence[ReferenceClip],
        *,
        joint_names: Sequence[str],
        body_names: Sequence[str],
        device: str = "cpu",
    ) -> None:
        """Upload clips; what a clip has besides the names asked for is left out.

        Args:
            clips: At least one, each in an order of its own.
            joint_names: The simulator's joints, in its order.
            body_names: The bodies wanted, in the order wanted.
            device: Warp device.

        Raises:
            InputRejected: There is no clip, or Warp does not know the device.
            RigMismatch: A clip lacks a joint or a body.
        """
        if not clips:
            raise InputRejected("a reference library needs at least one clip")
        self.device = warp_device(device)
        self.joint_names, self.body_names = tuple(joint_names), tuple(body_names)
        counts = np.array([clip.frame_count for clip in clips], dtype=np.int32)
        self.rates = np.array([clip.fps for clip in clips], dtype=np.float64)
        self.durations = (counts - 1) / self.rates
        joints = [_columns(clip.joint_names, self.joint_names, "joint") for clip in clips]
        bodies = [_columns(clip.body_names, self.body_names, "body") for clip in clips]
        com = [clip.body_lin_vel_w + com_offset_velocity(clip) for clip in clips]

        def stacked(tables: Sequence[np.ndarray], columns: Sequence[np.ndarray], dtype: type) -> wp.array:
            picked = [table[:, chosen] for table, chosen in zip(tables, columns, strict=True)]
            return device_array(np.concatenate(picked), dtype, self.device)

        self.arrays = ReferenceArrays(
            starts=device_array((np.cumsum(counts) - counts).astype(np.int32), wp.int32, self.device),
            counts=device_array(counts, wp.int32, self.device),
            rates=wp.array(self.rates, dtype=wp.float64, device=self.device),
            joint_pos=stacked([clip.joint_pos for clip in clips], joints, wp.float32),
            joint_vel=stacked([clip.joint_vel for clip in clips], joints, wp.float32),
            body_pos=stacked([clip.body_pos_w for clip in clips], bodies, wp.vec3),
            body_quat=stacked([xyzw_from_wxyz(clip.body_quat_wxyz) for clip in clips], bodies, wp.quat),
            body_link_vel=stacked([clip.body_lin_vel_w for clip in clips], bodies, wp.vec3),
            body_com_vel=stacked(com, bodies, wp.vec3),
            body_ang_vel=stacked([clip.body_ang_vel_w for clip in clips], bodies, wp.vec3),
        )

    def __len__(self) -> int:
        return len(self.durations)

    def allocate(self, count: int) -> ReferenceSample:
        """Arrays for the references of ``count`` environments."""
        joints, bodies = (count, len(self.joint_names)), (count, len(self.body_names))
        kinds = {"joint_pos": wp.float32, "joint_vel": wp.float32, "body_quat": wp.quat}
        return ReferenceSample(
            **{
                name: wp.zeros(
                    joints if name.startswith("joint") else bodies,
                    dtype=kinds.get(name, wp.vec3),
                    device=self.device,
                )
                for name in ReferenceSample._fields
            }
        )

    def sample(self, out: ReferenceSample, *, clips: wp.array, times: wp.array, origins: wp.array) -> None:
        """Write the references of N environments at their own times, on the device.

        Args:
            out: From :meth:`allocate`.
            clips: [N] int32.
            times: [N] float64, s; outside a clip its ends hold.
            origins: [N] vec3, m, added to positions.

        Raises:
            InputRejected: A shape or a device does not fit.
        """
        launch_sample_reference(self.arrays, clips=clips, times=times, origins=origins, out=out)


def _columns(have: Sequence[str], wanted: Sequence[str], what: str) -> np.ndarray:
    """Where the wanted names stand."""
    place = {name: index for index, name in enumerate(have)}
    missing = [name for name in wanted if name not in place]
    if missing:
        raise RigMismatch(f"the clip has no {what} {missing[0]!r}; it has {', '.join(have)}")
    return np.array([place[name] for name in wanted], dtype=np.int64)
