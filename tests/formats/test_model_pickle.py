"""The inert model pickle reader against what numpy, scipy and Python 2 write."""

import pickle

import numpy as np
import pytest
import scipy.sparse

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.limits import ReadLimits
from soma_isaac.formats.model_pickle import ModelPickle
from tests.body.py2_pickle import Ch, Py2Pickler, Select

pytestmark = pytest.mark.py312

VALUES = {
    "f8": np.arange(6.0).reshape(2, 3),
    "f4": np.arange(6, dtype=np.float32).reshape(3, 2),
    "u4": np.arange(6, dtype=np.uint32) + 4_000_000_000,
    "i8": np.array([[-1, 2**40]]),
    "i1": np.array([-1, 1], dtype=np.int8),
    "bool": np.array([True, False]),
    "big_endian": np.arange(4, dtype=">f8"),
    "columns_first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 3)),
    "scalar": np.array(7.5),
}


def opened(data: bytes, **limits: int) -> ModelPickle:
    return ModelPickle(SourceBytes.of(data, "model.pkl"), ReadLimits(**limits))


def same(model: ModelPickle, key: str, expected: np.ndarray) -> None:
    found = model.numbers(key, expected.shape)
    assert found.dtype == np.float64 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_arrays_as_this_numpy_writes_them(protocol):
    model = opened(pickle.dumps(VALUES, protocol=protocol))
    assert model.keys == tuple(VALUES)
    for key, expected in VALUES.items():
        same(model, key, expected)


@pytest.mark.parametrize("protocol", [0, 2])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_arrays_as_python_2_wrote_them_under_both_of_numpys_names(protocol, module):
    model = opened(Py2Pickler(protocol, module).dumps(VALUES))
    for key, expected in VALUES.items():
        same(model, key, expected)


@pytest.mark.parametrize("protocol", [0, 2])
def test_our_python_2_pickles_are_real_pickles(protocol):
    plain = {key: value for key, value in VALUES.items()} | {"text": "lbs", "tuple": (1, 2.5, None, True)}
    found = pickle.loads(Py2Pickler(protocol).dumps(plain), encoding="latin1")  # noqa: S301 - our own bytes
    for key, expected in VALUES.items():
        np.testing.assert_array_equal(found[key], expected)
    assert found["text"] == "lbs" and found["tuple"] == (1, 2.5, None, True)


@pytest.mark.parametrize("form", ["csc_matrix", "csr_matrix", "csc_array", "csr_array"])
def test_sparse_matrices_become_dense(form):
    dense = np.array([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    matrix = getattr(scipy.sparse, form)(dense)
    same(opened(pickle.dumps({"m": matrix}, protocol=4)), "m", dense)
    if form.endswith("matrix"):
        for protocol in (0, 2):
            same(opened(Py2Pickler(protocol).dumps({"m": matrix})), "m", dense)


def test_chumpy_objects_become_their_arrays():
    x = np.arange(12.0).reshape(2, 6)
    record = {"plain": Ch(x), "nested": Ch(Ch(x)), "picked": Select(Ch(x), np.array([0, 7, 7, 11]), (2, 2))}
    for protocol in (0, 2):
        model = opened(Py2Pickler(protocol).dumps(record))
        same(model, "plain", x)
        same(model, "nested", x)
        same(model, "picked", np.array([[0.0, 7.0], [7.0, 11.0]]))


def test_what_is_no_array_of_numbers_does_not_spoil_the_rest():
    objects = np.empty(2, dtype=object)
    objects[:] = ["a", None]
    values = {"objects": objects, "texts": np.array(["a", "b"]), "list": [1, 2], "x": np.ones(2)}
    model = opened(pickle.dumps(values, protocol=2))
    same(model, "x", np.ones(2))
    for key in ("objects", "texts", "list", "absent"):
        with pytest.raises(InputRejected, match=key):
            model.numbers(key, (2,))
    with pytest.raises(InputRejected, match=r"shape \(2,\), expected \(2, 'any'\)"):
        model.numbers("x", (2, None))


def test_texts_of_both_pythons():
    assert opened(Py2Pickler(2).dumps({"style": "lbs"})).text("style") == "lbs"
    model = opened(pickle.dumps({"style": "lbs", "n": 1}))
    assert model.text("style") == "lbs"
    for key in ("n", "absent"):
        with pytest.raises(InputRejected, match="no text"):
            model.text(key)


def test_budgets_hold_for_what_is_made_not_for_what_is_there():
    data = pickle.dumps({"x": np.zeros(1000, dtype=np.int8)})  # 1 kB in the file, 8 kB as numbers
    model = opened(data, array_bytes=12_000)
    model.numbers("x", (1000,))
    with pytest.raises(InputRejected, match="budget"):
        model.numbers("x", (1000,))
    huge = scipy.sparse.csc_matrix((1 << 30, 3))  # a kilobyte that would be 24 GiB
    with pytest.raises(InputRejected, match="budget"):
        opened(pickle.dumps({"m": huge})).numbers("m", (None, None))


@pytest.mark.parametrize("value", [[1, 2], "text", None, np.ones(3)])
def test_only_dictionaries_are_models(value):
    with pytest.raises(InputRejected, match="expected a dictionary"):
        opened(pickle.dumps(value, protocol=2))
