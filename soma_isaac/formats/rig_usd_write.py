"""Write a rig as a native UsdSkel file in SOMA's stage layout (centimetres, Y-up)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pxr import Gf, Kind, Sdf, Usd, UsdGeom, UsdSkel, Vt

from soma_isaac.formats.usd_stage_file import stage_in_memory
from soma_isaac.rig.mesh import FaceUv, vertex_normals
from soma_isaac.rig.rig import Rig, SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton

SKEL_ROOT = "/OUTPUT"
SKELETON = "/OUTPUT/c_skeleton_grp/Root"
ANIMATION = "/OUTPUT/c_skeleton_grp/Root/Animation"
MESHES = "/OUTPUT/c_geometry_grp/MainMesh/Meshes"

CM_PER_M = 100.0
SKIN_COLOR = (0.72, 0.58, 0.5)


def joint_paths(skeleton: Skeleton) -> list[str]:
    """Slash paths of the joints from the root, as UsdSkel names them."""
    paths: list[str] = []
    for name, parent in zip(skeleton.joint_names, skeleton.parent_indices, strict=True):
        paths.append(name if parent < 0 else f"{paths[parent]}/{name}")
    return paths


def local_transforms(world: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Transforms [J, 4, 4] relative to each joint's parent, from world transforms; the root keeps its own."""
    local = world.copy()
    children = np.flatnonzero(parents >= 0)
    local[children] = np.linalg.solve(world[parents[children]], world[children])
    return local


def rig_usda(rig: Rig, uvs: Mapping[str, FaceUv], comment: str) -> str:
    """Text of a template rig file.

    Args:
        rig: What to write; every level of detail becomes a mesh, only ``mid`` is visible.
        uvs: Texture coordinates by level of detail, where there are any.
        comment: Where the data came from; becomes the layer's comment.
    """
    stage = stage_in_memory(".usda")
    stage.GetRootLayer().comment = comment
    root = define_skel_root(stage)
    write_skeleton(stage, rig.skeleton)
    for lod, mesh in rig.meshes.items():
        write_mesh(stage, mesh, uvs.get(lod), visible=lod == "mid")
    boundable = UsdGeom.Boundable(root)
    boundable.CreateExtentAttr(UsdGeom.Boundable.ComputeExtentFromPlugins(boundable, Usd.TimeCode.Default()))
    return stage.GetRootLayer().ExportToString()


def define_skel_root(stage: Usd.Stage) -> UsdSkel.Root:
    """Define SOMA's prims above skeleton and meshes; the SkelRoot becomes the default prim."""
    root = UsdSkel.Root.Define(stage, SKEL_ROOT)
    stage.SetDefaultPrim(root.GetPrim())
    Usd.ModelAPI(root.GetPrim()).SetKind(Kind.Tokens.component)
    for path in (SKELETON, MESHES):
        for prefix in Sdf.Path(path).GetParentPath().GetPrefixes()[1:]:
            UsdGeom.Xform.Define(stage, prefix)
    UsdGeom.Scope.Define(stage, MESHES)
    return root


def write_skeleton(stage: Usd.Stage, skeleton: Skeleton) -> UsdSkel.Animation:
    """Write a skeleton and an animation that holds it in its T-pose; returns the animation."""
    paths = joint_paths(skeleton)
    prim = UsdSkel.Skeleton.Define(stage, SKELETON)
    rest = local_transforms(skeleton.rest_T_world_joint, skeleton.parent_indices)
    prim.CreateJointsAttr(paths)
    prim.CreateJointNamesAttr(list(skeleton.joint_names))
    prim.CreateBindTransformsAttr(_matrices(skeleton.bind_T_world_joint))
    prim.CreateRestTransformsAttr(_matrices(rest))
    animation = UsdSkel.Animation.Define(stage, ANIMATION)
    animation.CreateJointsAttr(paths)
    animation.SetTransforms(_matrices(rest))
    UsdSkel.BindingAPI.Apply(prim.GetPrim()).CreateAnimationSourceRel().SetTargets([animation.GetPath()])
    return animation


def _matrices(columns: np.ndarray) -> Vt.Matrix4dArray:
    rows = np.swapaxes(columns, 1, 2).copy()
    rows[:, 3, :3] *= CM_PER_M
    # Twelve decimals hide the last bits, in which linear algebra libraries differ; + 0.0 turns -0 into 0.
    return Vt.Matrix4dArray([Gf.Matrix4d(row.tolist()) for row in np.round(rows, 12) + 0.0])


def write_mesh(stage: Usd.Stage, mesh: SkinnedMesh, uv: FaceUv | None, visible: bool) -> None:
    """Write a mesh in its bind pose, bound to the skeleton of :func:`write_skeleton`."""
    prim = UsdGeom.Mesh.Define(stage, f"{MESHES}/{mesh.name}")
    points = (mesh.points * CM_PER_M).astype(np.float32)
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    prim.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([points.min(0), points.max(0)])))
    write_faces(prim, mesh, uv)
    normals = np.round(vertex_normals(mesh.points, mesh.triangles), 4) + 0.0
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals.astype(np.float32)))
    prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    if not visible:
        prim.CreateVisibilityAttr(UsdGeom.Tokens.invisible)
    binding = UsdSkel.BindingAPI.Apply(prim.GetPrim())
    binding.CreateSkeletonRel().SetTargets([SKELETON])
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1.0))
    influences = mesh.joint_indices.shape[1]
    weights = np.round(mesh.joint_weights, 7).astype(np.float32)
    binding.CreateJointIndicesPrimvar(False, influences).Set(Vt.IntArray.FromNumpy(mesh.joint_indices.ravel().copy()))
    binding.CreateJointWeightsPrimvar(False, influences).Set(Vt.FloatArray.FromNumpy(weights.ravel()))


def write_faces(prim: UsdGeom.Mesh, mesh: SkinnedMesh, uv: FaceUv | None) -> None:
    """Write what does not change with the pose: faces, orientation, no subdivision, colour, texture coordinates."""
    prim.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.face_vertex_counts)))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(mesh.face_vertex_indices)))
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreateOrientationAttr(UsdGeom.Tokens.rightHanded)
    prim.CreateDisplayColorAttr([Gf.Vec3f(*SKIN_COLOR)])
    if uv is not None:
        primvar = UsdGeom.PrimvarsAPI(prim).CreatePrimvar(
            "st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying
        )
        primvar.Set(Vt.Vec2fArray.FromNumpy(uv.points.astype(np.float32)))
        primvar.SetIndices(Vt.IntArray.FromNumpy(uv.indices.astype(np.int32)))
