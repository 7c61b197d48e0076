"""The pose network in numpy: what the panel, the scripts and a simulation call, without torch.

The same arithmetic as :class:`soma_isaac.learned.network.PoseNetwork`, float32; a test holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, Effectors
from soma_isaac.learned.predictor import placement
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, BodySkeleton, log_bone_ratios

JOINT_COUNT = len(BODY_JOINT_NAMES)
SHAPE_SIZE = JOINT_COUNT - 1
EMBEDDING_SIZE = 32
LOOK_AT_REACH = 2.0
"""A look-at target at this distance (in body scales) is drawn half way in: far targets differ in direction only."""


class NetworkPredictor:
    """Proposes poses with a trained network.

    Args:
        tensors: The network's tensors by name, e.g. of :func:`soma_isaac.formats.pose_network.read_pose_network`.
        card: Its card; ``card["network"]`` gives width, blocks and layers.

    Raises:
        InputRejected: A tensor is missing or has another shape, or the network is of a variant not known here.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> None:
        size = card.get("network", {})
        try:
            self.width, blocks, layers = (int(size[name]) for name in ("width", "blocks", "layers"))
        except (KeyError, TypeError, ValueError):
            raise InputRejected("the card of a pose network gives no width, blocks and layers") from None
        if min(self.width, blocks, layers) < 1:
            raise InputRejected(f"a pose network of width {self.width}, {blocks} blocks of {layers} layers is none")
        if not size.get("canonical", True):
            raise InputRejected("a network in the papers' frame is for comparison only and cannot be loaded here")
        self._take = _Taker(tensors)
        inputs = 7 + 2 * EMBEDDING_SIZE + SHAPE_SIZE
        first = self.width + SHAPE_SIZE
        self._joints = self._take("joint_embedding.weight", (JOINT_COUNT, EMBEDDING_SIZE))
        self._kinds = self._take("kind_embedding.weight", (3, EMBEDDING_SIZE))
        self._template = (
            self._take("template_positions", (JOINT_COUNT, 3)).astype(np.float64),
            self._take("template_world", (JOINT_COUNT, 3, 3)).astype(np.float64),
        )

        def stack(name: str, inputs: int, outputs: int) -> list[_Block]:
            sizes = [inputs, *[self.width] * (blocks - 1)]
            return [
                _Block(self._take, f"{name}.{i}", size, self.width, outputs, layers) for i, size in enumerate(sizes)
            ]

        self._encoder = stack("encoder", inputs, self.width)
        self._positions = stack("position_decoder.blocks", first, 3 * JOINT_COUNT)
        self._rotations = stack("rotation_decoder.blocks", first + 3 * JOINT_COUNT, 6 * JOINT_COUNT)

    def predict(self, effectors: Effectors, skeleton: BodySkeleton) -> BodyPose:
        """One pose per set, of the body ``skeleton``; the root is where the position decoder puts it."""
        return self.predict_bodies(effectors, skeleton.rest_offsets[None])

    def predict_bodies(self, effectors: Effectors, rest_offsets: np.ndarray) -> BodyPose:
        """One pose per set, each of its own body of offsets [B, 23, 3] m (or [1, 23, 3] for all)."""
        ratios = np.broadcast_to(log_bone_ratios(rest_offsets), (effectors.count, SHAPE_SIZE))
        scale = np.exp(ratios.mean(axis=1))
        shape = (ratios - ratios.mean(axis=1, keepdims=True)).astype(np.float32)
        turn, centroid, _ = placement(effectors, *self._template, scale)
        tokens = _tokens(effectors, turn, centroid, scale).astype(np.float32)
        root, columns = self._core(tokens, effectors, shape)
        rotations = _rotation_from_6d(columns.reshape(-1, JOINT_COUNT, 2, 3).astype(np.float64))
        rotations[:, 0] = turn @ rotations[:, 0]
        place = (turn @ root.astype(np.float64)[..., None])[..., 0] * scale[:, None] + centroid
        return BodyPose(rotations, place)

    def _core(self, tokens: np.ndarray, effectors: Effectors, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        count, size = effectors.kind.shape
        shapes = np.broadcast_to(shape[:, None], (count, size, SHAPE_SIZE))
        x = np.concatenate([tokens, self._joints[effectors.joint], self._kinds[effectors.kind], shapes], axis=-1)
        weight = effectors.weight.astype(np.float32)
        share = (weight / weight.sum(axis=1, keepdims=True))[:, None]
        total = prototype = np.zeros((count, 1, self.width), np.float32)
        for index, block in enumerate(self._encoder):
            out, back = block(x.reshape(count * size, -1))
            total = total + out.reshape(count, size, -1)
            prototype = share @ total
            x = np.maximum(back.reshape(count, size, -1) - prototype / (index + 1), 0)
        z = prototype[:, 0]
        drawn = _decode(self._positions, np.concatenate([z, shape], axis=-1))
        relative = drawn - np.tile(drawn[:, :3], JOINT_COUNT)
        return drawn[:, :3], _decode(self._rotations, np.concatenate([relative, z, shape], axis=-1))


class _Taker:
    """Takes named tensors and checks their shapes."""

    def __init__(self, tensors: Mapping[str, np.ndarray]) -> None:
        self._tensors = tensors

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        if name not in self._tensors:
            raise InputRejected(f"the pose network lacks {name}")
        array = self._tensors[name]
        if array.shape != shape:
            raise InputRejected(f"the pose network's {name} is {list(array.shape)}, not {list(shape)}")
        return np.ascontiguousarray(array, dtype=np.float32)


class _Block:
    """L layers, then a forward output and a backward residual."""

    def __init__(self, take: _Taker, name: str, inputs: int, width: int, outputs: int, layers: int) -> None:
        def linear(name: str, inputs: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
            return take(f"{name}.weight", (outputs, inputs)).T, take(f"{name}.bias", (outputs,))

        sizes = [inputs, *[width] * (layers - 1)]
        self._layers = [linear(f"{name}.layers.{i}", size, width) for i, size in enumerate(sizes)]
        self._forward = linear(f"{name}.forward_out", width, outputs)
        self._backward = linear(f"{name}.backward_out", inputs, width)

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h = x
        for weight, bias in self._layers:
            h = h @ weight + bias
            h = np.maximum(h, np.float32(0.01) * h)
        out = h @ self._forward[0] + self._forward[1]
        return out, np.maximum(h + (x @ self._backward[0] + self._backward[1]), 0)


def _decode(blocks: list[_Block], x: np.ndarray) -> np.ndarray:
    total, x = blocks[0](x)
    for block in blocks[1:]:
        out, x = block(x)
        total = total + out
    return total


def _tokens(effectors: Effectors, turn: np.ndarray, centroid: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The seven numbers [B, N, 7] of each effector; see :func:`soma_isaac.learned.network.tokens`."""
    is_look, is_rotation = effectors.kind == LOOK_AT, effectors.kind == ROTATION
    local = (effectors.target - centroid[:, None]) @ turn / scale[:, None, None]
    squashed = local / (1 + np.linalg.norm(local, axis=-1, keepdims=True) / LOOK_AT_REACH)
    local = np.where(is_look[..., None], squashed, local)
    turned = np.swapaxes(turn, -1, -2)[:, None] @ effectors.rotation
    first = np.where(is_rotation[..., None], turned[..., 0], local)
    second = np.where(is_rotation[..., None], turned[..., 1], effectors.direction * is_look[..., None])
    tolerance = np.where(effectors.kind == POSITION, effectors.tolerance / scale[:, None], effectors.tolerance)
    return np.concatenate([first, second, np.where(is_look, 0.0, tolerance)[..., None]], axis=-1)


def _rotation_from_6d(columns: np.ndarray) -> np.ndarray:
    """Rotations [..., 3, 3] from first and second column [..., 2, 3] by Gram-Schmidt (Zhou et al. 2019)."""
    first = _unit(columns[..., 0, :])
    second = columns[..., 1, :]
    second = _unit(second - (first * second).sum(-1, keepdims=True) * first)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
