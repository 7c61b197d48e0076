"""Bodies as binary glTF 2.0 (GLB), metres, Y-up, facing +Z as glTF wants: a posed mesh, or a skin with its animation.

Written without a library: pygltflib leaves accessors and packing to its user, trimesh's exporter knows neither skins
nor animations. What is left is a JSON document over one buffer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from soma_isaac import __version__
from soma_isaac.errors import RigMismatch
from soma_isaac.formats.glb_buffer import ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER, GlbBuffer
from soma_isaac.motion.skin import SkinAnimation, parent_relative
from soma_isaac.rig.mesh import FaceUv, fan_triangles, vertex_normals
from soma_isaac.rig.rig import SkinnedMesh

_SKIN_MATERIAL = {
    "name": "skin",
    "pbrMetallicRoughness": {"baseColorFactor": [0.72, 0.58, 0.5, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7},
}
_SET_SIZE = 4
_STILL = 1e-6


def posed_mesh_glb(mesh: SkinnedMesh, points: np.ndarray, comment: str, uv: FaceUv | None = None) -> bytes:
    """A mesh without skeleton.

    Args:
        mesh: Its name and triangles.
        points: [V, 3] m, posed vertices.
        comment: Where the data came from; becomes ``asset.extras.source``.
        uv: Texture coordinates; vertices on seams are then written once per side, at the end.
    """
    buffer = GlbBuffer()
    corners = _corners(mesh, uv)
    primitive = _primitive(buffer, points, mesh.triangles, corners)
    document = _document(comment) | {
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": mesh.name, "mesh": 0}],
        "meshes": [{"name": mesh.name, "primitives": [primitive]}],
    }
    return buffer.glb(document)


def skin_animation_glb(animation: SkinAnimation, comment: str, uv: FaceUv | None = None) -> bytes:
    """A skinned mesh, its joints at rest in the T-pose, and the animation of all of them.

    Up to 4 joints per vertex go into ``JOINTS_0``, four more into ``JOINTS_1``. Joints that keep their place or their
    rotation get no channel or a single key. A single frame becomes the joints' pose, without an animation.

    Args:
        animation: Frames of one body.
        comment: Where the data came from; becomes ``asset.extras.source``.
        uv: Texture coordinates; vertices on seams are then written once per side, at the end.
    """
    buffer, skeleton, mesh = GlbBuffer(), animation.skeleton, animation.mesh
    corners = _corners(mesh, uv)
    primitive = _primitive(buffer, mesh.points, mesh.triangles, corners)
    primitive["attributes"] |= _influences(buffer, mesh, corners.rows, skeleton.joint_count)
    rest = animation.T_world_joint[:1] if animation.frame_count == 1 else skeleton.rest_T_world_joint[None]
    quats_wxyz, translations = (values[0] for values in parent_relative(rest, skeleton.parent_indices))
    inverse_binds = np.linalg.inv(skeleton.bind_T_world_joint)
    inverse_binds[:, 3] = (0.0, 0.0, 0.0, 1.0)
    joints = list(range(skeleton.joint_count))
    nodes = [
        {"name": name, "rotation": _rounded(quats_wxyz[joint, [1, 2, 3, 0]]), "translation": _rounded(place)}
        | ({"children": children} if (children := np.flatnonzero(skeleton.parent_indices == joint).tolist()) else {})
        for joint, (name, place) in enumerate(zip(skeleton.joint_names, translations, strict=True))
    ]
    document = _document(comment) | {
        "scenes": [{"nodes": [0, len(nodes)]}],
        "nodes": [*nodes, {"name": mesh.name, "mesh": 0, "skin": 0}],
        "meshes": [{"name": mesh.name, "primitives": [primitive]}],
        "skins": [
            {
                "inverseBindMatrices": buffer.add(inverse_binds.astype(np.float32)),
                "joints": joints,
                "skeleton": 0,
            }
        ],
    }
    if animation.frame_count > 1:
        document["animations"] = [_animation(buffer, animation, translations)]
    return buffer.glb(document)


def _document(comment: str) -> dict[str, Any]:
    asset = {"version": "2.0", "generator": f"soma_isaac {__version__}", "extras": {"source": comment}}
    return {"asset": asset, "scene": 0, "materials": [_SKIN_MATERIAL]}


def _rounded(values: np.ndarray) -> list[float]:
    return np.asarray(values, dtype=np.float32).tolist()


class _Corners(NamedTuple):
    """Vertices as glTF wants them, one per combination of attributes.

    Attributes:
        rows: [N] mesh vertex of each; the first are the mesh's own, in order.
        uv: [N, 2], origin at the upper left; ``None`` without texture coordinates.
        triangles: [F, 3].
    """

    rows: np.ndarray
    uv: np.ndarray | None
    triangles: np.ndarray


def _corners(mesh: SkinnedMesh, uv: FaceUv | None) -> _Corners:
    if uv is None:
        return _Corners(np.arange(mesh.vertex_count), None, mesh.triangles)
    fans = fan_triangles(mesh.face_vertex_counts, np.arange(len(mesh.face_vertex_indices)))
    corner_vertices = np.asarray(mesh.face_vertex_indices, dtype=np.int64)
    pairs, first, number = np.unique(
        corner_vertices * len(uv.points) + uv.indices, return_index=True, return_inverse=True
    )
    vertices = pairs // len(uv.points)
    again = np.concatenate([[False], vertices[1:] == vertices[:-1]])
    if len(vertices) - again.sum() != mesh.vertex_count:
        raise RigMismatch(f"mesh {mesh.name} has vertices without a face; they cannot have texture coordinates")
    # Pairs are sorted by vertex: the first of each vertex keeps the vertex's number, the others follow at the end.
    place = np.where(again, mesh.vertex_count + np.cumsum(again) - 1, vertices)
    rows = np.concatenate([np.arange(mesh.vertex_count), vertices[again]])
    coordinates = np.empty((len(rows), 2))
    coordinates[place] = uv.points[uv.indices[first]]
    coordinates[:, 1] = 1.0 - coordinates[:, 1]
    return _Corners(rows, coordinates, place[number.reshape(-1)][fans])


def _primitive(buffer: GlbBuffer, points: np.ndarray, triangles: np.ndarray, corners: _Corners) -> dict[str, Any]:
    positions = points.astype(np.float32)[corners.rows]
    normals = _unit_normals(points, triangles)[corners.rows]
    index_type = np.uint16 if len(positions) < 0xFFFF else np.uint32
    attributes = {
        "POSITION": buffer.add(positions, target=ARRAY_BUFFER, bounds=True),
        "NORMAL": buffer.add(normals, target=ARRAY_BUFFER),
    }
    if corners.uv is not None:
        attributes["TEXCOORD_0"] = buffer.add(corners.uv.astype(np.float32), target=ARRAY_BUFFER)
    indices = buffer.add(corners.triangles.reshape(-1).astype(index_type), target=ELEMENT_ARRAY_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": 0}


def _unit_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    normals = vertex_normals(np.asarray(points, dtype=np.float64), triangles)
    normals[~normals.any(axis=1)] = (0.0, 1.0, 0.0)
    return normals.astype(np.float32)


def _influences(buffer: GlbBuffer, mesh: SkinnedMesh, rows: np.ndarray, joint_count: int) -> dict[str, int]:
    """Accessors of joints and weights in sets of four; float32 rows that sum to 1."""
    width = -(-mesh.joint_indices.shape[1] // _SET_SIZE) * _SET_SIZE
    room = ((0, 0), (0, width - mesh.joint_indices.shape[1]))
    weights = np.pad(mesh.joint_weights, room)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    joints = np.where(weights > 0.0, np.pad(mesh.joint_indices, room), 0)
    joints, weights = joints.astype(np.uint8 if joint_count <= 0x100 else np.uint16)[rows], weights[rows]
    attributes = {}
    for number in range(width // _SET_SIZE):
        columns = slice(number * _SET_SIZE, (number + 1) * _SET_SIZE)
        attributes[f"JOINTS_{number}"] = buffer.add(joints[:, columns], target=ARRAY_BUFFER)
        attributes[f"WEIGHTS_{number}"] = buffer.add(weights[:, columns], target=ARRAY_BUFFER)
    return attributes


def _animation(buffer: GlbBuffer, animation: SkinAnimation, rest_translations: np.ndarray) -> dict[str, Any]:
    """Rotations of all joints and translations of those that leave their place, linear between frames."""
    times = np.arange(animation.frame_count, dtype=np.float64) / animation.fps
    all_times = buffer.add(times.astype(np.float32), bounds=True)
    first_time = buffer.add(np.zeros(1, dtype=np.float32), bounds=True)
    quats_wxyz, translations = animation.local_transforms()
    samplers, channels = [], []

    def move(joint: int, path: str, values: np.ndarray) -> None:
        still = np.ptp(values, axis=0).max() < _STILL
        output = buffer.add((values[:1] if still else values).astype(np.float32))
        samplers.append({"input": first_time if still else all_times, "output": output, "interpolation": "LINEAR"})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": joint, "path": path}})

    for joint in range(animation.skeleton.joint_count):
        move(joint, "rotation", quats_wxyz[:, joint, [1, 2, 3, 0]])
        if np.abs(translations[:, joint] - rest_translations[joint]).max() > _STILL:
            move(joint, "translation", translations[:, joint])
    return {"name": animation.name, "samplers": samplers, "channels": channels, "extras": {"fps": animation.fps}}
