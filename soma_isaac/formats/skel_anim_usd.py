"""Skinned animations as UsdSkel: SOMA's stage layout, the twist helpers driven, the T-pose kept.

``restTransforms`` hold the T-pose and ``bindTransforms`` the bind pose, so that a text file with the ``mid`` mesh is a
template rig again; the motion is in the SkelAnimation, one time code per frame. Centimetres, Y-up, as SOMA's own files.
"""

from __future__ import annotations

import numpy as np
from pxr import Usd, UsdGeom, Vt

from soma_isaac.formats.rig_usd_write import CM_PER_M, define_skel_root, write_mesh, write_skeleton
from soma_isaac.formats.usd_stage_file import set_samples, set_time_range, stage_in_memory, vectors
from soma_isaac.motion.skin import SkinAnimation
from soma_isaac.rig.mesh import FaceUv


def skel_animation_stage(animation: SkinAnimation, suffix: str, comment: str, uv: FaceUv | None = None) -> Usd.Stage:
    """Build the stage of an animation.

    Args:
        animation: Frames of one body; a single frame becomes a pose without time samples.
        suffix: ``.usda`` for text, ``.usd`` or ``.usdc`` for binary.
        comment: Where the data came from; becomes the layer's comment.
        uv: Texture coordinates of the mesh.

    Returns:
        A stage in memory, for :func:`soma_isaac.formats.usd_stage_file.save_staged`.
    """
    stage = stage_in_memory(suffix)
    stage.GetRootLayer().comment = comment
    root = define_skel_root(stage)
    skel = write_skeleton(stage, animation.skeleton)
    write_mesh(stage, animation.mesh, uv, visible=True)
    animated = animation.frame_count > 1
    if animated:
        set_time_range(stage, animation.frame_count, animation.fps)
    quats_wxyz, translations = animation.local_transforms()
    set_samples(skel.CreateRotationsAttr(), map(_quaternions, quats_wxyz), animated)
    set_samples(skel.CreateTranslationsAttr(), map(vectors, translations * CM_PER_M), animated)
    _set_extents(UsdGeom.Boundable(root), animation.frame_count)
    return stage


def _set_extents(root: UsdGeom.Boundable, frame_count: int) -> None:
    """UsdSkel's own bounds, which renderers and validators expect: the joints', padded by as much as at rest."""
    attribute = root.CreateExtentAttr()
    times = [Usd.TimeCode(frame) for frame in range(frame_count)] if frame_count > 1 else [Usd.TimeCode.Default()]
    extents = [UsdGeom.Boundable.ComputeExtentFromPlugins(root, time) for time in times]
    for time, extent in zip(times, extents, strict=True):
        attribute.Set(extent, time)


def _quaternions(quats_wxyz: np.ndarray) -> Vt.QuatfArray:
    # USD's memory order of a quaternion is imaginary part first.
    return Vt.QuatfArray.FromNumpy(np.ascontiguousarray(quats_wxyz[:, [1, 2, 3, 0]], dtype=np.float32))
