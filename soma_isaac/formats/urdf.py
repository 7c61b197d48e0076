"""URDF robot descriptions as plain data.

The file is foreign: it is read with expat directly, document types (and with them entities, the "billion laughs") are
refused before anything is expanded, and size, depth and element count are limited. Nothing is loaded from other files;
meshes are named, not opened.

A capsule may be written in two ways: ``<capsule>`` (URDF 1.2), or ``<cylinder>`` that the link names again under
``<collision_checking><capsule name="..."/>``. The second is what we write, because it is the one every reader takes:
Pinocchio turns it into a capsule, Isaac Sim 5 does with ``replace_cylinders_with_capsules``, and readers that know no
capsules (urdf-usd-converter 0.3, and so Isaac Sim 6) still get a shape instead of dropping it. ``length`` is the
distance of the two cap centres in both.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import repeated
from soma_isaac.math.arrays import frozen_array

MAX_BYTES = 4 << 20
MAX_ELEMENTS = 50_000
MAX_DEPTH = 32
JOINT_KINDS = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")
SHAPE_SIZES = {
    "sphere": ("radius",),
    "capsule": ("radius", "length"),
    "cylinder": ("radius", "length"),
}


@dataclass(frozen=True, eq=False)
class UrdfShape:
    """A collision element.

    Attributes:
        name: Its name; ``<link>_<index>`` where the file gives none.
        kind: ``sphere``, ``capsule``, ``cylinder``, ``box`` or ``mesh``.
        translation: [3] m, centre in the link frame.
        rotation: [3, 3] shape to link; capsules and cylinders lie along the shape's z axis.
        size: Radius (sphere); radius and length between cap centres (capsule) or faces (cylinder), m; else empty.
    """

    name: str
    kind: str
    translation: np.ndarray
    rotation: np.ndarray
    size: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class UrdfLink:
    """A link with its mass properties.

    Attributes:
        name: Link name.
        mass: kg, 0 for a link without ``<inertial>``.
        com: [3] m, centre of mass in the link frame.
        inertia: [3, 3] kg m^2 about the centre of mass, axes of the link frame.
        shapes: Collision elements in file order.
    """

    name: str
    mass: float
    com: np.ndarray
    inertia: np.ndarray
    shapes: tuple[UrdfShape, ...]


@dataclass(frozen=True, eq=False)
class UrdfJoint:
    """A joint; its frame is the child link's frame.

    Attributes:
        name: Joint name.
        kind: One of :data:`JOINT_KINDS`.
        parent: Parent link.
        child: Child link.
        translation: [3] m, child origin in the parent link frame.
        rotation: [3, 3] child axes in the parent link frame at joint position 0.
        axis: [3] unit vector in the joint (child) frame.
        lower: rad (m for prismatic), NaN where not given.
        upper: As ``lower``.
        velocity: Limit in rad/s, NaN where not given.
        effort: Limit in N m, NaN where not given.
    """

    name: str
    kind: str
    parent: str
    child: str
    translation: np.ndarray
    rotation: np.ndarray
    axis: np.ndarray
    lower: float
    upper: float
    velocity: float
    effort: float


@dataclass(frozen=True, eq=False)
class Urdf:
    """A robot description as it stands in the file.

    Attributes:
        name: Robot name.
        links: Links in file order.
        joints: Joints in file order.
        digest: sha256 of the bytes, hex.
    """

    name: str
    links: tuple[UrdfLink, ...]
    joints: tuple[UrdfJoint, ...]
    digest: str


class _Tree:
    """Expat handlers that build an element tree within limits."""

    def __init__(self, source: str | None) -> None:
        self.source = source
        self.builder = TreeBuilder()
        self.count = 0
        self.depth = 0

    def refuse(self, *_: object) -> None:
        raise InputRejected("the XML declares a document type or entities, which a URDF has no use for", self.source)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.count += 1
        self.depth += 1
        if self.count > MAX_ELEMENTS or self.depth > MAX_DEPTH:
            raise InputRejected(
                f"the XML has more than {MAX_ELEMENTS} elements or is nested deeper than {MAX_DEPTH}", self.source
            )
        self.builder.start(tag, attributes)

    def end(self, tag: str) -> None:
        self.depth -= 1
        self.builder.end(tag)


def parse_xml(data: bytes, source: str | None = None) -> Element:
    """The root element of an XML document of limited size, without document type, entities or outside references.

    Args:
        data: The bytes.
        source: What to call them in error messages.

    Raises:
        InputRejected: Too large or too deep, not well formed, or it declares a document type.
    """
    if len(data) > MAX_BYTES:
        raise InputRejected(f"the file has {len(data)} bytes; at most {MAX_BYTES} are read", source)
    tree = _Tree(source)
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = tree.refuse
    parser.EntityDeclHandler = tree.refuse
    parser.ExternalEntityRefHandler = tree.refuse
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InputRejected(f"the file is not well-formed XML ({error})", source) from error
    return tree.builder.close()


def read_urdf(data: bytes, source: str | None = None) -> Urdf:
    """Read a URDF.

    Args:
        data: The bytes of the file.
        source: What to call it in error messages.

    Returns:
        The description; limits and inertias are as in the file, nothing is merged.

    Raises:
        InputRejected: Not XML, not a URDF, a number is missing or not finite, or names are missing or used twice.
    """
    root = parse_xml(data, source)
    if root.tag != "robot":
        raise InputRejected(f"the root element is <{root.tag}>, a URDF has <robot>", source)
    try:
        links = tuple(_link(element) for element in root.findall("link"))
        joints = tuple(_joint(element) for element in root.findall("joint"))
    except InputRejected as error:
        raise InputRejected(error.reason, source) from error
    for what, names in (("link", [x.name for x in links]), ("joint", [x.name for x in joints])):
        twice = sorted(repeated(names))
        if twice:
            raise InputRejected(f"{what} names are used twice: {', '.join(twice)}", source)
    if not links:
        raise InputRejected("the URDF has no links", source)
    known = {link.name for link in links}
    for joint in joints:
        for link in (joint.parent, joint.child):
            if link not in known:
                raise InputRejected(f"joint {joint.name} names the link {link!r}, which does not exist", source)
    return Urdf(root.get("name", ""), links, joints, hashlib.sha256(data).hexdigest())


def _name(element: Element) -> str:
    name = element.get("name", "")
    if not name:
        raise InputRejected(f"a <{element.tag}> has no name")
    return name


def _numbers(text: str | None, count: int, where: str) -> np.ndarray:
    parts = (text or "").split()
    try:
        values = [float(part) for part in parts]
    except ValueError as error:
        raise InputRejected(f"{where} is not a number: {text!r}") from error
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise InputRejected(f"{where} needs {count} finite numbers, found {text!r}")
    return np.array(values)


def _scalar(element: Element | None, key: str, where: str) -> float:
    text = None if element is None else element.get(key)
    return math.nan if text is None else float(_numbers(text, 1, f"{where} {key}")[0])


def _origin(element: Element, where: str) -> tuple[np.ndarray, np.ndarray]:
    origin = element.find("origin")
    xyz, rpy = ("0 0 0", "0 0 0") if origin is None else (origin.get("xyz", "0 0 0"), origin.get("rpy", "0 0 0"))
    # URDF rpy: rotations about the fixed x, y, z axes in turn.
    rotation = Rotation.from_euler("xyz", _numbers(rpy, 3, f"{where} rpy")).as_matrix()
    return frozen_array("xyz", _numbers(xyz, 3, f"{where} xyz"), (3,)), frozen_array("rpy", rotation, (3, 3))


def _link(element: Element) -> UrdfLink:
    name = _name(element)
    where = f"link {name}"
    mass, com, inertia = 0.0, np.zeros(3), np.zeros((3, 3))
    inertial = element.find("inertial")
    if inertial is not None:
        com, rotation = _origin(inertial, where)
        mass = _scalar(inertial.find("mass"), "value", where)
        tensor = inertial.find("inertia")
        xx, xy, xz, yy, yz, zz = (_scalar(tensor, key, where) for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"))
        inertia = rotation @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ rotation.T
        if not (mass >= 0.0 and np.isfinite(inertia).all()):
            raise InputRejected(f"{where} has an <inertial> without mass or without a full inertia tensor")
    checking = element.find("collision_checking")
    capsules = set() if checking is None else {capsule.get("name") for capsule in checking.findall("capsule")}
    shapes = tuple(
        _shape(collision, f"{name}_{index}", capsules) for index, collision in enumerate(element.findall("collision"))
    )
    return UrdfLink(name, mass, frozen_array("com", com, (3,)), frozen_array("inertia", inertia, (3, 3)), shapes)


def _shape(element: Element, default_name: str, capsules: set[str | None]) -> UrdfShape:
    name = element.get("name") or default_name
    where = f"collision {name}"
    geometry = element.find("geometry")
    if geometry is None or len(geometry) != 1:
        raise InputRejected(f"{where} needs exactly one shape in its <geometry>")
    shape = geometry[0]
    kind = "capsule" if shape.tag == "cylinder" and name in capsules else shape.tag
    if kind not in (*SHAPE_SIZES, "box", "mesh"):
        raise InputRejected(f"{where} has the unknown shape <{shape.tag}>")
    size = tuple(_scalar(shape, key, where) for key in SHAPE_SIZES.get(kind, ()))
    if not all(value >= 0.0 for value in size):
        raise InputRejected(f"{where} lacks a size of {', '.join(SHAPE_SIZES[kind])} or has a negative one")
    return UrdfShape(name, kind, *_origin(element, where), size)


def _joint(element: Element) -> UrdfJoint:
    name = _name(element)
    where = f"joint {name}"
    kind = element.get("type", "")
    if kind not in JOINT_KINDS:
        raise InputRejected(f"{where} has the unknown type {kind!r}")
    ends = [(element.find(tag), tag) for tag in ("parent", "child")]
    links = ["" if end is None else end.get("link", "") for end, _ in ends]
    if not all(links):
        raise InputRejected(f"{where} lacks its parent or child link")
    axis_element = element.find("axis")
    axis = _numbers("1 0 0" if axis_element is None else axis_element.get("xyz"), 3, f"{where} axis")
    norm = float(np.linalg.norm(axis))
    if norm == 0.0:
        raise InputRejected(f"{where} has a zero axis")
    limit = element.find("limit")
    limits = [_scalar(limit, key, where) for key in ("lower", "upper", "velocity", "effort")]
    return UrdfJoint(name, kind, links[0], links[1], *_origin(element, where), axis / norm, *limits)
