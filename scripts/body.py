"""A motion or a pose as a body in a file: `python scripts/body.py motion=CLIP.npz output=walk.usdc`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.body_export import body_command, prepare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="body")
def main(config: DictConfig) -> None:
    """Run and leave with the export's exit code."""
    sys.exit(body_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
