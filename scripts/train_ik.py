"""Train the network that poses bodies by a few effectors: `python scripts/train_ik.py data.paths=[FILE]`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.train_ik_command import train_ik_command, train_ik_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="train_ik")
def main(config: DictConfig) -> None:
    """Train and leave with the job's exit code."""
    sys.exit(train_ik_command(config))


if __name__ == "__main__":
    train_ik_command_line(sys.argv[1:])
    main()
