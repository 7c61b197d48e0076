"""The child process: takes jobs one by one from its parent, converts, stages the files and reports.

Started as ``python -m soma_isaac.batch.worker DESCRIPTOR MODULE:FUNCTION MEMORY_BYTES PARENT``. Nothing that a clip
does here, short of harming the machine, reaches the parent: that is the reason for the process.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from soma_isaac.batch.job import (
    CONVERTED,
    DISK,
    FAILED,
    REJECTED,
    ConversionJob,
    ConvertedClip,
    Outcome,
    StagedOutput,
)
from soma_isaac.batch.log import log_to_stream
from soma_isaac.batch.names import shown
from soma_isaac.errors import InputRejected, SomaError
from soma_isaac.formats.atomic import discard, folder_inside, sha256_of_bytes, sha256_of_file, stage

log = logging.getLogger("soma_isaac.batch.worker")  # also where this module is __main__

Converter = Callable[[ConversionJob], ConvertedClip]

CHANGED_INPUT = "the file changed after the run was planned; run again to plan it anew"
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Serve jobs until the parent closes the connection."""
    descriptor, reference, memory_bytes, parent = int(arguments[0]), arguments[1], int(arguments[2]), int(arguments[3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the parent decides: it lets us finish, or kills
    _die_with(parent)
    faulthandler.enable()
    log_to_stream(sys.stderr)
    if memory_bytes:
        _limit_memory(memory_bytes)
    connection = Connection(descriptor)
    try:
        converter = load_converter(reference)
    except Exception as error:  # the worker boundary: the parent has to hear of it
        log.exception("the converter cannot be loaded")
        connection.send_bytes(json.dumps({"unusable": f"{type(error).__name__}: {error}"}).encode("ascii"))
        return 1
    connection.send_bytes(b'{"ready": true}')
    while True:
        try:
            job = ConversionJob.from_json(connection.recv_bytes())
        except EOFError:
            return 0
        connection.send_bytes(attempt(job, converter).to_json())


def _die_with(parent: int) -> None:
    """Let the kernel kill us when the parent dies, so that no orphan writes into a later run's folder."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _limit_memory(memory_bytes: int) -> None:
    import resource  # POSIX only

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def load_converter(reference: str) -> Converter:
    """The function that ``module:function`` names.

    Raises:
        ImportError: There is no such module.
        AttributeError: The module has no such function.
    """
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def attempt(job: ConversionJob, converter: Converter) -> Outcome:
    """Convert one input and stage its outputs; every way this can end short of the process's death is an outcome."""
    try:
        clip = _convert(job, converter)
    except InputRejected as error:
        return Outcome(job.input, REJECTED, error.reason)
    except SomaError as error:
        return Outcome(job.input, FAILED, f"{type(error).__name__}: {error}")
    except MemoryError:
        return Outcome(job.input, FAILED, "MemoryError: the clip needs more memory than a worker may take")
    except Exception as error:  # the worker boundary: one clip must not end the run
        log.exception("%s: unexpected error", shown(job.input))
        return Outcome(job.input, FAILED, f"{type(error).__name__}: {error}")
    try:
        outputs = stage_outputs(job, clip)
    except SomaError as error:
        return Outcome(job.input, FAILED, f"{type(error).__name__}: {error}")
    except OSError as error:
        return Outcome(job.input, DISK, f"{error.strerror or error}: {shown(str(error.filename or job.out_dir))}")
    return Outcome(job.input, CONVERTED, "", outputs, clip.details)


def _convert(job: ConversionJob, converter: Converter) -> ConvertedClip:
    _check_input(job)
    try:
        clip = converter(job)
    finally:
        _check_input(job)  # also after an error: a file that changes while it is read is the better reason
    if set(clip.files) != set(job.outputs):
        raise ValueError(f"the converter gave {sorted(clip.files)}, the plan has {sorted(job.outputs)}")
    json.dumps(clip.details, allow_nan=False)  # NaN is no JSON; hear of it here, not from the ledger's readers
    return clip


def _check_input(job: ConversionJob) -> None:
    try:
        digest = sha256_of_file(Path(job.source))
    except OSError as error:
        raise InputRejected(f"cannot be read any more: {error.strerror}", job.input) from error
    if digest != job.sha256:
        raise InputRejected(CHANGED_INPUT, job.input)


def stage_outputs(job: ConversionJob, clip: ConvertedClip) -> tuple[StagedOutput, ...]:
    """Write and fsync all files of a clip under staged names; all of them or none.

    Raises:
        OutputConflict: A folder of the outputs is a link or a file.
        OSError: The disk refused.
    """
    out = Path(job.out_dir)
    staged: list[StagedOutput] = []
    try:
        for name in job.outputs:
            data = clip.files[name]
            final = folder_inside(out, name.rpartition("/")[0]) / name.rpartition("/")[2]
            staged.append(StagedOutput(name, str(stage(final, data)), sha256_of_bytes(data), len(data)))
    except (OSError, SomaError):
        for output in staged:
            discard(Path(output.staged))
        raise
    return tuple(staged)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
