"""The HIERARCHY section of a BVH file: joints, their offsets and channels."""

from __future__ import annotations

from dataclasses import dataclass

from soma_isaac.errors import InputRejected
from soma_isaac.formats.limits import ReadLimits

LARGEST_LENGTH = 1e7
"""Largest believable offset, position or angle, in the file's own unit."""

AXES = {"X": 0, "Y": 1, "Z": 2}


@dataclass
class BvhJoint:
    """One joint as declared.

    Attributes:
        name: Its name, unique in the file.
        parent: Index of its parent, -1 for the root.
        offset: OFFSET in the file's unit.
        channels: Its channels in order, e.g. ``Zrotation``.
    """

    name: str
    parent: int
    offset: tuple[float, float, float]
    channels: tuple[str, ...] | None = None


class BvhHierarchy:
    """The HIERARCHY section: a flat walk over its words with an explicit stack."""

    def __init__(self, text: bytes, path: str, limits: ReadLimits) -> None:
        self._path = path
        self._limits = limits
        if len(text) > limits.text_length * limits.member_count * 4:
            raise InputRejected("has a hierarchy that is larger than any skeleton", path)
        try:
            self._words = text.decode("utf-8-sig").split()
        except UnicodeDecodeError:
            raise InputRejected("has a hierarchy that is not UTF-8 text", path) from None
        self._at = 0

    def _fail(self, problem: str) -> InputRejected:
        return InputRejected(f"{problem} (word {self._at} of the hierarchy)", self._path)

    def _next(self) -> str:
        if self._at >= len(self._words):
            raise InputRejected("ends inside the hierarchy: the file is incomplete", self._path)
        self._at += 1
        return self._words[self._at - 1]

    def _expect(self, word: str) -> None:
        found = self._next()
        if found != word:
            raise self._fail(f"has {found[:40]!r} where {word!r} is expected")

    def _offset(self) -> tuple[float, float, float]:
        self._expect("OFFSET")
        values = []
        for _ in range(3):
            word = self._next()
            try:
                value = float(word)
            except ValueError:
                raise self._fail(f"has the offset {word[:40]!r}, expected a number") from None
            if not abs(value) <= LARGEST_LENGTH:
                raise self._fail(f"has the offset {word[:40]}, which is not finite or beyond {LARGEST_LENGTH:g}")
            values.append(value)
        return values[0], values[1], values[2]

    def _channels(self) -> tuple[str, ...]:
        word = self._next()
        if not word.isascii() or not word.isdigit() or int(word) > 6:
            raise self._fail(f"has {word[:40]!r} channels, expected 0 to 6")
        channels = tuple(self._next() for _ in range(int(word)))
        for channel in channels:
            if channel[:1] not in AXES or channel[1:] not in ("position", "rotation"):
                raise self._fail(f"has the channel {channel[:40]!r}, expected e.g. Xposition or Zrotation")
        if len(set(channels)) != len(channels):
            raise self._fail(f"lists a channel twice: {' '.join(channels)}")
        return channels

    def _name(self, names: set[str]) -> str:
        words = []
        while True:
            word = self._next()
            if word == "{":
                break
            words.append(word)
        name = " ".join(words)
        if not name or len(name) > self._limits.text_length or not name.isprintable():
            raise self._fail(f"has the joint name {name[:40]!r}")
        if name in names:
            raise self._fail(f"has two joints named {name[:40]!r}")
        names.add(name)
        return name

    def parse(self) -> tuple[list[BvhJoint], list[tuple[int, tuple[float, float, float]]]]:
        """Joints in file order, and the End Sites as (parent, offset)."""
        joints: list[BvhJoint] = []
        ends: list[tuple[int, tuple[float, float, float]]] = []
        names: set[str] = set()
        stack: list[int] = []
        self._expect("HIERARCHY")
        while self._at < len(self._words):
            word = self._next()
            if word in ("ROOT", "JOINT"):
                if (word == "ROOT") != (not stack):
                    raise self._fail("has a ROOT inside a joint" if stack else "has a JOINT outside any ROOT")
                if joints and not stack:
                    raise self._fail("has more than one ROOT; expected one skeleton")
                if len(joints) >= self._limits.member_count:
                    raise self._fail(f"has more than {self._limits.member_count} joints")
                joints.append(BvhJoint(self._name(names), stack[-1] if stack else -1, self._offset()))
                stack.append(len(joints) - 1)
            elif word == "CHANNELS" and stack and joints[stack[-1]].channels is None:
                joints[stack[-1]].channels = self._channels()
            elif word == "End" and stack:
                self._expect("Site")
                self._expect("{")
                ends.append((stack[-1], self._offset()))
                self._expect("}")
                if len(ends) > self._limits.member_count:
                    raise self._fail(f"has more than {self._limits.member_count} End Sites")
            elif word == "}" and stack:
                stack.pop()
            else:
                raise self._fail(f"has {word[:40]!r} where a joint, its channels or a closing brace is expected")
        if stack or not joints:
            raise InputRejected("ends inside the hierarchy: the file is incomplete", self._path)
        return joints, ends
