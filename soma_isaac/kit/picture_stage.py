"""The people of a shot as prims of a stage, for renderers that draw stages: meshes, clothes, floor, light, cameras.

Plain USD: nothing of Kit is named here, and the same stage opens in any viewer. A body is one mesh per part of the body
and piece of clothing, because RTX tells which prim a pixel shows, but not which triangle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdShade, Vt

from soma_isaac.render.cameras import camera_transform
from soma_isaac.render.clothes import PIECES, piece_colors, triangle_pieces
from soma_isaac.render.parts import PART_NAMES
from soma_isaac.render.plan import BodySpec, LightSpec
from soma_isaac.render.renderer import BodySurface
from soma_isaac.render.scene import Camera

FLOOR_RGB = (0.62, 0.62, 0.62)
FLOOR_HALF_M = 500.0
SUN_INTENSITY, SKY_INTENSITY = 2500.0, 700.0
"""RTX's lights are this strong where the plan's are 1."""

FOCAL_LENGTH = 24.0
CLIPPING_M = (0.05, 1000.0)


@dataclass(frozen=True, eq=False)
class Patch:
    """The triangles of one part of the body that wear one piece of clothing.

    Attributes:
        name: Prim name, ``part_piece``.
        part: 1 + index into ``PART_NAMES``.
        piece: Index into ``PIECES``.
        vertices: [P] rows of a body's vertices.
        triangles: [N, 3] into ``vertices``.
    """

    name: str
    part: int
    piece: int
    vertices: np.ndarray
    triangles: np.ndarray


def patches(surface: BodySurface) -> list[Patch]:
    """A body's surface cut into patches; together they hold every triangle once."""
    pieces = triangle_pieces(surface.pieces, surface.triangles)
    found = []
    for part, piece in np.unique(np.stack([surface.parts, pieces], axis=1), axis=0).tolist():
        chosen = surface.triangles[(surface.parts == part) & (pieces == piece)]
        vertices, corners = np.unique(chosen, return_inverse=True)
        name = f"{PART_NAMES[part - 1]}_{PIECES[piece]}"
        found.append(Patch(name, part, piece, vertices, corners.reshape(-1, 3).astype(np.int32)))
    return found


class PictureStage:
    """Prims of one shot below a root prim.

    Attributes:
        shown: (part, instance) by the path of the mesh that shows it, as ``ImageLayers`` counts them.

    Args:
        stage: Z up, metres.
        root: Path of the prim that everything is made under; nothing is there yet.
        bodies: The people.
        surface: Topology that they share.
        light: Sun and sky.
    """

    def __init__(
        self, stage: Usd.Stage, root: str, bodies: Sequence[BodySpec], surface: BodySurface, light: LightSpec
    ) -> None:
        self._stage = stage
        self._root = root
        self._patches = patches(surface)
        self.shown: dict[str, tuple[int, int]] = {}
        UsdGeom.Xform.Define(stage, root)
        self._floor()
        self._light(light)
        self._meshes: list[list[UsdGeom.Mesh]] = []
        for number, body in enumerate(bodies):
            self._meshes.append(list(self._body(number, body)))

    def pose(self, vertices: np.ndarray, normals: np.ndarray) -> None:
        """Move the bodies: vertices [B, V, 3] m and unit normals, world."""
        points, directions = np.asarray(vertices, np.float32), np.asarray(normals, np.float32)
        with Sdf.ChangeBlock():
            for body, meshes in enumerate(self._meshes):
                for patch, mesh in zip(self._patches, meshes, strict=True):
                    own = points[body, patch.vertices]
                    mesh.GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(own))
                    mesh.GetNormalsAttr().Set(Vt.Vec3fArray.FromNumpy(directions[body, patch.vertices]))
                    extent = np.stack([own.min(axis=0), own.max(axis=0)])
                    mesh.GetExtentAttr().Set(Vt.Vec3fArray.FromNumpy(extent))

    def aim(self, cameras: Sequence[Camera], size: tuple[int, int]) -> list[str]:
        """Put cameras where the plan's stand; their paths. USD's camera looks along -Z with +Y up."""
        paths = []
        for number, camera in enumerate(cameras):
            path = f"{self._root}/camera_{number:02d}"
            prim = UsdGeom.Camera.Define(self._stage, path)
            height = 2.0 * FOCAL_LENGTH * np.tan(0.5 * camera.vertical_fov)
            prim.CreateFocalLengthAttr(FOCAL_LENGTH)
            prim.CreateVerticalApertureAttr(float(height))
            prim.CreateHorizontalApertureAttr(float(height * size[0] / size[1]))
            prim.CreateClippingRangeAttr(Gf.Vec2f(*CLIPPING_M))
            rotation, _ = camera_transform(camera)
            pose = np.eye(4)  # rows are the axes: Gf multiplies row vectors
            pose[:3, :3] = rotation * np.array([[1.0], [-1.0], [-1.0]])
            pose[3, :3] = camera.position
            prim.MakeMatrixXform().Set(Gf.Matrix4d(pose.tolist()))
            paths.append(path)
        return paths

    def remove(self) -> None:
        """Take everything away again."""
        self._stage.RemovePrim(self._root)
        self._meshes = []

    def _floor(self) -> None:
        floor = UsdGeom.Mesh.Define(self._stage, f"{self._root}/floor")
        corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32) * FLOOR_HALF_M
        up = np.repeat(np.array([[0, 0, 1]], np.float32), 4, axis=0)
        _topology(floor, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
        floor.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(corners))
        floor.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(up))
        floor.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(corners[[0, 2]]))
        self._paint(floor, "floor", np.array(FLOOR_RGB))

    def _light(self, light: LightSpec) -> None:
        sun = UsdLux.DistantLight.Define(self._stage, f"{self._root}/sun")
        sun.CreateIntensityAttr(SUN_INTENSITY)
        sun.CreateAngleAttr(0.53)
        sun.CreateColorAttr(Gf.Vec3f(*light.sun_rgb))
        turn = Gf.Rotation(Gf.Vec3d(0, 0, 1), Gf.Vec3d(*light.to_sun()))  # a distant light shines along its -Z
        UsdGeom.Xformable(sun).MakeMatrixXform().Set(Gf.Matrix4d(turn, Gf.Vec3d(0)))
        sky = UsdLux.DomeLight.Define(self._stage, f"{self._root}/sky")
        sky.CreateIntensityAttr(SKY_INTENSITY)
        sky.CreateColorAttr(Gf.Vec3f(*light.background_rgb))

    def _body(self, number: int, body: BodySpec) -> Iterator[UsdGeom.Mesh]:
        name = f"body_{number:04d}"
        UsdGeom.Xform.Define(self._stage, f"{self._root}/{name}")
        colors = piece_colors(body)
        for patch in self._patches:
            path = f"{self._root}/{name}/{patch.name}"
            mesh = UsdGeom.Mesh.Define(self._stage, path)
            _topology(mesh, patch.triangles)
            self._paint(mesh, f"{name}_{PIECES[patch.piece]}", colors[patch.piece])
            self.shown[path] = (patch.part, number + 1)
            yield mesh

    def _paint(self, mesh: UsdGeom.Mesh, name: str, color: np.ndarray) -> None:
        """Bind the material of that name, made when it is first used; viewers without materials see the colour too."""
        rgb = Gf.Vec3f(*(float(value) for value in color))
        mesh.CreateDisplayColorAttr(Vt.Vec3fArray([rgb]))
        path = f"{self._root}/Looks/{name}"
        material = UsdShade.Material.Get(self._stage, path)
        if not material:
            material = UsdShade.Material.Define(self._stage, path)
            shader = UsdShade.Shader.Define(self._stage, f"{path}/surface")
            shader.CreateIdAttr("UsdPreviewSurface")
            shader.CreateInput("diffuseColor", Sdf.ValueTypeNames.Color3f).Set(rgb)
            shader.CreateInput("roughness", Sdf.ValueTypeNames.Float).Set(0.7)
            material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)


def _topology(mesh: UsdGeom.Mesh, triangles: np.ndarray) -> None:
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDoubleSidedAttr(True)
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(triangles), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(triangles.reshape(-1)))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
