"""YAML and JSON that people write: plain values come through, tricks do not."""

import json

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.value_file import check_names, number, numbers, read_values
from tests.cost import cpu_ratio


def test_yaml_and_json_give_the_same(tmp_path):
    (tmp_path / "a.yaml").write_text("point: [1, 2.5, -3]\nname: Hips  # a joint\n")
    (tmp_path / "a.json").write_text('{"point": [1, 2.5, -3], "name": "Hips"}')
    assert (
        read_values(tmp_path / "a.yaml")
        == read_values(tmp_path / "a.json")
        == {
            "point": [1, 2.5, -3],
            "name": "Hips",
        }
    )


@pytest.mark.parametrize(
    "name,text,words",
    [
        ("a.txt", "a: 1", "has the suffix"),
        ("a.yaml", "a: &x [1]\nb: [*x, *x]", "aliases"),
        ("a.yaml", "a: !!python/name:os.system", "cannot be read"),
        ("a.yaml", "- 1", "no mapping"),
        ("a.yaml", "1: 2", "no mapping"),
        ("a.json", '{"a": ', "cannot be read"),
        ("a.yaml", "[" * 5000, "cannot be read"),
        ("a.json", '{"a": ' + "[" * 100_000, "cannot be read"),
        *((f"a.{kind}", '{"a": ' + "1" * 5000 + "}", "cannot be read") for kind in ("yaml", "json")),
        *(("a.yaml", f"a: !!{tag} x", "tags") for tag in ("int", "float", "bool", "timestamp", "binary", "set")),
        ("a.yaml", "a: {b: 1, c: 2, b: 3}", "given twice in the mapping of line 1"),
        ("a.json", '{"a": {"b": 1, "c": 2, "b": 3}}', "'b' is given twice"),
    ],
)
def test_refused(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputRejected, match=words):
        read_values(tmp_path / name)


def test_yaml_values_are_those_of_json(tmp_path):
    """To PyYAML itself 1e-3 is a text, 010 eight, 1:30 ninety, yes true, and 2020-13-45 a ValueError."""
    (tmp_path / "a.yaml").write_text("a: [1e-3, 010, -2, .5, true, null, 1:30, yes, 2020-13-45, 0x10, '1', <<]")
    expected = [1e-3, 10, -2, 0.5, True, None, "1:30", "yes", "2020-13-45", "0x10", "1", "<<"]
    assert read_values(tmp_path / "a.yaml")["a"] == expected


def test_json_is_read_as_json(tmp_path):
    """Tabs, which YAML refuses, and characters beyond 16 bits."""
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{\n\t"a": 1e3,\n\t"b": "\\ud83d\\ude00"}')
    assert read_values(tmp_path / "a.json") == {"a": 1000.0, "b": "\U0001f600"}


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\xfe")
    with pytest.raises(InputRejected, match="cannot be read"):
        read_values(tmp_path / "a.yaml")


def test_values():
    assert numbers([[1, 2], [3, 4]], (None, 2), "x").tolist() == [[1, 2], [3, 4]] and number(2, "x") == 2.0
    for values, shape in (([1, 2], (3,)), ([1, "a"], (2,)), ([[1], [2, 3]], (2, None)), ([np.nan], (1,)), (None, (3,)),
                          (["1", "2"], (2,)), ([1, True], (2,)), ([10**400], (1,)), ([], (None, 3)),
                          (json.loads("[" * 900 + "]" * 900), (3,))):  # fmt: skip
        with pytest.raises(InputRejected, match="finite number"):
            numbers(values, shape, "x")
    for value in (True, [1], None, "a", "2", float("inf"), 10**400):
        with pytest.raises(InputRejected, match="x is not one finite number"):
            number(value, "x")
    with pytest.raises(InputRejected, match="unknown name 'b'"):
        check_names({"b": 1}, ("a",), "the file")
    with pytest.raises(InputRejected, match="no mapping"):
        check_names([1], ("a",), "the file")


def test_a_name_given_twice_is_found_in_linear_time(tmp_path):
    def refusal(count):
        path = tmp_path / f"{count}.json"
        path.write_text("{" + "".join(f'"a{k}": 1, ' for k in range(count)) + f'"a{count - 1}": 2}}')

        def refused():
            with pytest.raises(InputRejected, match="is given twice"):
                read_values(path)

        return refused

    assert cpu_ratio(refusal(1000), refusal(16_000), rounds=3) < 64.0
