"""Build data/SOMA_neutral.npz, the open shape space, from bodies of the PyPI package anny (pip install .[anny])."""

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

from soma_isaac.errors import SomaError
from soma_isaac.pipelines.command_help import add_options
from soma_isaac.pipelines.shape_model import ShapeModelConfig, build_shape_model

if __name__ == "__main__":
    defaults = ShapeModelConfig(Path(__file__).resolve().parents[1] / "data" / "SOMA_neutral.npz")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add_options(parser, defaults)
    try:
        report = build_shape_model(ShapeModelConfig(**vars(parser.parse_args())))
    except SomaError as error:
        sys.exit(f"build_shape_model: {error}")
    for name, value in asdict(report).items():
        print(f"{name}: {value}")
