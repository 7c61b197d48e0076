"""The stubs in typings/: they catch misspelt names, and what they say of omni.ui is what omni.ui says."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "typings" / "omni" / "ui" / "__init__.pyi"
MISSPELT = (
    ("ui/panel_widgets.py", "ui.CheckBox(", "ui.Checkbox(", '"Checkbox" is not a known attribute'),
    ("ui/panel_widgets.py", "elided_text=True", "elidedtext=True", 'No parameter named "elidedtext"'),
    ("ui/panel_widgets.py", "model.as_float)", "model.as_flot)", '"as_flot"'),
    ("ui/panel.py", "ui.ProgressBar(height=ROW", "ui.ProgressBar(hight=ROW", 'No parameter named "hight"'),
    ("kit/stage.py", "commands.unregister(", "commands.deregister(", '"deregister"'),
    ("kit/stage.py", "get_selection()", "selection()", '"selection"'),
    ("sim/sinks/fabric.py", "require_attrs=", "required=", 'No parameter named "required"'),
    ("sim/sinks/fabric.py", "Usd.Access.Read)", "Usd.Access.Reed)", '"Reed"'),
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
        wrong_text = text.replace(right, wrong, 1)
        if "pyright: report" not in text:
            wrong_text = wrong_text.replace(
                "from __future__", "# pyright: reportAttributeAccessIssue=true\nfrom __future__", 1
            )
        (tmp_path / f"wrong{number}.py").write_text(wrong_text)
    quiet = ("reportMissingImports", "reportMissingModuleSource", "reportAttributeAccessIssue")  # as in pyproject.toml
    settings = {"extraPaths": [str(ROOT)], "typeCheckingMode": "basic", **dict.fromkeys(quiet, False)}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run([pyright, "--outputjson"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    found = json.loads(done.stdout)["generalDiagnostics"]
    for number, (*_, message) in enumerate(MISSPELT):
        said = [item["message"] for item in found if Path(item["file"]).name == f"wrong{number}.py"]
        assert len(said) == 1 and message in said[0], (MISSPELT[number], said)


def test_the_stub_of_omni_ui_is_what_the_installed_one_says(omni_ui):
    spec = importlib.util.spec_from_file_location("make_omni_ui", ROOT / "typings" / "make_omni_ui.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert {"Button", "FloatSlider", "Window"} <= maker.used_names()
    assert maker.stub() == STUB.read_text(), "run python typings/make_omni_ui.py where ovui is installed"
