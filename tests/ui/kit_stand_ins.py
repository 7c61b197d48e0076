"""Stand-ins for what soma_isaac uses of Kit: actions, menus, events, settings, commands with undo, the open stage."""

import enum
import gc
import sys
import tomllib
import types
import unittest
from pathlib import Path

from pxr import Usd

from soma_isaac.errors import SomaError

ROOT = Path(__file__).resolve().parents[2]


class Registry(dict):
    """Actions."""

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


class Command:
    """Base of commands."""


class Commands:
    """``omni.kit.commands`` and ``omni.kit.undo``: a failing command is logged, not raised."""

    def __init__(self, log):
        self.registered, self.done, self.undone, self._log = {}, [], [], log

    def register(self, command):
        assert issubclass(command, Command)
        name = command.__name__.removesuffix("Command")
        assert name not in self.registered
        self.registered[name] = command

    def unregister(self, command):
        del self.registered[command.__name__.removesuffix("Command")]

    def execute(self, name, **arguments):
        command = self.registered[name](**arguments)
        try:
            result = command.do()
        except SomaError as error:
            self._log.append(f"error: {error}")
            return False, None
        self.done.append(command)
        self.undone.clear()
        return True, result

    def undo(self):
        command = self.done.pop()
        command.undo()
        self.undone.append(command)

    def redo(self):
        command = self.undone.pop()
        command.do()
        self.done.append(command)


class StageEventType(enum.IntEnum):
    SAVED, SAVE_FAILED, OPENING, OPENED, OPEN_FAILED, CLOSING, CLOSED = range(7)


class Context:
    """``omni.usd.UsdContext``, with one named event per kind, as since Kit 107."""

    def __init__(self, events):
        self.stage, self.selected, self._events = None, [], events

    def get_stage(self):
        return self.stage

    def get_selection(self):
        return types.SimpleNamespace(set_selected_prim_paths=self._select)

    def _select(self, paths, expand_in_stage):
        self.selected = list(paths)

    def stage_event_name(self, event):
        return f"omni.usd::stage:{event.name.lower()}"

    def open(self, stage):
        if self.stage is not None:
            self._fire(StageEventType.CLOSING)
        self.stage = stage
        self._fire(StageEventType.OPENED)

    async def new_stage_async(self):
        self.open(Usd.Stage.CreateInMemory())
        return True, ""

    def save(self):
        """What Save of the application does: the stage's dirty layers, then the event."""
        self.stage.Save()
        self._fire(StageEventType.SAVED)

    def save_as(self, path):
        """The root layer goes to a file and the stage is opened from there; the old stage is gone before."""
        self.stage.GetRootLayer().Export(str(path))
        self.open(None)
        gc.collect()
        self.open(Usd.Stage.Open(str(path)))
        self._fire(StageEventType.SAVED)

    def _fire(self, event):
        named = [] if self.stage_event_name is None else self._events.get(self.stage_event_name(event), [])
        for observer in [*named, *self._events.get("stage stream", [])]:
            observer(types.SimpleNamespace(type=int(event)))


class StreamContext:
    """The context of Kit before 107: one stream of numbered events."""

    def __init__(self, events):
        self._newer, self._events = Context(events), events
        self._newer.stage_event_name = None

    def __getattr__(self, name):
        if name == "stage_event_name":
            raise AttributeError(name)
        return getattr(self._newer, name)

    def get_stage_event_stream(self):
        stream = self._events.setdefault("stage stream", [])
        return types.SimpleNamespace(create_subscription_to_pop=lambda action, name: Subscription(stream, action))


class Subscription:
    """Held by whoever listens; letting it go ends it."""

    def __init__(self, observers, observer):
        self._observers, self._observer = observers, observer
        observers.append(observer)

    def __del__(self):
        self._observers.remove(self._observer)


class Kit:
    """What the extension sees of Kit."""

    def __init__(self, context=Context):
        self.actions, self.menus, self.log, self.events = Registry(), [], [], {}
        self.commands = Commands(self.log)
        self.context = context(self.events)
        lines = (ROOT / "extension.toml").read_text()
        self.settings = {
            f"/exts/soma_isaac/{k}": v for k, v in tomllib.loads(lines)["settings"]["exts"]["soma_isaac"].items()
        }

    @property
    def frames(self):
        return self.events.setdefault("update", [])

    @property
    def listeners(self):
        return sum(map(len, self.events.values()))

    def observe_event(self, observer_name, event_name, on_event):
        return Subscription(self.events.setdefault(event_name, []), on_event)

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
        commands = self.commands
        return {
            "carb": module("carb", log_info=self.log.append, log_error=self.log.append),
            "carb.settings": module("carb.settings", get_settings=lambda: settings),
            "carb.eventdispatcher": module("carb.eventdispatcher", get_eventdispatcher=lambda: self),
            "omni.ext": module("omni.ext", IExt=object),
            "omni.kit": module("omni.kit"),
            "omni.kit.app": module("omni.kit.app", GLOBAL_EVENT_UPDATE="update", get_app=lambda: self),
            "omni.kit.test": module("omni.kit.test", AsyncTestCase=unittest.IsolatedAsyncioTestCase),
            "omni.kit.actions": module("omni.kit.actions"),
            "omni.kit.actions.core": module("omni.kit.actions.core", get_action_registry=lambda: self.actions),
            "omni.kit.commands": module(
                "omni.kit.commands",
                Command=Command,
                register=commands.register,
                unregister=commands.unregister,
                execute=commands.execute,
            ),
            "omni.kit.menu": module("omni.kit.menu"),
            "omni.kit.menu.utils": module(
                "omni.kit.menu.utils",
                MenuItemDescription=Item,
                add_menu_items=lambda items, root: self.menus.extend((root, item) for item in items),
                remove_menu_items=lambda items, root: [self.menus.remove((root, item)) for item in items],
            ),
            "omni.kit.undo": module("omni.kit.undo", undo=commands.undo, redo=commands.redo),
            "omni.usd": module("omni.usd", get_context=lambda name="": self.context, StageEventType=StageEventType),
        }


def install(kit, monkeypatch):
    """Put the stand-ins where imports find them; the real ``omni.ui`` stays where it is installed.

    Args:
        kit: The stand-ins.
        monkeypatch: Pytest's.
    """
    try:
        import omni
    except ImportError:
        omni = types.ModuleType("omni")
        monkeypatch.setitem(sys.modules, "omni", omni)
    for name, module in kit.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
        parent, _, child = name.rpartition(".")
        if parent:
            monkeypatch.setattr(omni if parent == "omni" else sys.modules[parent], child, module, raising=False)
    for name in [name for name in sys.modules if name.startswith("soma_isaac.kit")]:
        monkeypatch.delitem(sys.modules, name)


def uninstall():
    """Forget what was imported with stand-ins in place."""
    for name in [name for name in sys.modules if name.startswith("soma_isaac.kit")]:
        del sys.modules[name]
