"""A call per frame of the application, in Kit with Events 2.0 (107 and later) and before."""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import omni.kit.app


def each_frame(name: str, action: Callable[[], None]) -> Any:
    """Have ``action`` called once per frame for as long as the returned subscription is kept.

    Args:
        name: Of the observer, for the profiler.
        action: What to call; it must not wait.
    """

    def observed(_event: Any) -> None:
        action()

    if hasattr(omni.kit.app, "GLOBAL_EVENT_UPDATE"):
        import carb.eventdispatcher

        return carb.eventdispatcher.get_eventdispatcher().observe_event(
            observer_name=name, event_name=omni.kit.app.GLOBAL_EVENT_UPDATE, on_event=observed
        )
    return omni.kit.app.get_app().get_update_event_stream().create_subscription_to_pop(observed, name=name)
