"""Write the bundled demo clips anew: ``python scripts/make_demo_clips.py [FOLDER]`` (default ``data/demo_clips``)."""

from __future__ import annotations

import sys
from pathlib import Path

from soma_isaac.pipelines.demo_clips import write_demo_clips

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "data" / "demo_clips"
    for path in write_demo_clips(folder):
        print(f"{path} ({path.stat().st_size} bytes)")
