"""PhysX steps a G1 while SOMA bodies' points are written through the ovstage scene that both share."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from soma_isaac.rig.skeleton import data_path

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("ovphysx") is None,
        reason="ovphysx is not installed; make peers builds an environment that has it",
    ),
]

ROOT = Path(__file__).resolve().parents[2]


def test_physx_steps_a_g1_while_bodies_move_on_the_same_scene(tmp_path):
    from tests.peers.test_ovphysx import CONVERT

    source = data_path("g1") / "g1_29dof.urdf"
    command = [sys.executable, "-c", CONVERT, str(source), str(tmp_path / "usd")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    root = printed.rsplit("ROOT ", 1)[1].strip()
    driver = [
        sys.executable,
        "-m",
        "tests.peers.ovstage_driver",
        str(tmp_path / "usd" / "robot.usda"),
        str(tmp_path),
        root,
    ]
    done = subprocess.run(driver, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["finite"] and 0.5 < told["fell"] < 1.1  # free fall for 0.4 s: 0.78 m
    assert told["worst"] == 0.0  # the scene holds the stepper's own bytes
    assert told["moved"] > 0.01
