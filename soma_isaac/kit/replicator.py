"""Pictures by RTX inside Isaac Sim: Replicator's tiled cameras behind the renderer protocol, and the job's converter.

``python.sh scripts/render_bodies.py renderer=isaac`` plans as always; each worker starts a headless Isaac Sim of its
own when it gets its first shot. In a running Isaac Sim `ReplicatorRenderer` draws into any stage.

RTX gives no equal bytes for equal shots: its denoiser depends on the frames before and on the driver.
"""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

import atexit
import functools
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soma_isaac.batch.job import ConversionJob, ConvertedClip
from soma_isaac.errors import MissingDependency
from soma_isaac.render.plan import BodySpec, LightSpec
from soma_isaac.render.renderer import BodySurface, ImageLayers, check_frame
from soma_isaac.render.scene import Camera

ROOT = "/SomaPictures"
RT_SUBFRAMES = 16
"""Frames that RTX gathers per picture, so that nothing of the pose before is left in it."""

_IDS = "instance_id_segmentation_fast"
_ANNOTATORS: Mapping[str, Mapping[str, Any] | None] = {
    "rgb": None,
    "distance_to_image_plane": None,
    "normals": None,
    _IDS: {"colorize": False},
}


def render_shot(job: ConversionJob) -> ConvertedClip:
    """Render one shot of ``render_bodies.py`` with RTX; see `soma_isaac.pipelines.render_bodies_shot.render_shot`.

    Raises:
        MissingDependency: This is not Isaac Sim's Python.
    """
    _application()
    # Imported here: Kit brings its own USD, which must not be looked for before Kit has started.
    from soma_isaac.pipelines.render_bodies_shot import render_shot_with

    return render_shot_with(job, lambda _, bodies, surface, light, device: make(bodies, surface, light))


def make(bodies: Sequence[BodySpec], surface: BodySurface, light: LightSpec) -> ReplicatorRenderer:
    """A renderer into the stage that is open in Kit."""
    import omni.usd

    return ReplicatorRenderer(omni.usd.get_context().get_stage(), bodies, surface, light)


class ReplicatorRenderer:
    """Draws with one tiled render product for all cameras of a scene.

    Args:
        stage: The open stage, Z up, metres; what is drawn is made under ``/SomaPictures`` and removed by `close`.
        bodies: The people.
        surface: Topology that all bodies share.
        light: Sun and sky.
    """

    def __init__(self, stage: Any, bodies: Sequence[BodySpec], surface: BodySurface, light: LightSpec) -> None:
        from soma_isaac.kit.picture_stage import PictureStage

        self._body_count = len(bodies)
        self._prims = PictureStage(stage, ROOT, bodies, surface, light)
        self._tiles: _Tiles | None = None

    def render(
        self, vertices: np.ndarray, normals: np.ndarray, cameras: Sequence[Camera], size: tuple[int, int]
    ) -> list[ImageLayers]:
        """Pictures of one frame; see :class:`soma_isaac.render.renderer.Renderer`.

        Raises:
            ValueError: The arrays do not fit the bodies.
        """
        import omni.replicator.core as rep

        check_frame(vertices, normals, self._body_count)
        self._prims.pose(vertices, normals)
        paths = self._prims.aim(cameras, size)
        if self._tiles is None or self._tiles.kind != (len(cameras), size):
            self._drop_tiles()
            self._tiles = _Tiles(paths, size)
        rep.orchestrator.step(rt_subframes=RT_SUBFRAMES, pause_timeline=True, delta_time=0.0)
        tiles = self._tiles.read()
        shown = _table(self._tiles.labels, self._prims.shown)
        return [_layers(shown, camera, *pictures) for camera, *pictures in zip(cameras, *tiles, strict=True)]

    def close(self) -> None:
        """Give back the render product and remove the prims."""
        self._drop_tiles()
        self._prims.remove()

    def _drop_tiles(self) -> None:
        if self._tiles is not None:
            self._tiles.close()
            self._tiles = None


class _Tiles:
    """A tiled render product with its annotators.

    Attributes:
        kind: Number of cameras and the size of their pictures.
        labels: Path of the prim by id, of the pictures that were read last.
    """

    def __init__(self, cameras: list[str], size: tuple[int, int]) -> None:
        import omni.replicator.core as rep

        self.kind = (len(cameras), size)
        self.labels: dict[int, str] = {}
        self._product = rep.create.render_product_tiled(cameras=cameras, tile_resolution=size)
        self._annotators = [
            rep.AnnotatorRegistry.get_annotator(name, None if words is None else dict(words), device="cpu")
            for name, words in _ANNOTATORS.items()
        ]
        for annotator in self._annotators:
            annotator.attach([self._product.path])

    def read(self) -> list[np.ndarray]:
        """Each annotator's pictures [C, H, W, ...], in the order of `_ANNOTATORS`."""
        pictures = []
        for name, annotator in zip(_ANNOTATORS, self._annotators, strict=True):
            data = annotator.get_data()
            if isinstance(data, dict):
                self.labels = {int(number): str(path) for number, path in data["info"]["idToLabels"].items()}
                data = data["data"]
            pictures.append(untiled(np.asarray(data), *self.kind, name))
        return pictures

    def close(self) -> None:
        for annotator in self._annotators:
            annotator.detach([self._product.path])
        self._product.destroy()


def untiled(data: np.ndarray, count: int, size: tuple[int, int], name: str) -> np.ndarray:
    """Pictures [C, H, W, ...] of a tiled buffer, whose tiles lie row by row in a grid that is as square as it can be.

    Raises:
        ValueError: The buffer is no such grid.
    """
    width, height = size
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    if data.shape[:2] != (rows * height, columns * width):
        raise ValueError(
            f"{name} is {data.shape}; {count} pictures of {width} x {height} make {rows} x {columns} tiles"
        )
    grid = data.reshape(rows, height, columns, width, -1).swapaxes(1, 2).reshape(rows * columns, height, width, -1)
    return grid[:count].reshape(count, height, width, *data.shape[2:])


def _table(labels: Mapping[int, str], shown: Mapping[str, tuple[int, int]]) -> np.ndarray:
    """(part, instance) [ids, 2] by id; zeros for the floor, the sky and whatever else is on the stage."""
    table = np.zeros((max(labels, default=0) + 2, 2), np.int64)
    for number, path in labels.items():
        table[number] = shown.get(path, (0, 0))
    return table


def _layers(
    shown: np.ndarray, camera: Camera, rgb: np.ndarray, depth: np.ndarray, normal: np.ndarray, ids: np.ndarray
) -> ImageLayers:
    depth = np.where(np.isfinite(depth), depth, 0.0).reshape(rgb.shape[:2]).astype(np.float32)
    ids = ids.reshape(depth.shape).astype(np.int64)
    pairs = shown[np.minimum(ids, len(shown) - 1)]  # the last row is nothing
    normal = normal[..., :3].astype(np.float32)
    rays = _rays(camera, (depth.shape[1], depth.shape[0]))
    away = (normal * rays).sum(axis=-1, keepdims=True) > 0.0
    return ImageLayers(
        rgb=np.ascontiguousarray(rgb[..., :3].astype(np.uint8)),
        depth=depth,
        normal=np.where((depth > 0.0)[..., None], np.where(away, -normal, normal), 0.0).astype(np.float32),
        part=pairs[..., 0].astype(np.uint8),
        instance=pairs[..., 1].astype(np.uint16),
    )


def _rays(camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Directions [H, W, 3] of the pixels' rays, not of unit length."""
    width, height = size
    _, right, up, ahead = camera.axes()
    x = (2.0 * (np.arange(width) + 0.5) / width - 1.0) * width / height
    y = 1.0 - 2.0 * (np.arange(height) + 0.5) / height
    return ahead + right * x[None, :, None] + up * y[:, None, None]


@functools.lru_cache(maxsize=1)
def _application() -> Any:
    """A headless Isaac Sim in this process with an empty stage, Z up, metres."""
    try:
        from isaacsim import SimulationApp
    except ImportError as error:
        raise MissingDependency("isaacsim", "renderer=isaac", "run this script with Isaac Sim's python.sh") from error
    arguments, sys.argv = sys.argv, sys.argv[:1]  # Kit would take the worker's arguments for its own
    try:
        application = SimulationApp({"headless": True})
    finally:
        sys.argv = arguments
    import omni.replicator.core as rep
    import omni.usd
    from pxr import UsdGeom

    atexit.register(application.close)
    rep.orchestrator.set_capture_on_play(False)
    context = omni.usd.get_context()
    context.new_stage()
    stage = context.get_stage()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    return application
