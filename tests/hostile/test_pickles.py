"""Pickle attacks on the model reader and on torch checkpoints: nothing runs, and only InputRejected comes out."""

import io
import os
import pickle
import pydoc
import struct
import subprocess
import sys
import time
import timeit
import types
import zipfile

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.limits import ReadLimits
from soma_isaac.formats.model_pickle import ModelPickle
from soma_isaac.formats.smpl_model import read_smpl_model
from soma_isaac.formats.torch_zip import read_torch_zip
from tests.body.model_files import smpl_arrays
from tests.body.py2_pickle import Ch, Py2Pickler, Select
from tests.cost import cpu_ratio, instructions, peak_bytes

pytestmark = pytest.mark.py312


class Call:
    """Unpickling this calls ``function(*arguments)``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def touching(marker) -> str:
    return f"open({str(marker)!r}, 'w').close()"


def named(module: str, name: str, *arguments: str) -> bytes:
    """A protocol 4 pickle that looks up a dotted name and calls it."""
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    given = b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in arguments)
    return b"\x80\x04" + texts + b"\x93(" + given + b"tR."


def npz_with_object(marker) -> bytes:
    buffer = io.BytesIO()
    payload = np.empty((), dtype=object)
    payload[()] = Call(exec, touching(marker))
    np.savez(buffer, **{**smpl_arrays(), "v_template": payload})
    return buffer.getvalue()


def inside_chumpy(marker) -> bytes:
    inner = pickle.dumps(Call(exec, touching(marker)), protocol=2)[2:-1]
    whole = Py2Pickler(2).dumps({"v_template": Ch(np.ones((2, 3))), "end": None})
    return whole.replace(b"N.", inner + b".").replace(b"Ns.", inner + b"s.")


PAYLOADS = {
    "exec": lambda marker: pickle.dumps(Call(exec, touching(marker))),
    "eval": lambda marker: pickle.dumps(Call(eval, touching(marker)), protocol=0),
    "os_system": lambda marker: pickle.dumps(Call(os.system, f"touch {marker}"), protocol=2),
    "popen": lambda marker: pickle.dumps({"x": Call(subprocess.getoutput, f"touch {marker}")}),
    "timeit": lambda marker: pickle.dumps(Call(timeit.timeit, touching(marker), "pass", time.perf_counter, 1)),
    "cprofile": lambda marker: named("cProfile", "run", touching(marker)),
    "pydoc": lambda marker: pickle.dumps(Call(pydoc.pipepager, "", f"touch {marker}")),
    "numpy_attribute": lambda marker: named("numpy.ctypeslib", "os.system", f"touch {marker}"),
    "chumpy_named": lambda marker: named("chumpy.ch", "os.system", f"touch {marker}"),
    "inside_chumpy_state": inside_chumpy,
    "npz_object_member": npz_with_object,
    "pickle_named_npz": lambda marker: pickle.dumps({"v_template": Call(exec, touching(marker))}, protocol=4),
}


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_payloads_are_refused_and_never_run(name, tmp_path, monkeypatch):
    marker = tmp_path / "marker"
    data = PAYLOADS[name](marker)
    path = tmp_path / ("SMPL_NEUTRAL.npz" if "npz" in name else "SMPL_NEUTRAL.pkl")
    path.write_bytes(data)
    with pytest.raises(InputRejected) as caught:
        read_smpl_model(path, "smpl")
    assert caught.value.path == str(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rig/data.pkl", data)
    with pytest.raises(InputRejected):
        read_torch_zip(buffer.getvalue(), "rig.pt")
    assert not marker.exists()
    # the payload is live: a reader that unpickles runs it
    for module in ("chumpy", "chumpy.ch", "numpy.ctypeslib"):
        fake = types.ModuleType(module)
        fake.os, fake.Ch = os, type("Ch", (), {})
        monkeypatch.setitem(sys.modules, module, fake)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    if name == "npz_object_member":
        with np.load(path, allow_pickle=True) as archive:
            assert archive["v_template"][()] is None
    else:
        pickle.loads(data, encoding="latin1")  # noqa: S301 - a harmless payload, to see that it is one
    assert marker.exists()


def arrays_of(model: ModelPickle) -> list[np.ndarray]:
    return [model.array(key) for key in ("v_template", "shapedirs", "J_regressor", "scale")]


def small_pickle(protocol: int) -> bytes:
    import scipy.sparse

    x = np.arange(12.0).reshape(4, 3)
    record = {
        "v_template": Ch(x),
        "shapedirs": Select(Ch(x), np.array([1, 3, 5]), (3, 1)),
        "J_regressor": scipy.sparse.csc_matrix(x),
        "info": {"gender": "neutral", "list": [1, 2.5, (None, True)]},
        "scale": np.float32([1.5]),
    }
    return Py2Pickler(protocol).dumps(record) if protocol < 3 else pickle.dumps({**record, "v_template": x}, protocol=4)


LIMITS = ReadLimits(array_bytes=1 << 20)
OPCODES = 150_000  # instead of the usual limit, which takes seconds to count through


def opened(data: bytes, path: str = "model.pkl") -> ModelPickle:
    return ModelPickle(SourceBytes.of(data, path), LIMITS)


@pytest.mark.parametrize("protocol", [0, 2])
def test_every_prefix_is_refused(protocol):
    whole = small_pickle(protocol)
    reference = arrays_of(opened(whole))
    assert len(reference) == 4
    accepted = 0
    for end in range(len(whole)):
        try:
            opened(whole[:end])
            accepted += 1
        except InputRejected:
            pass
    assert accepted == 0, f"{accepted} of {len(whole)} prefixes were accepted"


TOKENS = (
    *(bytes([code]) for code in b"Rb\x81\x93c(t}sua02.\x85\x87"),
    *(b"q\x00", b"h\x00", b"r\xff\xff\xff\xff", b"cos\nsystem\n", b"I9999999999\n", b"L" + b"9" * 40 + b"L\n"),
    *(
        b"\x96" + b"\xff" * 8,
        b"\x8e" + b"\xff" * 8,
        b"\x95" + b"\xff" * 8,
        b"T\xff\xff\xff\x7f",
        b"\x8b\xff\xff\xff\x7f",
    ),
)


def _arrays_read(data: bytes) -> int:
    """How many of its arrays a pickle gave; what it refuses names the file."""
    read = 0
    try:
        model = opened(data)
        for key in model.keys:
            try:
                model.array(key)
                read += 1
            except InputRejected as error:
                assert error.path == "model.pkl"
    except InputRejected as error:
        assert error.path == "model.pkl"
    return read


@pytest.mark.parametrize("protocol", [0, 2])
def test_mutants_are_read_or_refused(protocol):
    whole = small_pickle(protocol)
    random = np.random.default_rng(protocol)
    reads, most = [], 0
    for _ in range(1000):  # 2,000 over both protocols
        changed = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            at = int(random.integers(len(changed)))
            kind = random.integers(4)
            if kind == 0:
                changed[at] = random.integers(256)
            elif kind == 1:
                del changed[at : at + int(random.integers(1, 12))]
            elif kind == 2:
                changed[at:at] = TOKENS[random.integers(len(TOKENS))]
            else:
                begin = int(random.integers(len(changed)))
                changed[at:at] = changed[begin : begin + int(random.integers(1, 40))]
        mutant = bytes(changed)
        most = max(most, instructions(lambda: reads.append(_arrays_read(mutant))))  # noqa: B023 - called at once
    assert sum(reads) > 100  # the mutants were not all rubbish
    assert most < 20_000 + 200 * len(whole)


def deep(count: int) -> bytes:
    return b"\x80\x02" + b"N" + b"\x85" * count


CRAFTED = {
    "bytearray_of_4_gib": (b"\x80\x05\x96\xff\xff\xff\xff\x00\x00\x00\x00.", "BYTEARRAY8"),
    "out_of_band_buffer": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "memo_of_34_gb": (b"\x80\x02Nr\xff\xff\xff\xff.", "expected a dictionary"),
    "string_longer_than_the_file": (b"\x80\x02T\xff\xff\xff\x7fabc.", "malformed"),
    "negative_string": (b"\x80\x02T\xff\xff\xff\xffabc.", "malformed"),
    "frame_longer_than_the_file": (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.", "malformed"),
    "integer_of_2_gib": (b"\x80\x02\x8b\xff\xff\xff\x7f.", "LONG4"),
    "integer_of_255_bytes": (b"\x80\x02\x8a\xff" + b"\x7f" * 255 + b".", "malformed"),
    "digits": (b"I" + b"9" * 100_000 + b"\n.", "malformed"),
    "instance": (b"(i__main__\nEvil\n.", "INST"),
    "object": (b"(c__builtin__\nset\no.", "OBJ"),
    "persistent_text": (b"Pevil\n.", "PERSID"),
    "persistent": (b"\x80\x02NQ.", "BINPERSID"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "new_object_ex": (b"\x80\x04cchumpy.ch\nCh\n)}\x92.", "NEWOBJ_EX"),
    "unknown_opcode": (b"\xff.", "0xff"),
    "unknown_protocol": (b"\x80\x09N.", "malformed"),
    "call_of_a_text": (b"\x80\x02X\x01\x00\x00\x00a)R.", "malformed"),
    "build_a_name": (b"\x80\x02cchumpy.ch\nCh\n}b.", "malformed"),
    "deep_tuple_as_key": (b"\x80\x02}" + deep(100_000)[2:] + b"Ns.", "a tuple as key"),
    "deep_tuple_as_base": (b"ccopy_reg\n_reconstructor\n(cchumpy.ch\nCh\n" + deep(100_000)[2:] + b"NtR.", "malformed"),
    "deep_tuple": (deep(100_000) + b".", "expected a dictionary"),
    "doubling_tuple": (b"\x80\x02N" + b"2\x86" * 60 + b".", "expected a dictionary"),
    "amplified_text": (
        b"\x80\x02c_codecs\nencode\nq\x000X"
        + struct.pack("<I", 200_000)
        + b"a" * 200_000
        + b"q\x010X\x06\x00\x00\x00latin1"
        b"q\x020" + b"h\x00h\x01h\x02\x86R" * 50 + b".",
        "budget",
    ),
    "many_instructions": (b"\x80\x02" + b"N0" * 4 * OPCODES + b"}.", "instructions"),
    "shape_without_numbers": (
        Py2Pickler(2).dumps({"v": np.ones(2)}).replace(b"J\x02\x00\x00\x00t", b"NNt"),
        "a size that is no count",
    ),
    "only_a_stop": (b".", "malformed"),
    "mark_left": (b"(.", "malformed"),
}


@pytest.mark.parametrize("name", sorted(CRAFTED))
def test_crafted_pickles_are_refused_fast_and_small(name, monkeypatch):
    data, reason = CRAFTED[name]
    monkeypatch.setattr("soma_isaac.formats.inert_pickle.MAX_OPCODES", OPCODES)

    def refused():
        with pytest.raises(InputRejected, match=reason) as caught:
            opened(data).numbers("v", (2,))
        assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 500

    assert instructions(refused) < 20_000 + 200 * min(len(data), OPCODES)
    assert peak_bytes(refused) < LIMITS.array_bytes + 100_000 + 64 * len(data)


def test_the_walk_is_linear_in_the_length():
    few, many = (b"\x80\x02(" + b"N" * count + b"l0}." for count in (10_000, 400_000))
    assert cpu_ratio(lambda: opened(few), lambda: opened(many), rounds=3) < 120  # 40 times as long: 40 or so


def test_names_in_messages_cannot_drive_a_terminal():
    data = Py2Pickler(2).dumps({"\x1b[31mred": "x", "b" * 10_000: "y"})
    with pytest.raises(InputRejected) as caught:
        opened(data).numbers("v", (2,))
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 300
    with pytest.raises(InputRejected) as caught:
        opened(named("evil\x1b[2J", "x\ny"))
    assert "\x1b" not in str(caught.value) and "\n" not in str(caught.value)
