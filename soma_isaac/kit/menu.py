"""A menu entry with its action, where the application has menus; a headless one has none."""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class MenuEntry:
    """An entry that runs an action and shows a tick.

    Args:
        extension: The extension's name, which owns the action.
        action: The action's name.
        path: Where the entry stands, e.g. ``Tools/SOMA``.
        run: What the action does.
        ticked: Whether the entry has a tick.
    """

    def __init__(
        self, extension: str, action: str, path: str, run: Callable[[], None], ticked: Callable[[], bool]
    ) -> None:
        self._extension = extension
        self._action = action
        self._items: list[Any] = []
        self._root, *below = path.split("/")
        self._registered = _register(extension, action, run, path)
        if self._registered and below:
            self._items = _add(self._root, below, (extension, action), ticked)

    def remove(self) -> None:
        """Take entry and action away; a second call does nothing."""
        if self._items:
            from omni.kit.menu.utils import remove_menu_items

            remove_menu_items(self._items, self._root)
            self._items = []
        if self._registered:
            from omni.kit.actions.core import get_action_registry

            get_action_registry().deregister_action(self._extension, self._action)
            self._registered = False


def _register(extension: str, action: str, run: Callable[[], None], path: str) -> bool:
    try:
        from omni.kit.actions.core import get_action_registry
    except ImportError:
        return False
    get_action_registry().register_action(
        extension,
        action,
        run,
        display_name=path.rpartition("/")[2],
        description="Show or hide the SOMA panel",
        tag="SOMA",
    )
    return True


def _add(root: str, below: list[str], action: tuple[str, str], ticked: Callable[[], bool]) -> list[Any]:
    try:
        from omni.kit.menu.utils import MenuItemDescription, add_menu_items
    except ImportError:
        return []
    item = MenuItemDescription(name=below[-1], onclick_action=action, ticked=True, ticked_fn=ticked)
    for name in reversed(below[:-1]):
        item = MenuItemDescription(name=name, sub_menu=[item])
    add_menu_items([item], root)
    return [item]
