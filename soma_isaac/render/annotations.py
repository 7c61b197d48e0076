"""Joints, boxes and masks of rendered bodies in COCO's format, with 3D joints and cameras beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from soma_isaac.render.cameras import camera_points, camera_transform, intrinsics, project
from soma_isaac.render.parts import JOINT_PARTS, PART_NAMES
from soma_isaac.render.plan import Shot
from soma_isaac.render.posing import PosedFrame
from soma_isaac.render.renderer import ImageLayers
from soma_isaac.render.scene import Camera
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS

HIDDEN, VISIBLE = 1, 2
"""COCO's flags of joints in the picture; 0, with zero coordinates, is a joint outside it."""


def header() -> dict[str, Any]:
    """What all pictures share: the category with its keypoints and bones, and the parts of the segmentation."""
    bones = [[parent + 1, joint + 1] for joint, parent in enumerate(POSE_PARENTS) if parent >= 0]
    return {
        "info": {
            "description": "SOMA bodies",
            "world": "Z up, metres, floor at z = 0",
            "camera": "x right, y down, z ahead, metres; pixel centres at whole numbers",
        },
        "licenses": [],
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(POSE_JOINT_NAMES),
                "skeleton": bones,
            }
        ],
        "parts": [{"id": number, "name": name} for number, name in enumerate(PART_NAMES, start=1)],
    }


def image_record(shot: Shot, frame: int, view: int, camera: Camera, file_names: dict[str, str]) -> dict[str, Any]:
    """The entry of one picture.

    Args:
        shot: Its shot.
        frame: Frame of the scene.
        view: Camera of the scene.
        camera: Where it stands.
        file_names: Relative path per layer, ``rgb`` among them if it was asked for.
    """
    rotation, translation = camera_transform(camera)
    lens = intrinsics(camera, shot.size)
    return {
        "id": _image_id(shot, frame, view),
        "file_name": file_names.get("rgb", ""),
        "files": file_names,
        "width": shot.size[0],
        "height": shot.size[1],
        "scene": shot.scene,
        "frame": frame,
        "view": view,
        "intrinsics": {key: _short(value) for key, value in lens.items()},
        "R_camera_world": _short(rotation),
        "t_camera_world": _short(translation),
        "sun": {"azimuth": shot.light.azimuth, "elevation": shot.light.elevation},
    }


def body_records(
    shot: Shot, frame: int, view: int, camera: Camera, posed: PosedFrame, layers: ImageLayers
) -> list[dict[str, Any]]:
    """The entries of the bodies that show in one picture; see `image_record`."""
    image_id = _image_id(shot, frame, view)
    records = []
    for number, body in enumerate(shot.bodies):
        mask = layers.instance == number + 1
        if not mask.any():
            continue
        joints = posed.joints[number].astype(np.float64)
        pixels = project(joints, camera, shot.size)
        flags = joint_flags(pixels, np.where(mask, layers.part, 0))
        shown = np.where((flags > 0)[:, None], pixels, 0.0)
        records.append(
            {
                "id": (image_id - 1) * len(shot.bodies) + number + 1,
                "image_id": image_id,
                "category_id": 1,
                "iscrowd": 0,
                "instance": number + 1,
                "bbox": _box(mask),
                "area": int(mask.sum()),
                "segmentation": run_lengths(mask),
                "keypoints": [
                    value
                    for (column, row), flag in zip(shown, flags, strict=True)
                    for value in (_short(column), _short(row), int(flag))
                ],
                "num_keypoints": int((flags > 0).sum()),
                "joints_camera": _short(camera_points(joints, camera)),
                "joints_world": _short(joints),
                "identity": {"kind": body.kind, "name": body.name, "model": body.model},
                "coefficients": list(body.coefficients),
                "clip": body.clip.name,
                "clip_time": _short(posed.times[number]),
            }
        )
    return records


def joint_flags(pixels: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """COCO's visibility [77] of joints.

    A joint lies under the skin. It counts as visible if the skin that its pixel or one next to it shows is that of its
    own part or of a part that it joins; another part or another body in front hides it.

    Args:
        pixels: [77, 2] column and row.
        parts: [H, W] parts of this body; 0 where something else is seen.
    """
    height, width = parts.shape
    finite = np.nan_to_num(pixels, nan=-1e6)
    columns, rows = (np.clip(np.rint(finite[:, axis]), -2, 1 << 20).astype(int) for axis in (0, 1))
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    flags = np.zeros(len(pixels), np.uint8)
    padded = np.pad(parts, 1)
    for joint in np.flatnonzero(inside):
        window = padded[rows[joint] : rows[joint] + 3, columns[joint] : columns[joint] + 3]
        flags[joint] = VISIBLE if np.isin(window, _NEAR_PARTS[joint]).any() else HIDDEN
    return flags


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed run lengths of a mask [H, W]: column by column, beginning with a run of zeros."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    bounds = np.concatenate([[0], edges, [flat.size]])
    counts = np.diff(bounds).tolist()
    return {"size": [int(mask.shape[0]), int(mask.shape[1])], "counts": [0, *counts] if flat[0] else counts}


def _near_parts() -> list[np.ndarray]:
    near = [{int(part)} for part in JOINT_PARTS]
    for joint, parent in enumerate(POSE_PARENTS):
        if parent >= 0:
            near[joint].add(int(JOINT_PARTS[parent]))
            near[parent].add(int(JOINT_PARTS[joint]))
    return [np.array(sorted(parts)) for parts in near]


_NEAR_PARTS = _near_parts()


def _image_id(shot: Shot, frame: int, view: int) -> int:
    return (shot.scene * shot.scene_frames + frame) * len(shot.views) + view + 1


def _box(mask: np.ndarray) -> Sequence[int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]


def _short(value: Any) -> Any:
    """Numbers with five decimals (a hundredth of a millimetre) as JSON values."""
    rounded = np.round(np.asarray(value, np.float64), 5) + 0.0  # + 0.0 turns -0.0 into 0.0
    return rounded.tolist()
