"""Fetching assets from a stand-in for the hub: digests, resume, locks, and what is said without a network."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from soma_isaac import assets
from soma_isaac.assets import PARTS, REVISION, Hub, RemoteFile, default_assets, fetch, main, status
from soma_isaac.errors import InputRejected, MissingDependency, OutputConflict
from soma_isaac.formats.asset_tree import LOCK_NAME, AssetTree, read_lock
from tests.body.model_files import smpl_pickle

pytestmark = pytest.mark.py312

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "a" * 40


class Transport(Exception):
    """What the stand-in's network raises."""


def git_blob(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class FakeHub:
    """A repository in memory; large files are LFS, small ones plain git."""

    def __init__(self, files: dict[str, bytes], commit: str = COMMIT) -> None:
        self.files, self.commit = files, commit
        self.served = dict(files)
        self.downloads: list[str] = []
        self.fail_at: str | None = None

    def describe(self, revision: str):
        described = []
        for name, data in self.files.items():
            large = name.endswith((".npz", ".pt", ".usda"))
            sha = hashlib.sha256(data).hexdigest() if large else None
            described.append(RemoteFile(name, len(data), sha, None if large else git_blob(data)))
        return self.commit, described

    def download(self, name: str, commit: str, folder: Path) -> Path:
        assert commit == self.commit
        if name == self.fail_at:
            raise Transport("connection reset")
        self.downloads.append(name)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.served[name])
        return path

    @property
    def hub(self) -> Hub:
        return Hub(self.describe, self.download, (Transport, OSError))


FILES = {
    "README.md": b"not wanted",
    "SOMA_neutral.npz": b"shape" * 1000,
    "SOMA_template_rig.usda": b"#usda 1.0",
    "SOMA_procedural_transforms.json": b"{}",
    "correctives_model.pt": b"weights",
    "Anny/base_body.obj": b"v 0 0 0",
    "Anny/SOMA_wrap.obj": b"v 1 0 0",
    "MHR/mhr_model_lod1.pt": b"program",
    "SMPL/base_body.obj": b"v 2 0 0",
    "SMPL/smpl_anim.npy": b"not wanted either",
}


@pytest.fixture
def fake():
    return FakeHub(dict(FILES))


def test_parts_are_fetched_checked_and_locked(tmp_path, fake):
    lines: list[str] = []
    lock = fetch(tmp_path, parts=("core", "anny"), hub=fake.hub, report=lines.append)
    wanted = {name for name in FILES if name.startswith(("SOMA", "Anny"))}
    assert set(fake.downloads) == set(lock.files) == wanted
    assert (lock.revision, lock.commit) == (REVISION, COMMIT) and read_lock(tmp_path) == lock
    assert lock.files["SOMA_neutral.npz"].source == "hub sha256"
    assert lock.files["Anny/base_body.obj"].source == "hub git blob"
    assert lock.files["SOMA_neutral.npz"].sha256 == hashlib.sha256(FILES["SOMA_neutral.npz"]).hexdigest()
    assert len(lines) == len(wanted)
    fetch(tmp_path, parts=("smpl",), hub=fake.hub, report=lines.append)
    assert "SMPL/base_body.obj" in fake.downloads and "SMPL/smpl_anim.npy" not in fake.downloads
    assert set(read_lock(tmp_path).files) == wanted | {"SMPL/base_body.obj"}


def test_what_is_there_is_verified_and_not_downloaded_again(tmp_path, fake):
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    count = len(fake.downloads)
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    assert len(fake.downloads) == count
    (tmp_path / "SOMA_template_rig.usda").unlink()
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    assert fake.downloads[count:] == ["SOMA_template_rig.usda"]
    (tmp_path / "SOMA_neutral.npz").write_bytes(b"changed by someone")
    with pytest.raises(InputRejected, match="not what was fetched"):
        fetch(tmp_path, parts=("core",), hub=fake.hub)


@pytest.mark.parametrize("name", ["SOMA_neutral.npz", "SOMA_procedural_transforms.json"])
def test_bytes_other_than_the_hub_states_are_refused_and_removed(tmp_path, fake, name):
    fake.served[name] = b"X" * len(FILES[name])
    with pytest.raises(InputRejected, match="removed, fetch again"):
        fetch(tmp_path, parts=("core",), hub=fake.hub)
    assert not (tmp_path / name).exists()
    lock = read_lock(tmp_path)
    assert lock is None or name not in lock.files


def test_a_broken_fetch_keeps_what_is_complete_and_goes_on(tmp_path, fake):
    fake.fail_at = "SOMA_procedural_transforms.json"
    with pytest.raises(InputRejected) as caught:
        fetch(tmp_path, parts=("core",), hub=fake.hub)
    for part in ("cannot be reached", "run the same command again", LOCK_NAME, "assets=PATH", "connection reset"):
        assert part in str(caught.value)
    assert set(read_lock(tmp_path).files) == {"SOMA_neutral.npz", "SOMA_template_rig.usda"}
    fake.fail_at = None
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    assert fake.downloads.count("SOMA_neutral.npz") == 1


def test_a_tag_that_moved_and_another_revision_are_refused(tmp_path, fake):
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    moved = FakeHub(dict(FILES), commit="b" * 40)
    with pytest.raises(OutputConflict, match="tags should not move"):
        fetch(tmp_path, parts=("core",), hub=moved.hub)
    with pytest.raises(OutputConflict, match="another folder"):
        fetch(tmp_path, parts=("core",), revision="main", hub=fake.hub)
    assert moved.downloads == []


def test_the_first_fetch_is_remembered_when_the_hub_changes_its_mind(tmp_path, fake):
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    (tmp_path / "SOMA_neutral.npz").unlink()
    fake.files["SOMA_neutral.npz"] = fake.served["SOMA_neutral.npz"] = b"another shape"  # same commit, other bytes
    with pytest.raises(InputRejected, match="not what was fetched first"):
        fetch(tmp_path, parts=("core",), hub=fake.hub)


def test_names_that_leave_the_folder_are_not_downloaded(tmp_path, fake):
    fake.files = {"MHR/../../evil.pt": b"x", **fake.files}
    fake.served = dict(fake.files)
    with pytest.raises(InputRejected, match="inside the folder"):
        fetch(tmp_path / "in", parts=("mhr",), hub=fake.hub)
    assert fake.downloads == []


def test_status_says_what_changed_and_what_is_missing(tmp_path, fake):
    fetch(tmp_path, parts=("core",), hub=fake.hub)
    lines, sound = status(tmp_path)
    assert sound and sum(line.startswith("ok") for line in lines) == 3
    (tmp_path / "SOMA_neutral.npz").write_bytes(b"other")
    (tmp_path / "SOMA_template_rig.usda").unlink()
    lines, sound = status(tmp_path)
    assert not sound
    assert any(line.startswith("changed  SOMA_neutral.npz") for line in lines)
    assert "missing  SOMA_template_rig.usda" in lines
    assert main(["status", "--to", str(tmp_path)]) == 4


def test_the_real_client_is_asked_for_metadata_and_files_at_the_commit(tmp_path, monkeypatch):
    hub_package = pytest.importorskip("huggingface_hub", reason="huggingface_hub belongs to the assets extra")
    asked = []
    data = FILES["SOMA_neutral.npz"]

    class Api:
        def model_info(self, repository, *, revision, files_metadata):
            asked.append((repository, revision, files_metadata))
            lfs = SimpleNamespace(sha256=hashlib.sha256(data).hexdigest())
            sibling = SimpleNamespace(rfilename="SOMA_neutral.npz", size=len(data), lfs=lfs, blob_id="0" * 40)
            return SimpleNamespace(sha=COMMIT, siblings=[sibling])

    def download(repository, name, *, revision, local_dir):
        asked.append((repository, name, revision))
        path = Path(local_dir) / name
        path.write_bytes(data)
        return str(path)

    monkeypatch.setattr(hub_package, "HfApi", Api)
    monkeypatch.setattr(hub_package, "hf_hub_download", download)
    lock = fetch(tmp_path, parts=("core",))
    assert asked == [("nvidia/soma-x", "v0.3.4", True), ("nvidia/soma-x", "SOMA_neutral.npz", COMMIT)]
    assert lock.files["SOMA_neutral.npz"].source == "hub sha256"
    assert AssetTree(tmp_path).file("SOMA_neutral.npz", purpose="", origin="").is_file()


def test_without_a_network_the_command_says_what_to_do(tmp_path):
    pytest.importorskip("huggingface_hub", reason="huggingface_hub belongs to the assets extra")
    command = [sys.executable, "-m", "soma_isaac.assets", "fetch", "--only", "core", "--to", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, timeout=120
    )
    assert done.returncode == 4
    assert "cannot be reached" in done.stderr and "assets=PATH" in done.stderr and "Traceback" not in done.stderr


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[assets\]"):
        assets.hugging_face_hub()


def test_usage(tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["fetch", "--only", "everything"])
    assert caught.value.code == 2
    with pytest.raises(InputRejected, match="no part 'x'"):
        fetch(tmp_path, parts=("x",), hub=FakeHub({}).hub)
    monkeypatch.setenv("SOMA_ISAAC_ASSETS", str(tmp_path / "there"))
    assert default_assets() == tmp_path / "there"
    monkeypatch.delenv("SOMA_ISAAC_ASSETS")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_assets() == tmp_path / "soma_isaac" / f"soma-x-{REVISION}"
    assert main(["status", "--to", str(tmp_path / "absent")]) == 4
    assert "is no folder" in capsys.readouterr().err
    patterns = [pattern for part in PARTS.values() for pattern in part]
    assert len(patterns) == len(set(patterns))


def test_a_pickled_model_is_imported_once(tmp_path):
    source, target = tmp_path / "SMPL_NEUTRAL.pkl", tmp_path / "SMPL_NEUTRAL.npz"
    source.write_bytes(smpl_pickle())
    assert main(["import-smpl", str(source), str(target)]) == 0
    assert target.is_file()
    assert main(["import-smpl", str(source), str(target)]) == 4  # it exists
    assert main(["import-smpl", str(source), str(tmp_path / "x.npz"), "--kind", "smplx"]) == 4
