"""Posed vertices as a time-sampled USD mesh, for software that knows no skinning."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from pxr import Kind, Usd, UsdGeom

from soma_isaac.formats.rig_usd_write import CM_PER_M, write_faces
from soma_isaac.formats.usd_stage_file import set_time_range, stage_in_memory, vectors
from soma_isaac.rig.mesh import FaceUv, vertex_normals
from soma_isaac.rig.rig import SkinnedMesh

ROOT = "/Body"


def point_cache_stage(
    mesh: SkinnedMesh,
    points: Iterable[np.ndarray],
    *,
    frame_count: int,
    fps: float,
    suffix: str,
    comment: str,
    normals: bool = True,
    uv: FaceUv | None = None,
) -> Usd.Stage:
    """Build the stage of a point cache.

    Args:
        mesh: Its name and faces.
        points: [V, 3] m per frame, Y-up; taken one by one, so that a generator keeps memory at the size of the result.
        frame_count: Number of frames T; a single one becomes a mesh without time samples.
        fps: Frame rate [Hz]; frames are time codes 0 to T - 1.
        suffix: ``.usda`` for text, ``.usd`` or ``.usdc`` for binary (a fifth of the size).
        comment: Where the data came from; becomes the layer's comment.
        normals: Write vertex normals for every frame too (twice the size); without them some renderers show facets.
        uv: Texture coordinates of the mesh.

    Returns:
        A stage in memory, in centimetres, for :func:`soma_isaac.formats.usd_stage_file.save_staged`.
    """
    stage = stage_in_memory(suffix)
    stage.GetRootLayer().comment = comment
    root = UsdGeom.Xform.Define(stage, ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root.GetPrim()).SetKind(Kind.Tokens.component)
    prim = UsdGeom.Mesh.Define(stage, f"{ROOT}/{mesh.name}")
    write_faces(prim, mesh, uv)
    points_attr, extent_attr, normals_attr = prim.GetPointsAttr(), prim.GetExtentAttr(), prim.GetNormalsAttr()
    if normals:
        prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    if frame_count > 1:
        set_time_range(stage, frame_count, fps)
    for frame, positions in enumerate(points):
        # The first frame is the default value too, for whoever asks for no time.
        times = [Usd.TimeCode.Default()] if frame == 0 else []
        times += [Usd.TimeCode(frame)] if frame_count > 1 else []
        centimetres = positions.astype(np.float32) * np.float32(CM_PER_M)
        values = {points_attr: centimetres, extent_attr: np.stack([centimetres.min(axis=0), centimetres.max(axis=0)])}
        if normals:
            values[normals_attr] = vertex_normals(positions, mesh.triangles)
        for attribute, value in values.items():
            for time in times:
                attribute.Set(vectors(value), time)
    return stage
