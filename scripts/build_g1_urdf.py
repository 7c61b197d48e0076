"""Write data/g1/g1_29dof.urdf from the G1 of mjlab 1.6.0."""

import argparse
import sys
from pathlib import Path

from soma_isaac.errors import SomaError
from soma_isaac.formats.g1_urdf import g1_urdf_bytes

if __name__ == "__main__":
    urdf = Path(__file__).resolve().parent.parent / "data" / "g1" / "g1_29dof.urdf"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, help="mjlab/asset_zoo/robots/unitree_g1/xmls/g1.xml")
    parser.add_argument("output", type=Path, nargs="?", default=urdf, help="where to; data/g1/g1_29dof.urdf by default")
    arguments = parser.parse_args()
    try:
        arguments.output.write_bytes(g1_urdf_bytes(arguments.source.read_bytes()))
    except (SomaError, OSError) as error:
        sys.exit(f"build_g1_urdf: {error}")
    print(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
