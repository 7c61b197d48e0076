"""``scripts/repair.py``: a SOMA clip in, the same clip with some of its joints held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.config import ConfigRefused, check_command_line, check_ranges
from soma_isaac.pipelines.single_run import run_single, write_results

if TYPE_CHECKING:
    from soma_isaac.pipelines.repair_targets import Hold

FEET = ("keep", "contacts", "free")


@dataclass
class RepairConfig:
    """All keys of ``repair.py``.

    Attributes:
        motion: Motion file (SOMA, Kimodo, BONES-SEED or AMASS npz, or BVH).
        hold: YAML or JSON file of what to hold when, see :func:`soma_isaac.pipelines.repair_file.read_holds`.
        output: SOMA npz to write; or where the motion is a BVH file, .bvh for the same on its own skeleton.
        network: A trained pose network, for its joint limits; ``null`` for the one that ships, ``still`` for none.
        ease: Time [s] in which a joint is led to what it shall do, and back; ``null`` for 0.4 s or 1 s per metre.
        fade: Time [s] before and after that in which the rest of the body comes back to the clip.
        feet: ``keep`` the paths of the feet, only while they are in ``contacts``, or leave them ``free``.
        looseness: Factor on how far hips, free hands and head may well go from where they are (5 cm, 5 degrees).
        source_fps: Frame rate [Hz] of the motion where its file does not say it; it wins where it does.
        up_axis: ``y`` or ``z``, the world of the hold file; ``null`` takes what it says, else ``y``.
        replace: Overwrite an output that has other bytes.
    """

    motion: str = ""
    hold: str = ""
    output: str = ""
    network: str | None = None
    ease: float | None = None
    fade: float = 0.4
    feet: str = "keep"
    looseness: float = 1.0
    source_fps: float | None = None
    up_axis: str | None = None
    replace: bool = False


def check_config(config: RepairConfig) -> None:
    """Refuse values that no repair can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    for key in ("motion", "hold", "output"):
        if not getattr(config, key):
            raise ConfigRefused(f"{key}: is needed; repair.py motion=CLIP.npz hold=HOLD.yaml output=REPAIRED.npz")
    suffix = Path(config.output).suffix.lower()
    if suffix not in (".npz", ".bvh"):
        raise ConfigRefused(f"output: {config.output!r} ends in neither .npz nor .bvh")
    if suffix == ".bvh" and Path(config.motion).suffix.lower() != ".bvh":
        raise ConfigRefused("output: a .bvh is written where motion= is one: on the character's own skeleton")
    if config.feet not in FEET:
        raise ConfigRefused(f"feet: {config.feet!r} is none of {', '.join(FEET)}")
    if config.up_axis not in (None, "y", "z"):
        raise ConfigRefused(f"up_axis: {config.up_axis!r} is neither y nor z")
    check_ranges(config, {"ease": (0.0, 10.0), "fade": (0.0, 10.0), "looseness": (0.01, 100.0)})


def repair(config: RepairConfig) -> list[str]:
    """Repair one clip; the lines say what became of it.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: The clip, the hold file or the network cannot be read, or a hold does not fit the clip.
        OutputConflict: The output exists with other bytes and ``replace`` is not set.
        OSError: The disk refused.
    """
    check_config(config)
    # Imported here so that --help and wrong arguments are answered at once.
    from soma_isaac.formats.bvh import read_bvh
    from soma_isaac.formats.bvh_write import bvh_bytes
    from soma_isaac.formats.soma_npz import provenance_array, soma_npz_bytes
    from soma_isaac.pipelines.character_bvh import changed_bvh
    from soma_isaac.pipelines.motion_in import load_motion
    from soma_isaac.pipelines.poser_choice import choose_poser
    from soma_isaac.pipelines.repair import RepairSettings, repair_motion
    from soma_isaac.pipelines.repair_file import read_holds

    source, hold_file = Path(config.motion).expanduser(), Path(config.hold).expanduser()
    motion = load_motion(source, source_fps=config.source_fps, name=source.name)
    holds = read_holds(hold_file, motion, config.up_axis)
    settings = RepairSettings(config.ease, config.fade, config.feet, config.looseness)
    poser = choose_poser(config.network)
    try:
        found = repair_motion(motion, holds, poser, settings)
    except InputRejected as error:
        raise InputRejected(error.reason, error.path or str(hold_file)) from error
    if config.output.lower().endswith(".bvh"):
        clip = read_bvh(source, config.source_fps)
        data = bvh_bytes(changed_bvh(clip, found.motion, found.changed))
    else:
        data = soma_npz_bytes(found.motion, {"provenance": provenance_array(found.motion.provenance)})
    lines = [
        f"{hold.joint}, frames {hold.begin} to {hold.end}: " + ", ".join(_missed(hold, residual))
        for hold, residual in zip(holds, found.residual, strict=True)
    ]
    return [
        *lines,
        f"{int(found.changed.sum())} of {motion.frame_count} frames changed, joints turned by at most "
        f"{np.degrees(found.largest_turn):.0f} deg and by {np.degrees(found.fastest[0]):.0f} deg/s (the clip: "
        f"{np.degrees(found.fastest[1]):.0f}), kept feet moved by at most {1e3 * found.feet_moved:.2f} mm",
        *write_results([(Path(config.output).expanduser(), data)], config.replace, [source]),
    ]


def _missed(hold: Hold, residual: tuple[float, float, float]) -> list[str]:
    from soma_isaac.learned.refine import REACHED_M, REACHED_RAD

    metres, radians, looking = residual
    asked = (
        ("path", metres <= REACHED_M, f"{1e3 * metres:.2f} mm"),
        ("rotation", radians <= REACHED_RAD, f"{np.degrees(radians):.2f} deg"),
        ("look_at", looking <= REACHED_RAD, f"{np.degrees(looking):.2f} deg"),
    )
    return [
        f"{name} {'met within' if met else 'out of reach, missed by up to'} {size}"
        for name, met, size in asked
        if getattr(hold, name) is not None
    ]


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("repair_schema", RepairConfig, arguments)


def repair_command(config: DictConfig) -> int:
    """Run what the config asks for; see :func:`soma_isaac.pipelines.single_run.run_single` for exit codes."""
    return run_single(config, RepairConfig, repair)
