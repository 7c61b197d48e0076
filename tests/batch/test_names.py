"""Names from outside: accepted, refused, shown."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soma_isaac.batch.names import collisions, escaped, folded, name_problem, shown


@pytest.mark.parametrize(
    "name",
    [
        "walk.npz",
        "CMU/01/01_01_poses.npz",
        "a b.npz",
        "a[/bold].npz",
        "歩く.npz",
        "ходьба/прыжок.npz",
        "é.npz",
        "a'b.npz",
        "-rf.npz",
        "$(reboot).npz",
        "console.npz",
        "com10.npz",
        "x" * 196 + ".npz",
    ],
)
def test_accepted(name):
    assert name_problem(name) is None


@pytest.mark.parametrize(
    "name,word",
    [
        ("../x.npz", "elsewhere"),
        ("a/../x.npz", "elsewhere"),
        ("./x.npz", "elsewhere"),
        ("a//x.npz", "elsewhere"),
        ("/x.npz", "absolute"),
        ("", "empty"),
        ("CON", "reserved"),
        ("con.npz", "reserved"),
        ("a/Nul.npz/b.npz", "reserved"),
        ("LPT1.tar.npz", "reserved"),
        ("COM¹.npz", "reserved"),
        ("x" * 300 + ".npz", "longer"),
        ("ж" * 101 + ".npz", "longer"),
        ("a/" * 600 + "x.npz", "longer"),
        ("a\0b.npz", "control"),
        ("a\x1b[31m.npz", "control"),
        ("a\nb.npz", "control"),
        ("a\x7fb.npz", "control"),
        ("a\x85b.npz", "control"),
        ("a./x.npz", "dot"),
        ("a /x.npz", "space"),
        ("x.npz.", "dot"),
        ("a\\b.npz", "file system"),
        ("C:x.npz", "file system"),
        ("a?.npz", "file system"),
        ("a\udc80.npz", "UTF-8"),
    ],
)
def test_refused(name, word):
    problem = name_problem(name)
    assert problem is not None and word in problem
    assert problem.isprintable()


@settings(deadline=None)
@given(st.text())
def test_shown_is_one_printable_line(name):
    assert shown(name).isprintable() and len(shown(name)) <= 160


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20))
def test_shown_keeps_names_apart(first, second):
    assert (shown(first) == shown(second)) == (first == second)


def test_shown_surrogates_and_bidi():
    assert shown("a\udc80\u202eb\u2028\\") == r"a\udc80\u202eb\u2028\\"
    assert escaped("a\tb\\n") == "a\\tb\\n"


COLLIDING = [
    ("a.npz", "a.npz"),
    ("a.npz", "A.npz"),
    ("a/B.npz", "A/b.npz"),
    ("straße.npz", "STRASSE.npz"),
    ("é.npz", "e\u0301.npz"),
    ("É.npz", "e\u0301.npz"),
    ("ﬁ.npz", "FI.npz"),
    ("Å.npz", "\u212b.npz"),
    ("σ.npz", "ς.npz"),
    ("x", "x/y.npz"),
    ("X", "x/y/z.npz"),
    ("a/x.npz", "a/x.npz/b.npz"),
]


@pytest.mark.parametrize("first,second", COLLIDING)
def test_collisions_are_found(first, second):
    assert len(collisions([(first, "one"), (second, "two"), ("else.npz", "three")])) == 1


@pytest.mark.parametrize(
    "first,second", [("a.npz", "b.npz"), ("a/x.npz", "b/x.npz"), ("a", "ab/c"), ("i.npz", "ı.npz")]
)
def test_different_names_do_not_collide(first, second):
    assert collisions([(first, "one"), (second, "two")]) == []


@settings(deadline=None)
@given(st.text())
def test_folding_is_idempotent(name):
    assert folded(folded(name)) == folded(name)
