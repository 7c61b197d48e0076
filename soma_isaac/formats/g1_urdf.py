"""Write the bundled G1 model: mjlab's mesh-stripped MJCF and Unitree's limits, as one mesh-free URDF.

Kinematics, inertias and the 33 collision capsules and spheres are those of the G1 of mjlab 1.6.0 (Apache-2.0; the
model is Unitree's, BSD-3-Clause); position, velocity and effort limits are those of Unitree's
``g1_29dof_rev_1_0.urdf``.
See ``data/g1/README.md``.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.urdf import parse_xml

ACTUATORS = {
    "hip_pitch": (32.0, 88.0),
    "hip_roll": (20.0, 139.0),
    "hip_yaw": (32.0, 88.0),
    "knee": (20.0, 139.0),
    "ankle_pitch": (30.0, 35.0),
    "ankle_roll": (30.0, 35.0),
    "waist_yaw": (32.0, 88.0),
    "waist_roll": (30.0, 35.0),
    "waist_pitch": (30.0, 35.0),
    "shoulder_pitch": (37.0, 25.0),
    "shoulder_roll": (37.0, 25.0),
    "shoulder_yaw": (37.0, 25.0),
    "elbow": (37.0, 25.0),
    "wrist_roll": (37.0, 25.0),
    "wrist_pitch": (22.0, 5.0),
    "wrist_yaw": (22.0, 5.0),
}
"""Velocity [rad/s] and effort [N m] limits by joint, as in Unitree's URDF."""

WRIST_RANGES = {"wrist_roll": 1.972222054, "wrist_pitch": 1.614429558, "wrist_yaw": 1.614429558}
"""Symmetric wrist position limits [rad] with the digits of Unitree's URDF; the MJCF rounds them to five decimals."""

HEADER = """<?xml version="1.0" encoding="utf-8"?>
<!-- Unitree G1, 29 degrees of freedom, without meshes. Written by scripts/build_g1_urdf.py; do not edit.
     Kinematics, inertias and collision shapes: g1.xml of mjlab 1.6.0 (Apache-2.0), after Unitree's g1_29dof_rev_1_0.
     Limits: Unitree's g1_29dof_rev_1_0.urdf. Unitree Robotics, BSD-3-Clause: see README.md beside this file.
     Cylinders named under collision_checking are capsules; their length is the distance of the cap centres. -->
<robot name="g1_29dof">
"""


def g1_urdf_bytes(mjcf: bytes) -> bytes:
    """The URDF of the G1 from the MJCF of mjlab (with or without its meshes).

    Args:
        mjcf: Bytes of ``g1.xml`` of mjlab 1.6.0.

    Returns:
        UTF-8 text, links and joints depth first in the order of the MJCF.

    Raises:
        InputRejected: The MJCF does not have the elements this expects of that model.
    """
    world = parse_xml(mjcf).find("worldbody")
    root = None if world is None else world.find("body")
    if root is None:
        raise InputRejected("the MJCF has no body in its worldbody")
    lines: list[str] = [HEADER]
    _write_body(root, None, lines)
    return ("".join(lines) + "</robot>\n").encode()


def _write_body(body: Element, parent: str | None, lines: list[str]) -> None:
    name = body.get("name", "")
    if parent is not None:
        _write_joint(body, parent, lines)
    lines.append(f'  <link name="{name}">\n')
    _write_inertial(body, lines)
    shapes = [geom for geom in body.findall("geom") if geom.get("class") in ("collision", "foot_capsule")]
    for geom in shapes:
        _write_shape(geom, lines)
    capsules = [geom.get("name") for geom in shapes if geom.get("type") != "sphere"]
    if capsules:
        names = "".join(f'<capsule name="{capsule}"/>' for capsule in capsules)
        lines.append(f"    <collision_checking>{names}</collision_checking>\n")
    lines.append("  </link>\n")
    for child in body.findall("body"):
        _write_body(child, name, lines)


def _write_joint(body: Element, parent: str, lines: list[str]) -> None:
    joint = body.find("joint")
    if joint is None:
        raise InputRejected(f"the body {body.get('name')} has no joint")
    name = joint.get("name", "")
    kind = name.removeprefix("left_").removeprefix("right_").removesuffix("_joint")
    if kind not in ACTUATORS:
        raise InputRejected(f"no actuator limits are known for the joint {name!r}")
    velocity, effort = ACTUATORS[kind]
    lower, upper = _floats(joint, "range", "")
    if kind in WRIST_RANGES:
        lower, upper = -WRIST_RANGES[kind], WRIST_RANGES[kind]
    lines.append(
        f'  <joint name="{name}" type="revolute">\n'
        f"    {_origin(_floats(body, 'pos', '0 0 0'), _rotation(body).as_euler('xyz'))}\n"
        f'    <parent link="{parent}"/>\n'
        f'    <child link="{body.get("name")}"/>\n'
        f'    <axis xyz="{joint.get("axis")}"/>\n'
        f'    <limit lower="{lower:.12g}" upper="{upper:.12g}" velocity="{velocity:g}" effort="{effort:g}"/>\n'
        "  </joint>\n"
    )


def _write_inertial(body: Element, lines: list[str]) -> None:
    inertial = body.find("inertial")
    if inertial is None:
        raise InputRejected(f"the body {body.get('name')} has no inertial")
    rotation = _rotation(inertial).as_matrix()
    tensor = rotation @ np.diag(_floats(inertial, "diaginertia", "")) @ rotation.T
    entries = {"ixx": (0, 0), "ixy": (0, 1), "ixz": (0, 2), "iyy": (1, 1), "iyz": (1, 2), "izz": (2, 2)}
    inertia = " ".join(f'{key}="{tensor[index]:.12g}"' for key, index in entries.items())
    lines.append(
        "    <inertial>\n"
        f'      <origin xyz="{inertial.get("pos")}"/>\n'
        f'      <mass value="{inertial.get("mass")}"/>\n'
        f"      <inertia {inertia}/>\n"
        "    </inertial>\n"
    )


def _write_shape(geom: Element, lines: list[str]) -> None:
    # The radius of foot capsules stands in their default class.
    radius = geom.get("size", "0.01")
    if geom.get("type") == "sphere":
        origin = _origin(_floats(geom, "pos", "0 0 0"), [0.0, 0.0, 0.0])
        shape = f'<sphere radius="{radius}"/>'
    else:
        ends = np.array(_floats(geom, "fromto", "")).reshape(2, 3)
        direction = ends[1] - ends[0]
        length = float(np.linalg.norm(direction))
        x, y, z = direction / length
        # Turn z to the direction: about y by the polar angle, then about z by the azimuth.
        origin = _origin(ends.mean(axis=0), [0.0, np.arctan2(np.hypot(x, y), z), np.arctan2(y, x)])
        shape = f'<cylinder radius="{radius}" length="{length:.12g}"/>'
    lines.append(
        f'    <collision name="{geom.get("name")}">\n'
        f"      {origin}\n"
        f"      <geometry>{shape}</geometry>\n"
        "    </collision>\n"
    )


def _floats(element: Element, key: str, default: str) -> list[float]:
    try:
        values = [float(part) for part in element.get(key, default).split()]
    except ValueError as error:
        raise InputRejected(f"{element.tag} {element.get('name')}: {key} is not numeric") from error
    if not values:
        raise InputRejected(f"{element.tag} {element.get('name')}: {key} is missing")
    return values


def _rotation(element: Element) -> Rotation:
    w, x, y, z = _floats(element, "quat", "1 0 0 0")
    return Rotation.from_quat([x, y, z, w])


def _origin(xyz: list[float] | np.ndarray, rpy: list[float] | np.ndarray) -> str:
    # Twelve digits keep the forward kinematics within 1e-11 m; + 0.0 turns -0 into 0.
    place = " ".join(f"{value + 0.0:.12g}" for value in xyz)
    turn = " ".join(f"{round(value, 15) + 0.0:.15g}" for value in rpy)
    return f'<origin xyz="{place}"/>' if turn == "0 0 0" else f'<origin xyz="{place}" rpy="{turn}"/>'
