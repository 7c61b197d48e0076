"""The command line: a wrong key or value is named with what would be right, and leaves with 2."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir

from soma_isaac.pipelines.config import (
    ConfigRefused,
    check_command_line,
    check_overrides,
    check_ranges,
    config_object,
    config_yaml,
    dotted_keys,
    register_schema,
    settings_digest,
)
from soma_isaac.pipelines.g1_config import FORMAT_SUFFIXES, G1RefsConfig, check_config, conversion_settings
from soma_isaac.pipelines.run_config import MOTION_SUFFIXES, SourceConfig
from soma_isaac.retarget.settings import config_with
from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.jobs import g1_refs_command


def hand(weight: float) -> dict[str, Any]:
    return {"retarget": config_with({"weights": {"hand": weight}})}


@pytest.mark.parametrize(
    "argument,words",
    [
        ("sorce.path=x", "did you mean 'source.path'"),
        ("source.pth=x", "did you mean 'source.path'"),
        ("path=x", "did you mean 'source.path'"),
        ("fsp=30", "did you mean 'fps'"),
        ("formts=[csv]", "did you mean 'formats'"),
        ("urdf=x", "did you mean 'robot.urdf'"),
        ("+workers=2", "did you mean 'workers'"),
        ("qwxz=1", "there are source"),
        ("workers=two", "workers=two"),
        ("fps=fast", "fps=fast"),
        ("dry_run=perhaps", "dry_run=perhaps"),
        ("fps=30,50", "one run takes one value"),
        ("somefolder", "not key=value"),
        ("source.path=a[b].npz", "quote it"),
        ("retarget.weights.hnd=3", "did you mean 'retarget.weights.hand'"),
        ("weights.hand=3", "did you mean 'retarget.weights.hand'"),
        ("retarget.footplan.blend=1", "did you mean 'retarget.foot_plan.blend'"),
        ("retarget.weights={hnd:3}", "unknown key 'retarget.weights.hnd'; did you mean 'retarget.weights.hand'"),
        ("retarget={weight:{hand:3}}", "unknown key 'retarget.weight'; did you mean 'retarget.weights'"),
        ("retarget.weights=3", "retarget.weights=3"),
        ("retarget=null", "not Optional"),
        ("retarget.solver.window=1.5", "could not be converted to Integer"),
        ("retarget.solver.fine_iterations=true", "could not be converted to Integer"),
        (f"fps=1{'0' * 400}", "too large"),
    ],
)
def test_wrong_override_says_what_is_right(argument, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_overrides(["formats=[csv]", argument], G1RefsConfig)


@pytest.mark.parametrize(
    "argument",
    ["source.path=../a b/c.npz", "source.path='a[b].npz'", "robot.urdf=", "source.fps=null", "source.fps=120", "--help",
     "hydra.verbose=true", "formats=[beyondmimic,mjlab]", "dry_run=true", "fps=59.94", "retarget.weights.hand=3",
     "retarget={weights:{hand:3,torso:4.5},solver:{window:400}}", "retarget={}"],
)  # fmt: skip
def test_right_override_passes(argument):
    check_overrides([argument], G1RefsConfig)


def test_schema_keys_are_the_issue_keys():
    keys = set(dotted_keys(G1RefsConfig))
    assert {"source.path", "output.dir", "formats", "fps", "workers", "robot.urdf", "source.fps", "dry_run"} <= keys


@pytest.mark.parametrize(
    "change,words",
    [
        ({"formats": ["mjlb"]}, "did you mean 'mjlab'"),
        ({"formats": []}, "one or more"),
        ({"formats": ["csv", "csv"]}, "each once"),
        ({"fps": 0.0}, "fps:"),
        ({"fps": float("nan")}, "fps:"),
        ({"source": SourceConfig(fps=1e6)}, "source.fps:"),
        ({"source": SourceConfig(up_axis="x")}, "source.up_axis:"),
        ({"workers": 0}, "workers:"),
        ({"timeout_s": 0.0}, "timeout_s:"),
        ({"recycle_after": 0}, "recycle_after:"),
        ({"memory_gb": -1.0}, "memory_gb:"),
        ({"memory_gb": float("inf")}, "memory_gb: inf is outside 0 to 1e+06"),
        ({"memory_gb": 1e300}, "memory_gb:"),
        ({"timeout_s": float("nan")}, "timeout_s:"),
        (hand(-1.0), "retarget.weights.hand: -1.0 is outside 0 to 10000"),
        (hand(float("nan")), "retarget.weights.hand: nan is outside 0 to 10000"),
        ({"retarget": config_with({"solver": {"window": 50}})}, "retarget.solver.window: 50 must not be below overlap"),
        ({"mode": "verfy"}, "mode:"),
    ],
)
def test_values_out_of_range(change, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_config(G1RefsConfig(**change))


def test_ranges_hold_both_ends_and_nan_is_in_none():
    ranges = {"fps": (10.0, 60.0), "timeout_s": (1e-4, 1e6)}
    for fps in (10.0, 60.0, 59.94):
        check_ranges(G1RefsConfig(fps=fps), ranges)
    for fps in (9.99, 60.5, float("nan"), float("inf")):
        with pytest.raises(ConfigRefused, match=re.escape(f"fps: {fps!r} is outside 10 to 60")):
            check_ranges(G1RefsConfig(fps=fps), ranges)
    check_ranges(SourceConfig(fps=None), {"fps": (10.0, 60.0)})


def test_digest_is_of_what_changes_bytes():
    base = settings_digest(conversion_settings(G1RefsConfig()))
    same = [
        {"workers": 7},
        {"quiet": True},
        {"timeout_s": 1.0},
        {"formats": ["csv"]},
        {"source": SourceConfig(path="/x")},
        {"strict": True, "replace": True, "retry": True, "memory_gb": 3.0, "recycle_after": 2},
        hand(2),
    ]
    other = [{"fps": 30.0}, {"source": SourceConfig(fps=60.0)}, {"source": SourceConfig(up_axis="y")}]
    other += [hand(2.5), hand(3.0), {"retarget": config_with({"weights": {"torso": 3.0}})}]
    assert {settings_digest(conversion_settings(G1RefsConfig(**keys))) for keys in same} == {base}
    assert len({base, *(settings_digest(conversion_settings(G1RefsConfig(**keys))) for keys in other)}) == 7


def test_the_panels_job_takes_the_settings_of_the_config_file(tmp_path):
    """The panel names source, output and workers, and leaves the rest to config/g1_refs.yaml."""
    text = (data_path("").parent / "config" / "g1_refs.yaml").read_text(encoding="utf-8")
    (tmp_path / "g1_refs.yaml").write_text(re.sub(r"(?m)^retarget: .*", "retarget: {weights: {hand: 4.0}}", text))
    arguments = g1_refs_command("clips", "out", "python", workers=1, overwrite=True)[3:]
    check_overrides(arguments, G1RefsConfig)
    register_schema("g1_refs_schema", G1RefsConfig)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):
        config = config_object(compose("g1_refs", arguments), G1RefsConfig)
    assert config.source.path == "clips" and config.replace
    assert conversion_settings(config)["retarget"] == {"weights": {"hand": 4.0}}


@pytest.mark.parametrize(
    "text,words",
    [
        ("retarget: {weights: {hnd: 3}}", "unknown key 'retarget.weights.hnd'; did you mean 'retarget.weights.hand'?"),
        ("sorce: {path: x}", "unknown key 'sorce' in "),
        ("fps: fast", "'fps' in "),
        ("fps: [", "cannot be read"),
    ],
)
def test_wrong_config_file(tmp_path, capsys, text, words):
    (tmp_path / "mine.yaml").write_text(f"defaults: [g1_refs, _self_]\n{text}\n")
    with pytest.raises(SystemExit) as ended:
        check_command_line("g1_refs_schema", G1RefsConfig, [f"--config-dir={tmp_path}", "--config-name=mine"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and words in said and said.count("\n") == 1


def test_right_config_file(tmp_path):
    text = "defaults: [g1_refs, _self_]\nhydra: {verbose: true}\nretarget: {weights: {hand: 3}}\nsource: {fps: null}\n"
    (tmp_path / "mine.yaml").write_text(text)
    check_command_line("g1_refs_schema", G1RefsConfig, [f"--config-dir={tmp_path}", "--config-name=mine.yaml"])


def test_settings_for_workers_are_json():
    settings = conversion_settings(G1RefsConfig(**hand(2.5)))
    assert json.loads(json.dumps(settings, allow_nan=False)) == settings
    assert settings["retarget"] == {"weights": {"hand": 2.5}}
    assert "retarget" not in conversion_settings(G1RefsConfig())


def test_resolved_config_is_yaml_with_its_digest():
    fields = yaml.safe_load(config_yaml(G1RefsConfig(workers=3), "d" * 64))
    assert fields["digest"] == "d" * 64 and fields["workers"] == 3 and fields["formats"] == list(FORMAT_SUFFIXES)


def test_suffixes_are_those_of_writers_and_readers():
    from soma_isaac.formats.reference_clip import FORMATS
    from soma_isaac.pipelines.motion_in import MOTION_SUFFIXES as READ

    assert {name: clip_format.extension for name, clip_format in FORMATS.items()} == FORMAT_SUFFIXES
    assert MOTION_SUFFIXES == READ
