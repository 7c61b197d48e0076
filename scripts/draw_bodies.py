"""Draw the pictures of docs/bodies.md."""

import argparse
from pathlib import Path

from soma_isaac.pipelines.body_pictures import BodyPicturesConfig, draw_body_pictures

if __name__ == "__main__":
    pictures = Path(__file__).resolve().parents[1] / "docs" / "pictures"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=pictures, help="where to; docs/pictures by default")
    for path in draw_body_pictures(BodyPicturesConfig(parser.parse_args().folder)):
        print(path)
