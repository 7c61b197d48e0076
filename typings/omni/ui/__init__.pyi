"""The part of omni.ui that the panel uses; tests/ui/test_typings.py holds it to the real one."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

class Length: ...

class Fraction(Length):
    def __init__(self, value: float) -> None: ...

class ScrollBarPolicy:
    SCROLLBAR_ALWAYS_OFF: ScrollBarPolicy
    SCROLLBAR_ALWAYS_ON: ScrollBarPolicy
    SCROLLBAR_AS_NEEDED: ScrollBarPolicy

class SliderDrawMode:
    DRAG: SliderDrawMode
    FILLED: SliderDrawMode
    HANDLE: SliderDrawMode

class IwpFillPolicy:
    IWP_PRESERVE_ASPECT_CROP: IwpFillPolicy
    IWP_PRESERVE_ASPECT_FIT: IwpFillPolicy
    IWP_STRETCH: IwpFillPolicy

class AbstractValueModel:
    @property
    def as_bool(self) -> bool: ...
    @property
    def as_float(self) -> float: ...
    @property
    def as_int(self) -> int: ...
    @property
    def as_string(self) -> str: ...
    def set_value(self, value: bool | int | float | str) -> None: ...
    def add_value_changed_fn(self, fn: Callable[[AbstractValueModel], None]) -> int: ...
    def add_end_edit_fn(self, fn: Callable[[AbstractValueModel], None]) -> int: ...

class AbstractItem: ...

class AbstractItemModel:
    def get_item_value_model(self, item: AbstractItem | None = ..., column_id: int = ...) -> AbstractValueModel: ...
    def add_item_changed_fn(self, fn: Callable[[AbstractItemModel, AbstractItem], None]) -> int: ...

class Widget:
    enabled: bool
    visible: bool
    identifier: str
    tooltip: str
    style: dict[str, Any]
    width: Length | float
    height: Length | float
    @property
    def screen_position_x(self) -> float: ...
    @property
    def screen_position_y(self) -> float: ...
    @property
    def computed_width(self) -> float: ...
    @property
    def computed_height(self) -> float: ...
    def destroy(self) -> None: ...

class Container(Widget):
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...

class Frame(Container):
    def __init__(self, *, build_fn: Callable[[], None] = ..., height: Length | float = ...) -> None: ...
    def rebuild(self) -> None: ...

class CollapsableFrame(Frame):
    collapsed: bool
    def __init__(self, title: str = ..., *, height: Length | float = ..., collapsed: bool = ...) -> None: ...

class ScrollingFrame(Frame):
    def __init__(self, *, height: Length | float = ..., horizontal_scrollbar_policy: ScrollBarPolicy = ...) -> None: ...

class HStack(Container):
    def __init__(self, *, width: Length | float = ..., height: Length | float = ..., spacing: float = ...) -> None: ...

class VStack(Container):
    def __init__(self, *, width: Length | float = ..., height: Length | float = ..., spacing: float = ...) -> None: ...

class Spacer(Widget):
    def __init__(self, *, width: Length | float = ..., height: Length | float = ...) -> None: ...

class Label(Widget):
    text: str
    def __init__(
        self,
        text: str,
        *,
        width: Length | float = ...,
        height: Length | float = ...,
        word_wrap: bool = ...,
        elided_text: bool = ...,
        visible: bool = ...,
        tooltip: str = ...,
        identifier: str = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class Button(Widget):
    text: str
    def __init__(
        self,
        text: str = ...,
        *,
        clicked_fn: Callable[[], None] = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        identifier: str = ...,
        tooltip: str = ...,
    ) -> None: ...

class CheckBox(Widget):
    model: AbstractValueModel
    def __init__(
        self, model: AbstractValueModel | None = ..., *, height: float = ..., identifier: str = ..., enabled: bool = ...
    ) -> None: ...

class StringField(Widget):
    model: AbstractValueModel
    def __init__(self, model: AbstractValueModel | None = ..., *, identifier: str = ...) -> None: ...

class IntField(Widget):
    model: AbstractValueModel
    def __init__(
        self, model: AbstractValueModel | None = ..., *, width: Length | float = ..., identifier: str = ...
    ) -> None: ...

class FloatSlider(Widget):
    model: AbstractValueModel
    min: float
    max: float
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        min: float = ...,
        max: float = ...,
        precision: int = ...,
        identifier: str = ...,
        tooltip: str = ...,
    ) -> None: ...

class ProgressBar(Widget):
    model: AbstractValueModel
    def __init__(
        self, model: AbstractValueModel | None = ..., *, height: Length | float = ..., identifier: str = ...
    ) -> None: ...

class ComboBox(Widget):
    model: AbstractItemModel
    def __init__(self, index: int, *items: str, identifier: str = ...) -> None: ...

class ByteImageProvider:
    def set_bytes_data(self, bytes: Sequence[int], sizes: list[int]) -> None: ...
    def set_data_array(self, array: np.ndarray, sizes: list[int]) -> None: ...

class ImageWithProvider(Widget):
    def __init__(
        self,
        provider: ByteImageProvider,
        *,
        width: Length | float = ...,
        height: Length | float = ...,
        fill_policy: IwpFillPolicy = ...,
        identifier: str = ...,
    ) -> None: ...

class Window:
    visible: bool
    frame: Frame
    def __init__(
        self,
        title: str,
        *,
        width: float = ...,
        height: float = ...,
        visible: bool = ...,
        position_x: float = ...,
        position_y: float = ...,
    ) -> None: ...
    def destroy(self) -> None: ...

class Workspace:
    @staticmethod
    def get_window(title: str) -> Window | None: ...
