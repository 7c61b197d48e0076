"""People with clips on a USD stage, as referenced rigs: `python scripts/stage.py output=people.usda`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.stage_people import prepare_command_line, stage_command


@hydra.main(version_base="1.3", config_path="../config", config_name="stage")
def main(config: DictConfig) -> None:
    """Run and leave with the exit code."""
    sys.exit(stage_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
