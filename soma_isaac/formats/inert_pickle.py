"""A pickle walker that executes nothing: a stack, a memo, and an explicit list of opcodes.

What a pickle names (classes, functions) becomes a :class:`Global`, which is only a pair of strings; what it would call
is handed to :meth:`InertPickle.call` and :meth:`InertPickle.build`, where a format decides by name what record that
makes. Nothing is imported and nothing of the file is ever called. Sizes are compared with the bytes that are there
before anything is allocated, and whatever a handler allocates is charged to a budget, because a memoised value can be
used again by two bytes. What comes off the stack is checked for its type before it is hashed, compared or shown: a
nested tuple can make each of these overflow or take forever.
"""

from __future__ import annotations

import codecs
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from soma_isaac.errors import InputRejected

MAX_OPCODES = 1_000_000
_MARK = object()
_ODD_ESCAPE = re.compile(rb"\\(?![nrtx'\"])")
"""In a string from which escaped backslashes were taken out; the decoder would only warn about it."""

_LONGEST_LINE = 512
_LONGEST_INTEGER = 16
_MALFORMED = (IndexError, KeyError, TypeError, ValueError, OverflowError, struct.error, RecursionError, MemoryError)


class Global(NamedTuple):
    """A name that the pickle mentions: never imported.

    Attributes:
        module: Dotted module, e.g. ``numpy.core.multiarray``.
        name: Name in it.
    """

    module: str
    name: str


class InertPickle:
    """One walk over a pickle. Formats subclass it and say which names they know.

    Args:
        data: The pickle.
        path: How to name the file in errors.
        what: What the pickle is, for errors, e.g. ``the tensor description``.
        array_bytes: How much the handlers may allocate in all.
    """

    def __init__(self, data: bytes, path: str, what: str, array_bytes: int) -> None:
        self.path = path
        self._data = data
        self._what = what
        self._at = 0
        self._budget = array_bytes
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    # what a format decides

    def find(self, module: str, name: str) -> Global:
        """Admit a name, or refuse the file.

        Raises:
            InputRejected: Always, unless a format overrides it.
        """
        raise InputRejected(f"{self._what} names {f'{module} {name}'[:80]!r}, which is not allowed", self.path)

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """The record of calling an admitted name, or of making an instance of it."""
        raise ValueError(f"{function.name} cannot be called")

    def build(self, target: Any, state: Any) -> None:
        """Give a record its state."""
        raise ValueError(f"a {type(target).__name__} takes no state")

    def persistent(self, reference: Any) -> Any:
        """What a persistent reference stands for."""
        raise InputRejected(f"{self._what} uses opcode BINPERSID, which is not allowed", self.path)

    def spend(self, size: int) -> None:
        """Charge an allocation of ``size`` bytes.

        Raises:
            InputRejected: The budget is spent.
        """
        self._budget -= size
        if self._budget < 0:
            raise InputRejected(f"{self._what} asks for more memory than its budget", self.path)

    # the walk

    def decode(self) -> Any:
        """Walk to STOP and return what is on top of the stack.

        Raises:
            InputRejected: The pickle is malformed, too long, or uses anything that is not allowed.
        """
        try:
            for _ in range(MAX_OPCODES):
                code = self._take(1)[0]
                if code == 0x2E:  # STOP
                    return self._pop()
                step = _STEPS.get(code)
                if step is None:
                    name = _OPCODE_NAMES.get(code, f"0x{code:02x}")
                    raise InputRejected(f"{self._what} uses opcode {name}, which is not allowed", self.path)
                step(self)
        except _MALFORMED as error:
            raise InputRejected(f"{self._what} is malformed ({_brief(error)})", self.path) from None
        raise InputRejected(f"{self._what} has more than {MAX_OPCODES} instructions", self.path)

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise ValueError(f"{count} bytes wanted, {len(self._data) - self._at} left")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def _line(self, longest: int = _LONGEST_LINE) -> bytes:
        end = self._data.find(b"\n", self._at, self._at + longest + 1)
        if end < 0:
            raise ValueError("a line has no end")
        piece = self._data[self._at : end]
        self._at = end + 1
        return piece

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        value = self._stack.pop()
        if value is _MARK:
            raise ValueError("a mark where a value is expected")
        return value

    def _top(self) -> Any:
        if self._stack[-1] is _MARK:
            raise ValueError("a mark where a value is expected")
        return self._stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        stack = self._stack
        for position in range(len(stack) - 1, -1, -1):
            if stack[position] is _MARK:
                items = stack[position + 1 :]
                del stack[position:]
                return items
        raise ValueError("no mark on the stack")

    def _pop_tuple(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self._pop() for _ in range(count)]))

    def _integer_line(self) -> int | bool:
        text = self._line(32)
        if text in (b"00", b"01"):
            return text == b"01"
        return int(text.removesuffix(b"L"))

    def _sized(self, width: int) -> bytes:
        return self._take(int.from_bytes(self._take(width), "little"))

    def _quoted(self) -> bytes:
        text = self._line(len(self._data))
        if len(text) < 2 or text[:1] not in (b"'", b'"') or text[-1:] != text[:1]:
            raise ValueError("a string is not quoted")
        text = text[1:-1]
        if _ODD_ESCAPE.search(text.replace(b"\\\\", b"")):
            raise ValueError("an escape that Python 2 does not write")
        return codecs.escape_decode(text)[0]

    def _long(self) -> int:
        count = self._take(1)[0]
        if count > _LONGEST_INTEGER:
            raise ValueError(f"an integer of {count} bytes")
        return int.from_bytes(self._take(count), "little", signed=True)

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, list):
            raise ValueError(f"items for a {type(target).__name__}")
        target.extend(items)

    def _update(self, items: list[Any]) -> None:
        target = self._top()
        if not isinstance(target, dict):
            raise ValueError(f"entries for a {type(target).__name__}")
        for key, value in zip(items[0::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _dictionary(self) -> None:
        items = self._pop_to_mark()
        self._push({})
        self._update(items)

    def _name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("a name that is no text")
        self._push(self.find(module, name))

    def _reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Global) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is not a name")
        self._push(self.call(function, arguments))

    def _build(self) -> None:
        state = self._pop()
        self.build(self._top(), state)

    def _protocol(self) -> None:
        if self._take(1)[0] > 5:
            raise ValueError("an unknown protocol")

    def _frame(self) -> None:
        size = int.from_bytes(self._take(8), "little")
        if size > len(self._data) - self._at:
            raise ValueError(f"a frame of {size} bytes, {len(self._data) - self._at} left")


def _key(key: Any) -> str | int:
    """Only keys whose hashing is cheap and cannot be made to collide."""
    if isinstance(key, bytes):
        return key.decode("latin-1")  # a str of Python 2
    if isinstance(key, str) or (isinstance(key, int) and abs(key) < 1 << 31):
        return key
    raise ValueError(f"a {type(key).__name__} as key")


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:120]}"


def _constant(value: Any) -> Callable[[InertPickle], None]:
    return lambda walk: walk._push(value)


def _pushed(read: Callable[[InertPickle], Any]) -> Callable[[InertPickle], None]:
    return lambda walk: walk._push(read(walk))


def _remembered(read: Callable[[InertPickle], int]) -> Callable[[InertPickle], None]:
    def step(walk: InertPickle) -> None:
        walk._memo[read(walk)] = walk._top()

    return step


def _recalled(read: Callable[[InertPickle], int]) -> Callable[[InertPickle], None]:
    return lambda walk: walk._push(walk._memo[read(walk)])


def _number(width: int, *, signed: bool = False) -> Callable[[InertPickle], int]:
    return lambda walk: int.from_bytes(walk._take(width), "little", signed=signed)


def _memo_line(walk: InertPickle) -> int:
    return int(walk._line(16))


_STEPS: dict[int, Callable[[InertPickle], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": InertPickle._protocol,
        "\x95": InertPickle._frame,
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "I": _pushed(InertPickle._integer_line),
        "L": _pushed(InertPickle._integer_line),
        "J": _pushed(_number(4, signed=True)),
        "K": _pushed(_number(1)),
        "M": _pushed(_number(2)),
        "\x8a": _pushed(InertPickle._long),
        "F": _pushed(lambda walk: float(walk._line(64))),
        "G": _pushed(lambda walk: struct.unpack(">d", walk._take(8))[0]),
        # the text of Python 2: bytes, whatever they mean
        "S": _pushed(InertPickle._quoted),
        "T": _pushed(lambda walk: walk._sized(4)),
        "U": _pushed(lambda walk: walk._sized(1)),
        "B": _pushed(lambda walk: walk._sized(4)),
        "C": _pushed(lambda walk: walk._sized(1)),
        "\x8e": _pushed(lambda walk: walk._sized(8)),
        "V": _pushed(lambda walk: walk._line(len(walk._data)).decode("raw-unicode-escape")),
        "X": _pushed(lambda walk: walk._sized(4).decode()),
        "\x8c": _pushed(lambda walk: walk._sized(1).decode()),
        "\x8d": _pushed(lambda walk: walk._sized(8).decode()),
        "(": _constant(_MARK),
        "0": lambda walk: walk._stack.pop(),
        "1": lambda walk: walk._pop_to_mark(),
        "2": lambda walk: walk._push(walk._top()),
        "]": lambda walk: walk._push([]),
        "}": lambda walk: walk._push({}),
        ")": _constant(()),
        "l": lambda walk: walk._push(walk._pop_to_mark()),
        "t": lambda walk: walk._push(tuple(walk._pop_to_mark())),
        "\x85": lambda walk: walk._push(walk._pop_tuple(1)),
        "\x86": lambda walk: walk._push(walk._pop_tuple(2)),
        "\x87": lambda walk: walk._push(walk._pop_tuple(3)),
        "d": InertPickle._dictionary,
        "a": lambda walk: walk._append([walk._pop()]),
        "e": lambda walk: walk._append(walk._pop_to_mark()),
        "s": lambda walk: walk._update(list(walk._pop_tuple(2))),
        "u": lambda walk: walk._update(walk._pop_to_mark()),
        "p": _remembered(_memo_line),
        "q": _remembered(_number(1)),
        "r": _remembered(_number(4)),
        "\x94": _remembered(lambda walk: len(walk._memo)),
        "g": _recalled(_memo_line),
        "h": _recalled(_number(1)),
        "j": _recalled(_number(4)),
        "c": lambda walk: walk._name(walk._line().decode(), walk._line().decode()),
        "\x93": lambda walk: walk._name(*walk._pop_tuple(2)),
        "R": InertPickle._reduce,
        "\x81": InertPickle._reduce,  # NEWOBJ: an instance of an admitted name is a call like any other
        "b": InertPickle._build,
        "Q": lambda walk: walk._push(walk.persistent(walk._pop())),
    }.items()
}
"""Everything that is followed. Not here: BYTEARRAY8 and out-of-band buffers, INST, OBJ, NEWOBJ_EX, EXT, PERSID."""

_OPCODE_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
