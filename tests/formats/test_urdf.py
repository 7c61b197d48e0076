"""URDF bytes: hostile XML and broken numbers are refused, capsules are read in both spellings."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soma_isaac.errors import InputRejected
from soma_isaac.formats.urdf import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, read_urdf
from soma_isaac.rig.skeleton import data_path
from tests.cost import cpu_ratio, instructions, peak_bytes

LAUGHS = (
    '<!DOCTYPE robot [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
    + "]><robot><link name='&a11;'/></robot>"
).encode()
OUTSIDE = b'<!DOCTYPE robot [<!ENTITY x SYSTEM "file:///etc/hostname">]><robot><link name="&x;"/></robot>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (LAUGHS, "document type"),
        (LAUGHS.decode().encode("utf-16"), "document type"),
        (OUTSIDE, "document type"),
        (b"<!DOCTYPE robot SYSTEM 'http://localhost/x.dtd'><robot/>", "document type"),
        (b"<robot>" + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</robot>", "nested deeper"),
        (b"<robot>" + b"<a/>" * 400_000 + b"</robot>", "more than"),
        (b"<robot>" + b" " * MAX_BYTES + b"</robot>", "bytes"),
        (b"", "well-formed"),
        (b"<robot><link name='a'>", "well-formed"),
        (b"\x00\xff\xfe", "well-formed"),
        (b"<sdf/>", "<sdf>"),
        (b"<robot/>", "no links"),
        (b"<robot><link/></robot>", "no name"),
        (b"<robot><link name='a'/><link name='a'/></robot>", "twice"),
        (b"<robot><link name='a'/><joint name='j' type='ball'/></robot>", "unknown type"),
        (b"<robot><link name='a'/><joint name='j' type='fixed'/></robot>", "parent or child"),
        (
            b"<robot><link name='a'/><joint name='j' type='fixed'><parent link='a'/><child link='b'/></joint></robot>",
            "does not exist",
        ),
        (b"<robot><link name='a'><inertial><mass value='nan'/></inertial></link></robot>", "finite"),
        (b"<robot><link name='a'><inertial><mass value='1'/></inertial></link></robot>", "inertia tensor"),
        (b"<robot><link name='a'><inertial><mass value='${m}'/></inertial></link></robot>", "not a number"),
        (b"<robot><link name='a'><collision><geometry/></collision></link></robot>", "exactly one shape"),
        (
            b"<robot><link name='a'><collision><geometry><sphere radius='-1'/></geometry></collision></link></robot>",
            "negative",
        ),
    ],
)
def test_refused_before_much_is_done(data: bytes, reason: str) -> None:
    def refused() -> None:
        with pytest.raises(InputRejected, match=reason):
            read_urdf(data, "own.urdf")

    seen = min(data.count(b"<"), MAX_ELEMENTS)
    assert instructions(refused) < 20_000 + 80 * seen
    assert peak_bytes(refused) < 100_000 + 200 * seen


def _links(count: int) -> bytes:
    return b"<robot>" + b"".join(b"<link name='a%d'/>" % number for number in range(count)) + b"</robot>"


def test_names_are_compared_without_going_through_all_for_each() -> None:
    few, many = _links(1000), _links(16_000)
    assert cpu_ratio(lambda: read_urdf(few), lambda: read_urdf(many), rounds=3) < 64  # 16 times as many: 16 or so


def test_capsules_in_both_spellings() -> None:
    text = """<robot name="r"><link name="a">
      <collision name="new"><geometry><capsule radius="0.1" length="0.4"/></geometry></collision>
      <collision name="old"><origin rpy="0 1.5707963267948966 0"/>
        <geometry><cylinder radius="0.1" length="0.4"/></geometry></collision>
      <collision><geometry><cylinder radius="0.1" length="0.4"/></geometry></collision>
      <collision_checking><capsule name="old"/></collision_checking></link></robot>"""
    shapes = read_urdf(text.encode()).links[0].shapes
    assert [(shape.name, shape.kind) for shape in shapes] == [
        ("new", "capsule"),
        ("old", "capsule"),
        ("a_2", "cylinder"),
    ]
    assert {shape.size for shape in shapes} == {(0.1, 0.4)}
    np.testing.assert_allclose(shapes[1].rotation[:, 2], [1.0, 0.0, 0.0], atol=1e-15)


def test_rpy_turns_about_the_fixed_axes() -> None:
    roll, pitch, yaw = 0.3, -0.4, 1.1
    text = f'''<robot><link name="a"/><link name="b"/><joint name="j" type="fixed"><parent link="a"/><child link="b"/>
      <origin rpy="{roll} {pitch} {yaw}"/></joint></robot>'''
    cos, sin = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    x = np.array([[1, 0, 0], [0, cos[0], -sin[0]], [0, sin[0], cos[0]]])
    y = np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
    z = np.array([[cos[2], -sin[2], 0], [sin[2], cos[2], 0], [0, 0, 1]])
    np.testing.assert_allclose(read_urdf(text.encode()).joints[0].rotation, z @ y @ x, atol=1e-15)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_files_are_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(data_path("g1/g1_29dof.urdf").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for attempt in (bytes(content), bytes(content[:cut])):
        with contextlib.suppress(InputRejected):
            read_urdf(attempt)
