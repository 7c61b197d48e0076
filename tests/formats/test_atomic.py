"""Durable writes."""

from __future__ import annotations

import errno
import os

import pytest

from soma_isaac.errors import OutputConflict
from soma_isaac.formats import atomic


def test_staged_name_is_known_as_one_and_fits(tmp_path):
    name = "x" * (atomic.NAME_BYTES_MAX - 4) + ".npz"
    staged = atomic.stage(tmp_path / name, b"data")
    assert atomic.is_staged_name(staged.name) and staged.read_bytes() == b"data"
    assert not (tmp_path / name).exists()
    atomic.publish(staged, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["a.npz", ".a.npz", ".a.npz.12.tmp", ".a.12.0123456789abcdeg.tmp", "a.1.0123456789abcdef.tmp"]
)
def test_other_names_are_not_swept(name, tmp_path):
    (tmp_path / name).write_bytes(b"x")
    assert atomic.remove_stale(tmp_path) == 0 and (tmp_path / name).exists()


def test_sweep_does_not_follow_links(tmp_path):
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    (root / "sub").mkdir(parents=True)
    kept = atomic.stage(outside / "a", b"x")
    atomic.stage(root / "sub" / "new\nline", b"x")
    (root / "link").symlink_to(outside)
    assert atomic.remove_stale(root) == 1
    assert kept.exists() and list((root / "sub").iterdir()) == []


def test_write_in_parts_is_completed(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(atomic.os, "write", lambda descriptor, view: real(descriptor, view[:7]))
    atomic.write_file(tmp_path / "a", bytes(range(256)) * 3)
    assert (tmp_path / "a").read_bytes() == bytes(range(256)) * 3


def test_bytes_and_name_are_synced_in_order(tmp_path, monkeypatch):
    """The data before the rename, the folder after it: any other order can show an empty file after a power cut."""
    calls = []
    for name in ("write", "fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(atomic.os, name, lambda *a, name=name, real=real: calls.append(name) or real(*a))
    atomic.write_file(tmp_path / "a", b"x")
    assert calls == ["write", "fsync", "replace", "fsync"]


@pytest.mark.parametrize("relative", ["../x", "a/../../x", "/tmp/x"])
def test_folder_outside_is_refused(relative, tmp_path):
    with pytest.raises(OutputConflict):
        atomic.folder_inside(tmp_path, relative)


def test_folder_through_link_or_file_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_bytes(b"")
    for relative in ("link", "link/x", "file", "file/x"):
        with pytest.raises(OutputConflict):
            atomic.folder_inside(tmp_path, relative)
    assert atomic.folder_inside(tmp_path, "real/new/er").is_dir()
    assert atomic.folder_inside(tmp_path, "") == tmp_path


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    """write() knows a descriptor only: people would read "No space left on device" and not where."""

    def refuse(descriptor, view):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "write", refuse)
    with pytest.raises(OSError, match="a.npz") as raised:
        atomic.write_file(tmp_path / "a.npz", b"x")
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())
