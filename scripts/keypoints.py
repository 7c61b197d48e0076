"""3D COCO-17 keypoints to a SOMA motion: `python scripts/keypoints.py keypoints=PERSON.npz output=MOTION.npz`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.keypoints_run import keypoints_command, prepare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="keypoints")
def main(config: DictConfig) -> None:
    """Run and leave with the job's exit code."""
    sys.exit(keypoints_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
