"""What something costs, without a clock that a slow or busy machine could fail: counted, or as a ratio."""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any


def instructions(function: Callable[[], Any]) -> int:
    """Bytecode instructions that a call executes in Python, in all frames below it; none of compiled code.

    A loop over data inside numpy, zlib or a kernel counts as one instruction. What such loops cost shows in the memory
    that they take (`peak_bytes`), or in a ratio (`cpu_ratio`).
    """
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if event == "call":
            frame.f_trace_opcodes = True
        elif event == "opcode":
            count += 1
        return trace

    before = sys.gettrace()
    sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for this in settrace, before any frame of ours asks
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def peak_bytes(function: Callable[[], Any]) -> int:
    """Most memory [bytes] that a call held at once beyond what was there, of Python objects and numpy arrays."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def cpu_ratio(few: Callable[[], Any], many: Callable[[], Any], rounds: int = 5) -> float:
    """CPU time of ``many`` over that of ``few``: both measured in turn, the best of several rounds each.

    For what only time tells. Give sizes so far apart that a bound between linear and quadratic leaves both a factor of
    a few: at 16 times the size 16 is linear and 256 quadratic, so that 64 tells them apart on any machine.
    """
    best = [float("inf"), float("inf")]
    for _ in range(rounds):
        for at, function in enumerate((few, many)):
            begin = time.process_time()
            function()
            best[at] = min(best[at], time.process_time() - begin)
    return best[1] / max(best[0], 1e-4)
