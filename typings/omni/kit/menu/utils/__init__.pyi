from collections.abc import Callable, Sequence

class MenuItemDescription:
    def __init__(
        self,
        name: str = ...,
        glyph: str = ...,
        appear_after: str | list[str] = ...,
        enabled: bool = ...,
        ticked: bool = ...,
        ticked_value: bool | None = ...,
        sub_menu: list[MenuItemDescription] | None = ...,
        hotkey: tuple[int, int] | None = ...,
        enable_fn: Callable[[], bool] | list[Callable[[], bool]] | None = ...,
        ticked_fn: Callable[[], bool] | list[Callable[[], bool]] | None = ...,
        show_fn: Callable[[], bool] | list[Callable[[], bool]] | None = ...,
        onclick_action: tuple[str, ...] | None = ...,
    ) -> None: ...

def add_menu_items(
    menu: Sequence[MenuItemDescription], name: str, menu_index: int = ...
) -> Sequence[MenuItemDescription]: ...
def remove_menu_items(menu: Sequence[MenuItemDescription], name: str) -> None: ...
