"""Settings that every job over a folder of motions has, and the rules by which files become its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from soma_isaac.errors import InputRejected
from soma_isaac.motion.soma import check_fps
from soma_isaac.pipelines.config import ConfigRefused, check_ranges

# Repeats what motion_in.MOTION_SUFFIXES says (a test holds them equal): with it the parent would import scipy, and
# every command, ``--help`` too, would take twice as long to answer.
MOTION_SUFFIXES = (".npz", ".bvh")
DETAILS_FOLDER = "details"
MODES = ("run", "status", "verify")
RANGES = {"workers": (1, 256), "recycle_after": (1, 1e9), "timeout_s": (1e-3, 1e9), "memory_gb": (0.0, 1e6)}


@dataclass
class SourceConfig:
    """Where the motions are.

    Attributes:
        path: A folder, searched to the bottom, or one file. For ``null`` ``prepare_g1_refs.py`` takes the bundled
            clips; ``convert.py`` needs it; ``render_bodies.py`` has ``motion`` instead.
        fps: Frame rate [Hz] of the sources, for files that do not say it; it wins where they do.
        up_axis: ``y`` or ``z`` where it is known; ``null`` lets AMASS and SOMA files be judged by their content.
    """

    path: str | None = None
    fps: float | None = None
    up_axis: str | None = None


@dataclass
class OutputConfig:
    """Where the results go.

    Attributes:
        dir: Output folder, made if need be; a run in a folder that holds an earlier run resumes it.
    """

    dir: str = "out/g1_refs"


@dataclass
class SmplConfig:
    """The user's own SMPL family files; with them motions are converted by mesh, without them by joint rotations.

    Attributes:
        model_path: A folder with model files as they are downloaded (``smplh/male/model.npz``, ``SMPL_MALE.pkl``,
            ``SMPLX/SMPLX_NEUTRAL.npz``, ...), or one file.
        assets: Folder in SOMA-X layout with the OBJ pair ``SMPL/base_body.obj`` and ``SMPL/SOMA_wrap.obj`` (``SMPLX/``
            for SMPL-X); ``null`` looks into ``model_path``.
        gender: Model for clips that state none: ``male``, ``female`` or ``neutral``; it never overrules a clip.
        hands: Fingers of clips that have none: ``flat``, or ``mean`` as the model file gives it.
    """

    model_path: str | None = None
    assets: str | None = None
    gender: str | None = None
    hands: str = "flat"


@dataclass
class FolderRunConfig:
    """Keys of every job over a folder.

    Attributes:
        source: Where the motions are.
        output: Where the results go.
        workers: Processes that convert.
        timeout_s: Longest time for one clip [s].
        recycle_after: Clips after which a worker process is replaced.
        memory_gb: Address space of a worker [GB]; 0 for no limit.
        dry_run: Plan, say what would be done, and write nothing.
        strict: End at the first clip that is rejected, fails, crashes or hangs.
        replace: Overwrite outputs that come from other settings or another version.
        retry: Try again what an earlier run rejected, and what crashed or hung twice.
        quiet: Say only what went wrong.
        mode: ``run``; ``status`` to count the states in ``output.dir``; ``verify`` to re-hash its outputs.
    """

    source: SourceConfig = field(default_factory=SourceConfig)
    output: OutputConfig = field(default_factory=OutputConfig)
    workers: int = 2
    timeout_s: float = 600.0
    recycle_after: int = 100
    memory_gb: float = 0.0
    dry_run: bool = False
    strict: bool = False
    replace: bool = False
    retry: bool = False
    quiet: bool = False
    mode: str = "run"


def check_run_config(config: FolderRunConfig) -> None:
    """Refuse values that no run can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if config.mode not in MODES:
        raise ConfigRefused(f"mode: {config.mode!r} is none of {', '.join(MODES)}")
    if config.source.up_axis not in (None, "y", "z"):
        raise ConfigRefused(f"source.up_axis: {config.source.up_axis!r} is neither y nor z")
    for key, path in (("output.dir", config.output.dir), ("source.path", config.source.path)):
        if path == "":
            raise ConfigRefused(f"{key}: is empty")
    check_rate("source.fps", config.source.fps)
    check_ranges(config, RANGES)


def check_rate(key: str, value: float | None) -> None:
    """Refuse a frame rate [Hz] that is none; ``None`` passes.

    Raises:
        ConfigRefused: Names the key.
    """
    try:
        if value is not None:
            check_fps(value)
    except InputRejected as error:
        raise ConfigRefused(f"{key}: {error.reason}") from error


def details_name(relative: str) -> str:
    """Relative path of an input's details."""
    return f"{DETAILS_FOLDER}/{relative.rpartition('.')[0]}.json"


def skipped_name(name: str) -> str | None:
    """The rule by which AMASS's files without motion are skipped, or ``None``."""
    if name == "shape.npz" or name.endswith(("_stagei.npz", "_shape.npz")):
        return "AMASS keeps the subject's body here, no motion"
    return None


REFUSED_SUFFIXES: Mapping[str, str] = {
    **dict.fromkeys(
        (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".npy"),
        "files that can hold pickled objects run code when opened and are never read; convert it to npz",
    ),
    **dict.fromkeys((".fbx", ".c3d", ".trc", ".asf", ".amc"), "this motion format is not read; export BVH or npz"),
}
