"""Write SOMA_regressor.npz anew, after a change of the template rig or of the shape space's segments."""

import argparse
from pathlib import Path

from soma_isaac.pipelines.regressor import build_regressor

if __name__ == "__main__":
    data = Path(__file__).resolve().parents[1] / "data"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=data, help="where to; data by default")
    print(build_regressor(parser.parse_args().folder))
