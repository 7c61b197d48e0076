"""The npz reader gives what numpy gives for honest files, and says no before it allocates for others."""

import io
import zipfile

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes, decide_fps, parse_fps, read_source, require_finite
from soma_isaac.formats.limits import ReadLimits
from soma_isaac.formats.npz import NpzArchive, npz_bytes

pytestmark = pytest.mark.py312


def archive(data: bytes, **limits: int) -> NpzArchive:
    return NpzArchive(SourceBytes.of(data, "a.npz"), ReadLimits(**limits))


def saved(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


ARRAYS = {
    "double": np.arange(12.0).reshape(3, 4),
    "single": np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 2, 3),
    "half": np.array([1.5, -2.0], dtype=np.float16),
    "fortran": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "swapped": np.arange(5, dtype=">i4"),
    "scalar": np.array(120.0),
    "flag": np.array(True),
    "empty": np.zeros((0, 3)),
    "bytes": np.array([b"LFHD", b"RANK"]),
    "text": np.array(["Hips", "Kopfgelenk ä"]),
}


@pytest.mark.parametrize("writer", [lambda: saved(**ARRAYS), lambda: npz_bytes(ARRAYS)], ids=["numpy", "ours"])
@pytest.mark.parametrize("key", sorted(ARRAYS))
def test_arrays_are_read_as_numpy_reads_them(writer, key):
    data = writer()
    ours = archive(data).read(key)
    with np.load(io.BytesIO(data)) as theirs:
        np.testing.assert_array_equal(ours, theirs[key])
        assert ours.shape == theirs[key].shape
    assert ours.dtype == ARRAYS[key].dtype.newbyteorder("=")
    assert archive(data).header(key)[1] == ARRAYS[key].shape


def test_headers_of_format_2_and_of_python_2_are_read():
    for text in (
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2L,), }",
        '{"shape":(2,),"descr":"<f8","fortran_order":False}',
    ):
        header = text.encode().ljust(117) + b"\n"
        member = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header + np.array([1.0, 2.0]).tobytes()
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as out:
            out.writestr("x.npy", member)
        np.testing.assert_array_equal(archive(buffer.getvalue()).read("x"), [1.0, 2.0])


def test_the_same_arrays_give_the_same_bytes():
    assert npz_bytes(ARRAYS) == npz_bytes({key: value.copy(order="K") for key, value in ARRAYS.items()})
    with pytest.raises(ValueError, match="allow_pickle"):
        npz_bytes({"x": np.array([{}])})


def test_budgets_are_absolute_and_summed_over_the_file():
    data = saved(a=np.zeros(1000), b=np.zeros(1000))
    small = archive(data, array_bytes=12_000)
    small.read("a")
    with pytest.raises(InputRejected, match="budget"):
        small.read("b")
    with pytest.raises(InputRejected, match="members"):
        archive(data, member_count=1)
    single = saved(a=np.zeros(1000, dtype=np.float32))
    with pytest.raises(InputRejected, match="budget"):  # 4,000 bytes held, 8,000 more once they are float64
        archive(single, array_bytes=11_000).numbers("a", (1000,))


def test_shape_and_type_are_checked_before_decoding():
    held = archive(saved(a=np.zeros((4, 3)), t=np.array(["x", "y"])))
    for key, shape in (("a", (4,)), ("a", (None, 4)), ("t", (2,))):
        with pytest.raises(InputRejected, match="expected numbers"):
            held.numbers(key, shape)
    assert held._spent == 0
    with pytest.raises(InputRejected, match="expected text"):
        held.texts("a")
    with pytest.raises(InputRejected, match="expected one"):
        held.text("t")
    with pytest.raises(InputRejected, match=r"has no array 'b'; it has a, t"):
        held.read("b")


def test_flags():
    held = archive(saved(yes=np.array(True), one=np.array([1]), odd=np.array(2), real=np.array(1.0)))
    assert held.flag("yes", False) and held.flag("one", False) and not held.flag("absent", False)
    for key in ("odd", "real"):
        with pytest.raises(InputRejected, match="truth value"):
            held.flag(key, False)


@pytest.mark.parametrize(
    "value",
    [
        120,
        120.0,
        np.array(120.0),
        np.array(120),
        np.array([120]),
        np.array([[120.0]], dtype=np.float32),
        np.float32(120),
        np.int32(120),
        "120",
        b"120.0",
        np.array("120"),
        np.array([b"120"]),
    ],
)
def test_twelve_encodings_of_one_frame_rate(value):
    assert parse_fps(value, "fps") == 120.0


@pytest.mark.parametrize(
    "value",
    [0, -30, 0.5, 1001, 1e6, float("nan"), float("inf"), "fast", b"\xff", None, True, np.zeros(2), np.zeros(0), [30]],
)
def test_what_is_no_frame_rate(value):
    with pytest.raises(InputRejected, match="frame rate 'fps'"):
        parse_fps(value, "fps", "a.npz")


def test_59_94_is_kept_as_it_is():
    assert parse_fps("59.94", "fps") == 59.94


def test_a_frame_rate_is_never_assumed():
    with pytest.raises(InputRejected, match=r"keys looked for: a, b.*source\.fps="):
        decide_fps({}, ("a", "b"), None)
    with pytest.raises(InputRejected, match=r"a = 120, b = 60.*source\.fps="):
        decide_fps({"a": 120, "b": 60.0}, ("a", "b"), None)
    assert decide_fps({"a": 120, "b": np.array([120.0])}, ("a", "b"), None).key == "a"
    told = decide_fps({"a": 120, "b": 60.0}, ("a", "b"), 60.0)
    assert (told.fps, told.key) == (60.0, "option")
    assert len(told.notes) == 1 and "a = 120" in told.notes[0]


def test_finiteness_names_frame_and_joint():
    values = np.zeros((5, 2, 3))
    values[3, 1, 0] = np.nan
    with pytest.raises(InputRejected, match="not finite at frame 3, joint RightHand"):
        require_finite("poses", values, None, ("LeftHand", "RightHand"))
    values[3, 1, 0] = 1e9
    with pytest.raises(InputRejected, match="is 1e\\+09, beyond 100 at frame 3"):
        require_finite("trans", values, None, largest=100.0)


def test_files_are_read_once_and_within_the_budget(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"12345")
    assert read_source(path).data == b"12345"
    with pytest.raises(InputRejected, match="larger than the budget of 4 bytes"):
        read_source(path, ReadLimits(file_bytes=4))
    path.write_bytes(b"")
    for wrong, reason in ((path, "empty"), (tmp_path, "regular file"), (tmp_path / "none", "no such file")):
        with pytest.raises(InputRejected, match=reason):
            read_source(wrong)
