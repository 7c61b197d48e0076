"""The Kit extension with a real omni.ui and stand-ins for the rest of Kit: it gives back everything that it takes."""

import importlib
import sys
import threading
import time
import unittest
from pathlib import Path

import pytest
from pxr import Usd

from tests.ui.kit_stand_ins import Kit, install, uninstall


@pytest.fixture
def kit(omni_ui, monkeypatch):
    made = Kit()
    install(made, monkeypatch)
    yield made
    uninstall()


def _frames_until(kit, condition):
    """Frames of the application until ``condition`` holds."""
    end = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < end
        kit.frames[0](None)
        time.sleep(0.02)


def test_the_menu_opens_the_panel_frames_feed_it_and_shutdown_gives_everything_back(kit):
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    threads = threading.active_count()
    for _ in range(2):  # as after a hot reload
        extension.on_startup("soma_isaac-0.1.0")
        ((root, item),) = kit.menus
        assert (root, item.name) == ("Tools", "SOMA") and not item.ticked_fn() and not kit.frames
        kit.actions[item.onclick_action]()
        assert item.ticked_fn() and len(kit.frames) == 1
        presenter = extension._presenter
        _frames_until(kit, lambda shown=presenter: shown.state.picture is not None and len(shown.state.clips) == 6)
        kit.actions[item.onclick_action]()
        assert not item.ticked_fn()
        kit.actions[item.onclick_action]()
        assert item.ticked_fn() and extension._presenter is presenter
        extension.on_shutdown()
        assert not kit.menus and not kit.actions and not kit.listeners and threading.active_count() == threads
        assert not kit.commands.registered
    assert any("started" in line for line in kit.log) and any("stopped" in line for line in kit.log)


def test_the_settings_reach_the_panel(kit):
    prefix = "/exts/soma_isaac/"
    kit.settings.update(
        {
            prefix + "references": "/data/refs",
            prefix + "jobs_python": "/usr/bin/python3",
            prefix + "workers": 3,
            prefix + "menu_path": "Window/Humans/SOMA",
            prefix + "show_at_start": True,
        }
    )
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    extension.on_startup("soma_isaac-0.1.0")
    try:
        ((root, item),) = kit.menus
        assert (root, item.name, item.sub_menu[0].name) == ("Window", "Humans", "SOMA")
        assert item.sub_menu[0].ticked_fn()
        settings = extension._panel_settings()
        assert (settings.references, settings.jobs_python, settings.workers) == ("/data/refs", "/usr/bin/python3", 3)
        assert settings.export_path == str(Path.home() / "soma_isaac" / "body.usda") and settings.assets is None
        assert extension._presenter.state.references == "/data/refs"
    finally:
        extension.on_shutdown()


def test_a_headless_application_without_menus_gets_an_extension_without_a_menu(kit, monkeypatch):
    for name in ("omni.kit.actions.core", "omni.kit.menu.utils"):
        monkeypatch.setitem(sys.modules, name, None)
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    extension.on_startup("soma_isaac-0.1.0")
    assert not kit.menus and not kit.actions
    extension.on_shutdown()


def test_the_stage_section_puts_bodies_on_the_open_stage_and_a_reload_leaves_them_there(kit):
    kit.context.open(Usd.Stage.CreateInMemory())
    session_before = kit.context.stage.GetSessionLayer().ExportToString()
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    for round_ in (1, 2):
        extension.on_startup("soma_isaac-0.1.0")
        extension.toggle()
        assert set(kit.commands.registered) == {"AddSomaBody", "RemoveSomaBody"}
        presenter = extension._presenter
        presenter.add_to_stage()
        _frames_until(kit, lambda shown=presenter, count=round_: len(shown.state.stage.bodies) == count)
        assert kit.context.selected == [presenter.state.stage.chosen]
        extension.on_shutdown()
        assert not kit.commands.registered and not kit.listeners
        assert kit.context.stage.GetSessionLayer().ExportToString() == session_before
    kit.commands.undo()
    kit.commands.undo()
    assert not list(kit.context.stage.Traverse()), "what was done can be taken back after the extension is gone"


def test_without_a_stage_of_the_application_the_panel_has_no_section_for_it(kit, monkeypatch):
    monkeypatch.setitem(sys.modules, "omni.usd", None)
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    extension.on_startup("soma_isaac-0.1.0")
    extension.toggle()
    assert extension._presenter.stage is None and "stage_add" not in extension._panel.widgets
    extension.on_shutdown()


@pytest.mark.parametrize("name", ["test_window", "test_stage"])
def test_the_cases_for_kit_pass_on_the_stand_ins(kit, name):
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    extension.on_startup("soma_isaac-0.1.0")
    case = importlib.import_module(f"soma_isaac.kit.tests.{name}")
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(case).run(result)
    extension.on_shutdown()
    assert result.testsRun == 1 and result.wasSuccessful(), (result.errors, result.failures)
