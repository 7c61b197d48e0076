"""Promises about the project's files: layers, manifest, changelog, wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import soma_isaac

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = tomllib.loads((ROOT / "extension.toml").read_text())


def test_layers_hold():
    pytest.importorskip("importlinter", reason="import-linter belongs to the dev extra")
    tool = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([tool], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]


def test_both_manifests_are_the_same_bytes():
    assert (ROOT / "extension.toml").read_bytes() == (ROOT / "config" / "extension.toml").read_bytes()


def test_manifest_has_the_sections_that_isaac_sim_asks_for_in_their_order():
    order = re.findall(r"^\[+([\w.]+)\]+", (ROOT / "extension.toml").read_text(), flags=re.M)
    assert order == ["core", "package", "dependencies", "python.module", "settings", "test", "test", "documentation"]
    wanted = (
        "version category title description authors repository keywords changelog readme preview_image icon writeTarget"
    )
    assert set(wanted.split()) <= set(MANIFEST["package"])
    assert MANIFEST["test"][0]["name"] == "startup"
    assert list(MANIFEST["dependencies"]) == sorted(MANIFEST["dependencies"])


def test_manifest_names_files_and_modules_that_exist():
    package = MANIFEST["package"]
    pages = MANIFEST["documentation"]["pages"]
    for name in (package["changelog"], package["readme"], package["preview_image"], package["icon"], *pages):
        assert (ROOT / name).is_file(), name
    for module in MANIFEST["python"]["module"]:
        assert (ROOT / module["name"].replace(".", "/")).is_dir()
    assert (ROOT / package["icon"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (ROOT / package["preview_image"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_versions_agree():
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    assert newest is not None
    assert newest.group(1) == MANIFEST["package"]["version"] == soma_isaac.__version__
    assert (ROOT / "CHANGELOG.md").read_bytes() == (ROOT / "docs" / "CHANGELOG.md").read_bytes()


def test_pyproject_lists_every_package():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "soma_isaac").rglob("__init__.py")} | {
        "soma_isaac.config",
        "soma_isaac.data",
    }
    assert listed == found


def test_the_repository_data_stays_small():
    sizes = {path.name: path.stat().st_size for path in (ROOT / "data").rglob("*") if path.is_file()}
    network = sizes.pop("SOMA_pose_network.safetensors")
    assert network <= 14e6
    assert sum(sizes.values()) <= 12e6


def test_the_wheel_works_alone(tmp_path):
    pytest.importorskip("build", reason="build belongs to the dev extra")
    source = tmp_path / "source"
    source.mkdir()  # built from a copy: setuptools leaves a build folder behind that would enter the next wheel
    for name in ("soma_isaac", "config", "data"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr[-2000:]
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = wheel.namelist()
        wheel.extractall(site)
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "data/"))]
    assert any(name.endswith("licenses/NOTICE") for name in names)
    code = (
        "import json, soma_isaac\n"
        "from soma_isaac.rig.skeleton import data_path, template_rest_offsets\n"
        "from soma_isaac.formats.rig_usd import load_template_rig\n"
        "print(json.dumps({'file': soma_isaac.__file__, 'data': str(data_path('SOMA_skeleton.json')),\n"
        "  'joints': load_template_rig().skeleton.joint_count, 'rest': len(template_rest_offsets())}))"
    )
    # -P and an empty working folder keep the checkout out; PYTHONPATH puts the wheel before an editable install.
    env = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["file"].startswith(str(site)) and told["data"].startswith(str(site))
    assert (told["joints"], told["rest"]) == (110, 78)
