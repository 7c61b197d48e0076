"""The open stage as the panel's port: undoable commands, and a layer of bodies that is saved with the stage."""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import carb
import omni.kit.commands
import omni.usd
from pxr import Sdf, Usd

from soma_isaac.errors import InputRejected, SomaError
from soma_isaac.sim.sinks.usd_layer import AddBody, LiveLayer, RemoveBody, RigBody, bodies_on, own_layer, settle
from soma_isaac.sim.sinks.usd_rig import author_pose
from soma_isaac.sim.sinks.usd_rig_values import JointPose


class AddSomaBodyCommand(omni.kit.commands.Command):
    """Puts a SOMA body on a stage.

    Args:
        edit: What to do, and to take back.
    """

    def __init__(self, edit: AddBody) -> None:
        self._edit = edit

    def do(self) -> str:
        """Put it there; gives the path."""
        return self._edit.do()

    def undo(self) -> None:
        """Take it away."""
        self._edit.undo()


class RemoveSomaBodyCommand(omni.kit.commands.Command):
    """Takes a SOMA body off a stage.

    Args:
        edit: What to do, and to take back.
    """

    def __init__(self, edit: RemoveBody) -> None:
        self._edit = edit

    def do(self) -> None:
        """Take it away."""
        self._edit.do()

    def undo(self) -> None:
        """Put it back, with all that was said about it."""
        self._edit.undo()


COMMANDS = (AddSomaBodyCommand, RemoveSomaBodyCommand)


class KitStage:
    """Implements :class:`soma_isaac.ui.stage_bodies.StagePort` on the application's stage.

    Bodies belong to the stage and stay on it; :meth:`close` gives back everything else.
    """

    def __init__(self) -> None:
        self._live: tuple[Usd.Stage, LiveLayer] | None = None
        self._context = omni.usd.get_context()
        self._held = self._layer()
        for command in COMMANDS:
            omni.kit.commands.register(command)
        events = omni.usd.StageEventType
        self._subscriptions = _observe(self._context, {events.SAVED: self._saved, events.CLOSING: self.let_go})

    def bodies(self) -> tuple[str, ...]:
        """Paths of the bodies on the open stage."""
        stage = self._context.get_stage()
        return () if stage is None else bodies_on(stage)

    def add(self, body: RigBody) -> str:
        """Put a body on the open stage and select it.

        Raises:
            InputRejected: No stage is open, or it cannot be edited.
        """
        edit = AddBody(self._stage(), body)
        _execute("AddSomaBody", edit)
        self._held = self._layer()
        self._context.get_selection().set_selected_prim_paths([edit.path], True)
        return edit.path

    def remove(self, path: str) -> None:
        """Take a body off the open stage.

        Raises:
            InputRejected: No stage is open, there is no such body, or a layer that holds it cannot be edited.
        """
        _execute("RemoveSomaBody", RemoveBody(self._stage(), path))

    def pose(self, path: str, pose: JointPose) -> None:
        """Hold a body in a pose, above its own motion, in a layer that is never saved.

        Raises:
            InputRejected: No stage is open, or there is no such body.
        """
        stage = self._stage()
        prim = stage.GetPrimAtPath(path)
        if not prim:
            raise InputRejected(f"there is no body at {path}")
        if self._live is None or self._live[0] != stage:
            self.let_go()
            self._live = stage, LiveLayer(stage)
        with self._live[1].edit():
            author_pose(prim, pose)

    def let_go(self) -> None:
        """Give bodies that were held back to their own motion."""
        if self._live is not None:
            self._live[1].close()
            self._live = None

    def close(self) -> None:
        """Stop listening and holding, and take the commands out of the registry; a second call does nothing."""
        self.let_go()
        if self._subscriptions:
            for command in COMMANDS:
                omni.kit.commands.unregister(command)
        self._subscriptions = []
        self._held = None

    def _layer(self) -> Sdf.Layer | None:
        """The stage's layer of bodies. Held, it outlives its stage: saving one that had no file opens it anew."""
        stage = self._context.get_stage()
        return None if stage is None else own_layer(stage)

    def _stage(self) -> Usd.Stage:
        stage = self._context.get_stage()
        if stage is None:
            raise InputRejected("no stage is open")
        return stage

    def _saved(self) -> None:
        stage = self._context.get_stage()
        if stage is None:
            return
        try:
            settle(stage)
            self._held = self._layer()
        except SomaError as error:
            carb.log_error(f"soma_isaac: the layer of bodies was not saved: {error}")


def _execute(command: str, edit: AddBody | RemoveBody) -> None:
    """Run a command; it says here what Kit would only log."""
    done, _ = omni.kit.commands.execute(command, edit=edit)
    if not done:
        raise InputRejected("the stage could not be changed; the application's log says why")


def _observe(context: Any, actions: dict[Any, Callable[[], None]]) -> list[Any]:
    """Have actions called at events of the stage for as long as the list is kept; Kit 107 and later, and before."""
    if hasattr(context, "stage_event_name"):
        import carb.eventdispatcher

        observe = carb.eventdispatcher.get_eventdispatcher().observe_event
        return [
            observe(
                observer_name="soma_isaac.stage",
                event_name=context.stage_event_name(event),
                on_event=lambda _event, action=action: action(),
            )
            for event, action in actions.items()
        ]
    by_number = {int(event): action for event, action in actions.items()}

    def popped(event: Any) -> None:
        if event.type in by_number:
            by_number[event.type]()

    return [context.get_stage_event_stream().create_subscription_to_pop(popped, name="soma_isaac.stage")]
