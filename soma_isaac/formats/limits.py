"""How much a foreign file may ask for: absolute budgets, never ratios (honest all-zero channels compress 1000 : 1)."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class ReadLimits:
    """Budgets of one read; what exceeds them is refused before it is allocated.

    Attributes:
        file_bytes: Largest file that is read at all.
        array_bytes: Sum over the arrays that are read from one file, as declared and as held.
        member_count: Members (npz) or joints and channels (BVH) in one file.
        header_bytes: Header of one npy member.
        text_length: Characters per string of a text array.
        frame_count: Frames of one clip (the default is 14 minutes at 120 fps).
    """

    file_bytes: int = 512 * MEBIBYTE
    array_bytes: int = 512 * MEBIBYTE
    member_count: int = 256
    header_bytes: int = 4096
    text_length: int = 1024
    frame_count: int = 100_000


DEFAULT_LIMITS = ReadLimits()
