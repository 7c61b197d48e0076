"""Which MHR files the user has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import FETCH_COMMAND
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.pipelines.convert_config import MhrConfig

MODEL, BASE, WRAP = "MHR/mhr_model_lod6.pt", "MHR/base_body_lod6.obj", "MHR/SOMA_wrap_lod1.obj"


def mhr_settings(config: MhrConfig) -> dict[str, Any]:
    """What workers need to know: ``assets``, ``model`` and the ``digests`` of all files; JSON values.

    Raises:
        InputRejected: A file is missing.
    """
    assets = Path(config.assets or "").expanduser().resolve()
    model = Path(config.model_path).expanduser().resolve() if config.model_path else assets / MODEL
    files = (model, assets / BASE, assets / WRAP)
    for path in files:
        if not path.is_file():
            raise InputRejected(f"no such file; mhr.assets= takes the folder of {FETCH_COMMAND} --only mhr", str(path))
    return {"assets": str(assets), "model": str(model), "digests": [sha256_of_file(path) for path in files]}
