from collections.abc import Callable
from typing import Any

class Event:
    event_name: str
    payload: dict[str, Any]

class ObserverGuard:
    def reset(self) -> None: ...

class IEventDispatcher:
    def observe_event(
        self, order: int = ..., event_name: str = ..., on_event: Callable[[Event], None] = ..., observer_name: str = ...
    ) -> ObserverGuard: ...

def get_eventdispatcher() -> IEventDispatcher: ...
