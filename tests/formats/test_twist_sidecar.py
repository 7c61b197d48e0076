import copy
import json

import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.twist_sidecar import parse_twist_sidecar, read_twist_sidecar, twist_sidecar_json
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path
from soma_isaac.rig.template import template_twist_table

SIDECAR = data_path("SOMA_procedural_transforms.json")
RECORD = json.loads(SIDECAR.read_text())


def test_shipped_sidecar_is_the_template_table():
    sidecar = read_twist_sidecar(SIDECAR)
    assert sidecar.public_joint_names == PUBLIC_JOINT_NAMES
    assert sidecar.twist == template_twist_table()
    assert RECORD["schema_version"] == "1.1.0" and RECORD["template_asset"]["joint_count"] == 110


def test_written_sidecar_reads_back_with_several_modes():
    sidecar = read_twist_sidecar(SIDECAR)
    modes = dict(sidecar.twist.modes)
    modes["LeftArmTwist1"] = "local_x_euler"
    changed = type(sidecar)(sidecar.public_joint_names, type(sidecar.twist)(**{**vars(sidecar.twist), "modes": modes}))
    parents = {name: "Root" for name in (*PUBLIC_JOINT_NAMES, *sidecar.twist.joint_names)}
    assert parse_twist_sidecar(json.loads(twist_sidecar_json(changed, parents, "test"))) == changed


def test_optional_keys_have_the_published_defaults():
    record = copy.deepcopy(RECORD)
    record["segments"] = [
        {"start_joint": "LeftForeArm", "end_joint": "LeftHand", "twist_joints": ["LeftForeArmTwist1"]},
        {"start_joint": "Hips", "end_joint": "Head", "twist_joints": ["a"], "source_axis": 2, "source_sign": -1},
    ]
    record["rotation_extraction"] = "aligned_x_swing_twist"
    for matrix in record["parameter_matrices"].values():
        matrix["entries"] = [{"row": "a", "column": "LeftHand", "value": 1}]
    segments = parse_twist_sidecar(record).twist.segments
    assert (segments[0].parent_joint, segments[0].reverse, segments[0].source_axis, segments[0].source_sign) == (
        None,
        False,
        0,
        1.0,
    )
    assert (segments[1].source_axis, segments[1].source_sign) == (2, -1.0)


def entry(matrix, number=0):
    return lambda record: record["parameter_matrices"][matrix]["entries"][number]


def put(select, key, value):
    def change(record):
        select(record)[key] = value

    return change


def drop(select, key):
    def change(record):
        del select(record)[key]

    return change


top = lambda record: record
segment = lambda record: record["segments"][0]
REFUSED = {
    "version": (put(top, "schema_version", ""), "schema_version is empty"),
    "no version": (drop(top, "schema_version"), "schema_version is missing"),
    "unknown mode": (put(top, "modes", ["swing"]), "modes lists 'swing'"),
    "mode twice": (put(top, "modes", ["local_x_euler"] * 2), "modes repeats"),
    "extractor": (put(top, "channel_extractors", {}), "channel_extractors lacks the mode"),
    "names": (
        put(lambda r: r["public_rig_derivation"], "main_joint_names", ["a", "a"]),
        "main_joint_names repeats 'a'",
    ),
    "start": (put(segment, "start_joint", "LeftArmTwist1"), "which is no public joint"),
    "parent": (put(segment, "parent_joint", "Tail"), "'Tail', which is no public joint"),
    "reverse": (put(segment, "reverse", "yes"), "has reverse 'yes'"),
    "axis": (put(segment, "source_axis", "w"), "has source_axis 'w'"),
    "axis bool": (put(segment, "source_axis", True), "has source_axis True"),
    "sign": (put(segment, "source_sign", 2), "has source_sign 2"),
    "shared helper": (put(segment, "twist_joints", ["LeftForeArmTwist1"]), "repeats 'LeftForeArmTwist1'"),
    "helper is public": (put(segment, "twist_joints", ["Hips"]), "both a public and a twist joint"),
    "no mode": (put(top, "rotation_extraction", {}), "rotation_extraction of LeftArmTwist1 is None"),
    "stray mode": (
        put(lambda r: r["rotation_extraction"], "per_procedural_joint", {"Hips": "local_x_euler"}),
        "'Hips', which is no twist joint",
    ),
    "unhashable mode": (
        put(lambda r: r["rotation_extraction"], "per_procedural_joint", {"LeftArmTwist1": []}),
        "LeftArmTwist1 is []",
    ),
    "format": (put(lambda r: r["parameter_matrices"]["rotation"], "format", "dense"), "must be sparse_coo_named"),
    "entries": (put(lambda r: r["parameter_matrices"]["rotation"], "entries", []), "rotation has no entries"),
    "row": (put(entry("rotation"), "row", "Hips"), "unknown joints 'Hips'"),
    "rotation column": (put(entry("rotation"), "column", "LeftArmTwist2"), "unknown joints"),
    "value": (put(entry("translation"), "value", float("nan")), "has the value nan"),
    "value bool": (put(entry("translation"), "value", True), "has the value True"),
    "value text": (put(entry("translation"), "value", "1"), "value is missing or is not a int or float"),
    "entry twice": (
        lambda r: r["parameter_matrices"]["translation"]["entries"].append(
            dict(r["parameter_matrices"]["translation"]["entries"][0])
        ),
        "translation repeats the entry",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_a_reason(case):
    change, reason = REFUSED[case]
    record = copy.deepcopy(RECORD)
    change(record)
    with pytest.raises(InputRejected) as caught:
        parse_twist_sidecar(record)
    assert reason in str(caught.value)


@pytest.mark.parametrize("value", [None, 3, [], "text", {}])
def test_refuses_other_json(value):
    with pytest.raises(InputRejected):
        parse_twist_sidecar(value)


def test_every_value_replaced_is_refused_or_read():
    """No other exception escapes, whatever stands in whichever place."""

    def places(node, path=()):
        yield path
        items = node.items() if isinstance(node, dict) else enumerate(node[:3]) if isinstance(node, list) else ()
        for key, child in items:
            yield from places(child, (*path, key))

    for path in places(RECORD):
        for junk in (None, -1, "junk", [], {}, [[]], {"junk": {}}):
            record = copy.deepcopy(RECORD)
            if not path:
                record = junk
            else:
                node = record
                for key in path[:-1]:
                    node = node[key]
                node[path[-1]] = junk
            try:
                parse_twist_sidecar(record)
            except InputRejected:
                continue


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"[1]"])
def test_unreadable_files_are_refused_by_name(tmp_path, content):
    path = tmp_path / "sidecar.json"
    path.write_bytes(content)
    with pytest.raises(InputRejected, match="sidecar.json"):
        read_twist_sidecar(path)
