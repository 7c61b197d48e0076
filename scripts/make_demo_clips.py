"""Write the bundled demo clips anew."""

import argparse
from pathlib import Path

from soma_isaac.pipelines.demo_clips import write_demo_clips

if __name__ == "__main__":
    clips = Path(__file__).resolve().parents[1] / "data" / "demo_clips"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=clips, help="where to; data/demo_clips by default")
    for path in write_demo_clips(parser.parse_args().folder):
        print(f"{path} ({path.stat().st_size} bytes)")
