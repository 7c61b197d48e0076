"""Bodies, clips and a G1 in a browser, on this machine alone: `python scripts/preview.py`."""

import sys

import hydra
from omegaconf import DictConfig

from soma_isaac.ui.web_command import prepare_command_line, preview_command


@hydra.main(version_base="1.3", config_path="../config", config_name="preview")
def main(config: DictConfig) -> None:
    """Serve the page and leave with its exit code."""
    sys.exit(preview_command(config))


if __name__ == "__main__":
    prepare_command_line(sys.argv[1:])
    main()
