"""Draw the pictures of docs/posing.md."""

import argparse
from pathlib import Path

from soma_isaac.pipelines.pose_sheet import write_pose_sheet
from soma_isaac.pipelines.repair_pictures import write_repair_sheet

if __name__ == "__main__":
    pictures = Path(__file__).resolve().parents[1] / "docs" / "pictures"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=pictures, help="where to; docs/pictures by default")
    parser.add_argument("network", nargs="?", help="weights (.safetensors), or still for none; ours by default")
    arguments = parser.parse_args()
    print("\n".join(write_pose_sheet(arguments.folder / "posing.png", arguments.network)))
    print("\n".join(write_repair_sheet(arguments.folder / "posing_repair.png", arguments.network)))
