"""One shot in a worker of ``render_bodies.py``: people are posed, rendered and annotated."""

from __future__ import annotations

import functools
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.batch.job import ConversionJob, ConvertedClip
from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.formats.png import png_bytes
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.render_bodies_config import LAYERS
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.render.annotations import body_records, header, image_record
from soma_isaac.render.cameras import turning_cameras
from soma_isaac.render.plan import ClipFile, Shot
from soma_isaac.render.posing import PosedScene, make_layers
from soma_isaac.render.renderer import (
    BodySurface,
    ImageLayers,
    MakeRenderer,
    Renderer,
    body_surface,
    make_renderer,
)
from soma_isaac.render.scene import Camera

ZLIB_LEVEL = 6
JOINT_MARGIN_M = 0.12
"""What cameras leave around joints for the flesh."""

DEPTH_PER_METRE = 1000.0


def render_shot(job: ConversionJob) -> ConvertedClip:
    """Render one shot.

    Args:
        job: Its input is the shot as JSON; ``settings`` as ``render_bodies_config.job_settings`` gives them.

    Returns:
        The files that the job names; equal job and input give equal bytes.

    Raises:
        InputRejected: A clip cannot be read or is not the one that was planned.
        MissingDependency: An identity model's package is not installed.
    """
    return render_shot_with(job, make_renderer)


def render_shot_with(job: ConversionJob, make: MakeRenderer) -> ConvertedClip:
    """Render one shot; see `render_shot`.

    Args:
        job: What to render.
        make: Gives the renderer of the name that the settings have.
    """
    started = time.process_time()
    hush_warp()
    shot = Shot.from_json(Path(job.source).read_bytes())
    device = job.settings["device"]
    layers = _layers(tuple(sorted({body.model for body in shot.bodies})), shot.lod, shot.correctives, device)
    options = (job.settings["source_fps"], job.settings["up_axis"])
    scene = PosedScene(shot, layers, lambda clip: _motion(clip, *options))
    points = scene.joints_over_time().reshape(-1, 3)
    any_layer = next(iter(layers.values()))
    surface = _surface(any_layer, shot.lod)
    with closing(make(job.settings["renderer"], shot.bodies, surface, shot.light, device)) as renderer:
        files, record = _pictures(shot, scene, shot_cameras(shot, points), renderer, frozenset(job.outputs))
    for name in job.outputs:
        if name.startswith("annotations/"):
            files[name] = json.dumps(record, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"
    cpu_s = time.process_time() - started
    return ConvertedClip(files, {"pictures": shot.count * len(shot.views), "cpu_s": round(cpu_s, 4)})


def shot_cameras(shot: Shot, points: np.ndarray) -> list[list[Camera]]:
    """The cameras of each of the shot's frames; ``points`` [N, 3] m of all the scene's frames are in their pictures."""
    per_view = []
    for view in shot.views:
        # a camera that does not turn is fitted once
        azimuths = view.azimuths(shot.scene_frames) if view.turn else [view.azimuth]
        cameras = turning_cameras(points, azimuths, view.elevation, view.vertical_fov, shot.size, JOINT_MARGIN_M)
        per_view.append(cameras if view.turn else cameras * shot.scene_frames)
    return [[cameras[frame] for cameras in per_view] for frame in range(shot.first, shot.first + shot.count)]


def _pictures(
    shot: Shot, scene: PosedScene, cameras: list[list[Camera]], renderer: Renderer, wanted: frozenset[str]
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Files of the layers that are wanted, and the shot's COCO record."""
    files: dict[str, bytes] = {}
    images: list[dict[str, Any]] = []
    bodies: list[dict[str, Any]] = []
    names = iter(shot.image_names())
    for frame, now in enumerate(cameras, start=shot.first):
        posed = scene.frame(frame)
        for view, layers in enumerate(renderer.render(posed.vertices, posed.normals, now, shot.size)):
            name = next(names)
            paths = {layer: f"{layer}/{name}.png" for layer in LAYERS if f"{layer}/{name}.png" in wanted}
            for layer, path in paths.items():
                files[path] = png_bytes(layer_pixels(layers, layer), ZLIB_LEVEL)
            images.append(image_record(shot, frame, view, now[view], paths))
            bodies.extend(body_records(shot, frame, view, now[view], posed, layers))
    return files, {**header(), "images": images, "annotations": bodies}


def layer_pixels(layers: ImageLayers, layer: str) -> np.ndarray:
    """The pixels of a layer's PNG.

    ``depth`` is uint16 mm, 0 where nothing is nearer than 65.5 m; ``normals`` are ``(n + 1) * 127.5`` of the world's
    x, y and z, 128 grey where nothing was hit; ``instances`` are uint16.
    """
    if layer == "depth":
        millimetres = np.rint(layers.depth * DEPTH_PER_METRE)
        return np.where(millimetres > 65535.0, 0.0, millimetres).astype(np.uint16)
    if layer == "normals":
        return ((layers.normal + 1.0) * 127.5 + 0.5).astype(np.uint8)
    return {"rgb": layers.rgb, "parts": layers.part, "instances": layers.instance}[layer]


@functools.lru_cache(maxsize=4)
def _layers(models: tuple[str, ...], lod: str, correctives: bool, device: str) -> dict[str, SomaLayer]:
    return make_layers(models, lod, correctives, device)


@functools.lru_cache(maxsize=4)
def _surface(layer: SomaLayer, lod: str) -> BodySurface:
    return body_surface(layer.rig.mesh(lod), layer.rig.skeleton)


@functools.lru_cache(maxsize=8)
def _motion(clip: ClipFile, source_fps: float | None, up_axis: str | None) -> SomaMotion:
    path = Path(clip.path)
    try:
        if sha256_of_file(path) != clip.sha256:
            raise InputRejected("changed after the run was planned; run again to plan it anew")
        return load_motion(path, source_fps=source_fps, name=clip.name, up_axis=up_axis)
    except OSError as error:
        raise InputRejected(f"the clip {clip.name!r} cannot be read any more: {error.strerror}") from error
    except InputRejected as error:  # the ledger's line names the shot; say which of its clips it was
        raise InputRejected(f"the clip {clip.name!r} {error.reason}") from error
