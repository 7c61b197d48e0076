"""What the panel uses of omni.ui; written by typings/make_omni_ui.py."""

from collections.abc import Callable, Sequence
from typing import Any, Self, overload

import numpy as np

class AbstractItem:
    def __init__(self) -> None: ...

class AbstractItemModel:
    def __init__(self) -> None: ...
    def add_begin_edit_fn(self, arg0: Callable[[AbstractItemModel, AbstractItem], None]) -> int: ...
    def add_end_edit_fn(self, arg0: Callable[[AbstractItemModel, AbstractItem], None]) -> int: ...
    def add_item_changed_fn(self, arg0: Callable[[AbstractItemModel, AbstractItem], None]) -> int: ...
    def append_child_item(self, parentItem: AbstractItem, model: AbstractValueModel) -> AbstractItem: ...
    def begin_edit(self, item: AbstractItem) -> None: ...
    def can_item_have_children(self, parentItem: AbstractItem | None = ...) -> bool: ...
    @overload
    def drop(self, item_tagget: AbstractItem, item_source: AbstractItem, drop_location: int = ...) -> None: ...
    @overload
    def drop(self, item_tagget: AbstractItem, source: str, drop_location: int = ...) -> None: ...
    @overload
    def drop_accepted(self, item_tagget: AbstractItem, item_source: AbstractItem, drop_location: int = ...) -> bool: ...
    @overload
    def drop_accepted(self, item_tagget: AbstractItem, source: str, drop_location: int = ...) -> bool: ...
    def end_edit(self, item: AbstractItem) -> None: ...
    def get_drag_mime_data(self, item: AbstractItem | None = ...) -> str: ...
    def get_item_children(self, parentItem: AbstractItem | None = ...) -> list[AbstractItem]: ...
    def get_item_value_model(self, item: AbstractItem | None = ..., column_id: int = ...) -> AbstractValueModel: ...
    def get_item_value_model_count(self, item: AbstractItem | None = ...) -> int: ...
    def remove_begin_edit_fn(self, arg0: int) -> None: ...
    def remove_end_edit_fn(self, arg0: int) -> None: ...
    def remove_item(self, item: AbstractItem) -> None: ...
    def remove_item_changed_fn(self, arg0: int) -> None: ...
    def subscribe_begin_edit_fn(self, arg0: Callable[[AbstractItemModel, AbstractItem], None]) -> Subscription: ...
    def subscribe_end_edit_fn(self, arg0: Callable[[AbstractItemModel, AbstractItem], None]) -> Subscription: ...
    def subscribe_item_changed_fn(self, arg0: Callable[[AbstractItemModel, AbstractItem], None]) -> Subscription: ...

class AbstractValueModel:
    def __init__(self) -> None: ...
    def add_begin_edit_fn(self, arg0: Callable[[AbstractValueModel], None]) -> int: ...
    def add_end_edit_fn(self, arg0: Callable[[AbstractValueModel], None]) -> int: ...
    def add_value_changed_fn(self, arg0: Callable[[AbstractValueModel], None]) -> int: ...
    as_bool: bool
    as_float: float
    as_int: int
    as_string: str
    def begin_edit(self) -> None: ...
    def end_edit(self) -> None: ...
    def get_value_as_bool(self) -> bool: ...
    def get_value_as_float(self) -> float: ...
    def get_value_as_int(self) -> int: ...
    def get_value_as_string(self) -> str: ...
    def is_edit_cancelled(self) -> bool: ...
    def remove_begin_edit_fn(self, arg0: int) -> None: ...
    def remove_end_edit_fn(self, arg0: int) -> None: ...
    def remove_value_changed_fn(self, arg0: int) -> None: ...
    @overload
    def set_value(self, value: bool) -> None: ...
    @overload
    def set_value(self, value: int) -> None: ...
    @overload
    def set_value(self, value: float) -> None: ...
    @overload
    def set_value(self, value: str) -> None: ...
    def subscribe_begin_edit_fn(self, arg0: Callable[[AbstractValueModel], None]) -> Subscription: ...
    def subscribe_end_edit_fn(self, arg0: Callable[[AbstractValueModel], None]) -> Subscription: ...
    def subscribe_item_changed_fn(self, arg0: Callable[[AbstractValueModel], None]) -> Subscription: ...
    def subscribe_value_changed_fn(self, arg0: Callable[[AbstractValueModel], None]) -> Subscription: ...

class Alignment:
    UNDEFINED: Alignment
    LEFT_TOP: Alignment
    LEFT_CENTER: Alignment
    LEFT_BOTTOM: Alignment
    CENTER_TOP: Alignment
    CENTER: Alignment
    CENTER_BOTTOM: Alignment
    RIGHT_TOP: Alignment
    RIGHT_CENTER: Alignment
    RIGHT_BOTTOM: Alignment
    LEFT: Alignment
    RIGHT: Alignment
    H_CENTER: Alignment
    TOP: Alignment
    BOTTOM: Alignment
    V_CENTER: Alignment

class Direction:
    LEFT_TO_RIGHT: Direction
    RIGHT_TO_LEFT: Direction
    TOP_TO_BOTTOM: Direction
    BOTTOM_TO_TOP: Direction
    BACK_TO_FRONT: Direction
    FRONT_TO_BACK: Direction

class DockPolicy:
    DO_NOTHING: DockPolicy
    CURRENT_WINDOW_IS_ACTIVE: DockPolicy
    TARGET_WINDOW_IS_ACTIVE: DockPolicy

class DockPosition:
    RIGHT: DockPosition
    LEFT: DockPosition
    TOP: DockPosition
    BOTTOM: DockPosition
    SAME: DockPosition

class DockPreference:
    DISABLED: DockPreference
    MAIN: DockPreference
    RIGHT: DockPreference
    LEFT: DockPreference
    RIGHT_TOP: DockPreference
    RIGHT_BOTTOM: DockPreference
    LEFT_BOTTOM: DockPreference

class FocusPolicy:
    DEFAULT: FocusPolicy
    FOCUS_ON_LEFT_MOUSE_DOWN: FocusPolicy
    FOCUS_ON_ANY_MOUSE_DOWN: FocusPolicy
    FOCUS_ON_HOVER: FocusPolicy

class ImageProvider:
    def __init__(self, **kwargs: Any) -> None: ...
    def destroy(self) -> None: ...
    def get_managed_resource(self) -> Any: ...
    @property
    def height(self) -> int: ...
    @property
    def is_reference_valid(self) -> bool: ...
    @overload
    def set_image_data(self, arg0: Any, arg1: int, arg2: int, arg3: Any) -> None: ...
    @overload
    def set_image_data(self, rp_resource: Any, presentation_key: int = ..., metadata: Any | None = ...) -> None: ...
    @property
    def width(self) -> int: ...

class ItemModelHelper:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    model: AbstractItemModel

class IwpFillPolicy:
    IWP_STRETCH: IwpFillPolicy
    IWP_PRESERVE_ASPECT_FIT: IwpFillPolicy
    IWP_PRESERVE_ASPECT_CROP: IwpFillPolicy

class Length:
    @overload
    def __init__(self, arg0: float, arg1: Any) -> None: ...
    @overload
    def __init__(self, arg0: float) -> None: ...
    @overload
    def __init__(self, arg0: int) -> None: ...
    unit: Any
    value: float

class MenuDelegate:
    def __init__(
        self,
        *,
        on_build_item: Any = ...,
        on_build_title: Any = ...,
        on_build_status: Any = ...,
        propagate: Any = ...,
    ) -> None: ...
    def build_item(self, item: Any) -> None: ...
    def build_status(self, item: Any) -> None: ...
    def build_title(self, item: Any) -> None: ...
    def call_on_build_item_fn(self, arg0: Any) -> None: ...
    def call_on_build_status_fn(self, arg0: Any) -> None: ...
    def call_on_build_title_fn(self, arg0: Any) -> None: ...
    def has_on_build_item_fn(self) -> bool: ...
    def has_on_build_status_fn(self) -> bool: ...
    def has_on_build_title_fn(self) -> bool: ...
    propagate: bool
    @staticmethod
    def set_default_delegate(function: Any) -> Any: ...
    def set_on_build_item_fn(self, fn: Callable[[Any], None]) -> None: ...
    def set_on_build_status_fn(self, fn: Callable[[Any], None]) -> None: ...
    def set_on_build_title_fn(self, fn: Callable[[Any], None]) -> None: ...

class MenuHelper:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def call_triggered_fn(self) -> None: ...
    checkable: bool
    delegate: MenuDelegate
    def has_triggered_fn(self) -> bool: ...
    hide_on_click: bool
    hotkey_text: str
    menu_compatibility: bool
    def set_triggered_fn(self, fn: Callable[[], None]) -> None: ...
    text: str

class RasterPolicy:
    NEVER: RasterPolicy
    ON_DEMAND: RasterPolicy
    AUTO: RasterPolicy

class ScrollBarPolicy:
    SCROLLBAR_AS_NEEDED: ScrollBarPolicy
    SCROLLBAR_ALWAYS_OFF: ScrollBarPolicy
    SCROLLBAR_ALWAYS_ON: ScrollBarPolicy

class SliderDrawMode:
    FILLED: SliderDrawMode
    HANDLE: SliderDrawMode
    DRAG: SliderDrawMode

class Subscription:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def unsubscribe(self) -> None: ...

class ValueModelHelper:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    model: AbstractValueModel

class Widget:
    @property
    def FLAG_WANT_CAPTURE_KEYBOARD(self) -> int: ...
    def __init__(self, **kwargs: Any) -> None: ...
    def call_accept_drop_fn(self, arg0: str) -> bool: ...
    def call_computed_content_size_changed_fn(self) -> None: ...
    def call_drag_fn(self) -> str: ...
    def call_drop_fn(self, arg0: WidgetMouseDropEvent) -> None: ...
    def call_key_pressed_fn(self, arg0: int, arg1: int, arg2: bool) -> None: ...
    def call_mouse_double_clicked_fn(self, arg0: float, arg1: float, arg2: int, arg3: int) -> None: ...
    def call_mouse_hovered_fn(self, arg0: bool) -> None: ...
    def call_mouse_moved_fn(self, arg0: float, arg1: float, arg2: int, arg3: bool) -> None: ...
    def call_mouse_pressed_fn(self, arg0: float, arg1: float, arg2: int, arg3: int) -> None: ...
    def call_mouse_released_fn(self, arg0: float, arg1: float, arg2: int, arg3: int) -> None: ...
    def call_mouse_wheel_fn(self, arg0: float, arg1: float, arg2: int) -> None: ...
    def call_tooltip_fn(self) -> None: ...
    checked: bool
    @property
    def computed_content_height(self) -> float: ...
    @property
    def computed_content_width(self) -> float: ...
    @property
    def computed_height(self) -> float: ...
    @property
    def computed_width(self) -> float: ...
    def destroy(self) -> None: ...
    dragging: bool
    enabled: bool
    explicit_hover: bool
    def has_accept_drop_fn(self) -> bool: ...
    def has_computed_content_size_changed_fn(self) -> bool: ...
    def has_drag_fn(self) -> bool: ...
    def has_drop_fn(self) -> bool: ...
    def has_key_pressed_fn(self) -> bool: ...
    def has_mouse_double_clicked_fn(self) -> bool: ...
    def has_mouse_hovered_fn(self) -> bool: ...
    def has_mouse_moved_fn(self) -> bool: ...
    def has_mouse_pressed_fn(self) -> bool: ...
    def has_mouse_released_fn(self) -> bool: ...
    def has_mouse_wheel_fn(self) -> bool: ...
    def has_tooltip_fn(self) -> bool: ...
    height: Length | float
    identifier: str
    name: str
    opaque_for_mouse_events: bool
    @property
    def screen_position_x(self) -> float: ...
    @property
    def screen_position_y(self) -> float: ...
    def scroll_here(self, center_ratio_x: float = ..., center_ratio_y: float = ...) -> None: ...
    def scroll_here_x(self, center_ratio: float = ...) -> None: ...
    def scroll_here_y(self, center_ratio: float = ...) -> None: ...
    scroll_only_window_hovered: bool
    selected: bool
    def set_accept_drop_fn(self, fn: Callable[[str], bool]) -> None: ...
    def set_checked_changed_fn(self, fn: Callable[[bool], None]) -> None: ...
    def set_computed_content_size_changed_fn(self, fn: Callable[[], None]) -> None: ...
    def set_drag_fn(self, fn: Callable[[], str]) -> None: ...
    def set_drop_fn(self, fn: Callable[[WidgetMouseDropEvent], None]) -> None: ...
    def set_key_pressed_fn(self, fn: Callable[[int, int, bool], None]) -> None: ...
    def set_mouse_double_clicked_fn(self, fn: Callable[[float, float, int, int], None]) -> None: ...
    def set_mouse_hovered_fn(self, fn: Callable[[bool], None]) -> None: ...
    def set_mouse_moved_fn(self, fn: Callable[[float, float, int, bool], None]) -> None: ...
    def set_mouse_pressed_fn(self, fn: Callable[[float, float, int, int], None]) -> None: ...
    def set_mouse_released_fn(self, fn: Callable[[float, float, int, int], None]) -> None: ...
    def set_mouse_wheel_fn(self, fn: Callable[[float, float, int], None]) -> None: ...
    def set_style(self, arg0: Any) -> None: ...
    def set_tooltip(self, tooltip_label: str) -> None: ...
    def set_tooltip_fn(self, fn: Callable[[], None]) -> None: ...
    skip_draw_when_clipped: bool
    style: Any
    style_type_name_override: str
    tooltip: str
    tooltip_offset_x: float
    tooltip_offset_y: float
    visible: bool
    visible_max: float
    visible_min: float
    width: Length | float

class WidgetMouseDropEvent:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def mime_data(self) -> str: ...
    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...

class WindowHandle:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @property
    def dock_id(self) -> int: ...
    def dock_in(self, window: WindowHandle, dock_position: DockPosition, ratio: float = ...) -> None: ...
    dock_order: int
    dock_tab_bar_enabled: bool
    dock_tab_bar_visible: bool
    @property
    def docked(self) -> bool: ...
    def focus(self) -> None: ...
    height: float
    def is_selected_in_dock(self) -> bool: ...
    def notify_app_window_change(self, arg0: Any) -> None: ...
    position_x: float
    position_y: float
    @property
    def title(self) -> str: ...
    def undock(self) -> None: ...
    visible: Any
    width: float

class Workspace:
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    @staticmethod
    def clear(function: Any) -> Any: ...
    @staticmethod
    def get_dock_children_id(function: Any) -> Any: ...
    @staticmethod
    def get_dock_id_height(function: Any) -> Any: ...
    @staticmethod
    def get_dock_id_width(function: Any) -> Any: ...
    @staticmethod
    def get_dock_position(function: Any) -> Any: ...
    @staticmethod
    def get_docked_neighbours(function: Any) -> Any: ...
    @staticmethod
    def get_docked_windows(function: Any) -> Any: ...
    @staticmethod
    def get_dpi_scale(function: Any) -> Any: ...
    @staticmethod
    def get_main_window_height(function: Any) -> Any: ...
    @staticmethod
    def get_main_window_width(function: Any) -> Any: ...
    @staticmethod
    def get_parent_dock_id(function: Any) -> Any: ...
    @staticmethod
    def get_selected_window_index(function: Any) -> Any: ...
    @staticmethod
    def get_show_window_titles(function: Any) -> Any: ...
    @staticmethod
    def get_window(function: Any) -> Any: ...
    @staticmethod
    def get_window_from_callback(function: Any) -> Any: ...
    @staticmethod
    def get_windows(function: Any) -> Any: ...
    @staticmethod
    def remove_window_visibility_changed_callback(function: Any) -> Any: ...
    @staticmethod
    def set_dock_id_height(function: Any) -> Any: ...
    @staticmethod
    def set_dock_id_width(function: Any) -> Any: ...
    @staticmethod
    def set_show_window_fn(function: Any) -> Any: ...
    @staticmethod
    def set_window_created_callback(function: Any) -> Any: ...
    @staticmethod
    def set_window_visibility_changed_callback(function: Any) -> Any: ...
    @staticmethod
    def show_window(function: Any) -> Any: ...

class ByteImageProvider(ImageProvider):
    @overload
    def __init__(self) -> None: ...
    @overload
    def __init__(self, bytes: Sequence[Any], sizes: list[int], format: Any | None = ..., stride: int = ...) -> None: ...
    def set_bytes_data(
        self,
        bytes: Sequence[Any],
        sizes: list[int],
        format: Any | None = ...,
        stride: int = ...,
    ) -> None: ...
    def set_bytes_data_from_gpu(
        self,
        gpu_bytes: int,
        sizes: list[int],
        format: Any | None = ...,
        stride: int = ...,
    ) -> None: ...
    def set_data(self, arg0: list[int], arg1: list[int]) -> None: ...
    def set_data_array(self, arg0: np.ndarray, arg1: list[int]) -> None: ...
    def set_raw_bytes_data(
        self,
        raw_bytes: Any,
        sizes: list[int],
        format: Any | None = ...,
        stride: int = ...,
    ) -> None: ...

class Container(Widget):
    def __enter__(self) -> Self: ...
    def __exit__(self, *error: object) -> None: ...
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def add_child(self, arg0: Widget) -> None: ...
    def clear(self) -> None: ...

class Fraction(Length):
    def __init__(self, value: float) -> None: ...

class ImageWithProvider(Widget):
    @overload
    def __init__(
        self,
        arg0: ImageProvider,
        *,
        alignment: Any = ...,
        fill_policy: Any = ...,
        pixel_aligned: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        arg0: str,
        *,
        alignment: Any = ...,
        fill_policy: Any = ...,
        pixel_aligned: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    @overload
    def __init__(
        self,
        *,
        alignment: Any = ...,
        fill_policy: Any = ...,
        pixel_aligned: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    alignment: Alignment
    fill_policy: IwpFillPolicy
    pixel_aligned: bool
    def prepare_draw(self, width: float, height: float) -> None: ...

class InvisibleButton(Widget):
    def __init__(
        self,
        *,
        clicked_fn: Callable[[], None] = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    def call_clicked_fn(self) -> None: ...
    def has_clicked_fn(self) -> bool: ...
    def set_clicked_fn(self, fn: Callable[[], None]) -> None: ...

class Label(Widget):
    def __init__(
        self,
        arg0: str,
        *,
        alignment: Any = ...,
        word_wrap: Any = ...,
        elided_text: Any = ...,
        elided_text_str: Any = ...,
        hide_text_after_hash: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    alignment: Alignment
    elided_text: bool
    elided_text_str: str
    @property
    def exact_content_height(self) -> float: ...
    @property
    def exact_content_width(self) -> float: ...
    hide_text_after_hash: bool
    text: str
    word_wrap: bool

class Spacer(Widget):
    def __init__(
        self,
        *,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class Window(WindowHandle):
    def __init__(
        self,
        title: str,
        dockPreference: DockPreference | None = ...,
        *,
        flags: Any = ...,
        visible: Any = ...,
        padding_x: Any = ...,
        padding_y: Any = ...,
        width: Any = ...,
        height: Any = ...,
        position_x: Any = ...,
        position_y: Any = ...,
        auto_resize: Any = ...,
        noTabBar: Any = ...,
        tabBarTooltip: Any = ...,
        raster_policy: Any = ...,
        fill_app_window: Any = ...,
        width_changed_fn: Any = ...,
        height_changed_fn: Any = ...,
        visibility_changed_fn: Any = ...,
    ) -> None: ...
    @property
    def app_window(self) -> Any: ...
    auto_resize: bool
    def call_key_pressed_fn(self, arg0: int, arg1: int, arg2: bool) -> None: ...
    def deferred_dock_in(self, target_window: str, active_window: DockPolicy | None = ...) -> None: ...
    def destroy(self) -> None: ...
    detachable: bool
    def dock_in_window(self, title: str, dockPosition: DockPosition, ratio: float = ...) -> bool: ...
    @property
    def docked(self) -> bool: ...
    exclusive_keyboard: bool
    fill_app_window: bool
    flags: int
    focus_policy: FocusPolicy
    @property
    def focused(self) -> bool: ...
    @property
    def frame(self) -> Frame: ...
    def get_window_callback(self) -> Any: ...
    def has_key_pressed_fn(self) -> bool: ...
    height: float
    @property
    def menu_bar(self) -> MenuBar: ...
    def move_to_app_window(self, arg0: Any) -> None: ...
    def move_to_main_os_window(self) -> None: ...
    def move_to_new_os_window(self) -> bool: ...
    noTabBar: bool
    def notify_app_window_change(self, arg0: Any) -> None: ...
    padding_x: float
    padding_y: float
    position_x: float
    position_y: float
    raster_policy: RasterPolicy
    @property
    def selected_in_dock(self) -> bool: ...
    def setPosition(self, x: float, y: float) -> None: ...
    def set_active(self, active: bool) -> None: ...
    def set_docked_changed_fn(self, arg0: Callable[[bool], None]) -> None: ...
    def set_focused_changed_fn(self, arg0: Callable[[bool], None]) -> None: ...
    def set_height_changed_fn(self, arg0: Callable[[float], None]) -> None: ...
    def set_key_pressed_fn(self, fn: Callable[[int, int, bool], None]) -> None: ...
    def set_position_x_changed_fn(self, arg0: Callable[[float], None]) -> None: ...
    def set_position_y_changed_fn(self, arg0: Callable[[float], None]) -> None: ...
    def set_selected_in_dock_changed_fn(self, arg0: Callable[[bool], None]) -> None: ...
    def set_top_modal(self) -> None: ...
    def set_visibility_changed_fn(self, arg0: Callable[[bool], None]) -> None: ...
    def set_width_changed_fn(self, arg0: Callable[[float], None]) -> None: ...
    tabBar_tooltip: str
    title: str
    visible: bool
    width: float

class AbstractField(Widget, ValueModelHelper):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def focus_keyboard(self, focus: bool = ...) -> None: ...

class AbstractSlider(Widget, ValueModelHelper):
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

class Button(InvisibleButton):
    def __init__(
        self,
        text: str = ...,
        *,
        image_url: str = ...,
        image_width: float = ...,
        image_height: float = ...,
        spacing: float = ...,
        clicked_fn: Callable[[], None] = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    image_height: Length | float
    image_url: str
    image_width: Length | float
    spacing: float
    text: str

class CheckBox(Widget, ValueModelHelper):
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class ComboBox(Widget, ItemModelHelper):
    def __init__(
        self,
        *args: Any,
        arrow_only: bool = ...,
        no_arrow_button: bool = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class Frame(Container):
    def __init__(
        self,
        *,
        horizontal_clipping: Any = ...,
        vertical_clipping: Any = ...,
        separate_window: Any = ...,
        raster_policy: Any = ...,
        build_fn: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    def call_build_fn(self) -> None: ...
    frozen: bool
    def has_build_fn(self) -> bool: ...
    horizontal_clipping: bool
    def invalidate_raster(self) -> None: ...
    raster_policy: RasterPolicy
    def rebuild(self) -> None: ...
    separate_window: bool
    def set_build_fn(self, fn: Callable[[], None]) -> None: ...
    vertical_clipping: bool

class ProgressBar(Widget, ValueModelHelper):
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class Stack(Container):
    def __init__(
        self,
        arg0: Direction,
        *,
        direction: Any = ...,
        content_clipping: Any = ...,
        spacing: Any = ...,
        send_mouse_events_to_back: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    content_clipping: bool
    direction: Direction
    send_mouse_events_to_back: bool
    spacing: float

class CollapsableFrame(Frame):
    def __init__(
        self,
        title: str = ...,
        *,
        collapsed: Any = ...,
        alignment: Any = ...,
        build_header_fn: Any = ...,
        collapsed_changed_fn: Any = ...,
        horizontal_clipping: Any = ...,
        vertical_clipping: Any = ...,
        separate_window: Any = ...,
        raster_policy: Any = ...,
        build_fn: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    alignment: Alignment
    def call_build_header_fn(self, arg0: bool, arg1: str) -> None: ...
    collapsed: bool
    def has_build_header_fn(self) -> bool: ...
    def set_build_header_fn(self, fn: Callable[[bool, str], None]) -> None: ...
    def set_collapsed_changed_fn(self, fn: Callable[[bool], None]) -> None: ...
    title: str

class FloatSlider(AbstractSlider):
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        min: float = ...,
        max: float = ...,
        step: float = ...,
        format: str = ...,
        precision: int = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    format: str
    max: float
    min: float
    precision: int
    step: float

class HStack(Stack):
    def __init__(
        self,
        *,
        direction: Any = ...,
        content_clipping: Any = ...,
        spacing: Any = ...,
        send_mouse_events_to_back: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class IntField(AbstractField):
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class ScrollingFrame(Frame):
    def __init__(
        self,
        *,
        scroll_x: float = ...,
        scroll_x_max: float = ...,
        scroll_x_changed_fn: Callable[[float], None] = ...,
        scroll_y: float = ...,
        scroll_y_max: float = ...,
        scroll_y_changed_fn: Callable[[float], None] = ...,
        horizontal_scrollbar_policy: ScrollBarPolicy = ...,
        vertical_scrollbar_policy: ScrollBarPolicy = ...,
        horizontal_clipping: Any = ...,
        vertical_clipping: Any = ...,
        separate_window: Any = ...,
        raster_policy: Any = ...,
        build_fn: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    horizontal_scrollbar_policy: ScrollBarPolicy
    scroll_x: float
    @property
    def scroll_x_max(self) -> float: ...
    scroll_y: float
    @property
    def scroll_y_max(self) -> float: ...
    def set_scroll_x_changed_fn(self, arg0: Callable[[float], None]) -> None: ...
    def set_scroll_y_changed_fn(self, arg0: Callable[[float], None]) -> None: ...
    vertical_scrollbar_policy: ScrollBarPolicy

class StringField(AbstractField):
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        password_mode: Any = ...,
        read_only: Any = ...,
        multiline: Any = ...,
        allow_tab_input: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    allow_tab_input: bool
    multiline: bool
    password_mode: bool
    read_only: bool

class VStack(Stack):
    def __init__(
        self,
        *,
        direction: Any = ...,
        content_clipping: Any = ...,
        spacing: Any = ...,
        send_mouse_events_to_back: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class FloatDrag(FloatSlider):
    def __init__(
        self,
        model: AbstractValueModel | None = ...,
        *,
        min: float = ...,
        max: float = ...,
        step: float = ...,
        format: str = ...,
        precision: int = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...

class Menu(Stack, MenuHelper):
    def __init__(
        self,
        text: str = ...,
        *,
        tearable: bool = ...,
        shown_changed_fn: Any = ...,
        teared_changed_fn: Any = ...,
        on_build_fn: Any = ...,
        hotkey_text: str = ...,
        checkable: bool = ...,
        hide_on_click: bool = ...,
        delegate: MenuDelegate = ...,
        triggered_fn: Any = ...,
        direction: Any = ...,
        content_clipping: Any = ...,
        spacing: Any = ...,
        send_mouse_events_to_back: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
    def call_on_build_fn(self) -> None: ...
    @staticmethod
    def get_current(function: Any) -> Any: ...
    def has_on_build_fn(self) -> bool: ...
    def hide(self) -> None: ...
    def invalidate(self) -> None: ...
    def set_on_build_fn(self, fn: Callable[[], None]) -> None: ...
    def set_shown_changed_fn(self, fn: Callable[[bool], None]) -> None: ...
    def set_teared_changed_fn(self, fn: Callable[[bool], None]) -> None: ...
    def show(self) -> None: ...
    def show_at(self, arg0: float, arg1: float) -> None: ...
    @property
    def shown(self) -> bool: ...
    def tear_at(self, arg0: float, arg1: float) -> None: ...
    tearable: bool
    @property
    def teared(self) -> bool: ...

class MenuBar(Menu):
    def __init__(
        self,
        *,
        tearable: bool = ...,
        shown_changed_fn: Any = ...,
        teared_changed_fn: Any = ...,
        on_build_fn: Any = ...,
        text: str = ...,
        hotkey_text: str = ...,
        checkable: bool = ...,
        hide_on_click: bool = ...,
        delegate: MenuDelegate = ...,
        triggered_fn: Any = ...,
        direction: Any = ...,
        content_clipping: Any = ...,
        spacing: Any = ...,
        send_mouse_events_to_back: Any = ...,
        width: Length | float = ...,
        height: Length | float = ...,
        name: str = ...,
        style_type_name_override: str = ...,
        identifier: str = ...,
        visible: bool = ...,
        visibleMin: float = ...,
        visibleMax: float = ...,
        tooltip: str = ...,
        tooltip_fn: Callable[..., Any] = ...,
        tooltip_offset_x: float = ...,
        tooltip_offset_y: float = ...,
        enabled: bool = ...,
        selected: bool = ...,
        checked: bool = ...,
        dragging: bool = ...,
        opaque_for_mouse_events: bool = ...,
        explicit_hover: bool = ...,
        skip_draw_when_clipped: bool = ...,
        mouse_moved_fn: Callable[..., Any] = ...,
        mouse_pressed_fn: Callable[..., Any] = ...,
        mouse_released_fn: Callable[..., Any] = ...,
        mouse_double_clicked_fn: Callable[..., Any] = ...,
        mouse_wheel_fn: Callable[..., Any] = ...,
        mouse_hovered_fn: Callable[..., Any] = ...,
        drag_fn: Callable[..., Any] = ...,
        accept_drop_fn: Callable[..., Any] = ...,
        drop_fn: Callable[..., Any] = ...,
        computed_content_size_changed_fn: Callable[..., Any] = ...,
        style: dict[str, Any] = ...,
    ) -> None: ...
