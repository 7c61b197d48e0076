"""Capitals, digits and a few signs in 3 x 5 pixels: captions on pictures without a font library."""

from __future__ import annotations

import numpy as np

GLYPH_HEIGHT = 5
_ADVANCE = 4
_ROWS = {
    "0": "111 101 101 101 111", "1": "010 110 010 010 111", "2": "111 001 111 100 111", "3": "111 001 111 001 111",
    "4": "101 101 111 001 001", "5": "111 100 111 001 111", "6": "111 100 111 101 111", "7": "111 001 010 010 010",
    "8": "111 101 111 101 111", "9": "111 101 111 001 111", "A": "010 101 111 101 101", "B": "110 101 110 101 110",
    "C": "011 100 100 100 011", "D": "110 101 101 101 110", "E": "111 100 110 100 111", "F": "111 100 110 100 100",
    "G": "011 100 101 101 011", "H": "101 101 111 101 101", "I": "111 010 010 010 111", "J": "001 001 001 101 010",
    "K": "101 101 110 101 101", "L": "100 100 100 100 111", "M": "111 111 101 101 101", "N": "110 101 101 101 101",
    "O": "010 101 101 101 010", "P": "110 101 110 100 100", "Q": "010 101 101 111 011", "R": "110 101 110 101 101",
    "S": "011 100 010 001 110", "T": "111 010 010 010 010", "U": "101 101 101 101 111", "V": "101 101 101 101 010",
    "W": "101 101 101 111 111", "X": "101 101 010 101 101", "Y": "101 101 010 010 010", "Z": "111 001 010 100 111",
    ".": "000 000 000 000 010", ",": "000 000 000 010 100", "-": "000 000 111 000 000", "+": "000 010 111 010 000",
    ":": "000 010 000 010 000", "/": "001 001 010 100 100", "%": "101 001 010 100 101", " ": "000 000 000 000 000",
}  # fmt: skip
_UNKNOWN = "111 111 111 111 111"


def text_width(text: str, scale: int = 2) -> int:
    """Width of a line in pixels."""
    return max(0, len(text) * _ADVANCE - 1) * scale


def draw_text(
    image: np.ndarray, text: str, left: int, top: int, scale: int = 2, rgb: tuple[int, int, int] = (40, 48, 58)
) -> None:
    """Write a line into ``image`` [H, W, 3] uint8, in capitals; what lies outside is cut off.

    Args:
        image: Written to.
        text: Unknown characters become a block.
        left: Pixel column of the first character.
        top: Pixel row of its top.
        scale: Pixels per dot.
        rgb: Colour, 0 to 255.
    """
    for number, character in enumerate(text.upper()):
        for row, dots in enumerate(_ROWS.get(character, _UNKNOWN).split()):
            for column, dot in enumerate(dots):
                if dot == "0":
                    continue
                y, x = top + row * scale, left + (number * _ADVANCE + column) * scale
                if x >= 0 and y >= 0:
                    image[y : y + scale, x : x + scale] = rgb
