"""A motion or a pose becomes a body in a file: UsdSkel, USD point cache, glTF, or a SOMA-X motion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from soma_isaac.errors import InputRejected
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.body_config import BodyExportConfig, check_config
from soma_isaac.pipelines.config import check_command_line
from soma_isaac.pipelines.single_run import check_no_input, publish_result, run_single
from soma_isaac.pipelines.still_pose import still_pose
from soma_isaac.rig.skeleton import template_rest_offsets

if TYPE_CHECKING:
    from soma_isaac.body import PreparedIdentity, SomaBody


@dataclass(frozen=True)
class BodyExportReport:
    """What was written.

    Attributes:
        path: The file.
        state: ``written``, ``replaced``, or ``unchanged`` where the file already had these bytes.
        byte_count: Its size.
        frame_count: Frames in it.
        fps: Frame rate [Hz]; without meaning for a single frame.
        scale: Factor on the body.
        stride: Factor on the motion's path: the body's leg length over that of the person in the motion.
    """

    path: Path
    state: str
    byte_count: int
    frame_count: int
    fps: float
    scale: float
    stride: float


def export_body(config: BodyExportConfig) -> BodyExportReport:
    """Write one file.

    Raises:
        ConfigRefused: A value or combination of values makes no sense.
        InputRejected: The motion cannot be read, or the frame is beyond its end.
        OutputConflict: The output exists with other bytes and ``replace`` is not set, or cannot be written.
        OSError: The disk refused.
    """
    check_config(config)
    final = Path(config.output).expanduser()
    check_no_input([final], [] if config.motion is None else [Path(config.motion).expanduser()])
    motion = _motion(config)
    scale = stride = 1.0
    if final.suffix.lower() == ".npz":
        from soma_isaac.formats.atomic import stage
        from soma_isaac.formats.soma_npz import soma_npz_bytes

        final.parent.mkdir(parents=True, exist_ok=True)
        staged = stage(final, soma_npz_bytes(motion))
    else:
        scale = _scale(config, motion)
        staged, stride = _stage_body(config, motion, scale, final)
    state = publish_result(staged, final, config.replace)
    return BodyExportReport(final, state, final.stat().st_size, motion.frame_count, motion.fps, scale, stride)


def _motion(config: BodyExportConfig) -> SomaMotion:
    if config.motion is None:
        return still_pose(config.pose == "bind")
    from soma_isaac.motion.resample import resample
    from soma_isaac.pipelines.motion_in import load_motion

    path = Path(config.motion).expanduser()
    motion = load_motion(path, source_fps=config.source_fps, name=path.name, up_axis=config.up_axis)
    motion = motion if config.fps is None else resample(motion, config.fps)
    if config.frame is None:
        return motion
    if config.frame >= motion.frame_count:
        raise InputRejected(f"has {motion.frame_count} frames, there is no frame {config.frame}", config.motion)
    row = slice(config.frame, config.frame + 1)
    return replace(motion, rotations=motion.rotations[row], root_translation=motion.root_translation[row])


def _scale(config: BodyExportConfig, motion: SomaMotion) -> float:
    """The factor on the body; the template gets the legs of the person in the motion, whose soles are then its own."""
    if config.scale is not None:
        return config.scale
    if config.identity != "template" or config.preset is not None:
        return 1.0
    return float(motion.identity.rest_offsets[1, 1] / template_rest_offsets()[1, 1])


def _prepared(config: BodyExportConfig, scale: float) -> tuple[SomaBody, PreparedIdentity]:
    """The body and its one identity.

    Raises:
        InputRejected: A file is missing or not sound, or the coefficients do not fit.
        MissingDependency: The identity model needs a package that is not installed.
    """
    from soma_isaac.body.identities.presets import preset
    from soma_isaac.body.layer import SomaLayer

    name = "soma" if config.preset is not None else config.identity
    layer = SomaLayer(
        identity=name,
        lod=config.lod,
        assets=config.assets,
        model_path=config.model_path,
        correctives=config.correctives,
    )
    coefficients = None if config.coefficients is None else np.array([config.coefficients], dtype=np.float64)
    if config.preset is not None:
        coefficients = preset(config.preset)[None]
    groups: dict[str, Any] = {name: np.array([values], np.float64) for name, values in config.groups.items()}
    scales, bones = groups.pop("scales", None), groups.pop("bone_scales", None)
    identity = layer.prepare_identity(coefficients, scales, bone_scales=bones, global_scale=scale, **groups)
    return layer.body, identity


def _stage_body(config: BodyExportConfig, motion: SomaMotion, scale: float, final: Path) -> tuple[Path, float]:
    """Stage the output; returns the staged file and the factor on the motion's path."""
    # Imported here so that --help and wrong arguments are answered at once.
    from soma_isaac.body.skin_animation import identity_mesh, posed_points, skin_animation
    from soma_isaac.formats.atomic import stage
    from soma_isaac.formats.glb import posed_mesh_glb, skin_animation_glb
    from soma_isaac.formats.point_cache_usd import point_cache_stage
    from soma_isaac.formats.rig_usd_uv import template_uvs
    from soma_isaac.formats.skel_anim_usd import skel_animation_stage
    from soma_isaac.formats.usd_stage_file import save_staged
    from soma_isaac.sim.placement import hips_heights

    body, identity = _prepared(config, scale)
    stride = float(hips_heights(body, identity)[0] / motion.identity.rest_offsets[1, 1])
    transl = motion.root_translation * stride
    if config.pose == "bind":
        transl = np.asarray(identity.bind_T_world_joint)[:, 1, :3, 3]
    who = config.preset or config.identity
    uv = template_uvs().get(config.lod)
    suffix, comment = final.suffix.lower(), f"SOMA body ({who} x {scale:.6g}), {motion.provenance.source}"
    final.parent.mkdir(parents=True, exist_ok=True)
    if config.kind == "skel":
        name = Path(motion.provenance.source).stem
        animation = skin_animation(body, identity, motion.rotations, transl, fps=motion.fps, name=name)
        if suffix == ".glb":
            return stage(final, skin_animation_glb(animation, comment, uv)), stride
        return save_staged(skel_animation_stage(animation, suffix, comment, uv), final), stride
    mesh, points = identity_mesh(body, identity), posed_points(body, identity, motion.rotations, transl)
    if suffix == ".glb":
        return stage(final, posed_mesh_glb(mesh, next(points), comment, uv)), stride
    cache = point_cache_stage(
        mesh,
        points,
        frame_count=motion.frame_count,
        fps=motion.fps,
        suffix=suffix,
        comment=comment,
        normals=config.normals,
        uv=uv,
    )
    return save_staged(cache, final), stride


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("body_schema", BodyExportConfig, arguments)


def body_command(config: DictConfig) -> int:
    """Run what the config asks for; see :func:`~soma_isaac.pipelines.single_run.run_single` for exit codes."""
    return run_single(config, BodyExportConfig, lambda settings: [_line(export_body(settings))])


def _line(report: BodyExportReport) -> str:
    frames = "1 frame" if report.frame_count == 1 else f"{report.frame_count} frames at {report.fps:g} Hz"
    size = f"{report.byte_count / 1e6:.2f} MB"
    body = "" if report.path.suffix.lower() == ".npz" else f"body x {report.scale:.4g}, steps x {report.stride:.4g}, "
    return f"{report.path}: {report.state}, {frames}, {body}{size}"
