"""Any body posed by a few effectors: `python scripts/pose.py effectors=POSES.yaml output=DIR body.preset=child`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.pose import pose_command, prepare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="pose")
def main(config: DictConfig) -> None:
    """Run and leave with the job's exit code."""
    sys.exit(pose_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
