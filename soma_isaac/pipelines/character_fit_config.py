"""Settings of the character fit, as Hydra checks them and as the fit uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from soma_isaac.pipelines.config import ConfigRefused, nearest

# The suffixes repeat pipelines.character_file.READERS (a test holds them equal): ``--help`` shall not load USD.
SUFFIXES = (".usda", ".bvh", ".glb", ".gltf", ".vrm")
MODELS = ("anny", "soma", "smpl", "smplh", "smplx", "garment", "mhr")


@dataclass
class CharacterFitOutputConfig:
    """Where the result goes.

    Attributes:
        dir: Folder, made if need be; the file is named like the source: ``NAME.MODEL.json``.
    """

    dir: str = "out/characters"


@dataclass
class CharacterFitConfig:
    """All keys of ``fit_character.py``.

    Attributes:
        source: A character: UsdSkel as text (``.usda``), BVH, or glTF (``.glb``, ``.gltf``, ``.vrm``).
        model: Identity model: ``anny``, ``soma`` (the open shape space without files), ``smpl``, ...
        output: Where the result goes.
        known_size: The file's unit is right: size then tells about the person. Otherwise a character of any size is
            fitted by its proportions, and its size is reported.
        noise: How far [share of a limb] the character's lengths may be off; ``null`` finds out.
        assets: Folder in SOMA-X layout with the identity model's files.
        model_path: The identity model's own file, where it does not lie in ``assets``.
        replace: Overwrite a result that has other bytes.
    """

    source: str | None = None
    model: str = "anny"
    output: CharacterFitOutputConfig = field(default_factory=CharacterFitOutputConfig)
    known_size: bool = False
    noise: float | None = None
    assets: str | None = None
    model_path: str | None = None
    replace: bool = False


def check_config(config: CharacterFitConfig) -> None:
    """Refuse values that no fit can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if not config.source:
        raise ConfigRefused("source: name a character, e.g. source=robot.glb")
    suffix = Path(config.source).suffix.lower()
    if suffix not in SUFFIXES:
        hint = "; convert it with usdcat -o NAME.usda" if suffix in (".usd", ".usdc") else ""
        raise ConfigRefused(f"source: {suffix!r} files are not read, but {', '.join(SUFFIXES)}{hint}")
    if config.model not in MODELS:
        raise ConfigRefused(f"model: {config.model!r}; {nearest(config.model, MODELS)}")
    if config.noise is not None and not 1e-5 <= config.noise <= 1.0:
        raise ConfigRefused(f"noise: {config.noise!r} is outside 0.00001 to 1")
