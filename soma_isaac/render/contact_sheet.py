"""Many pictures on one sheet."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

GAP = 4
PAPER = 246


def contact_sheet(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """A sheet [H, W, 3] uint8 of pictures in reading order.

    Args:
        pictures: [h, w, 3] uint8, all of one size; at least one.
        columns: Pictures side by side.

    Raises:
        ValueError: There are no pictures, or their sizes differ.
    """
    if not pictures or len({picture.shape for picture in pictures}) != 1:
        raise ValueError("a contact sheet needs pictures of one size")
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    sheet = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 3), PAPER, np.uint8)
    for number, picture in enumerate(pictures):
        top = GAP + (number // columns) * (height + GAP)
        left = GAP + (number % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def reduced(picture: np.ndarray, longest: int) -> np.ndarray:
    """A picture [H, W, 3] uint8 shrunk by a whole factor until no side is longer than ``longest`` pixels."""
    factor = -(-max(picture.shape[:2]) // longest)
    if factor <= 1:
        return picture
    height, width = (side // factor for side in picture.shape[:2])
    cells = picture[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return (cells.mean(axis=(1, 3)) + 0.5).astype(np.uint8)
