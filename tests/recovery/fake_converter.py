"""A converter that does what its input says; workers import it by name (``fake_converter:convert``)."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import time
from pathlib import Path

from soma_isaac.batch.job import ConversionJob, ConvertedClip
from soma_isaac.errors import InputRejected, SolveFailed

HOARD: list[bytes] = []


def payload(job: ConversionJob, name: str, size: int) -> bytes:
    """Bytes that depend on input, settings and output name, and on nothing else."""
    seed = hashlib.sha256(f"{job.sha256} {json.dumps(job.settings, sort_keys=True)} {name}".encode()).digest()
    return hashlib.shake_256(seed).digest(size)


def convert(job: ConversionJob) -> ConvertedClip:
    """Obey ``{"do": ..., "seconds": ..., "size": ..., "begun": ...}``, the input's content."""
    path = Path(job.source)
    order = json.loads(path.read_bytes())
    if "begun" in order:
        Path(order["begun"]).touch()
    time.sleep(order.get("seconds", 0.0))
    once = path.with_suffix(".once")
    match order["do"]:
        case "reject":
            raise InputRejected(order.get("reason", "no"), job.input)
        case "solve":
            raise SolveFailed("no solution", 3)
        case "error":
            raise KeyError("unforeseen")
        case "segfault":
            ctypes.string_at(0)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill_once" if not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
            time.sleep(1e6)
        case "oom":
            while True:
                HOARD.append(b"x" * 64_000_000)
        case "edit":
            path.write_bytes(path.read_bytes() + b" ")
        case "escape":
            return ConvertedClip({"../stolen.npz": b"x", **{name: b"x" for name in job.outputs}})
        case "nan":
            return ConvertedClip({name: b"x" for name in job.outputs}, {"error": float("nan")})
    size = order.get("size", 2000)
    return ConvertedClip({name: payload(job, name, size) for name in job.outputs}, {"pid": 0})
