"""Assets folders: missing files, git-LFS pointers, and files that are not what was fetched."""

import hashlib
import json
import os

import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import (
    LOCK_NAME,
    AssetLock,
    AssetTree,
    LockedFile,
    checked_relative,
    read_lock,
    write_lock,
)

pytestmark = pytest.mark.py312

ASK = {"purpose": "the smpl identity model", "origin": "register at the site; say where it is with assets=PATH"}


def locked(data: bytes) -> LockedFile:
    return LockedFile(len(data), hashlib.sha256(data).hexdigest(), "hub sha256")


def test_a_file_is_found_and_a_missing_one_is_named_with_its_origin_and_option(tmp_path):
    (tmp_path / "SMPL").mkdir()
    (tmp_path / "SMPL" / "b.pkl").write_bytes(b"model")
    tree = AssetTree(tmp_path)
    assert tree.first(("SMPL/a.npz", "SMPL/b.pkl"), **ASK) == tmp_path / "SMPL" / "b.pkl"
    with pytest.raises(InputRejected) as caught:
        tree.first(("SMPL/a.npz", "SMPL/c.pkl"), **ASK)
    for part in ("SMPL/a.npz or SMPL/c.pkl", "the smpl identity model", "register at the site", "assets=PATH"):
        assert part in str(caught.value)
    with pytest.raises(InputRejected, match="soma_isaac.assets fetch"):
        AssetTree(tmp_path / "absent")


def test_a_git_lfs_pointer_is_told_from_the_file(tmp_path):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 696000000\n"
    (tmp_path / "model.pt").write_bytes(pointer)
    with pytest.raises(InputRejected, match="git lfs pull"):
        AssetTree(tmp_path).file("model.pt", **ASK)
    (tmp_path / "model.pt").write_bytes(b"version 2 of something else")
    assert AssetTree(tmp_path).file("model.pt", **ASK).is_file()


def test_locked_files_are_verified_and_others_used_as_they_are(tmp_path):
    (tmp_path / "a.obj").write_bytes(b"mesh")
    (tmp_path / "own.pkl").write_bytes(b"whatever")
    write_lock(tmp_path, AssetLock("nvidia/soma-x", "v0.3.4", "c" * 40, {"a.obj": locked(b"mesh")}))
    tree = AssetTree(tmp_path)
    tree.file("a.obj", **ASK)
    tree.file("own.pkl", **ASK)
    before = os.stat(tmp_path / "a.obj").st_mtime_ns
    for changed in (b"mess", b"mesh and more"):
        (tmp_path / "a.obj").write_bytes(changed)
        os.utime(tmp_path / "a.obj", ns=(before + 10**9, before + 10**9))
        with pytest.raises(InputRejected, match="not what was fetched"):
            tree.file("a.obj", **ASK)


def test_the_lock_survives_writing_and_reading(tmp_path):
    lock = AssetLock("nvidia/soma-x", "v0.3.4", "c" * 40, {"MHR/a b.pt": locked(b"1"), "x.npz": locked(b"2")})
    write_lock(tmp_path, lock)
    assert read_lock(tmp_path) == lock
    assert read_lock(tmp_path / "absent") is None


@pytest.mark.parametrize("change", ["version", "files", "text", "escape", "deep", "empty"])
def test_a_damaged_lock_is_refused(tmp_path, change):
    write_lock(tmp_path, AssetLock("nvidia/soma-x", "v0.3.4", "c" * 40, {"a.obj": locked(b"mesh")}))
    path = tmp_path / LOCK_NAME
    record = json.loads(path.read_text())
    if change == "version":
        record["version"] = 9
    elif change == "files":
        record["files"] = [1]
    elif change == "escape":
        record["files"]["../../x"] = record["files"]["a.obj"]
    texts = {"text": "{", "deep": "[" * 100_000, "empty": ""}
    path.write_text(texts.get(change, json.dumps(record)))
    with pytest.raises(InputRejected):
        AssetTree(tmp_path)


@pytest.mark.parametrize(
    "name", ["", ".", "/etc/passwd", "../x", "a/../x", "a//b", "./a", "C:x", "a\\b", "a\x1b", "a\nb"]
)
def test_names_that_leave_the_folder_are_refused(name):
    with pytest.raises(InputRejected, match="inside the folder"):
        checked_relative(name)
    assert checked_relative("MHR/base_body_lod1.obj") == "MHR/base_body_lod1.obj"
