"""A G1, its ghost and people in Isaac Lab: `python scripts/isaaclab_scene.py references=[walk.npz]`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.isaaclab_scene import isaaclab_scene_command, prepare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="isaaclab_scene")
def main(config: DictConfig) -> None:
    """Run and leave with the scene's exit code."""
    sys.exit(isaaclab_scene_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
