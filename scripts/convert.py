"""Motions of other bodies to SOMA and back: `python scripts/convert.py amass source.path=DIR output.dir=OUT`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.command import convert_command, convert_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="convert")
def main(config: DictConfig) -> None:
    """Run and leave with the job's exit code."""
    sys.exit(convert_command(config))


if __name__ == "__main__":
    sys.argv[1:] = convert_command_line(sys.argv[1:])
    main()
