"""One widget each for the preview page: what the user does goes into a queue, what is to be shown is sent once.

The page's server calls back in threads of its own; nothing but the queue is touched there.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

COLOURS = {"error": "#d33", "message": "#2a7", "note": "#888"}
_WORDS = "padding: 0.2em 0.8em; font-size: 0.85em; line-height: 1.3;"

Action = Callable[[Any], None]


class Widgets:
    """Widgets by name.

    Args:
        gui: ``viser.GuiApi`` of a server or a client.
        allowed: Whether an event comes from a user; what the program sets causes events too.
    """

    def __init__(self, gui: Any, allowed: Callable[[Any], bool]) -> None:
        self.gui = gui
        self.handles: dict[str, Any] = {}
        self._allowed = allowed
        self._inbox: SimpleQueue[tuple[str, Action, Any]] = SimpleQueue()
        self._given: dict[str, Any] = {}
        self._texts: dict[str, Action] = {}

    def obey(self) -> bool:
        """Do what the user did since the last call, and say whether there was anything."""
        obeyed = False
        while True:
            try:
                name, action, value = self._inbox.get_nowait()
            except Empty:
                return obeyed
            obeyed = True
            self._given[name] = value  # the browser shows it already, or something newer
            action(value)

    # Making them.

    def folder(self, title: str, *, closed: bool = False, after: Any = None) -> AbstractContextManager[Any]:
        """A section that can be folded, below all others or ``after`` one; a context for the widgets in it."""
        order = None if after is None else after.order + 0.5
        return self.gui.add_folder(title, expand_by_default=not closed, order=order)

    def slider(
        self, name: str, label: str, low: float, high: float, action: Action, *, value: float = 0.0, hint: str = ""
    ) -> Any:
        """A slider with a field for its number."""
        start = float(np.clip(value, low, high))
        handle = self.gui.add_slider(
            label, min=float(low), max=float(high), step=0.01, initial_value=start, hint=hint or None
        )
        return self._listen(name, handle.on_update, handle, action, start)

    def number(self, name: str, label: str, low: int, high: int, action: Action) -> None:
        """A field for a whole number."""
        handle = self.gui.add_number(label, int(low), min=int(low), max=int(high), step=1)
        self._listen(name, handle.on_update, handle, action, int(low))

    def check(self, name: str, label: str, action: Action) -> None:
        """A box to tick."""
        handle = self.gui.add_checkbox(label, False)
        self._listen(name, handle.on_update, handle, action, False)

    def dropdown(self, name: str, label: str, options: Sequence[str], action: Action) -> None:
        """One of several."""
        handle = self.gui.add_dropdown(label, tuple(options))
        self._listen(name, handle.on_update, handle, action, options[0])

    def button(self, name: str, label: str, action: Callable[[], None]) -> None:
        """A button; texts that were typed and not yet entered count when it is pressed."""

        def press(_: Any) -> None:
            self._enter_texts()
            action()

        handle = self.gui.add_button(label)
        self._listen(name, handle.on_click, handle, press)

    def buttons(self, name: str, label: str, options: Sequence[str], action: Action) -> None:
        """A row of buttons; the action gets the label of the one that was pressed."""
        handle = self.gui.add_button_group(label, tuple(options))
        self._listen(name, handle.on_click, handle, action)

    def text(self, name: str, label: str, action: Action) -> None:
        """A field that counts when Enter is pressed in it, or when a button is."""
        with self.gui.add_form(None) as form:
            handle = self.gui.add_text(label, "", hint="Counts when Enter or a button is pressed")
        self._texts[name] = action
        self._listen(name, form.on_submit, handle, action, "")

    def words(self, name: str) -> None:
        """A place for :meth:`say`."""
        self.handles[name] = self.gui.add_html("")

    def progress(self, name: str) -> None:
        """A bar from 0 to 100."""
        self.handles[name] = self.gui.add_progress_bar(0.0)

    def listen(self, name: str, register: Callable[..., Any], read: Callable[[], Any], action: Action) -> None:
        """Hear what the user does to something that is no widget.

        Args:
            name: What to call it.
            register: Takes the callback for events.
            read: Gives the value that a user just set.
            action: Called with the value by :meth:`obey`.
        """

        async def happened(event: Any) -> None:  # in the event loop, so that values come in their order
            if self._allowed(event):
                self._inbox.put((name, action, read()))

        register(happened)
        self._given[name] = None

    def given(self, name: str) -> Any:
        """What the user last gave something and was obeyed in, or what it shows."""
        return self._given.get(name)

    # Showing something in them.

    def put(self, name: str, value: Any) -> None:
        """Set a widget if what it should show is neither what was set last nor what the user chose since."""
        if self._given.get(name) != value:
            self._given[name] = value
            self.handles[name].value = value

    def options(self, name: str, options: tuple[str, ...]) -> None:
        """What can be chosen in a dropdown."""
        handle = self.handles[name]
        if handle.options != options:
            handle.options = options  # chooses the first if the chosen one is gone
            self._given[name] = handle.value

    def say(self, name: str, lines: Sequence[tuple[str, str]]) -> None:
        """Lines as (kind of ``COLOURS``, text); empty ones are left out."""
        shown = [
            f'<div style="{_WORDS} color: {COLOURS[kind]}">{html.escape(text)}</div>' for kind, text in lines if text
        ]
        self.set(name, content="".join(shown))

    def set(self, name: str, **properties: Any) -> None:
        """Set properties of a widget that differ; each one that is set is sent."""
        for key, value in properties.items():
            if getattr(self.handles[name], key) != value:
                setattr(self.handles[name], key, value)

    def _listen(self, name: str, register: Callable[..., Any], handle: Any, action: Action, value: Any = None) -> Any:
        async def happened(event: Any) -> None:  # in the event loop, so that values come in their order
            if self._allowed(event):
                self._inbox.put((name, action, handle.value))

        register(happened)
        self.handles[name] = handle
        self._given[name] = value
        return handle

    def _enter_texts(self) -> None:
        for name, action in self._texts.items():
            value = self.handles[name].value
            if value != self._given[name]:
                self._given[name] = value
                action(value)
