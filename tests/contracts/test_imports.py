"""Optional dependencies stay optional: shown in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pinocchio", "matplotlib", "ray", "viser", "omni", "carb", "isaacsim", "isaaclab", "anny")
TORCH_FREE_LAYERS = ("math", "rig", "motion", "formats", "kernels", "body", "render", "inversion", "sim")


def _in_fresh_interpreter(code: str) -> dict:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_soma_isaac_loads_nothing_heavy_and_does_not_initialise_warp():
    loaded = _in_fresh_interpreter(
        "import json, sys, soma_isaac\n"
        f"heavy = [m for m in {HEAVY + ('warp', 'pxr', 'numpy', 'scipy')!r} if m in sys.modules]\n"
        "print(json.dumps({'heavy': heavy}))"
    )
    assert loaded["heavy"] == []


def test_the_layers_that_run_inside_the_simulation_import_without_torch_or_pinocchio_and_leave_warp_uninitialised():
    packages = [f"soma_isaac.{layer}" for layer in TORCH_FREE_LAYERS]
    loaded = _in_fresh_interpreter(
        "import importlib, json, pkgutil, sys\n"
        "seen = []\n"
        f"for name in {packages!r}:\n"
        "    package = importlib.import_module(name)\n"
        "    for module in pkgutil.walk_packages(package.__path__, name + '.'):\n"
        # modules of gradients are torch by name, and Isaac Lab's entities need Isaac Lab; nothing else may need them
        "        if not module.name.startswith(('soma_isaac.body.torch_', 'soma_isaac.sim.isaaclab.')):\n"
        "            seen.append(importlib.import_module(module.name).__name__)\n"
        "context = sys.modules.get('warp._src.context') or sys.modules.get('warp.context')\n"
        "runtime = getattr(context, 'runtime', None)\n"
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]\n"
        "print(json.dumps({'seen': len(seen), 'heavy': heavy, 'warp_started': runtime is not None}))"
    )
    assert loaded["seen"] > 15
    assert loaded["heavy"] == []
    assert loaded["warp_started"] is False


def test_kit_package_imports_outside_kit():
    # The standalone omni.ui brings the namespace package "omni" along; Kit's own modules it does not have.
    loaded = _in_fresh_interpreter(
        "import json, sys, soma_isaac.kit\n"
        "kit = [m for m in ('omni.ext', 'omni.kit', 'omni.ui', 'carb', 'isaacsim') if m in sys.modules]\n"
        "print(json.dumps({'kit': kit, 'extension': hasattr(soma_isaac.kit, 'SomaIsaacExtension')}))"
    )
    assert loaded == {"kit": [], "extension": False}
