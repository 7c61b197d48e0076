"""Train data/SOMA_correctives.safetensors, pose correctives for the open rig; the target is an elastic solid."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from soma_isaac.errors import SomaError
from soma_isaac.pipelines.command_help import attribute_meanings
from soma_isaac.pipelines.correctives_training import CorrectivesConfig, train_correctives

if __name__ == "__main__":
    defaults = CorrectivesConfig(Path(__file__).resolve().parents[1] / "data" / "SOMA_correctives.safetensors")
    meanings = attribute_meanings(CorrectivesConfig)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    for name, value in asdict(defaults).items():
        flag, meaning = f"--{name.replace('_', '-')}", meanings.get(name)
        parser.add_argument(flag, type=type(value), default=value, help=meaning)
    try:
        report = train_correctives(CorrectivesConfig(**vars(parser.parse_args())))
    except SomaError as error:
        sys.exit(f"train_correctives: {error}")
    for name, value in (asdict(report) | report.joints).items():
        print(f"{name}: {value}")
