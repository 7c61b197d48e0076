"""Settings of the converters, as Hydra checks them and as the job uses them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from soma_isaac.pipelines.config import ConfigRefused, nearest
from soma_isaac.pipelines.run_config import (
    FolderRunConfig,
    OutputConfig,
    SmplConfig,
    check_rate,
    check_run_config,
    details_name,
)

VERBS: Mapping[str, tuple[str, ...]] = {
    "amass": (".npz",),
    "smpl": (".npz",),
    "mhr": (".npz", ".parquet"),
    "soma2smpl": (".npz",),
    "bvh": (".bvh",),
    "kimodo": (".npz",),
    "seed": (".npz",),
}
"""What each verb reads."""

# Repeats motion.smooth.SMOOTHINGS (a test holds them equal): with it the parent would import scipy.
SMOOTHINGS = ("default", "strong", "one_euro")
SMPL_KINDS = ("smpl", "smplh", "smplx")


@dataclass
class MhrConfig:
    """The user's MHR files.

    Attributes:
        model_path: The TorchScript model; ``null`` takes ``MHR/mhr_model_lod6.pt`` of ``assets``.
        assets: Folder in SOMA-X layout with the OBJ pair ``MHR/base_body_lod6.obj`` and ``MHR/SOMA_wrap_lod1.obj``.
        flexibles: Hand model parameters 130 to 135 over as bone lengths, as SOMA-X 0.3 does; 0.1 set them to zero.
    """

    model_path: str | None = None
    assets: str | None = None
    flexibles: bool = True


@dataclass
class ConvertConfig(FolderRunConfig):
    """All keys of ``convert.py``.

    Attributes:
        verb: ``amass``, ``smpl``, ``mhr``, ``bvh``, ``kimodo`` or ``seed``: what the sources are; ``soma2smpl`` for
            SOMA animations that become SMPL family parameters.
        fps: Frame rate [Hz] of the results; ``null`` keeps each clip's own.
        smooth: ``default``, ``strong`` (RTS) or ``one_euro``; ``null`` for none.
        smpl: The user's SMPL files; with them ``amass``, ``smpl`` and ``soma2smpl`` convert by mesh.
        mhr: The user's MHR files.
        target: For ``soma2smpl``: ``smpl``, ``smplh`` or ``smplx``.
        vertex_errors: Keep ``per_vertex_error`` [T, V] in results of the mesh path (9 kB per frame); their means are
            kept always.
    """

    output: OutputConfig = field(default_factory=lambda: OutputConfig("out/converted"))
    verb: str = "amass"
    fps: float | None = None
    smooth: str | None = None
    smpl: SmplConfig = field(default_factory=SmplConfig)
    mhr: MhrConfig = field(default_factory=MhrConfig)
    target: str = "smplh"
    vertex_errors: bool = True


def check_config(config: ConvertConfig) -> None:
    """Refuse values that no run can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if config.verb not in VERBS:
        raise ConfigRefused(f"verb: unknown verb {config.verb!r}; {nearest(config.verb, tuple(VERBS))}")
    check_run_config(config)
    check_rate("fps", config.fps)
    if config.smooth is not None and config.smooth not in SMOOTHINGS:
        raise ConfigRefused(f"smooth: {config.smooth!r} is none of {', '.join(SMOOTHINGS)}")
    if config.target not in SMPL_KINDS:
        raise ConfigRefused(f"target: {config.target!r} is none of {', '.join(SMPL_KINDS)}")
    if config.source.path is None and config.mode == "run":
        raise ConfigRefused("source.path: is needed; a folder of motions or one file")
    for key, given, verbs in (
        ("smpl.model_path", config.smpl.model_path, ("amass", "smpl", "soma2smpl")),
        ("mhr.model_path", config.mhr.model_path, ("mhr",)),
        ("source.up_axis", config.source.up_axis, ("amass", "smpl", "soma2smpl", "bvh")),
    ):
        if given is not None and config.verb not in verbs:
            raise ConfigRefused(f"{key}: verb={config.verb} has no use for it; it is for {', '.join(verbs)}")
    if config.verb == "mhr" and config.mhr.assets is None:
        raise ConfigRefused("mhr.assets: is needed; a folder in SOMA-X layout with MHR/base_body_lod6.obj")
    if config.verb == "mhr" and (config.fps is not None or config.smooth is not None):
        raise ConfigRefused("verb=mhr converts samples of many persons, which have no frame rate: leave fps and smooth")


def conversion_settings(config: ConvertConfig) -> dict[str, Any]:
    """What the bytes of the outputs depend on, without the user's model files: JSON values for workers and digest."""
    return {
        "verb": config.verb,
        "fps": config.fps,
        "smooth": config.smooth,
        "source_fps": config.source.fps,
        "up_axis": config.source.up_axis,
        "target": config.target if config.verb == "soma2smpl" else None,
        "vertex_errors": config.vertex_errors,
        "flexibles": config.mhr.flexibles if config.verb == "mhr" else None,
    }


def result_name(relative: str, verb: str) -> str:
    """Relative path of an input's result: the tree of the source under ``soma`` (``smpl`` for ``soma2smpl``)."""
    return f"{'smpl' if verb == 'soma2smpl' else 'soma'}/{relative.rpartition('.')[0]}.npz"


def output_names(relative: str, verb: str) -> tuple[str, ...]:
    """Relative output paths of an input: the result, and the details that the report is made from."""
    return result_name(relative, verb), details_name(relative)
