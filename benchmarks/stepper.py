"""Cost of a stepper's step: ``python benchmarks/stepper.py [cpu | cuda:0]``.

On a CPU the processor time of one step by number of bodies; on a GPU bodies per second, and the share of the device's
own copy bandwidth that reading rest points and writing vertices makes up (each body has its own identity).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import warp as wp

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary


def seconds_per_step(stepper: BodyStepper, steps: int, device: str) -> float:
    """Best of five: processor time on a CPU, wall time between synchronisations on a GPU."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    for _ in range(3):
        stepper.step(0.02)
    best = np.inf
    for _ in range(5):
        wp.synchronize_device(device)
        begin = clock()
        for _ in range(steps):
            stepper.step(0.02)
        wp.synchronize_device(device)
        best = min(best, (clock() - begin) / steps)
    return best


def copy_bandwidth(device: str) -> float:
    """Bytes per second of a large copy on the device, read and written."""
    source, target = (wp.zeros(1 << 28, dtype=wp.float32, device=device) for _ in range(2))
    wp.copy(target, source)
    wp.synchronize_device(device)
    begin = time.perf_counter()
    for _ in range(20):
        wp.copy(target, source)
    wp.synchronize_device(device)
    return 20 * 2 * 4 * (1 << 28) / (time.perf_counter() - begin)


def main(device: str) -> None:
    """Print a table."""
    wp.config.quiet = True
    clips = ClipLibrary(
        [load_motion(data_path("demo_clips") / f"{name}.npz") for name in ("walk", "wave")], device=device
    )
    rig = load_template_rig()
    body = SomaBody(rig, device=device, lod="low", threads=1)
    counts = (1, 32, 128) if device == "cpu" else (256, 1024, 4096)
    bandwidth = None if device == "cpu" else copy_bandwidth(device)
    bind, points = body.layout.bind_T_world_joint[None, :78], rig.mesh("low").points[None]
    for count in counts:
        identity = body.prepare(np.repeat(points, count, axis=0), np.repeat(bind, count, axis=0))
        for options in ({"normals": False}, {"normals": True}, {"normals": True, "proxies": True}):
            stepper = BodyStepper(clips, [BodyGroup(body, identity)], phases=np.linspace(0, 3, count), **options)
            seconds = seconds_per_step(stepper, max(4, 400 // count) if device == "cpu" else 50, device)
            line = f"{count:5d} bodies {options!s:42} {1e3 * seconds:8.3f} ms, {1e6 * seconds / count:7.2f} us per body"
            if bandwidth is not None:
                moved = 24.0 * body.vertex_count * count
                line += (
                    f", {count / seconds:.3g} bodies/s, {100.0 * moved / seconds / bandwidth:.0f} % of copy bandwidth"
                )
            print(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", nargs="?", default="cpu", help="cpu (default) or cuda:0")
    main(parser.parse_args().device)
