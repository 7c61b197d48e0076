"""Draw the pictures of docs/bodies.md: python scripts/draw_bodies.py [FOLDER]."""

import sys
from pathlib import Path

from soma_isaac.pipelines.body_pictures import BodyPicturesConfig, draw_body_pictures

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "docs" / "pictures"
    for path in draw_body_pictures(BodyPicturesConfig(folder)):
        print(path)
