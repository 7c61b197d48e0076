"""Motion clips as device arrays that any number of bodies play at their own times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.body.soma import warp_device
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.clip_sampling import ClipArrays
from soma_isaac.math.so3 import quat_xyzw_from_matrix
from soma_isaac.motion.soma import SomaMotion


class ClipLibrary:
    """Several motions on one device.

    Attributes:
        names: Name of each clip: its source's.
        durations: [C] s, from the first frame to the last.
        arrays: What the kernels read.
        device: Where they are.
    """

    def __init__(self, motions: Sequence[SomaMotion], *, device: str = "cpu") -> None:
        """Upload motions: 1.2 kB per frame.

        Args:
            motions: At least one.
            device: Warp device.

        Raises:
            InputRejected: There is no motion, one has its hips below the floor in the T-pose, or Warp does not know
                the device.
        """
        if not motions:
            raise InputRejected("a clip library needs at least one motion")
        for motion in motions:
            if motion.identity.rest_offsets[1, 1] <= 0.0:
                raise InputRejected(f"{motion.provenance.source!r} has its hips at or below the floor in the T-pose")
        self.device = warp_device(device)
        self.names = tuple(motion.provenance.source for motion in motions)
        counts = np.array([motion.frame_count for motion in motions], dtype=np.int32)
        rates = np.array([motion.fps for motion in motions], dtype=np.float64)
        self.durations = (counts - 1) / rates
        self.arrays = ClipArrays(
            starts=device_array((np.cumsum(counts) - counts).astype(np.int32), wp.int32, self.device),
            counts=device_array(counts, wp.int32, self.device),
            rates=wp.array(rates, dtype=wp.float64, device=self.device),
            heights=device_array(
                np.array([motion.identity.rest_offsets[1, 1] for motion in motions]), wp.float32, self.device
            ),
            rotations=device_array(
                np.concatenate([quat_xyzw_from_matrix(motion.rotations) for motion in motions]), wp.quat, self.device
            ),
            translations=device_array(
                np.concatenate([motion.root_translation for motion in motions]), wp.vec3, self.device
            ),
        )

    def __len__(self) -> int:
        return len(self.names)
