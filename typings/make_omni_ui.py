"""Writes typings/omni/ui/__init__.pyi from an installed omni.ui: the classes that the panel uses, and what they name.

pybind11's docstrings hold the signatures of methods and properties; those of constructors list their keywords below
``Keyword Arguments``. Run it where ovui is installed: ``python typings/make_omni_ui.py``; a test holds the file to it.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
STUB = ROOT / "typings" / "omni" / "ui" / "__init__.pyi"
USERS = (*sorted((ROOT / "soma_isaac" / "ui").glob("panel*.py")), *sorted((ROOT / "soma_isaac" / "kit").rglob("*.py")))
HEAD = '''"""What the panel uses of omni.ui; written by typings/make_omni_ui.py."""

from collections.abc import Callable, Sequence
from typing import Any, Self, overload

import numpy as np
'''
_PLAIN = {
    "bool": "bool",
    "int": "int",
    "float": "float",
    "str": "str",
    "None": "None",
    "uint32_t": "int",
    "size_t": "int",
    "sequence": "Sequence[Any]",
    "dict": "dict[str, Any]",
    "numpy.ndarray[numpy.uint8]": "np.ndarray",
}
_SIGNATURE = re.compile(r"^(?:\d+\. )?(\w*)\((.*)\) -> (.+)$")
_WIDTH = 120
_KEYWORD = re.compile(r"^ +`(\w+) ?: ?([^`]*)`$", re.MULTILINE)


def main() -> None:
    """Write the stub."""
    STUB.write_text(stub())
    sys.stdout.write(f"{STUB} written\n")


def stub() -> str:
    """The stub's text, from the installed omni.ui."""
    import omni.ui as ui

    wanted, done, parts = used_names(), set(), []
    while names := sorted(wanted - done):
        for name in names:
            done.add(name)
            kind = getattr(ui, name)
            text, named = _class(name, kind, ui)
            wanted |= named
            parts.append((_depth(kind), name, text))
    return "\n".join([HEAD, *(text for *_, text in sorted(parts))])


def used_names() -> set[str]:
    """Names that are read from ``ui`` where ``ui`` is omni.ui."""
    names: set[str] = set()
    for path in USERS:
        text = path.read_text()
        if "import omni.ui as ui" in text:
            names |= {
                node.attr
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ui"
            }
    return names


def _depth(kind: Any) -> int:
    return len(kind.__mro__)


def _class(name: str, kind: Any, ui: ModuleType) -> tuple[str, set[str]]:
    """One class, and the names of others that it needs: bases and the types of what is used."""
    bases = [base.__name__ for base in kind.__bases__ if getattr(ui, base.__name__, None) is base]
    named = set(bases)
    lines = [f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"]
    body: list[str] = []
    members = getattr(kind, "__members__", None)
    if isinstance(members, dict):
        body += [f"{member}: {name}" for member in members]
    for member, value in sorted(vars(kind).items()):
        if isinstance(value, property) and not isinstance(members, dict):
            body += _property(member, value, ui, named)
        elif callable(value) and (not member.startswith("_") or member in ("__init__", "__enter__", "__exit__")):
            body += _method(member, value, isinstance(members, dict), ui, named)
        elif isinstance(value, staticmethod):
            body += _method(member, value.__func__, False, ui, named, static=True)
    if not body:
        return f"{lines[0]} ...", named
    return "\n".join(lines + [line for entry in body for line in _wrapped("    " + entry)]) + "\n", named


def _wrapped(line: str) -> list[str]:
    """A line of a class, with one parameter per line where it is too long."""
    if len(line) <= _WIDTH:
        return [line]
    head, _, rest = line.partition("(")
    inside, _, tail = rest.rpartition(") -> ")
    short = f"        {inside}"
    within = [short] if len(short) <= _WIDTH and "= ..." not in inside else [f"        {p}," for p in _split(inside)]
    return [f"{head}(", *within, f"    ) -> {tail}"]


def _property(name: str, value: property, ui: ModuleType, named: set[str]) -> list[str]:
    found = _SIGNATURE.match((value.fget.__doc__ or "").strip().split("\n")[0]) if value.fget is not None else None
    kind = "Any" if found is None else _type(found.group(3), ui, named)
    if value.fset is not None:
        # Lengths are set with numbers too.
        return [f"{name}: {kind}" if kind != "Length" else f"{name}: Length | float"]
    return ["@property", f"def {name}(self) -> {kind}: ..."]


def _method(name: str, value: Any, is_enum: bool, ui: ModuleType, named: set[str], static: bool = False) -> list[str]:
    if is_enum:
        return []
    if name == "__enter__":
        return ["def __enter__(self) -> Self: ..."]
    if name == "__exit__":
        return ["def __exit__(self, *error: object) -> None: ..."]
    doc = value.__doc__ or ""
    signatures = [found for line in doc.split("\n") if (found := _SIGNATURE.match(line.strip())) is not None]
    if len(signatures) > 1 and signatures[0].group(2) == "*args, **kwargs":
        signatures = signatures[1:]
    if not signatures:
        return [f"def {name}(self, *args: Any, **kwargs: Any) -> {'None' if name == '__init__' else 'Any'}: ..."]
    keywords = dict(_KEYWORD.findall(doc.partition("Keyword Arguments")[2])) if name == "__init__" else {}
    if keywords and "tooltip" in keywords:
        keywords["style"] = "dict"  # every widget takes it, though no docstring says so
    lines: list[str] = []
    for found in signatures:
        parameters = [_parameter(text, ui, named) for text in _split(found.group(2)) if not text.startswith("self")]
        if "**kwargs: Any" in parameters and keywords:
            given = {parameter.partition(":")[0] for parameter in parameters}
            parameters.remove("**kwargs: Any")
            extra = [f"{k}: {_keyword(t, ui, named)} = ..." for k, t in keywords.items() if k not in given]
            parameters += extra if any(text.startswith("*") for text in parameters) else ["*", *extra]
        if len(signatures) > 1:
            lines.append("@overload")
        if static or not _is_bound(found.group(2)):
            lines.append("@staticmethod")
        else:
            parameters.insert(0, "self")
        result = "None" if name == "__init__" else _type(found.group(3), ui, named)
        lines.append(f"def {name}({', '.join(parameters)}) -> {result}: ...")
    return lines


def _is_bound(parameters: str) -> bool:
    return parameters.startswith(("self", "arg0: omni.ui"))


def _keyword(text: str, ui: ModuleType, named: set[str]) -> str:
    kind = _type(text.strip() or "object", ui, named)
    return f"{kind} | float" if kind == "Length" else kind


def _parameter(text: str, ui: ModuleType, named: set[str]) -> str:
    if text.startswith("*"):
        return f"{text}: Any"
    name, _, rest = text.partition(": ")
    kind, default, _ = rest.partition(" = ")
    kind = _type(kind, ui, named)
    return (
        f"{name}: {kind}{' | None = ...' if default and kind not in _PLAIN.values() else ' = ...' if default else ''}"
    )


def _type(text: str, ui: ModuleType, named: set[str]) -> str:
    """A pybind11 type as an annotation; what cannot be said is Any."""
    text = text.strip()
    if text in _PLAIN:
        return _PLAIN[text]
    if text.startswith("Callable[[") and text.endswith("]"):
        arguments, _, result = text.removeprefix("Callable[[").removesuffix("]").rpartition("], ")
        listed = ", ".join(_type(part, ui, named) for part in _split(arguments))
        return f"Callable[[{listed}], {_type(result, ui, named)}]"
    if text.startswith("List[") and text.endswith("]"):
        return f"list[{_type(text[5:-1], ui, named)}]"
    short = text.removeprefix("omni.ui._ui.").removeprefix("ui.")
    if short.isidentifier() and isinstance(getattr(ui, short, None), type):
        named.add(short)
        return short
    return "Callable[..., Any]" if text == "Callable" else "Any"


def _split(text: str) -> list[str]:
    """Parts between commas that stand in no bracket."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "[(<") - (letter in "])>" and text[index - 1] != "-")
        if letter == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [*parts, text[start:].strip()] if text.strip() else []


if __name__ == "__main__":
    main()
