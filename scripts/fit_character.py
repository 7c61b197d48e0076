"""Identity parameters from a character's bones: `python scripts/fit_character.py source=CHARACTER.glb model=anny`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.character_fit import fit_character_command, fit_character_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="fit_character")
def main(config: DictConfig) -> None:
    """Run and leave with the fit's exit code."""
    sys.exit(fit_character_command(config))


if __name__ == "__main__":
    fit_character_command_line(sys.argv[1:])
    main()
