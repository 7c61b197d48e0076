"""Train data/SOMA_correctives.safetensors, pose correctives for the open rig; the target is an elastic solid."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from soma_isaac.errors import SomaError
from soma_isaac.pipelines.command_help import add_options
from soma_isaac.pipelines.correctives_training import CorrectivesConfig, train_correctives

if __name__ == "__main__":
    defaults = CorrectivesConfig(Path(__file__).resolve().parents[1] / "data" / "SOMA_correctives.safetensors")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_options(parser, defaults)
    try:
        report = train_correctives(CorrectivesConfig(**vars(parser.parse_args())))
    except SomaError as error:
        sys.exit(f"train_correctives: {error}")
    for name, value in (asdict(report) | report.joints).items():
        print(f"{name}: {value}")
