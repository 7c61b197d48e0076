"""A G1 among moving people, simulated by Newton: `python scripts/newton_scene.py output=scene.usdc`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.newton_scene import newton_scene_command, prepare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="newton_scene")
def main(config: DictConfig) -> None:
    """Run and leave with the scene's exit code."""
    sys.exit(newton_scene_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
