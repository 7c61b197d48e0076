"""Write ``data/g1/g1_29dof.urdf`` from the G1 of mjlab 1.6.0.

Usage: ``python scripts/build_g1_urdf.py PATH/TO/mjlab/asset_zoo/robots/unitree_g1/xmls/g1.xml``
"""

from __future__ import annotations

import sys
from pathlib import Path

from soma_isaac.formats.g1_urdf import g1_urdf_bytes

OUTPUT = Path(__file__).resolve().parent.parent / "data" / "g1" / "g1_29dof.urdf"

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    OUTPUT.write_bytes(g1_urdf_bytes(Path(sys.argv[1]).read_bytes()))
    print(f"{OUTPUT}: {OUTPUT.stat().st_size} bytes")
