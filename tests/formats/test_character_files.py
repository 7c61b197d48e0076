"""Skeletons of foreign characters: places as the formats mean them, and files that are not what they claim."""

import json
import struct
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.character_gltf import read_gltf_character
from soma_isaac.formats.character_skeleton import CharacterSkeleton, parents_first, world_matrices
from soma_isaac.formats.character_usd import read_usd_character

QUARTER = [0.0, 0.0, float(np.sqrt(0.5)), float(np.sqrt(0.5))]


def gltf(nodes, **more):
    return {"asset": {"version": "2.0"}, "nodes": nodes, **more}


def written(tmp_path, document, name="c.gltf"):
    path = tmp_path / name
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    return path


def glb(document):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<5I", 0x46546C67, 2, 20 + len(text), len(text), 0x4E4F534A) + text


def arm():
    """An arm below a scaled, turned armature; the hand's tip is no joint of the skin."""
    return gltf(
        [
            {"name": "Hand", "translation": [0.0, 2.0, 0.0], "children": [3]},
            {"name": "Arm", "translation": [1.0, 0.0, 0.0], "rotation": QUARTER, "children": [0]},
            {"name": "Armature", "scale": [0.01, 0.01, 0.01], "translation": [0.0, 1.0, 0.0], "children": [1]},
            {"name": "Tip", "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 3, 0, 1]},
            {"name": "Camera"},
        ],
        skins=[{"joints": [1, 0]}],
    )


@pytest.mark.parametrize("binary", [False, True])
def test_gltf_nodes_are_where_the_format_puts_them(tmp_path, binary):
    path = written(tmp_path, glb(arm()) if binary else arm(), "c.glb" if binary else "c.gltf")
    skeleton = read_gltf_character(path)
    place = dict(zip(skeleton.joint_names, skeleton.positions, strict=True))
    assert set(place) == {"Arm", "Hand", "Tip"}
    np.testing.assert_allclose(place["Arm"], [0.01, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(place["Hand"], [-0.01, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(place["Tip"], [-0.04, 1.0, 0.0], atol=1e-12)
    hand = skeleton.joint_names.index("Hand")
    assert skeleton.joint_names[skeleton.parent_indices[hand]] == "Arm" and skeleton.metres_per_unit == 1.0


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (gltf([{"children": [1]}, {"children": [0]}]), "their own ancestors"),
        (gltf([{"children": [2]}, {"children": [2]}, {}]), "below two others"),
        (gltf([{"children": [0]}]), "or itself"),
        (gltf([{"children": [7]}]), "point at no node"),
        (gltf([{"children": [True]}, {}]), "point at no node"),
        (gltf([{"translation": [0, 1]}]), "translation of node 0 that is not 3 numbers"),
        (gltf([{"translation": [0, 1, 1e300]}]), "translation of node 0"),
        (gltf([{"translation": ["0", 1, 1]}]), "translation of node 0"),
        (gltf([{"rotation": [0, 0, 0, 0]}]), "no unit quaternion"),
        (gltf([]), "has 0 nodes"),
        (gltf({}), "no list"),
        (gltf([{}], skins=[{"joints": [3]}]), "joints that point at no node"),
        ({"asset": {"version": "1.0"}, "nodes": [{}]}, "no asset.version 2"),
        ([], "no asset.version 2"),
        (b'{"nodes": [NaN', "JSON cannot be read"),
        (b"[" * 100_000, "JSON cannot be read"),
        (b"\xff\xfe", "JSON cannot be read"),
        (struct.pack("<I", 0x46546C67), "ends inside its header"),
        (glb(gltf([{}]))[:-8], "no complete binary glTF"),
        (glb(gltf([{}])).replace(b"\x02\x00\x00\x00", b"\x01\x00\x00\x00", 1), "no complete binary glTF"),
    ],
)
def test_gltf_that_is_not_sound_is_refused(tmp_path, document, message):
    path = written(tmp_path, document)
    with pytest.raises(InputRejected, match=message) as caught:
        read_gltf_character(path)
    assert caught.value.path == str(path)


def test_nan_in_gltf_is_refused(tmp_path):
    with pytest.raises(InputRejected, match="translation of node 0"):
        read_gltf_character(written(tmp_path, b'{"asset":{"version":"2.0"},"nodes":[{"translation":[NaN,0,0]}]}'))


def usda(rest="", bind="", joints='["Hips", "Hips/Leg"]', unit="metersPerUnit = 1"):
    parts = [f"uniform token[] joints = {joints}"]
    for name, value in (("restTransforms", rest), ("bindTransforms", bind)):
        parts += [f"uniform matrix4d[] {name} = [{value}]"] if value else []
    body = "\n".join(parts)
    return f'#usda 1.0\n(\n{unit}\n)\ndef SkelRoot "R"\n{{\ndef Skeleton "S"\n{{\n{body}\n}}\n}}\n'.encode()


def matrix(rotation, translation):
    values = np.eye(4)
    values[:3, :3], values[3, :3] = rotation.T, translation
    return "(" + ", ".join("(" + ", ".join(f"{v:.9g}" for v in row) + ")" for row in values) + ")"


def test_usd_rest_poses_are_local_and_bind_poses_are_not(tmp_path):
    turn = Rotation.from_rotvec([0.0, 0.0, np.pi / 2]).as_matrix()
    local = ", ".join([matrix(turn, [0.0, 5.0, 0.0]), matrix(np.eye(3), [2.0, 0.0, 0.0])])
    world = ", ".join([matrix(turn, [0.0, 5.0, 0.0]), matrix(turn, [0.0, 9.0, 0.0])])
    path = written(tmp_path, usda(rest=local, bind=world), "c.usda")
    skeleton = read_usd_character(path)
    assert skeleton.joint_names == ("Hips", "Leg") and skeleton.pose == "restTransforms"
    np.testing.assert_allclose(skeleton.positions, [[0.0, 5.0, 0.0], [0.0, 7.0, 0.0]], atol=1e-8)
    only_bind = read_usd_character(written(tmp_path, usda(bind=world, unit="metersPerUnit = 0.01"), "b.usda"))
    np.testing.assert_allclose(only_bind.positions[1], [0.0, 9.0, 0.0], atol=1e-8)
    assert only_bind.metres_per_unit == 0.01 and only_bind.parent_indices.tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"#usda 1.0\n", "no Skeleton prim"),
        (usda(), "neither restTransforms nor bindTransforms"),
        (usda(rest=matrix(np.eye(3), [0.0, 0.0, 0.0])), "restTransforms of shape"),
        (usda(rest=matrix(np.eye(3), [0, 0, 0]), joints='["A", "A"]'), "some twice"),
        (b"PXR-USDC", "not a text USD file"),
    ],
)
def test_usd_that_is_not_sound_is_refused(tmp_path, document, message):
    with pytest.raises(InputRejected, match=message):
        read_usd_character(written(tmp_path, document, "c.usda"))


def test_chains_may_stand_in_any_order_but_not_in_rings():
    local = np.tile(np.eye(4), (3, 1, 1))
    local[:, 0, 3] = [1.0, 2.0, 4.0]
    assert world_matrices(local, np.array([1, 2, -1]))[:, 0, 3].tolist() == [7.0, 6.0, 4.0]
    with pytest.raises(InputRejected, match="their own ancestors"):
        world_matrices(local, np.array([1, 2, 0]))
    count = 60_000  # the time would grow with the square: minutes
    chain, begun = np.arange(count) - 1, time.process_time()
    assert parents_first(chain) == list(range(count))
    with pytest.raises(InputRejected, match="their own ancestors"):
        parents_first(np.append(chain[1:], count - 2))
    assert time.process_time() - begun < 5.0
    with pytest.raises(InputRejected, match="0 joints"):
        CharacterSkeleton((), np.zeros(0), np.zeros((0, 3)), None, "")
