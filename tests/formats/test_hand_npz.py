"""SOMAHand.npz: read as it is laid out, refused where it is not sound."""

from __future__ import annotations

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.hand_npz import read_hand_npz


def record(**changes):
    points = np.arange(12.0).reshape(4, 3)
    sides = {}
    for side, first in (("left", 15), ("right", 43)):
        sides |= {
            f"{side}_vert_ids": np.array([5, 3, 9, 2]),
            f"{side}_hand_joint_ids_global": np.arange(first, first + 25),
            f"{side}_joint_parent_ids": np.zeros(25, int),
            f"{side}_boundary_loop": np.array([0, 3]),
            f"{side}_wrist_global_id": first,
            f"{side}_triangles": np.array([[0, 1, 2]]),
        }
    space = {
        "left_mean": points.astype(np.float32),
        "left_shapedirs": np.stack([points.ravel(), 2.0 * points.ravel()]).astype(np.float32),
        "left_eigenvalues": np.array([4.0, 1.0], np.float32),
    }
    return {key: value for key, value in (sides | space | changes).items() if value is not None}


def test_read(tmp_path):
    np.savez(tmp_path / "hand.npz", **record())
    right = read_hand_npz(tmp_path / "hand.npz", "right")
    assert right.vertices.tolist() == [5, 3, 9, 2] and right.border.tolist() == [0, 3]
    assert right.joints.tolist() == list(range(43, 68))
    np.testing.assert_allclose(right.left_space.mean, np.arange(12.0).reshape(4, 3) * 0.01)
    np.testing.assert_allclose(right.left_space.directions[1], np.arange(12.0).reshape(4, 3) * 0.02)


def test_without_shapes(tmp_path):
    np.savez(tmp_path / "hand.npz", **record(left_mean=None))
    assert read_hand_npz(tmp_path / "hand.npz", "left").left_space is None


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"left_vert_ids": None}, "left_vert_ids"),
        ({"left_vert_ids": np.array([-1, 0, 1, 2])}, "left_vert_ids"),
        ({"left_vert_ids": np.array([0.5, 0, 1, 2])}, "whole numbers"),
        ({"left_boundary_loop": np.array([4])}, "left_boundary_loop"),
        ({"left_hand_joint_ids_global": np.arange(24)}, "left_hand_joint_ids_global"),
        ({"left_hand_joint_ids_global": np.arange(60, 85)}, "left_hand_joint_ids_global"),
        ({"left_shapedirs": np.zeros((2, 11), np.float32)}, "left_shapedirs"),
        ({"left_eigenvalues": None}, "left_eigenvalues"),
        ({"left_eigenvalues": np.array([-1.0, 1.0])}, "eigenvalue"),
        ({"left_mean": np.full((4, 3), np.nan)}, "mean"),
        ({"left_mean": np.zeros((5, 3))}, "left_mean"),
        ({"left_vert_ids": np.array([{}, 1, 2, 3], dtype=object)}, "left_vert_ids"),
    ],
)
def test_refused(tmp_path, changes, words):
    path = tmp_path / "hand.npz"
    np.savez(path, **record(**changes))
    with pytest.raises(InputRejected, match=words) as caught:
        read_hand_npz(path, "left")
    assert caught.value.path == str(path)
