"""People of many builds as pictures with labels: `python scripts/render_bodies.py bodies.count=64 camera=orbit4`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.command import render_bodies_command, render_bodies_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="render_bodies")
def main(config: DictConfig) -> None:
    """Run and leave with the job's exit code."""
    sys.exit(render_bodies_command(config))


if __name__ == "__main__":
    render_bodies_command_line(sys.argv[1:])
    main()
