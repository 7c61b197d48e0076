"""Bodies per second of the layer on a CUDA device, with the share of the card's measured memory bandwidth.

    python benchmarks/layer_gpu.py [--rounds N] [--write]

Inputs and outputs lie on the device and are reused, so that the launches run as one CUDA graph. The bandwidth is that
of a copy of 1 GiB (read and written). The share counts what a body must move at least: its vertices, joints and
transforms written, its pose read. py-soma-x states 7,033 bodies per second (A100, batch 128, 18,056 vertices).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import warp as wp

BATCHES = (1, 128, 1024, 8192)
PUBLISHED = 7_033
SECTION = "## Layer on a GPU"
_GIBIBYTE = 1 << 30


def main() -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    if not wp.is_cuda_available():
        print("no CUDA device", file=sys.stderr)
        return 2
    device = wp.get_device("cuda:0")
    bandwidth = copy_bandwidth(device, arguments.rounds)
    lines = [
        SECTION,
        "",
        f"`python benchmarks/layer_gpu.py --write` on {device.name}, Warp {wp.config.version}: copies move "
        f"{bandwidth / 1e9:.0f} GB/s.",
        f"py-soma-x publishes {PUBLISHED:,} bodies/s (A100, batch 128, mid LOD).",
        "",
        "| what | LOD | batch | bodies/s | of the bandwidth | times the published figure |",
        "|---|---|---|---|---|---|",
    ]
    lines += [line for lod in ("mid", "low", "xlo") for line in pose_lines(device, lod, arguments.rounds, bandwidth)]
    lines += gradient_lines(arguments.rounds)
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write:
        from skinning import renew_section

        renew_section(text, SECTION)
    return 0


def seconds(call: Callable[[], object], device: wp.Device, rounds: int) -> float:
    """Median time of a call until the device is done."""
    for _ in range(3):
        call()
    times = []
    for _ in range(rounds):
        wp.synchronize_device(device)
        start = time.perf_counter()
        call()
        wp.synchronize_device(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def copy_bandwidth(device: wp.Device, rounds: int) -> float:
    """Bytes per second that a large copy reads and writes."""
    source = wp.zeros(_GIBIBYTE // 4, dtype=wp.float32, device=device)
    target = wp.empty_like(source)
    return 2 * _GIBIBYTE / seconds(lambda: wp.copy(target, source), device, rounds)


def pose_lines(device: wp.Device, lod: str, rounds: int, bandwidth: float) -> list[str]:
    """One level of detail: poses of one identity, and joints only."""
    from soma_isaac.body.layer import SomaLayer

    random = np.random.default_rng(0)
    layer = SomaLayer(lod=lod, device=str(device))
    layer.prepare_identity()
    lines = []
    for batch in BATCHES:
        poses = wp.array(random.normal(scale=0.3, size=(batch, 77, 3)).astype("f4"), dtype=wp.vec3, device=device)
        transl = wp.array(random.normal(size=(batch, 3)).astype("f4"), dtype=wp.vec3, device=device)
        for what, fk_only in (("pose", False), ("joints only", True)):
            out = layer.allocate(batch, fk_only=fk_only)
            spent = seconds(
                lambda p=poses, t=transl, o=out, f=fk_only: layer.pose(p, t, out=o, fk_only=f), device, rounds
            )
            vertices = 0 if fk_only else layer.vertex_count
            moved = batch * 4 * (3 * vertices + 3 * 77 + 16 * 78 + 3 * 77 + 3)
            rate = batch / spent
            lines.append(line(what, lod, batch, rate, moved / spent / bandwidth))
    return lines


def gradient_lines(rounds: int) -> list[str]:
    """The torch layer: forward and backward to pose and translation."""
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    from soma_isaac.body.layer import SomaLayer
    from soma_isaac.body.torch_layer import TorchSomaLayer

    layer = TorchSomaLayer(SomaLayer(device="cuda:0"))
    identity = layer.prepare_identity()
    lines = []
    for batch in BATCHES[:-1]:
        poses = (0.3 * torch.randn(batch, 77, 3, device="cuda:0")).requires_grad_()
        transl = torch.zeros(batch, 3, device="cuda:0", requires_grad=True)

        def call(p: torch.Tensor = poses, t: torch.Tensor = transl) -> None:
            layer.pose(p, t, identity=identity).vertices.square().sum().backward()

        rate = batch / seconds(call, wp.get_device("cuda:0"), rounds)
        lines.append(line("torch, forward and backward", "mid", batch, rate, None))
    return lines


def line(what: str, lod: str, batch: int, rate: float, share: float | None) -> str:
    """One line of the table."""
    ratio = f"{rate / PUBLISHED:.1f}" if lod == "mid" and what == "pose" else ""
    return f"| {what} | {lod} | {batch} | {rate:,.0f} | {'' if share is None else f'{share:.0%}'} | {ratio} |"


if __name__ == "__main__":
    sys.exit(main())
