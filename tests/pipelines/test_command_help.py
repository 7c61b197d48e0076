"""``--help``: every key is there with its default and a meaning, and asking for help does nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import get_type_hints

import pytest
from omegaconf import OmegaConf

from soma_isaac.pipelines.body_config import BodyExportConfig
from soma_isaac.pipelines.character_fit_config import CharacterFitConfig
from soma_isaac.pipelines.command_help import attribute_meanings, entries, help_text
from soma_isaac.pipelines.compare_config import CompareConfig
from soma_isaac.pipelines.config import check_command_line, dotted_keys
from soma_isaac.pipelines.convert_config import ConvertConfig
from soma_isaac.pipelines.g1_config import G1RefsConfig
from soma_isaac.pipelines.isaaclab_scene import IsaacLabSceneConfig
from soma_isaac.pipelines.keypoints_run import KeypointsConfig
from soma_isaac.pipelines.newton_scene import NewtonSceneConfig
from soma_isaac.pipelines.pose_config import PoseConfig
from soma_isaac.pipelines.render_bodies_config import RenderBodiesConfig
from soma_isaac.pipelines.repair_run import RepairConfig
from soma_isaac.pipelines.stage_people import StageConfig
from soma_isaac.pipelines.train_ik_config import TrainIkConfig
from soma_isaac.ui.web_command import PreviewConfig

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = {
    "body": BodyExportConfig,
    "compare": CompareConfig,
    "convert": ConvertConfig,
    "fit_character": CharacterFitConfig,
    "g1_refs": G1RefsConfig,
    "isaaclab_scene": IsaacLabSceneConfig,
    "keypoints": KeypointsConfig,
    "newton_scene": NewtonSceneConfig,
    "pose": PoseConfig,
    "preview": PreviewConfig,
    "render_bodies": RenderBodiesConfig,
    "repair": RepairConfig,
    "stage": StageConfig,
    "train_ik": TrainIkConfig,
}


def leaves(schema, prefix=""):
    hints = get_type_hints(schema)
    for item in fields(schema):
        if is_dataclass(hints[item.name]):
            yield from leaves(hints[item.name], f"{prefix}{item.name}.")
        else:
            yield f"{prefix}{item.name}", attribute_meanings(schema).get(item.name)


def test_these_are_all_commands():
    scripts = ROOT.glob("scripts/*.py")
    assert len(SCHEMAS) == sum("@hydra.main" in path.read_text(encoding="utf-8") for path in scripts)


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_key_has_a_meaning_and_the_default_that_the_file_gives(name):
    missing = [key for key, meaning in leaves(SCHEMAS[name]) if not meaning]
    assert not missing
    schema = OmegaConf.structured(SCHEMAS[name])
    stated = OmegaConf.load(ROOT / "config" / f"{name}.yaml")
    assert isinstance(stated, type(schema))
    for key in ("defaults", "hydra"):
        stated.pop(key, None)
    assert OmegaConf.to_container(OmegaConf.merge(schema, stated)) == OmegaConf.to_container(schema)


@pytest.mark.parametrize("name", SCHEMAS)
def test_help_ends_the_command(name, capsys):
    with pytest.raises(SystemExit) as end:
        check_command_line(f"{name}_schema", SCHEMAS[name], ["nonsense=1", "--help"])
    said = capsys.readouterr()
    assert end.value.code == 0 and not said.err
    assert f"  python scripts/{'prepare_g1_refs' if name == 'g1_refs' else name}.py" in said.out
    shown = {line.split("=")[0].strip() for line in said.out.splitlines() if line.startswith("  ") and "=" in line}
    assert {key for key, _ in leaves(SCHEMAS[name])} <= shown
    assert "``" not in said.out and ":func:" not in said.out


def test_a_group_shows_the_defaults_of_the_command():
    text = help_text(ConvertConfig, ROOT / "config" / "convert.yaml", "Title.")
    assert text.startswith("Title.\n") and "output.dir=out/converted" in text and "out/g1_refs" not in text
    assert "source.path" in dotted_keys(ConvertConfig)


def test_long_keys_stand_on_a_line_of_their_own():
    lines = entries(RenderBodiesConfig, OmegaConf.to_container(OmegaConf.structured(RenderBodiesConfig)))
    found = next(line for line in lines if line.startswith("  outputs="))
    assert found.splitlines()[0] == "  outputs=[rgb,depth,normals,parts,instances,annotations]"
    assert max(len(row) for line in lines for row in line.splitlines()) <= 120


@pytest.mark.parametrize(
    "script",
    ["build_g1_urdf", "build_regressor", "build_template_rig", "draw_bodies", "draw_poses", "make_demo_clips", "pose"],
)
def test_asking_for_help_writes_nothing(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{script}.py"), "--help"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert script in done.stdout and not list(tmp_path.iterdir())


def test_a_missing_source_is_one_line(tmp_path):
    script, source, output = ROOT / "scripts" / "build_g1_urdf.py", tmp_path / "g1.xml", tmp_path / "g1.urdf"
    done = subprocess.run(
        [sys.executable, str(script), str(source), str(output)],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "g1.xml" in done.stderr
    assert not list(tmp_path.iterdir())
