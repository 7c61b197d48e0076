"""Which SMPL family files the user has: found by the names under which they are downloaded, told apart, digested."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import FETCH_COMMAND
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.run_config import SmplConfig

MODEL_SUFFIXES = (".npz", ".pkl")
KINDS = ("smplx", "smplh", "smpl")
GENDERS = {"male": "male", "m": "male", "female": "female", "f": "female", "neutral": "neutral"}
HANDS = ("flat", "mean")
PAIR = ("base_body.obj", "SOMA_wrap.obj")
NEUTRAL = "SOMA_neutral.npz"
PAIR_FOLDERS = {"smpl": ("SMPL",), "smplh": ("SMPLH", "SMPL"), "smplx": ("SMPLX",)}
"""SMPL-H has SMPL's vertices; SOMA-X ships no pair of its own for it."""
MESH_CODE_PARTS = ("body", "kernels", "pipelines/smpl_mesh.py")
MESH_DATA_FILES = ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json")
_FILES_MOST = 20_000


def smpl_settings(config: SmplConfig) -> dict[str, Any] | None:
    """What workers need to know of the user's files, or ``None`` where there are none.

    Returns:
        JSON values: ``models`` (``kind/gender`` to (path, sha256) pairs), ``pairs`` (kind to base path, wrap path and
        their sha256), ``neutral`` (path and sha256, or ``None``), ``gender`` and ``hands``.

    Raises:
        ConfigRefused: A value is unknown, or keys are given that need ``smpl.model_path``.
        InputRejected: There is no model file, or no OBJ pair for any of them.
    """
    if config.gender is not None and config.gender not in ("male", "female", "neutral"):
        raise ConfigRefused(f"smpl.gender: {config.gender!r} is none of male, female, neutral")
    if config.hands not in HANDS:
        raise ConfigRefused(f"smpl.hands: {config.hands!r} is none of {', '.join(HANDS)}")
    if config.model_path is None:
        if config.assets is not None or config.gender is not None:
            raise ConfigRefused("smpl.assets and smpl.gender need smpl.model_path=")
        return None
    place = Path(config.model_path).expanduser().resolve()
    models = find_models(place)
    folders = [Path(config.assets).expanduser().resolve()] if config.assets is not None else []
    # The pair lies in <folder>/SMPL, and so may the model be that was named.
    folders += [place, place.parent] if place.is_dir() else [place.parent, place.parent.parent]
    kinds = sorted({name.partition("/")[0] for name in models})
    pairs = {kind: pair for kind in kinds if (pair := _find_pair(kind, folders)) is not None}
    if not pairs:
        wanted = " and ".join(f"{PAIR_FOLDERS[kinds[0]][-1]}/{name}" for name in PAIR)
        fetch = f"{FETCH_COMMAND} --only {PAIR_FOLDERS[kinds[0]][-1].lower()}"
        raise InputRejected(f"no {wanted} there; give the folder with smpl.assets= ({fetch})", str(folders[0]))
    neutral = next((folder / NEUTRAL for folder in folders if (folder / NEUTRAL).is_file()), None)
    return {
        "models": {name: [_digested(path) for path in paths] for name, paths in models.items()},
        "pairs": {kind: [_digested(path) for path in pair] for kind, pair in pairs.items()},
        "neutral": None if neutral is None else _digested(neutral),
        "gender": config.gender,
        "hands": config.hands,
    }


def smpl_key(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What outputs depend on of the user's files: digests, not places."""
    if settings is None:
        return ()
    words = [f"{name} {digest}" for name, files in sorted(settings["models"].items()) for _, digest in files]
    words += [f"pair {kind} {digest}" for kind, files in sorted(settings["pairs"].items()) for _, digest in files]
    words.append(f"neutral {settings['neutral'][1] if settings['neutral'] else None}")
    words.append(f"gender {settings['gender']} hands {settings['hands']}")
    return ("\n".join(words),)


def find_models(place: Path) -> dict[str, list[Path]]:
    """Model files by ``kind/gender``; npz before pkl, several of one suffix are all named.

    Raises:
        InputRejected: There is no such file or folder, or nothing in it is named like a model.
    """
    if place.is_file():
        named = model_name(place.parts[-3:])
        if named is None:
            raise InputRejected(
                "does not say in its name which model it is; name it like SMPLH_MALE.npz or smplh/male/model.npz",
                str(place),
            )
        return {named: [place]}
    if not place.is_dir():
        raise InputRejected("no such file or folder; smpl.model_path= takes your SMPL files", str(place))
    found: dict[str, list[Path]] = {}
    for count, path in enumerate(sorted(place.rglob("*"))):
        if count > _FILES_MOST:
            raise InputRejected(f"holds more than {_FILES_MOST} files; give the folder of the models", str(place))
        named = model_name((place.name, *path.relative_to(place).parts))
        if named is not None and path.is_file():
            found.setdefault(named, []).append(path)
    if not found:
        raise InputRejected(
            "holds no file named like a model (SMPLH_MALE.npz, smplh/male/model.npz, "
            "basicmodel_m_lbs_10_207_0_v1.1.0.pkl, SMPLX_NEUTRAL.npz)",
            str(place),
        )
    return {name: _preferred(paths) for name, paths in sorted(found.items())}


def model_name(parts: tuple[str, ...]) -> str | None:
    """``kind/gender`` that a path's parts tell, or ``None``."""
    stem, dot, suffix = parts[-1].lower().rpartition(".")
    if dot + suffix not in MODEL_SUFFIXES:
        return None
    words = [re.split(r"[^a-z0-9]+", part.lower()) for part in (*parts[:-1], stem)]
    for own in reversed(words):  # the file's own name first
        if own[0] in ("basicmodel", "basicmodels"):
            own[0] = "smpl"
    kind = next((word for own in reversed(words) for word in own if word in KINDS), None)
    if not (set(words[-1]) & set(KINDS)) and words[-1][0] != "model":
        return None  # of the folder smplh/male only model.npz is one
    genders = [[GENDERS[word] for word in own if word in GENDERS] for own in reversed(words[-2:])]
    gender = next((own[0] for own in genders if len(own) == 1), None)
    return None if kind is None or gender is None else f"{kind}/{gender}"


def _preferred(paths: list[Path]) -> list[Path]:
    best = [path for path in paths if path.suffix.lower() == ".npz"]
    return best or paths


def _find_pair(kind: str, folders: list[Path]) -> tuple[Path, Path] | None:
    for folder in folders:
        for name in PAIR_FOLDERS[kind]:
            pair = (folder / name / PAIR[0], folder / name / PAIR[1])
            if all(path.is_file() for path in pair):
                return pair
    return None


def _digested(path: Path) -> list[str]:
    return [str(path), sha256_of_file(path)]
