"""Cost of a picture by renderer, in one process: ``.venv-peers/newton/bin/python benchmarks/render.py [cpu | cuda:0]``.

The renderers draw the same frames in turn, so that what else the machine does falls on all of them; the ratios count.
Without Newton (``make peers``) only the package's own ray caster is timed. Processor time on a CPU, wall time on a GPU,
where what a renderer returns lies on the host already. Posing, PNG files and annotations are not in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.render_bodies import plan_render_bodies
from soma_isaac.pipelines.render_bodies_config import BodiesConfig, RenderBodiesConfig
from soma_isaac.pipelines.render_bodies_shot import shot_cameras
from soma_isaac.pipelines.run_config import OutputConfig
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.render.plan import Shot
from soma_isaac.render.posing import PosedScene, make_layers
from soma_isaac.render.renderer import Renderer, body_surface, make_renderer

FRAMES = 12
CASES = ((1, [256, 256]), (16, [256, 256]), (16, [640, 640]))


def makers(*given: Any) -> dict[str, Callable[[], Renderer]]:
    """The renderers that this environment has."""
    found: dict[str, Callable[[], Renderer]] = {"raycast": lambda: make_renderer("raycast", *given)}
    if importlib.util.find_spec("newton") is not None:
        from soma_isaac.render import newton_camera

        def newton(samples: int) -> Renderer:
            newton_camera.SAMPLES = samples
            return make_renderer("newton", *given)

        # How many rays make a colour is asked for at the first picture: the two are not drawn in turn.
        found["newton"] = lambda: newton(4)
        found["newton, 1 ray per colour"] = lambda: newton(1)
    return found


def run(bodies: int, size: list[int], device: str) -> None:
    """Time one scene with every renderer and print a table."""
    config = RenderBodiesConfig(
        output=OutputConfig("out/benchmark"),
        bodies=BodiesConfig(count=bodies, per_scene=bodies),
        camera="orbit1",
        frames=FRAMES,
        size=size,
    )
    _, files = plan_render_bodies(config)
    shot = Shot.from_json(next(iter(files.values())))
    layers = make_layers(("soma",), shot.lod, True, device)
    posed = PosedScene(shot, layers, lambda clip: load_motion(Path(clip.path)))
    rig = layers["soma"].rig
    surface = body_surface(rig.mesh(shot.lod), rig.skeleton)
    cameras = shot_cameras(shot, posed.joints_over_time().reshape(-1, 3))
    clock = time.process_time if device == "cpu" else time.perf_counter
    frames = [posed.frame(number) for number in range(shot.count)]
    made = makers(shot.bodies, surface, shot.light, device)
    setup: dict[str, float] = {}
    seconds: dict[str, list[float]] = {name: [] for name in made}
    pictures: dict[str, Any] = {}
    # two by two: what is compared is drawn in turn
    for names in (["raycast", *list(made)[1:2]], list(made)[2:]):
        renderers = {}
        for name in names:
            begin = clock()
            renderers[name] = made[name]()
            setup[name] = clock() - begin
        for number, frame in enumerate(frames[: shot.count]):
            for name, renderer in renderers.items():
                begin = clock()
                (pictures[name],) = renderer.render(frame.vertices, frame.normals, cameras[number], shot.size)
                seconds[name].append(clock() - begin)
    own = float(np.median(seconds["raycast"][1:]))
    for name in made:
        usual = float(np.median(seconds[name][1:]))
        line = (
            f"{bodies:3d} bodies {size[0]:4d}^2 {name:26s} set up {setup[name]:6.2f} s, first {seconds[name][0]:6.3f} s"
        )
        print(
            f"{line}, then {1e3 * usual:7.1f} ms = {usual / own:4.2f} x raycast; {agreement(pictures, name)}",
            flush=True,
        )


def agreement(pictures: dict[str, Any], name: str) -> str:
    """How the last picture differs from the package's own."""
    here, there = pictures["raycast"], pictures[name]
    same = (here.instance > 0) & (here.instance == there.instance)
    worst = np.abs(here.depth - there.depth)[same].max(initial=0.0)
    other = int((here.instance != there.instance).sum()), int((here.part != there.part).sum())
    return f"{other[0]} pixels show another body, {other[1]} another part; depth within {1e3 * worst:.3f} mm"


def main(device: str) -> None:
    """Print a line per scene and renderer."""
    hush_warp()
    for bodies, size in CASES:
        run(bodies, size, device)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", nargs="?", default="cpu", help="cpu (default) or cuda:0")
    main(parser.parse_args().device)
