"""What is compared: two motions on one SOMA body, or an SMPL person's own mesh with the SOMA body made of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import AmassClip, is_amass, read_amass
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.formats.npz import NpzArchive, open_npz
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.formats.smpl_params import is_smpl_params, read_smpl_params
from soma_isaac.formats.soma_npz import is_soma_npz
from soma_isaac.inversion.amass_resample import resample_clip
from soma_isaac.inversion.smpl_joints import decide_up_axis, soma_from_amass
from soma_isaac.math.frames import yup_from_zup_points
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.compare_config import CompareConfig
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.smpl_files import smpl_settings
from soma_isaac.pipelines.smpl_mesh import LOD, clip_converter
from soma_isaac.rig.skeleton import template_rest_offsets

WAYS = {
    "mesh": "the SMPL mesh, carried to SOMA's topology, against the SOMA body of the same person",
    "stored": "the errors that the result's file holds, on a SOMA body of the person's size",
    "motions": "both motions on one SOMA body of the result's size",
}


@dataclass(frozen=True, eq=False)
class Posed:
    """Both sides in some frames; metres, Y-up.

    Attributes:
        source: [n, Vs, 3] m, the mesh that is shown for the source.
        result: [n, V, 3] m.
        errors: [n, V] m, per vertex of the result.
        joint_errors: [n, 77] m, or ``None`` where the source has no SOMA joints.
    """

    source: np.ndarray
    result: np.ndarray
    errors: np.ndarray
    joint_errors: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Pair:
    """Two sides, ready to be posed.

    Attributes:
        way: Key of `WAYS`.
        fps: Frame rate [Hz].
        frame_count: Frames that both have.
        headings: [T] rad, where the result faces, about +Y from +Z.
        source_triangles: [Fs, 3].
        result_triangles: [F, 3].
        pose: Poses the frames with the given numbers.
        notes: What has to be said of the comparison.
        source_name: Name of the source's file.
    """

    way: str
    fps: float
    frame_count: int
    headings: np.ndarray
    source_triangles: np.ndarray
    result_triangles: np.ndarray
    pose: Callable[[np.ndarray], Posed]
    notes: tuple[str, ...]
    source_name: str = ""


def make_pair(config: CompareConfig) -> Pair:
    """Read both sides.

    Raises:
        ConfigRefused: Values of ``smpl`` make no sense, or ``align=hips`` goes with an SMPL mesh.
        InputRejected: A file is no motion, or there is no model for the source.
        RigMismatch: A model file changed meanwhile.
    """
    result_path = Path(config.result or "").expanduser()
    result = load_motion(result_path)
    archive = open_npz(result_path) if result_path.suffix.lower() == ".npz" else None
    origin = _origin(archive)
    source_path = _source_path(Path(config.source or "").expanduser(), origin)
    notes = []
    stated = origin.get("source_digest")
    other = bool(stated) and sha256_of_file(source_path) != stated
    if other:
        notes.append("the source is not the file that the result names: its sha256 differs")
    settings = smpl_settings(config.smpl)
    clip = _smpl_clip(source_path, config.source_fps)
    # What the result says of its own source is no word about another file.
    told = None if other else origin.get("up_axis")
    up_axis = config.up_axis or (told if told in ("y", "z") else None)
    if settings is not None:
        if clip is None:
            raise InputRejected("is no motion of the SMPL family; leave out smpl.model_path=", str(source_path))
        if config.align != "world":
            raise ConfigRefused("align: an SMPL mesh is compared in the world; leave out align or smpl.model_path")
        pair = _mesh_pair(clip, result, settings, source_path.name, up_axis, notes)
        return replace(pair, source_name=source_path.name)
    if clip is not None:
        source = soma_from_amass(clip, source_path.name, up_axis)
    else:
        source = load_motion(source_path, source_fps=config.source_fps, up_axis=config.up_axis)
    errors = None if other else _stored(archive, result)
    pair = _motion_pair(resample(source, result.fps), result, config.align, errors, notes)
    return replace(pair, source_name=source_path.name)


def _origin(archive: NpzArchive | None) -> dict[str, str]:
    """The texts of a result's provenance; empty where it has none."""
    if archive is None or "provenance" not in archive:
        return {}
    try:
        values = json.loads(archive.text("provenance"))
    except ValueError as error:
        raise InputRejected("its provenance is no JSON", archive.path) from error
    return {key: value for key, value in values.items() if isinstance(value, str)} if isinstance(values, dict) else {}


def _source_path(place: Path, origin: dict[str, str]) -> Path:
    """The source's file; in a folder it is the one that the result's provenance names."""
    if not place.is_dir():
        if not place.is_file():
            raise InputRejected("no such file or folder; source= takes a motion", str(place))
        return place
    name = origin.get("source")
    if not name:
        raise InputRejected("is a folder, and the result does not say which file it was made of", str(place))
    path = (place / name).resolve()
    if not (path.is_file() and path.is_relative_to(place.resolve())):
        raise InputRejected(f"holds no {name[:200]!r}, which the result was made of", str(place))
    return path


def _smpl_clip(path: Path, source_fps: float | None) -> AmassClip | None:
    if path.suffix.lower() != ".npz":
        return None
    archive = open_npz(path)
    if is_soma_npz(archive):
        return None
    if is_amass(archive):
        return read_amass(archive, source_fps)
    return read_smpl_params(archive, source_fps) if is_smpl_params(archive) else None


def _stored(archive: NpzArchive | None, result: SomaMotion) -> np.ndarray | None:
    """Errors [T, V] m that the mesh path left in the file, or ``None``."""
    if archive is None or "per_vertex_error" not in archive or not is_soma_npz(archive):
        return None
    errors = archive.numbers("per_vertex_error", (result.frame_count, None))
    if not (np.isfinite(errors).all() and (errors >= 0.0).all()):
        raise InputRejected("per_vertex_error holds values that are no distances", archive.path)
    return errors


def _motion_pair(
    source: SomaMotion, result: SomaMotion, align: str, stored: np.ndarray | None, notes: list[str]
) -> Pair:
    layer = SomaLayer(load_template_rig(), lod=LOD, threads=1)
    scale = float(result.identity.rest_offsets[1, 1] / template_rest_offsets()[1, 1])
    identity = layer.prepare_identity(global_scale=scale)
    if align == "hips" or (stored is not None and stored.shape[1] != layer.vertex_count):
        stored = None

    def posed(motion: SomaMotion, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pose = layer.pose(motion.rotations[rows], places, identity=identity)
        return pose.vertices.numpy(), pose.joints.numpy()

    def pose(rows: np.ndarray) -> Posed:
        places = result.root_translation[rows]
        vertices, joints = posed(result, rows, places)
        reference, points = posed(source, rows, places if align == "hips" else source.root_translation[rows])
        errors = _distance(vertices, reference) if stored is None else stored[rows]
        return Posed(reference, vertices, errors, _distance(joints, points))

    way = "motions" if stored is None else "stored"
    if stored is not None:
        notes = [*notes, "the source is shown by joint rotations; smpl.model_path= shows its own mesh"]
    count = _common(source.frame_count, result.frame_count, notes)
    return Pair(way, result.fps, count, _headings(result), layer.triangles, layer.triangles, pose, tuple(notes))


def _mesh_pair(
    clip: AmassClip, result: SomaMotion, settings: dict, name: str, up_axis: str | None, notes: list[str]
) -> Pair:
    converter = clip_converter(clip, settings, name)
    clip = resample_clip(clip, result.fps)
    axis = up_axis or decide_up_axis(matrix_from_rotvec(clip.body[:, 0]), clip.trans)[0]
    person = converter.person(clip.betas[: len(converter.smpl.model.shape_directions)])
    poses = converter.smpl.full_pose(clip.body, clip.hands, clip.face, flat=settings["hands"] == "flat")

    def pose(rows: np.ndarray) -> Posed:
        native = converter.smpl.pose(person.smpl, poses[rows], clip.trans[rows]).vertices.numpy()
        carried = converter.transfer.apply(native)
        if axis == "z":
            native, carried = yup_from_zup_points(native), yup_from_zup_points(carried)
        posed = converter.layer.pose(result.rotations[rows], result.root_translation[rows], identity=person.identity)
        vertices = posed.vertices.numpy()
        return Posed(native, vertices, _distance(vertices, carried), None)

    count = _common(len(poses), result.frame_count, notes)
    return Pair(
        "mesh", result.fps, count, _headings(result),
        converter.smpl.model.triangles, converter.layer.triangles, pose, tuple(notes),
    )  # fmt: skip


def _common(source: int, result: int, notes: list[str]) -> int:
    if source != result:
        notes.append(f"the source has {source} frames at the result's rate, the result {result}; the common ones count")
    return min(source, result)


def _headings(motion: SomaMotion) -> np.ndarray:
    ahead = motion.rotations[:, 0, :, 2]
    return np.arctan2(ahead[:, 0], ahead[:, 2])


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a.astype(np.float64) - b, axis=-1)
