"""A small reader of binary glTF that skins with nothing but the file: the oracle of the exporter."""

from __future__ import annotations

import json
import struct

import numpy as np
from scipy.spatial.transform import Rotation

_TYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_SHAPES = {"SCALAR": (), "VEC2": (2,), "VEC3": (3,), "VEC4": (4,), "MAT4": (4, 4)}


class Gltf:
    """The document and its arrays."""

    def __init__(self, data: bytes) -> None:
        magic, version, length, json_length, json_type = struct.unpack_from("<4sIII4s", data)
        assert (magic, version, length, json_type) == (b"glTF", 2, len(data), b"JSON")
        self.document = json.loads(data[20 : 20 + json_length])
        size, kind = struct.unpack_from("<I4s", data, 20 + json_length)
        self._binary = data[28 + json_length :]
        assert kind == b"BIN\0" and size == len(self._binary) == self.document["buffers"][0]["byteLength"]

    def array(self, index: int) -> np.ndarray:
        """Values of an accessor; matrices as they are meant, not as they are stored."""
        accessor = self.document["accessors"][index]
        view = self.document["bufferViews"][accessor["bufferView"]]
        shape = _SHAPES[accessor["type"]]
        count = accessor["count"] * int(np.prod(shape))
        dtype = np.dtype(_TYPES[accessor["componentType"]])
        assert view["byteOffset"] % 4 == 0 and count * dtype.itemsize == view["byteLength"]
        values = np.frombuffer(self._binary, dtype, count, view["byteOffset"]).reshape(accessor["count"], *shape)
        for bound, found in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
            if bound in accessor:
                assert np.array_equal(np.float32(accessor[bound]), np.atleast_1d(found))
        return np.swapaxes(values, 1, 2) if shape == (4, 4) else values

    def primitive(self) -> dict[str, np.ndarray]:
        """Attributes and indices of the only primitive."""
        (mesh,) = self.document["meshes"]
        (primitive,) = mesh["primitives"]
        arrays = {name: self.array(index) for name, index in primitive["attributes"].items()}
        return arrays | {"indices": self.array(primitive["indices"])}

    def node_transforms(self, time: float | None) -> np.ndarray:
        """World transforms of all nodes at a key time of the animation, or at rest."""
        nodes = [
            {"rotation": [0, 0, 0, 1], "translation": [0, 0, 0]} | node for node in map(dict, self.document["nodes"])
        ]
        if time is not None:
            (animation,) = self.document["animations"]
            for channel in animation["channels"]:
                sampler = animation["samplers"][channel["sampler"]]
                times = self.array(sampler["input"])
                # Before the first and after the last key a channel holds; the tests ask for key times only.
                key = int(np.clip(np.argmin(np.abs(times - time)), 0, len(times) - 1))
                assert len(times) == 1 or abs(times[key] - time) < 1e-5
                target = channel["target"]
                nodes[target["node"]][target["path"]] = self.array(sampler["output"])[key]
        world = np.full((len(nodes), 4, 4), np.nan)

        def visit(index: int, above: np.ndarray) -> None:
            local = np.eye(4)
            local[:3, :3] = Rotation.from_quat(nodes[index]["rotation"]).as_matrix()
            local[:3, 3] = nodes[index]["translation"]
            world[index] = above @ local
            for child in nodes[index].get("children", []):
                visit(child, world[index])

        for root in self.document["scenes"][0]["nodes"]:
            visit(root, np.eye(4))
        return world

    def skinned(self, time: float | None) -> np.ndarray:
        """Vertices [V, 3] skinned as section 3.7.3.3 of the specification says."""
        (skin,) = self.document["skins"]
        arrays = self.primitive()
        matrices = self.node_transforms(time)[skin["joints"]] @ self.array(skin["inverseBindMatrices"])
        points = np.concatenate([arrays["POSITION"], np.ones((len(arrays["POSITION"]), 1))], axis=1)
        result = np.zeros((len(points), 3))
        for number in range(sum(name.startswith("JOINTS") for name in arrays)):
            joints, weights = arrays[f"JOINTS_{number}"], arrays[f"WEIGHTS_{number}"]
            for slot in range(4):
                moved = np.einsum("vab,vb->va", matrices[joints[:, slot], :3], points)
                result += weights[:, slot, None] * moved
        return result
