"""Reference clips as the files that trainers load, and back.

Every npz names its joints and bodies and says its quaternion order, velocity frame and robot, so that no reader has to
guess; the loaders named below read by key and ignore what they do not know. Arrays are stored, not deflated, with a
fixed time stamp: the same clip gives the same bytes, whatever zlib is installed.

| format | order | linear velocity | consumer |
|---|---|---|---|
| ``beyondmimic`` | breadth first (PhysX) | centre of mass | whole_body_tracking, Isaac Lab tracking tasks |
| ``mjlab`` | depth first (MuJoCo) | link origin | mjlab's tracking task |
| ``amp`` | depth first, found by name | centre of mass | Isaac Lab's humanoid_amp ``MotionLoader`` |
| ``csv`` | depth first | none | Unitree LAFAN1: x y z qx qy qz qw, joints; at the clip's own rate, no header |

humanoid_amp compares with ``body_lin_vel_w`` and resets by ``write_root_com_velocity_to_sim``; in Isaac Lab 2 both are
the centre of mass.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.clip_order import breadth_first, com_offset_velocity, depth_first, reordered
from soma_isaac.formats.guard import SourceBytes, parse_fps, read_source, require_frames
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.formats.robot_csv import robot_csv_bytes
from soma_isaac.motion.clip import ReferenceClip

QUAT_ORDER = "wxyz"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class ClipFormat:
    """How a consumer wants a clip.

    Attributes:
        extension: File name extension with the dot.
        breadth_first: Bodies and joints level by level (PhysX) instead of depth first (MuJoCo).
        velocity_frame: Point whose linear velocity is written: ``com``, ``link``, or ``none``.
        keys: Array names in the npz by field of the clip; empty for a text format.
    """

    extension: str
    breadth_first: bool
    velocity_frame: str
    keys: Mapping[str, str]


_TRACKING_KEYS = MappingProxyType(
    {
        "joint_pos": "joint_pos",
        "joint_vel": "joint_vel",
        "body_pos_w": "body_pos_w",
        "body_quat_wxyz": "body_quat_w",
        "body_lin_vel_w": "body_lin_vel_w",
        "body_ang_vel_w": "body_ang_vel_w",
    }
)
_AMP_KEYS = MappingProxyType(
    {
        "joint_pos": "dof_positions",
        "joint_vel": "dof_velocities",
        "body_pos_w": "body_positions",
        "body_quat_wxyz": "body_rotations",
        "body_lin_vel_w": "body_linear_velocities",
        "body_ang_vel_w": "body_angular_velocities",
    }
)
FORMATS: Mapping[str, ClipFormat] = MappingProxyType(
    {
        "beyondmimic": ClipFormat(".npz", True, "com", _TRACKING_KEYS),
        "mjlab": ClipFormat(".npz", False, "link", _TRACKING_KEYS),
        "amp": ClipFormat(".npz", False, "com", _AMP_KEYS),
        "csv": ClipFormat(".csv", False, "none", MappingProxyType({})),
    }
)
"""Formats by the name that ``formats=[...]`` takes."""


@dataclass(frozen=True, eq=False)
class ClipLayout:
    """What an npz without names leaves unsaid; the reader's caller declares it.

    Attributes:
        joint_names: Order of the joint arrays.
        body_names: Order of the body arrays.
        body_parents: Parent of each body, -1 for the root.
        velocity_frame: ``com`` or ``link``.
        body_com_b: [B, 3] m, centres of mass in the link frames.
        robot_digest: sha256 of the robot description.
    """

    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    body_parents: tuple[int, ...]
    velocity_frame: str
    body_com_b: np.ndarray
    robot_digest: str


def clip_format(name: str) -> ClipFormat:
    """The format of that name.

    Raises:
        InputRejected: There is none.
    """
    if name not in FORMATS:
        raise InputRejected(f"there is no clip format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def reference_clip_bytes(clip: ReferenceClip, format_name: str) -> bytes:
    """A clip as the bytes of a file.

    Args:
        clip: The clip, bodies in any order.
        format_name: A key of :data:`FORMATS`.

    Returns:
        The file; equal clips give equal bytes.

    Raises:
        InputRejected: There is no such format.
    """
    form = clip_format(format_name)
    order = breadth_first(clip.body_parents) if form.breadth_first else depth_first(clip.body_parents)
    clip = reordered(clip, order)
    if not form.keys:
        return robot_csv_bytes(clip.body_pos_w[:, 0], clip.body_quat_wxyz[:, 0], clip.joint_pos)
    states = {field: getattr(clip, field) for field in form.keys}
    if form.velocity_frame == "com":
        states["body_lin_vel_w"] = clip.body_lin_vel_w + com_offset_velocity(clip)
    arrays = {"fps": _fps_array(clip.fps)}
    arrays |= {form.keys[field]: value.astype(np.float32) for field, value in states.items()}
    arrays |= {
        "joint_names": np.array(clip.joint_names),
        "body_names": np.array(clip.body_names),
        "body_parents": np.array(clip.body_parents, dtype=np.int32),
        "body_com_b": clip.body_com_b,
        "foot_contacts": clip.foot_contacts,
        "quat_order": np.array(QUAT_ORDER),
        "velocity_frame": np.array(form.velocity_frame),
        "robot_asset_sha256": np.array(clip.robot_digest),
    }
    if form.keys is _AMP_KEYS:
        arrays["dof_names"] = arrays["joint_names"]
    return npz_bytes(arrays)


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An npz file of plain arrays (no objects) with the same bytes every time."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_TIME)
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def _fps_array(fps: float) -> np.ndarray:
    # Shape (1,) and whole numbers as integers: what BeyondMimic and mjlab write themselves.
    return np.array([int(fps)] if fps.is_integer() else [fps])


def read_reference_clip(source: Path | bytes, layout: ClipLayout | None = None) -> ReferenceClip:
    """Read a ``beyondmimic``, ``mjlab`` or ``amp`` npz.

    Args:
        source: A file or its bytes.
        layout: What the file leaves unsaid. A file that names its joints, bodies, tree and velocity frame (all that we
            write do) needs none; where both say something, the file holds.

    Returns:
        The clip in the file's own order, with link-origin velocities. A file without ``foot_contacts`` gives a clip
        without contacts.

    Raises:
        InputRejected: Not a sound npz of these keys, or it does not say which order or velocity it holds and no layout
            is declared, or its quaternions are not wxyz.
    """
    content = SourceBytes.of(source, "clip") if isinstance(source, bytes) else read_source(source)
    archive = NpzArchive(content)
    keys = _AMP_KEYS if "dof_positions" in archive else _TRACKING_KEYS
    layout = _stated_layout(archive, "dof_names" if keys is _AMP_KEYS else "joint_names", layout)
    if "quat_order" in archive and archive.text("quat_order") != QUAT_ORDER:
        raise InputRejected(f"has quaternions in the order {archive.text('quat_order')!r}, expected wxyz", archive.path)
    joints, bodies = len(layout.joint_names), len(layout.body_names)
    tails = {
        "joint_pos": (joints,),
        "joint_vel": (joints,),
        "body_pos_w": (bodies, 3),
        "body_quat_wxyz": (bodies, 4),
        "body_lin_vel_w": (bodies, 3),
        "body_ang_vel_w": (bodies, 3),
    }
    frames = None
    states = {}
    for field, tail in tails.items():
        states[field] = archive.numbers(keys[field], (frames, *tail))
        frames = len(states[field])
        require_frames(frames, archive.path)
    try:
        clip = ReferenceClip(
            fps=parse_fps(archive.read("fps"), "fps", archive.path),
            joint_names=layout.joint_names,
            body_names=layout.body_names,
            body_parents=layout.body_parents,
            body_com_b=layout.body_com_b,
            foot_contacts=_contacts(archive, len(states["joint_pos"])),
            robot_digest=layout.robot_digest,
            **states,
        )
    except InputRejected as error:
        raise InputRejected(error.reason, archive.path) from error
    if layout.velocity_frame == "link":
        return clip
    return replace(clip, body_lin_vel_w=clip.body_lin_vel_w - com_offset_velocity(clip))


def _contacts(archive: NpzArchive, frames: int) -> np.ndarray:
    if "foot_contacts" not in archive:
        return np.zeros((frames, 2), dtype=np.bool_)
    contacts = archive.read("foot_contacts")
    if contacts.dtype.kind != "b":
        raise InputRejected(f"array 'foot_contacts' is {contacts.dtype}, expected truth values", archive.path)
    return contacts


def _stated_layout(archive: NpzArchive, joint_key: str, declared: ClipLayout | None) -> ClipLayout:
    needed = (joint_key, "body_names", "body_parents", "velocity_frame", "body_com_b", "robot_asset_sha256")
    missing = [key for key in needed if key not in archive]
    if not missing:
        return _own_layout(archive, joint_key)
    if declared is None:
        raise InputRejected(
            f"does not say {', '.join(missing)}; a clip of unknown order is not read unless its layout is declared",
            archive.path,
        )
    for key, names in ((joint_key, declared.joint_names), ("body_names", declared.body_names)):
        if key in archive and archive.texts(key) != names:
            raise InputRejected(f"has other {key} than the layout declares", archive.path)
    if "velocity_frame" in archive and archive.text("velocity_frame") != declared.velocity_frame:
        raise InputRejected("has another velocity_frame than the layout declares", archive.path)
    return declared


def _own_layout(archive: NpzArchive, joint_key: str) -> ClipLayout:
    bodies = archive.texts("body_names")
    parents = archive.read("body_parents")
    if parents.dtype.kind not in "iu" or parents.shape != (len(bodies),):
        raise InputRejected(f"array 'body_parents' is {parents.dtype} {parents.shape}, expected integers", archive.path)
    frame = archive.text("velocity_frame")
    if frame not in ("com", "link"):
        raise InputRejected(f"has the velocity_frame {frame!r}, expected com or link", archive.path)
    return ClipLayout(
        archive.texts(joint_key),
        bodies,
        tuple(parents.tolist()),
        frame,
        archive.numbers("body_com_b", (len(bodies), 3)),
        archive.text("robot_asset_sha256"),
    )
