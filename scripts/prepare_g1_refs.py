"""Human motion clips in, G1 reference clips out: `python scripts/prepare_g1_refs.py source.path=DIR output.dir=OUT`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.command import g1_refs_command, prepare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="g1_refs")
def main(config: DictConfig) -> None:
    """Run and leave with the job's exit code."""
    sys.exit(g1_refs_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
