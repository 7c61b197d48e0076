"""The Kit extension with a real omni.ui and stand-ins for the rest of Kit: it gives back everything that it takes."""

import importlib
import sys
import threading
import tomllib
import types
import unittest
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Registry(dict):
    def register_action(self, extension, action, run, **words):
        assert (extension, action) not in self
        assert set(words) == {"display_name", "description", "tag"}
        self[extension, action] = run

    def execute_action(self, extension, action):
        self[extension, action]()

    def deregister_action(self, extension, action):
        del self[extension, action]


class Item:
    def __init__(self, name="", sub_menu=None, onclick_action=None, ticked=False, ticked_fn=None):
        self.name, self.sub_menu, self.onclick_action, self.ticked_fn = name, sub_menu, onclick_action, ticked_fn


class Kit:
    """What the extension sees of Kit."""

    def __init__(self):
        self.actions, self.menus, self.frames, self.log = Registry(), [], [], []
        lines = (ROOT / "extension.toml").read_text()
        self.settings = {
            f"/exts/soma_isaac/{k}": v for k, v in tomllib.loads(lines)["settings"]["exts"]["soma_isaac"].items()
        }

    def observe_event(self, observer_name, event_name, on_event):
        assert event_name == "update"
        return Subscription(self.frames, on_event)

    async def next_update_async(self):
        from omni.ui import testing

        for observer in list(self.frames):
            observer(None)
        await testing.next_frame()

    def modules(self):
        def module(name, **members):
            made = types.ModuleType(name)
            made.__dict__.update(members)
            return made

        settings = types.SimpleNamespace(get=self.settings.get)
        return {
            "carb": module("carb", log_info=self.log.append),
            "carb.settings": module("carb.settings", get_settings=lambda: settings),
            "carb.eventdispatcher": module("carb.eventdispatcher", get_eventdispatcher=lambda: self),
            "omni.ext": module("omni.ext", IExt=object),
            "omni.kit": module("omni.kit"),
            "omni.kit.app": module("omni.kit.app", GLOBAL_EVENT_UPDATE="update", get_app=lambda: self),
            "omni.kit.test": module("omni.kit.test", AsyncTestCase=unittest.IsolatedAsyncioTestCase),
            "omni.kit.actions": module("omni.kit.actions"),
            "omni.kit.actions.core": module("omni.kit.actions.core", get_action_registry=lambda: self.actions),
            "omni.kit.menu": module("omni.kit.menu"),
            "omni.kit.menu.utils": module(
                "omni.kit.menu.utils",
                MenuItemDescription=Item,
                add_menu_items=lambda items, root: self.menus.extend((root, item) for item in items),
                remove_menu_items=lambda items, root: [self.menus.remove((root, item)) for item in items],
            ),
        }


class Subscription:
    def __init__(self, observers, observer):
        self._observers, self._observer = observers, observer
        observers.append(observer)

    def __del__(self):
        self._observers.remove(self._observer)


@pytest.fixture
def kit(omni_ui, monkeypatch):
    made = Kit()
    import omni

    for name, module in made.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.setattr(omni if parent == "omni" else sys.modules[parent], child, module, raising=False)
    ours = [name for name in sys.modules if name.startswith("soma_isaac.kit")]
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    yield made
    for name in [name for name in sys.modules if name.startswith("soma_isaac.kit")]:
        del sys.modules[name]
    importlib.invalidate_caches()


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
        for _ in range(200):
            kit.frames[0](None)
            if presenter.state.picture is not None:
                break
            threading.Event().wait(0.05)
        assert presenter.state.picture is not None and len(presenter.state.clips) == 6
        kit.actions[item.onclick_action]()
        assert not item.ticked_fn()
        kit.actions[item.onclick_action]()
        assert item.ticked_fn() and extension._presenter is presenter
        extension.on_shutdown()
        assert not kit.menus and not kit.actions and not kit.frames and threading.active_count() == threads
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


def test_the_case_for_kit_passes_on_the_stand_ins(kit):
    extension = importlib.import_module("soma_isaac.kit").SomaIsaacExtension()
    extension.on_startup("soma_isaac-0.1.0")
    case = importlib.import_module("soma_isaac.kit.tests.test_window")
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(case).run(result)
    extension.on_shutdown()
    assert result.testsRun == 1 and result.wasSuccessful(), (result.errors, result.failures)
