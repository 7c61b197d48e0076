"""``scripts/keypoints.py``: COCO-17 keypoints in, a SOMA motion out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.config import ConfigRefused, check_command_line, check_ranges
from soma_isaac.pipelines.run_config import check_rate
from soma_isaac.pipelines.single_run import run_single, write_results

UP_AXES = ("y", "z", "-y")
MEASURED = "measured"


@dataclass
class KeypointsConfig:
    """All keys of ``keypoints.py``.

    Attributes:
        keypoints: npz with ``keypoints`` [T, 17, 3] m and, if it has them, ``confidence`` [T, 17] and ``fps``.
        output: SOMA npz to write.
        body: ``measured`` takes the limbs' lengths from the keypoints; ``template``, the name of a body of the open
            shape space (``child``), or a motion file whose bones are taken.
        network: A trained pose network; ``null`` for the one that ships with soma_isaac, ``still`` for none.
        up_axis: ``y``, ``z``, or ``-y`` for a camera's axes (x right, y down, z ahead).
        fps: Frame rate [Hz]; it wins over the file's.
        tolerance: Standard deviation of a keypoint of confidence 1 [m].
        least_confidence: Keypoints below are left out.
        cutoff: What is faster than this is smoothed away [Hz].
        replace: Overwrite an output that has other bytes.
    """

    keypoints: str = ""
    output: str = ""
    body: str = MEASURED
    network: str | None = None
    up_axis: str = "y"
    fps: float | None = None
    tolerance: float = 0.01
    least_confidence: float = 0.05
    cutoff: float = 6.0
    replace: bool = False


def check_config(config: KeypointsConfig) -> None:
    """Refuse values that no conversion can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    for key in ("keypoints", "output"):
        if Path(getattr(config, key)).suffix.lower() != ".npz":
            raise ConfigRefused(f"{key}: {getattr(config, key)!r} does not end in .npz")
    if config.up_axis not in UP_AXES:
        raise ConfigRefused(f"up_axis: {config.up_axis!r} is none of {', '.join(UP_AXES)}")
    check_rate("fps", config.fps)
    check_ranges(config, {"tolerance": (1e-4, 1.0), "least_confidence": (1e-3, 1.0), "cutoff": (0.1, 100.0)})


def convert(config: KeypointsConfig) -> list[str]:
    """Convert one file; the lines say what became of it.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: The keypoints, the body or the network cannot be read.
        OutputConflict: The output exists with other bytes and ``replace`` is not set.
        OSError: The disk refused.
    """
    check_config(config)
    # Imported here so that --help and wrong arguments are answered at once.
    from soma_isaac.formats.soma_npz import provenance_array, soma_npz_bytes
    from soma_isaac.pipelines.keypoints import KeypointSettings, soma_from_keypoints
    from soma_isaac.pipelines.keypoints_doubts import keypoint_distances, keypoint_doubts
    from soma_isaac.pipelines.keypoints_file import read_keypoints
    from soma_isaac.pipelines.pose_body import file_bones, identity_body
    from soma_isaac.pipelines.poser_choice import choose_poser

    source = Path(config.keypoints).expanduser()
    keypoints = read_keypoints(source, config.up_axis, config.fps)
    identity = None
    if config.body.lower().endswith((".npz", ".bvh")):
        identity = file_bones(Path(config.body).expanduser())
    elif config.body != MEASURED:
        named = None if config.body == "template" else config.body
        identity = identity_body(named=named, lod="xlo").motion_identity
    settings = KeypointSettings(config.tolerance, config.tolerance, config.least_confidence, config.cutoff)
    try:
        motion = soma_from_keypoints(keypoints, choose_poser(config.network), identity, settings)
    except InputRejected as error:
        raise InputRejected(error.reason, error.path or str(source)) from error
    away = keypoint_distances(keypoints, motion, config.least_confidence)
    doubts = keypoint_doubts(keypoints, config.least_confidence)
    data = soma_npz_bytes(motion, {"provenance": provenance_array(motion.provenance)})
    return [
        f"{motion.frame_count} frame{'' if motion.frame_count == 1 else 's'} at {motion.fps:g} Hz; "
        f"{motion.provenance.notes[-1]}",
        f"limb keypoints missed by {1e3 * away.mean():.0f} mm on average, {1e3 * away.max():.0f} mm at most",
        *(f"warning: {doubt}" for doubt in doubts),
        *write_results([(Path(config.output).expanduser(), data)], config.replace, [source]),
    ]


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("keypoints_schema", KeypointsConfig, arguments)


def keypoints_command(config: DictConfig) -> int:
    """Run what the config asks for; see :func:`soma_isaac.pipelines.single_run.run_single` for exit codes."""
    return run_single(config, KeypointsConfig, convert)
