"""Attacks on the npz formats: each is refused with a reason, fast, before memory is taken, and nothing ever runs."""

import io
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from soma_isaac.errors import InputRejected
from soma_isaac.formats.kimodo import REDUCED_JOINT_NAMES
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, forward_kinematics, template_rest_offsets
from tests.cost import instructions, peak_bytes
from tests.oracles.smpl import random_clip

pytestmark = [pytest.mark.py312, pytest.mark.filterwarnings("ignore:Duplicate name")]

GOOD = {key: value[:4] if value.ndim == 2 else value for key, value in random_clip(frames=4).items()}
SMALL = {**GOOD, "poses": GOOD["poses"][:2, :66], "trans": GOOD["trans"][:2]}


class Payload:
    """An object whose unpickling writes a marker file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def member(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npy(header: str, body: bytes = b"", version: int = 1, length: int | None = None) -> bytes:
    size = len(header) if length is None else length
    return (
        b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + header.encode() + body
    )


def zipped(members: dict[str, bytes] | list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    pairs = members.items() if isinstance(members, dict) else members
    with zipfile.ZipFile(buffer, "w", method) as out:
        for name, data in pairs:
            out.writestr(name, data)
    return buffer.getvalue()


def clip_with(**replaced: bytes) -> bytes:
    return zipped({f"{key}.npy": replaced.get(key) or member(value) for key, value in GOOD.items()})


def assembled(members: list[tuple[bytes, int, bytes, int, int]]) -> bytes:
    """A zip of (name, method, packed bytes, size, crc), written by hand."""
    data, directory = b"", b""
    for name, method, packed, size, crc in members:
        sizes = struct.pack("<III", crc, len(packed), size)
        head = struct.pack("<HHHH", 0, method, 0, 0x21) + sizes
        directory += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + head
        directory += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, len(data)) + name
        data += b"PK\x03\x04" + struct.pack("<H", 20) + head + struct.pack("<HH", len(name), 0) + name + packed
    count = len(members)
    return data + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(data), 0)


def bomb(key: str, columns: int) -> bytes:
    """A clip in which one array is 1 GiB of zeros behind an honest header, about 1 MB on disk."""
    rows = (1 << 30) // 8 // columns
    start, size = npy(SHAPE.format("<f8", f"({rows}, {columns})")), rows * columns * 8

    def packed(data: bytes, mode: int) -> bytes:
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        return packer.compress(data) + packer.flush(mode)

    zeros = packed(bytes(1 << 20), zlib.Z_FULL_FLUSH) * (size >> 20)
    body = packed(start, zlib.Z_FULL_FLUSH) + zeros + packed(bytes(size % (1 << 20)), zlib.Z_FINISH)
    members = [(f"{key}.npy".encode(), 8, body, len(start) + size, 0)]
    for name, value in GOOD.items():
        if name != key:
            data = member(value)
            members.append((f"{name}.npy".encode(), 0, data, len(data), zlib.crc32(data)))
    return assembled(members)


def with_flags(data: bytes, bits: int) -> bytes:
    changed = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = changed.find(mark)
        changed[at + offset] |= bits
    return bytes(changed)


def overlapping() -> bytes:
    """Two directory entries that share one local member."""
    data = zipped({"poses.npy": member(GOOD["poses"])}, zipfile.ZIP_STORED)
    start = data.find(b"PK\x01\x02")
    entry = data[start : data.find(b"PK\x05\x06")]
    second = entry.replace(b"poses.npy", b"trans.npy")
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2, 2, len(entry) * 2, start, 0)
    return data[:start] + entry + second + end


SHAPE = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"
NAN = GOOD["poses"].copy()
NAN[2, 64] = np.nan

CRAFTED = {
    "bomb_betas": (lambda: bomb("betas", 16), "budget"),
    "bomb_poses": (lambda: bomb("poses", 156), "expected numbers"),
    "bomb_trans": (lambda: bomb("trans", 3), "budget"),
    "four_tebibytes_in_200_bytes": (
        lambda: clip_with(poses=npy(SHAPE.format("<f8", f"({1 << 39},)"))),
        "expected numbers",
    ),
    "shape_overflow": (lambda: clip_with(trans=npy(SHAPE.format("<f8", f"({10**17}, 3)"))), "frames|declares"),
    "negative_shape": (lambda: clip_with(trans=npy(SHAPE.format("<f8", "(-1, 3)"))), "header"),
    "ten_million_frames": (lambda: clip_with(trans=npy(SHAPE.format("<f8", "(10000000, 3)"), bytes(300))), "declares"),
    "deep_header": (lambda: clip_with(trans=npy("(" * 3000)), "header"),
    "long_header": (lambda: clip_with(trans=npy(" " * 60_000)), "header of 60000"),
    "header_code": (lambda: clip_with(trans=npy(SHAPE.format("<f8", "(__import__('os'), 3)"))), "header"),
    "structured": (lambda: clip_with(trans=member(np.zeros(4, dtype=[("a", "f8")]))), "header"),
    "datetime": (lambda: clip_with(trans=member(np.zeros((4, 3), dtype="M8[s]"))), "header"),
    "longdouble": (lambda: clip_with(trans=member(np.zeros((4, 3), dtype=np.longdouble))), "header"),
    "complex": (lambda: clip_with(trans=member(np.zeros((4, 3), dtype=complex))), "header"),
    "short_data": (lambda: clip_with(trans=member(GOOD["trans"])[:-8]), "declares 96 bytes"),
    "long_data": (lambda: clip_with(trans=member(GOOD["trans"]) + b"12345678"), "declares 96 bytes"),
    "not_npy": (lambda: clip_with(trans=b"PK whatever this is"), "not an npy"),
    "duplicate": (
        lambda: zipped([("poses.npy", member(GOOD["poses"])), ("poses.npy", member(GOOD["poses"] * 2))]),
        "two members",
    ),
    "raw_twin": (lambda: zipped({"poses.npy": member(GOOD["poses"]), "poses": b"raw"}), "named 'poses'"),
    "path_escape": (lambda: zipped({"../../evil.npy": member(GOOD["poses"])}), "plain names"),
    "absolute_path": (lambda: zipped({"/tmp/evil.npy": member(GOOD["poses"])}), "plain names"),
    "escape_sequence": (lambda: zipped({"\x1b[31mposes.npy": member(GOOD["poses"])}), "plain names"),
    "encrypted": (lambda: with_flags(clip_with(), 1), "encrypted"),
    "bzip2": (lambda: zipped({"poses.npy": member(GOOD["poses"])}, zipfile.ZIP_BZIP2), "unusual"),
    "lzma": (lambda: zipped({"poses.npy": member(GOOD["poses"])}, zipfile.ZIP_LZMA), "unusual"),
    "many_members": (lambda: zipped({f"a{i}.npy": b"" for i in range(300)}), "300 members"),
    "overlapping": (overlapping, "not where"),
    "nan": (lambda: npz_bytes({**GOOD, "poses": NAN}), "frame 2, joint 21"),
    "huge": (lambda: npz_bytes({**GOOD, "trans": GOOD["trans"] * 1e30}), "beyond 1000 at frame 0"),
    "no_frames": (lambda: npz_bytes({**GOOD, "trans": np.zeros((0, 3)), "poses": np.zeros((0, 156))}), "no frames"),
    "other_length": (lambda: npz_bytes({**GOOD, "trans": GOOD["trans"][:3]}), "expected numbers"),
    "odd_width": (lambda: npz_bytes({**GOOD, "poses": GOOD["poses"][:, :155]}), "155 columns"),
    "bad_betas": (lambda: npz_bytes({**GOOD, "betas": np.zeros((2, 2, 2))}), "betas is"),
    "bad_unicode": (
        lambda: clip_with(gender=npy(SHAPE.format("<U1", "()"), struct.pack("<I", 0x7FFFFFFF))),
        "no characters",
    ),
    "pickle": (lambda: pickle.dumps({"poses": GOOD["poses"]}), "zip"),
    "text": (lambda: b"not a zip at all", "zip"),
    "empty": (lambda: b"", "empty"),
}


@pytest.mark.parametrize("name", sorted(CRAFTED))
def test_crafted_files_are_refused_fast_and_small(name, tmp_path):
    make, reason = CRAFTED[name]
    path = tmp_path / f"{name}.npz"
    data = make()
    path.write_bytes(data)

    def refused():
        with pytest.raises(InputRejected, match=reason) as caught:
            load_motion(path)
        assert caught.value.path == str(path) and "\x1b" not in str(caught.value)

    refused()  # once uncounted: imports and caches
    assert instructions(refused) < 20_000 + 400 * data.count(b"PK\x01\x02")  # entries of its directory
    assert peak_bytes(refused) < len(data) + 200_000


def test_objects_are_never_unpickled(tmp_path):
    marker = tmp_path / "ran"
    for key in (*GOOD, "extra"):
        array = np.empty((), dtype=object)
        array[()] = Payload(marker)
        buffer = io.BytesIO()
        np.savez(buffer, **{**GOOD, key: array})
        path = tmp_path / "objects.npz"
        path.write_bytes(buffer.getvalue())
        if key == "extra":
            load_motion(path)  # an array that nobody asked for is not touched
        else:
            with pytest.raises(InputRejected):
                load_motion(path)
    path.write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(InputRejected):
        load_motion(path)
    assert not marker.exists()
    call, arguments = Payload(marker).__reduce__()
    call(*arguments)
    assert marker.exists()  # the payload would have worked


def files() -> dict[str, bytes]:
    frames, eye = 2, np.eye(3)
    rest, _ = forward_kinematics(np.broadcast_to(eye, (1, 77, 3, 3)), np.zeros((1, 3)), template_rest_offsets())
    held = [POSE_JOINT_NAMES.index(name) for name in REDUCED_JOINT_NAMES]
    kimodo = {
        "posed_joints": np.repeat(rest[:, held], frames, axis=0),
        "global_rot_mats": np.broadcast_to(eye, (frames, 30, 3, 3)),
    }
    soma = {"poses": np.zeros((frames, 77, 3)), "transl": np.ones((frames, 3)), "fps": np.array([30.0])}
    return {"amass": npz_bytes(SMALL), "kimodo": npz_bytes(kimodo), "soma": npz_bytes(soma)}


@pytest.mark.parametrize("name", ["amass", "kimodo", "soma"])
def test_every_truncation_is_refused(name, tmp_path):
    data = files()[name]
    path = tmp_path / "cut.npz"
    path.write_bytes(data)
    whole = load_motion(path)
    accepted = 0
    for length in range(len(data)):
        path.write_bytes(data[:length])
        try:
            load_motion(path)
            accepted += 1
        except InputRejected:
            pass
    assert whole.frame_count == 2
    assert accepted == 0, f"{accepted} of {len(data)} prefixes were accepted"


@pytest.mark.parametrize("name", ["amass", "kimodo", "soma"])
def test_flipped_bits_are_refused_or_mean_the_same(name, tmp_path):
    data = files()[name]
    path = tmp_path / "flipped.npz"
    path.write_bytes(data)
    whole = load_motion(path)
    random = np.random.default_rng(0)
    for _ in range(1700):  # 5,100 over the three formats
        changed = bytearray(data)
        changed[random.integers(len(data))] ^= 1 << random.integers(8)
        path.write_bytes(changed)
        try:
            motion = load_motion(path)
        except InputRejected:
            continue
        assert motion.fps == whole.fps
        np.testing.assert_array_equal(motion.rotations, whole.rotations)
        np.testing.assert_array_equal(motion.root_translation, whole.root_translation)


def test_scrambled_files_raise_nothing_else(tmp_path):
    random = np.random.default_rng(1)
    sources = list(files().values())
    path = tmp_path / "mutant.npz"
    for number in range(1500):
        changed = bytearray(sources[number % 3])
        for _ in range(random.integers(1, 20)):
            at = int(random.integers(len(changed)))
            kind = random.integers(4)
            if kind == 0:
                changed[at] = int(random.integers(256))
            elif kind == 1:
                del changed[at : at + int(random.integers(1, 30))]
            elif kind == 2:
                changed[at:at] = bytes(random.integers(0, 256, random.integers(1, 30), dtype=np.uint8))
            else:
                changed[at : at + 4] = random.choice([b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x01\x00\x00\x80"])
            if len(changed) < 8:
                break
        path.write_bytes(changed)
        try:
            load_motion(path)
        except InputRejected as error:
            assert error.path is not None


@given(
    name=st.sampled_from(["amass", "kimodo", "soma"]),
    value=st.sampled_from([np.nan, np.inf, -np.inf, 1e30]),
    draw=st.data(),
)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_one_bad_value_anywhere_names_its_frame(name, value, draw, tmp_path):
    with np.load(io.BytesIO(files()[name])) as stored:
        arrays = {key: stored[key].copy() for key in stored.files}
    key = draw.draw(st.sampled_from([key for key, array in arrays.items() if array.ndim > 1]))
    at = tuple(draw.draw(st.integers(0, size - 1)) for size in arrays[key].shape)
    arrays[key][at] = value
    path = tmp_path / "bad.npz"
    path.write_bytes(npz_bytes(arrays))
    with pytest.raises(InputRejected, match=rf"{key}.*(frame {at[0]}\b|\({at[0]}, )"):
        load_motion(path)
