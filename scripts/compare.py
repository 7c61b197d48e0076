"""Source and result of a conversion side by side: `python scripts/compare.py source=CLIP.npz result=OUT/CLIP.npz`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.compare import compare_command, compare_command_line


@hydra.main(version_base="1.3", config_path="../config", config_name="compare")
def main(config: DictConfig) -> None:
    """Run and leave with the comparison's exit code."""
    sys.exit(compare_command(config))


if __name__ == "__main__":
    compare_command_line(sys.argv[1:])
    main()
