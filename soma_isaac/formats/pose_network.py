"""The file of a trained pose network: safetensors with its card in the metadata.

Tensors are those of :class:`soma_isaac.learned.network.PoseNetwork` by name (float16 or float32), and
``prior_covariance`` [72, 72], ``joint_limits`` [2, 23, 3] rad. The metadata hold one entry (several
would be written in any order), ``card``, a JSON object: ``format`` = ``soma_isaac pose network``, ``version`` = 1,
``network`` (width, blocks, layers), data, split, metrics.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits

FORMAT = "soma_isaac pose network"
VERSION = 1


@dataclass(frozen=True, eq=False)
class PoseNetworkFile:
    """What such a file holds.

    Attributes:
        tensors: Arrays by name.
        card: The JSON object; ``card["network"]`` gives the size.
        digest: sha256 of the bytes, empty for one not read from a file.
    """

    tensors: Mapping[str, np.ndarray]
    card: Mapping[str, Any]
    digest: str = ""


def read_pose_network(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> PoseNetworkFile:
    """Read a pose network; tensors become float32.

    Raises:
        InputRejected: It is too large, no safetensors file, no pose network, or a value is not finite.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    source = read_source(path, limits)
    data = source.data
    try:
        size = int.from_bytes(data[:8], "little")
        card = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["card"])
        tensors = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputRejected(f"is no pose network in a safetensors file ({error})", str(path)) from error
    if not isinstance(card, dict) or (card.pop("format", None), card.pop("version", None)) != (FORMAT, VERSION):
        raise InputRejected(f"is not a pose network of version {VERSION}", str(path))
    arrays = {name: np.asarray(array, dtype=np.float32) for name, array in tensors.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputRejected(f"{name} holds values that are not finite", str(path))
        array.setflags(write=False)
    return PoseNetworkFile(arrays, card, source.digest)


def write_pose_network(path: Path, network: PoseNetworkFile) -> None:
    """Write the file, atomically; equal content gives equal bytes."""
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(network.tensors[name]) for name in sorted(network.tensors)}
    card = {**network.card, "format": FORMAT, "version": VERSION}
    write_file(path, save(tensors, metadata={"card": json.dumps(card, sort_keys=True)}))
