"""The plan and what becomes an input."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from soma_isaac.batch import discovery
from soma_isaac.batch.discovery import InputRules, discover
from soma_isaac.batch.plan import FoundInput, build_plan, content_key, plan_bytes, read_plan, store_plan
from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.pipelines.g1_config import output_names
from soma_isaac.pipelines.run_config import REFUSED_SUFFIXES, skipped_name

RULES = InputRules((".npz", ".bvh"), REFUSED_SUFFIXES, skipped_name)
FORMATS = ["mjlab", "csv"]


def plan_of(*names: str, parts: tuple[str, ...] = ("settings", "robot", "code"), digest: str = "d"):
    found = [FoundInput(name, 1, digest) for name in names]
    return build_plan(found, lambda relative: output_names(relative, FORMATS), parts)


def test_keys_depend_on_each_part_and_on_nothing_else():
    key = plan_of("a.npz")[0].key
    assert plan_of("b.npz", "a.npz")[0].key == key
    others = [
        plan_of("b.npz"),
        plan_of("a.npz", digest="e"),
        plan_of("a.npz", parts=("settings", "robot", "code2")),
        plan_of("a.npz", parts=("setting", "srobot", "code")),
    ]
    assert len({key, *(plan[0].key for plan in others)}) == 5


def test_content_key_is_sha256_of_framed_parts():
    assert content_key("ab", "c") == hashlib.sha256(b"2:ab1:c").hexdigest()


def test_plan_reads_back(tmp_path):
    plan = plan_of("b.npz", "a/ж.npz")
    (tmp_path / "plan.jsonl").write_bytes(plan_bytes(plan))
    assert read_plan(tmp_path / "plan.jsonl") == plan
    assert [entry.input for entry in plan] == ["a/ж.npz", "b.npz"]
    assert len((tmp_path / "plan.jsonl").read_text().splitlines()) == 2


def test_bad_plan_names_the_line(tmp_path):
    (tmp_path / "plan.jsonl").write_bytes(plan_bytes(plan_of("a.npz")) + b"nonsense\n")
    with pytest.raises(InputRejected, match="line 2 "):
        read_plan(tmp_path / "plan.jsonl")


@pytest.mark.parametrize(
    "names",
    [
        ("a.npz", "a.bvh"),
        ("a.npz", "A.npz"),
        ("x/a.npz", "X/a.bvh"),
        ("a.b.npz", "a.b.bvh"),
        ("é.npz", "e\u0301.bvh"),
        ("a.npz", "a.npz/b.npz"),
        ("d/a.npz", "D/A.NPZ"),
        ("straße.npz", "strasse.bvh"),
    ],
)
def test_duplicate_outputs_are_found_before_any_work(names):
    with pytest.raises(OutputConflict) as caught:
        plan_of("fine.npz", *names)
    assert "fine" not in str(caught.value) and str(caught.value).isprintable()


def test_every_pair_of_duplicates_is_named():
    with pytest.raises(OutputConflict) as caught:
        plan_of(*(f"{index}{suffix}" for index in range(3) for suffix in (".npz", ".bvh")))
    assert str(caught.value).count(" and ") == 3


def test_stored_plan_is_not_rewritten(tmp_path):
    plan = plan_of("a.npz")
    store_plan(plan, [], tmp_path, replace=False)
    before = os.stat(tmp_path / "plan.jsonl")
    store_plan(plan, [], tmp_path, replace=True)
    after = os.stat(tmp_path / "plan.jsonl")
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_earlier_plans_are_kept_in_order(tmp_path):
    plans = [plan_of(*(f"{letter}.npz" for letter in "abc"[: count + 1])) for count in range(3)]
    for plan in plans:
        store_plan(plan, [], tmp_path, replace=False)
    kept = [tmp_path / "plan.1.jsonl", tmp_path / "plan.2.jsonl", tmp_path / "plan.jsonl"]
    assert [path.read_bytes() for path in kept] == [plan_bytes(plan) for plan in plans]


@pytest.fixture
def zoo(tmp_path):
    """A source with every kind of directory entry."""
    source = tmp_path / "source"
    outside = tmp_path / "outside"
    for folder in (source / "sub", source / "empty", outside):
        folder.mkdir(parents=True)
    (outside / "secret.npz").write_bytes(b"s")
    for name in ("a.npz", "sub/B.NPZ", "sub/walk.bvh", "x.pkl", "notes.txt", ".hidden.npz", "shape.npz", "con.npz"):
        (source / name).write_bytes(name.encode())
    (source / os.fsdecode(b"bad\xff.npz")).write_bytes(b"x")
    (source / "new\nline.npz").write_bytes(b"x")
    (source / "inside.npz").symlink_to(source / "a.npz")
    (source / "out.npz").symlink_to(outside / "secret.npz")
    (source / "broken.npz").symlink_to(source / "nothing")
    (source / "loop.npz").symlink_to(source / "loop.npz")
    (source / "outdir").symlink_to(outside)
    (source / "indir").symlink_to(source / "sub")
    os.mkfifo(source / "fifo.npz")
    (source / "folder.npz").mkdir()
    return source


def test_every_entry_gets_a_verdict(zoo):
    found = {item.input: item for item in discover(zoo, RULES)}
    verdicts = {name: item.verdict for name, item in found.items()}
    assert verdicts == {
        "a.npz": "",
        "sub/B.NPZ": "",
        "sub/walk.bvh": "",
        "inside.npz": "",
        "x.pkl": "rejected",
        "notes.txt": "skipped",
        ".hidden.npz": "skipped",
        "shape.npz": "skipped",
        "con.npz": "rejected",
        "bad\udcff.npz": "rejected",
        "new\nline.npz": "rejected",
        "out.npz": "rejected",
        "broken.npz": "rejected",
        "loop.npz": "rejected",
        "outdir": "rejected",
        "indir": "skipped",
        "fifo.npz": "rejected",
    }
    assert all(item.reason for item in found.values() if item.verdict)
    assert found["a.npz"].sha256 == hashlib.sha256(b"a.npz").hexdigest() and found["a.npz"].size == 5


def test_odd_names_go_through_the_plan(zoo):
    plan = build_plan(discover(zoo, RULES), lambda relative: output_names(relative, FORMATS), ())
    assert len([json.loads(line) for line in plan_bytes(plan).splitlines()]) == 17


def test_output_inside_the_source_is_left_out(zoo):
    (zoo / "out" / "mjlab").mkdir(parents=True)
    (zoo / "out" / "mjlab" / "a.npz").write_bytes(b"result")
    names = {item.input for item in discover(zoo, RULES, zoo / "out")}
    assert not any(name.startswith("out/") for name in names)


def test_single_file_and_missing_source(zoo):
    assert [item.input for item in discover(zoo / "a.npz", RULES)] == ["a.npz"]
    assert discover(zoo / "out.npz", RULES)[0].verdict == "", "a link that the user names is the user's word"
    with pytest.raises(InputRejected, match="no such folder"):
        discover(zoo / "nothing", RULES)


def test_unreadable_file_is_rejected(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(discovery, "sha256_of_file", refuse)
    (tmp_path / "a.npz").write_bytes(b"x")
    assert discover(tmp_path, RULES)[0].reason == "cannot be read: Permission denied"
