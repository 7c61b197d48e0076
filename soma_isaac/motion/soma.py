"""A motion of the SOMA skeleton, with the body it was made for and where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import check_rotations, frozen_array

FPS_RANGE = (1.0, 1000.0)
REST_SOURCES = ("file", "template", "estimated", "mesh")


def check_fps(fps: float) -> float:
    """Return ``fps`` [Hz] as a float.

    Raises:
        InputRejected: It is not a finite number between 1 and 1000.
    """
    value = float(fps)
    if not FPS_RANGE[0] <= value <= FPS_RANGE[1]:
        raise InputRejected(f"frame rate {value!r} is outside {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g} Hz")
    return value


@dataclass(frozen=True, eq=False)
class MotionIdentity:
    """The body a motion was made for.

    Attributes:
        model: Identity model the coefficients belong to: ``soma``, ``smpl``, ``smplh``, ``smplx``, ``mhr``, ``bvh``.
        coefficients: [K] float64, empty if unknown (e.g. SMPL betas).
        gender: ``male``, ``female``, ``neutral`` or ``None`` where the source says nothing.
        rest_offsets: [78, 3] m, T-pose offset of each public joint from its parent in world-aligned Y-up axes; row 0
            (Root) is zero and row 1 (Hips) the T-pose Hips position above the floor.
        rest_source: How the offsets were found: ``file`` (given by the clip), ``template`` (SOMA template body),
            ``estimated`` (template scaled to the clip), or ``mesh`` (fitted to the person's own rest mesh).
    """

    model: str
    coefficients: np.ndarray
    gender: str | None
    rest_offsets: np.ndarray
    rest_source: str

    def __post_init__(self) -> None:
        """Check shapes and finiteness.

        Raises:
            InputRejected: A shape differs or a value is not finite.
        """
        object.__setattr__(self, "coefficients", frozen_array("coefficients", self.coefficients, (None,)))
        object.__setattr__(self, "rest_offsets", frozen_array("rest_offsets", self.rest_offsets, (78, 3)))
        if self.rest_source not in REST_SOURCES:
            raise InputRejected(f"rest_source {self.rest_source!r} is not one of {', '.join(REST_SOURCES)}")


@dataclass(frozen=True)
class Provenance:
    """Where a motion came from and what had to be decided while reading it.

    Attributes:
        source: Name of the source as the user gave it (a relative path, or a generator's name).
        source_digest: sha256 of the source bytes, hex.
        format: ``amass``, ``soma_npz``, ``kimodo``, ``seed``, ``bvh``, ...
        fps_key: Key under which the frame rate stood in the file (``option`` if the user gave it).
        up_axis: Up axis of the source, ``y`` or ``z``.
        up_axis_source: ``format`` (fixed by the format), ``file`` (declared), ``detected`` or ``option``.
        notes: Further decisions, each one sentence.
    """

    source: str
    source_digest: str
    format: str
    fps_key: str
    up_axis: str
    up_axis_source: str
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, eq=False)
class SomaMotion:
    """A motion on the public SOMA skeleton in the Y-up SOMA world.

    Attributes:
        fps: Frame rate [Hz].
        rotations: [T, 77, 3, 3] local rotations relative to the T-pose in world-aligned axes (zero pose = T-pose),
            order of ``rig.skeleton.POSE_JOINT_NAMES``.
        root_translation: [T, 3] m, Hips position in the world.
        identity: The body.
        provenance: The source.
    """

    fps: float
    rotations: np.ndarray
    root_translation: np.ndarray
    identity: MotionIdentity
    provenance: Provenance

    def __post_init__(self) -> None:
        """Check rate, shapes, finiteness and that every matrix is a rotation.

        Raises:
            InputRejected: Any of these fails; the message names the frame and joint.
        """
        object.__setattr__(self, "fps", check_fps(self.fps))
        object.__setattr__(self, "rotations", frozen_array("rotations", self.rotations, (None, 77, 3, 3)))
        frames = len(self.rotations)
        if frames == 0:
            raise InputRejected("the motion has no frames")
        object.__setattr__(
            self, "root_translation", frozen_array("root_translation", self.root_translation, (frames, 3))
        )
        check_rotations("rotations (frame, joint)", self.rotations)

    @property
    def frame_count(self) -> int:
        """Number of frames T."""
        return len(self.rotations)
