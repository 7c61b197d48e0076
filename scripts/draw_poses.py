"""Draw the pictures of docs/posing.md: python scripts/draw_poses.py [FOLDER [NETWORK.safetensors | still]]."""

import sys
from pathlib import Path

from soma_isaac.pipelines.pose_sheet import write_pose_sheet
from soma_isaac.pipelines.repair_pictures import write_repair_sheet

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "docs" / "pictures"
    network = sys.argv[2] if len(sys.argv) > 2 else None
    print("\n".join(write_pose_sheet(folder / "posing.png", network)))
    print("\n".join(write_repair_sheet(folder / "posing_repair.png", network)))
