"""The hand-written stubs in typings/: they catch misspelt names, and what they say of omni.ui is so."""

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "typings" / "omni" / "ui" / "__init__.pyi"
MISSPELT = (
    ("ui/panel.py", "ui.CheckBox(", "ui.Checkbox(", '"Checkbox" is not a known attribute'),
    ("ui/panel.py", "word_wrap=True", "wordwrap=True", 'No parameter named "wordwrap"'),
    ("ui/panel.py", "model.as_float)", "model.as_flot)", '"as_flot"'),
    ("kit/frames.py", "observer_name=", "name=", 'No parameter named "name"'),
    ("kit/menu.py", "deregister_action(", "unregister_action(", '"unregister_action"'),
    ("kit/menu.py", "ticked_fn=ticked", "tick_fn=ticked", 'No parameter named "tick_fn"'),
    ("kit/extension.py", "carb.log_info(", "carb.info(", '"info"'),
)


def test_pyright_finds_misspelt_names_of_kit_and_omni_ui(tmp_path):
    pyright = Path(sys.executable).with_name("pyright")
    if not pyright.exists():
        pytest.skip("pyright belongs to the dev extra")
    shutil.copytree(ROOT / "typings", tmp_path / "typings")
    for number, (name, right, wrong, _) in enumerate(MISSPELT):
        text = (ROOT / "soma_isaac" / name).read_text()
        assert right in text, (name, right)
        (tmp_path / f"wrong{number}.py").write_text(text.replace(right, wrong, 1))
    quiet = ("reportMissingImports", "reportMissingModuleSource", "reportAttributeAccessIssue")  # as in pyproject.toml
    settings = {"extraPaths": [str(ROOT)], "typeCheckingMode": "basic", **dict.fromkeys(quiet, False)}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run([pyright, "--outputjson"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)["generalDiagnostics"]
    for number, (*_, message) in enumerate(MISSPELT):
        said = [item["message"] for item in found if Path(item["file"]).name == f"wrong{number}.py"]
        assert len(said) == 1 and message in said[0], (MISSPELT[number], said)


def _keyword_exists(real, keyword):
    return hasattr(real, keyword) or hasattr(real, f"set_{keyword}") or f"`{keyword} :" in (real.__init__.__doc__ or "")


def test_omni_ui_has_every_name_of_the_stub(omni_ui):
    classes = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)]
    assert len(classes) > 20
    missing = []
    for node in classes:
        real = getattr(omni_ui, node.name, None)
        if real is None:
            missing.append(node.name)
            continue
        for member in node.body:
            if isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
                missing += [f"{node.name}.{member.target.id}"] * (not hasattr(real, member.target.id))
            elif isinstance(member, ast.FunctionDef) and member.name == "__init__":
                missing += [
                    f"{node.name}({argument.arg}=)"
                    for argument in member.args.kwonlyargs
                    if not _keyword_exists(real, argument.arg)
                ]
            elif isinstance(member, ast.FunctionDef):
                missing += [f"{node.name}.{member.name}"] * (not hasattr(real, member.name))
    assert missing == []
