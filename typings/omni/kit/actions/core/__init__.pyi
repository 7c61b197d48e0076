from collections.abc import Callable
from typing import Any

class Action: ...

class ActionRegistry:
    def register_action(
        self,
        extension_id: str,
        action_id: str,
        python_object: Callable[..., Any],
        display_name: str = ...,
        description: str = ...,
        icon_url: str = ...,
        tag: str = ...,
    ) -> Action: ...
    def deregister_action(self, extension_id: str, action_id: str, invalidate: bool = ...) -> Action: ...
    def deregister_all_actions_for_extension(self, extension_id: str, invalidate: bool = ...) -> None: ...
    def execute_action(self, extension_id: str, action_id: str, *args: Any, **kwargs: Any) -> Any: ...

def get_action_registry() -> ActionRegistry: ...
