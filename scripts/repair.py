"""A clip with joints held over some frames: `python scripts/repair.py motion=CLIP hold=HOLD.yaml output=NEW.npz`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.pipelines.repair_run import prepare_command_line, repair_command


@hydra.main(version_base="1.3", config_path="../config", config_name="repair")
def main(config: DictConfig) -> None:
    """Run and leave with the job's exit code."""
    sys.exit(repair_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
