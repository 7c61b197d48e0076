"""Any motion file in, a SomaMotion out: the format is told from the keys that a file holds."""

from __future__ import annotations

from pathlib import Path

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import is_amass, read_amass
from soma_isaac.formats.kimodo import is_kimodo, read_kimodo
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.seed import is_seed, read_seed
from soma_isaac.formats.soma_npz import is_soma_npz, read_soma_npz
from soma_isaac.inversion.smpl_joints import soma_from_amass
from soma_isaac.motion.soma import SomaMotion

MOTION_SUFFIXES = (".npz", ".bvh")


def load_motion(
    path: Path, *, source_fps: float | None = None, name: str | None = None, up_axis: str | None = None
) -> SomaMotion:
    """Read a motion of any supported format.

    Args:
        path: An npz (AMASS, SOMA, Kimodo, BONES-SEED) or BVH file.
        source_fps: Frame rate [Hz] where the file states none; it wins where the file does.
        up_axis: ``y`` or ``z`` where an AMASS, SOMA or BVH file's world is known; ``None`` decides and records it.
        name: What to call the source in the provenance and in errors, e.g. a path relative to the user's folder.

    Raises:
        InputRejected: The file is of no supported format, or not what it claims to be.
    """
    source = name if name is not None else str(path)
    if path.suffix.lower() == ".bvh":
        from soma_isaac.inversion.bvh_joints import read_bvh_motion

        return read_bvh_motion(path, source_fps=source_fps, name=name, up_axis=up_axis)
    if path.suffix.lower() != ".npz":
        raise InputRejected(f"has the suffix {path.suffix!r}; expected {' or '.join(MOTION_SUFFIXES)}", source)
    archive = open_npz(path, name=name)
    try:
        if is_kimodo(archive):
            return read_kimodo(archive, source, source_fps)
        if is_seed(archive):
            return read_seed(archive, source, source_fps)
        if is_soma_npz(archive):
            return read_soma_npz(archive, source, source_fps, up_axis)
        if is_amass(archive):
            return soma_from_amass(read_amass(archive, source_fps), source, up_axis)
    except InputRejected as error:
        if error.path is not None:
            raise
        raise InputRejected(error.reason, source) from error
    if "betas" in archive and "poses" not in archive:
        raise InputRejected("is an AMASS body shape (betas without poses), not a motion", source)
    raise InputRejected(f"is no motion format that we read; its arrays are {', '.join(archive.keys[:20])}", source)
