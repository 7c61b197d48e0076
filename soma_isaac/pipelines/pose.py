"""``scripts/pose.py``: effectors in, poses out: a SOMA npz, a skinned body in USD, a picture with the effectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.learned.effectors import KIND_NAMES, POSITION, Effectors
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.refine import Refined
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES
from soma_isaac.motion.soma import Provenance, SomaMotion
from soma_isaac.pipelines.config import check_command_line
from soma_isaac.pipelines.pose_body import ShownBody, bones_body, file_bones, identity_body
from soma_isaac.pipelines.pose_config import PictureConfig, PoseBodyConfig, PoseConfig, check_config, check_picture
from soma_isaac.pipelines.pose_effectors import NamedPoses, read_poses
from soma_isaac.pipelines.pose_files import encoded
from soma_isaac.pipelines.pose_pictures import View, pose_picture
from soma_isaac.pipelines.poser_choice import choose_poser
from soma_isaac.pipelines.single_run import run_single, write_results

POSE_FPS = 1.0
"""A pose lasts a second in the files that have time."""


@dataclass(frozen=True, eq=False)
class PosedBody:
    """Poses of one body.

    Attributes:
        shown: The body.
        poses: What was asked for.
        effectors: The same as arrays.
        refined: The poses and how they meet it.
        motion: One frame per pose.
    """

    shown: ShownBody
    poses: NamedPoses
    effectors: Effectors
    refined: Refined
    motion: SomaMotion


def pose_body(
    shown: ShownBody, poses: NamedPoses, poser: Poser, source: str = "effectors", digest: str = ""
) -> PosedBody:
    """Pose one body.

    Args:
        shown: The body.
        poses: What is asked for.
        poser: What poses.
        source: Where the effectors come from, for the provenance.
        digest: sha256 of that file, hex.
    """
    effectors = poses.effectors
    refined = poser.solve(effectors, shown.skeleton)
    origin = Provenance(source, digest, "effectors", "none", "y", "format", (f"poses: {', '.join(poses.names[:20])}",))
    motion = SomaMotion(POSE_FPS, refined.pose.full(), refined.pose.root_position, shown.motion_identity, origin)
    return PosedBody(shown, poses, effectors, refined, motion)


def pose(config: PoseConfig) -> list[str]:
    """Pose and write; the lines say how well every effector is met, and what was written.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: The effectors, the body's files or the network cannot be read.
        MissingDependency: The identity model needs a package that is not installed.
        OutputConflict: An output exists with other bytes and ``replace`` is not set.
        OSError: The disk refused.
    """
    check_config(config)
    source = Path(config.effectors).expanduser()
    poses = read_poses(source, config.up_axis)
    if "png" in config.formats:
        check_picture(config.picture, len(poses.names))
    poser = choose_poser(config.network, config.limits)
    found = pose_body(chosen_body(config.body), poses, poser, source.name, sha256_of_file(source))
    files = [
        (Path(config.output).expanduser() / f"{source.stem}.{name}", _encoded(found, name, config.picture))
        for name in dict.fromkeys(config.formats)
    ]
    return [*residual_lines(found), *write_results(files, config.replace, [source])]


def chosen_body(config: PoseBodyConfig) -> ShownBody:
    """The body of a command.

    Raises:
        InputRejected: A file is missing or not sound, or coefficients do not fit.
        MissingDependency: The identity model needs a package that is not installed.
    """
    if config.bones is not None:
        path = Path(config.bones).expanduser()
        return bones_body(file_bones(path), path.stem, config.lod)
    return identity_body(
        config.identity,
        named=config.preset,
        coefficients=config.coefficients,
        groups=config.groups,
        scale=config.scale,
        lod=config.lod,
        assets=config.assets,
        model_path=config.model_path,
    )


def residual_lines(found: PosedBody) -> list[str]:
    """One line per pose: how many effectors are met, and those that are not."""
    lines = []
    for index, name in enumerate(found.poses.names):
        used: list[int] = np.flatnonzero(found.effectors.weight[index] > 0.0).tolist()
        missed = [
            f"{_effector_name(found.effectors, index, slot)} missed by {_distance(found, index, slot)}"
            for slot in used
            if not found.refined.reached[index, slot]
        ]
        met = f"{len(used) - len(missed)} of {len(used)} effectors met"
        lines.append(f"{name}: {'; '.join([met, *missed])}")
    return lines


def _effector_name(effectors: Effectors, index: int, slot: int) -> str:
    """Joint and kind of one effector."""
    return f"{BODY_JOINT_NAMES[effectors.joint[index, slot]]} {KIND_NAMES[effectors.kind[index, slot]]}"


def _distance(found: PosedBody, index: int, slot: int) -> str:
    residual = found.refined.residual[index, slot]
    if found.effectors.kind[index, slot] == POSITION:
        return f"{1e3 * residual:.1f} mm"
    return f"{np.degrees(residual):.2f} deg"


def _encoded(found: PosedBody, name: str, picture: PictureConfig) -> bytes:
    if name == "npz":
        from soma_isaac.formats.soma_npz import provenance_array, soma_npz_bytes

        extras = {
            "pose_names": np.array(found.poses.names),
            "effector_residual": found.refined.residual,
            "provenance": provenance_array(found.motion.provenance),
        }
        return soma_npz_bytes(found.motion, extras)
    if name == "png":
        return _picture(found, picture)
    return encoded(found.shown, found.motion, name, found.poses.names)


def _picture(found: PosedBody, config: PictureConfig) -> bytes:
    from soma_isaac.formats.png import png_bytes
    from soma_isaac.render.contact_sheet import contact_sheet

    view = View(np.radians(config.azimuth_deg), size=(config.size[0], config.size[1]))
    pictures = [
        pose_picture(found.shown, found.refined.pose, found.effectors, index, view, name)
        for index, name in enumerate(found.poses.names)
    ]
    return png_bytes(contact_sheet(pictures, min(config.columns, len(pictures))))


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("pose_schema", PoseConfig, arguments)


def pose_command(config: DictConfig) -> int:
    """Run what the config asks for; see :func:`soma_isaac.pipelines.single_run.run_single` for exit codes."""
    return run_single(config, PoseConfig, pose)
