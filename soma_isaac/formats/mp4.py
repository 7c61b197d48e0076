"""Videos: H.264 in an MP4 file, written picture by picture by PyAV (the extra ``video``)."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.atomic import discard, publish, staged_path

QUALITY = "18"
"""x264's constant rate factor; differences from the pictures are hard to see."""

_BT709 = 1


def write_mp4(final: Path, pictures: Iterable[np.ndarray], fps: float) -> int:
    """Write a video; the file appears when it is whole.

    One picture is held at a time, besides the encoder's few dozen. One thread encodes, so that equal pictures give
    equal bytes with the same version of PyAV. Sides are even in H.264: an odd one is made longer by a row or column.

    Args:
        final: The file; its folder exists.
        pictures: [H, W, 3] uint8 sRGB, all of one size; at least one.
        fps: Pictures per second.

    Returns:
        How many pictures were written.

    Raises:
        MissingDependency: PyAV is not installed.
        InputRejected: There are no pictures, or their sizes differ.
        OSError: The disk refused; ``final`` is what it was before.
    """
    av = video_library()
    staged = staged_path(final)
    try:
        with av.open(str(staged), "w", format="mp4", options={"movflags": "faststart"}) as container:
            count = _encode(av, container, pictures, Fraction(fps).limit_denominator(1001))
        publish(staged, final)
    except av.error.FFmpegError as error:
        discard(staged)
        raise OSError(error.errno, error.strerror, str(final)) from error
    except BaseException:  # also where the caller's pictures end the video
        discard(staged)
        raise
    return count


def video_library() -> Any:
    """PyAV.

    Raises:
        MissingDependency: It is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingDependency("av", "writing a video", "pip install 'soma_isaac[video]'") from error
    return av


def _encode(av: Any, container: Any, pictures: Iterable[np.ndarray], rate: Fraction) -> int:
    stream = None
    shape = (0, 0, 3)
    count = 0
    for count, picture in enumerate(pictures, start=1):
        if stream is None:
            height, width, _ = picture.shape
            shape = (height, width, 3)
            stream = _stream(container, shape, rate)
        elif picture.shape != shape:
            raise InputRejected(f"picture {count} of the video is {picture.shape}, the first one {shape}")
        even = np.pad(picture, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="ITU709")))
    if stream is None:
        raise InputRejected("a video needs at least one picture")
    container.mux(stream.encode())
    return count


def _stream(container: Any, shape: tuple[int, int, int], rate: Fraction) -> Any:
    # With x264's macroblock tree small pictures gave other bytes from run to run (not with its assembly off).
    options = {"crf": QUALITY, "preset": "medium", "mbtree": "0"}
    stream = container.add_stream("libx264", rate=rate, options=options)
    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.colorspace = context.color_primaries = context.color_trc = _BT709
    context.color_range = 1
    return stream
