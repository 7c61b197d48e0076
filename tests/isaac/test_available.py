"""Whether the tests beside this one run."""

import importlib

import pytest

from tests.isaac.conftest import REASON


@pytest.mark.parametrize("module", ["envs", "scene", "sensors", "managers"])
def test_isaac_lab_3_can_be_imported(module):
    pytest.importorskip("isaaclab.physics", reason=REASON)
    assert importlib.import_module(f"isaaclab.{module}")
