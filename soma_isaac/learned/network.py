"""The pose network: prototype encoder, global position decoder, rotation decoder (torch).

Clean-room after Oreshkin et al., ProtoRes (ICLR 2022, section 3) and Voleti et al., SMPL-IK (arXiv 2208.08274): tokens
of effectors go through residual blocks whose weighted mean is taken out block by block (prototypes); the sum of the
prototypes is the embedding. Instead of betas and gender the body is described by its 22 log bone-length ratios, and
everything is computed in a frame that turns, moves and scales with the effectors and the body (:func:`canonical`), so
that the answer does so too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from soma_isaac.learned.effectors import KIND_NAMES, LOOK_AT, POSITION, ROTATION, Effectors
from soma_isaac.learned.inference import EMBEDDING_SIZE, JOINT_COUNT, LOOK_AT_REACH, SHAPE_SIZE
from soma_isaac.learned.predictor import HEADING_OF_ROTATION_M
from soma_isaac.learned.skeleton import BODY_PARENTS


class EffectorTensors(NamedTuple):
    """The arrays of :class:`~soma_isaac.learned.effectors.Effectors` as tensors, same names and shapes."""

    kind: Tensor
    joint: Tensor
    target: Tensor
    rotation: Tensor
    direction: Tensor
    tolerance: Tensor
    weight: Tensor

    @classmethod
    def of(cls, effectors: Effectors, device: torch.device | str = "cpu") -> EffectorTensors:
        """Float32 tensors on ``device``."""
        arrays = (np.array(getattr(effectors, name)) for name in cls._fields)
        tensors = (torch.from_numpy(array).to(device) for array in arrays)
        return cls(*(tensor if tensor.dtype == torch.int64 else tensor.float() for tensor in tensors))

    def effectors(self) -> Effectors:
        """The same sets, checked, in float64."""
        return Effectors(*(tensor.cpu().numpy() for tensor in self))


@dataclass(frozen=True)
class NetworkConfig:
    """Size and variant of a network.

    Attributes:
        width: Units of each layer.
        blocks: R, residual blocks of the encoder and of each decoder.
        layers: L, layers of a block.
        dropout: After the first layer of each block, in training.
        canonical: Work in the frame of :func:`canonical`; ``False`` as the papers: only the centroid is taken out.
    """

    width: int = 256
    blocks: int = 3
    layers: int = 3
    dropout: float = 0.01
    canonical: bool = True


class Template(NamedTuple):
    """The mean pose that the heading is taken against: joint positions [23, 3] m and world rotations [23, 3, 3]."""

    positions: Tensor
    rotations: Tensor


class Canonical(NamedTuple):
    """The frame of a set: ``turn`` [B, 3, 3] to the world, ``centroid`` [B, 3] m, ``scale`` [B] of the body."""

    turn: Tensor
    centroid: Tensor
    scale: Tensor


def canonical(effectors: EffectorTensors, ratios: Tensor, template: Template, enabled: bool) -> Canonical:
    """The frame in which the network works, as :func:`soma_isaac.learned.predictor.placement` in tensors.

    Args:
        effectors: B sets.
        ratios: [B, 22] log bone-length ratios.
        template: The mean pose.
        enabled: ``False``: no turn and no scale.
    """
    is_position = (effectors.kind == POSITION).to(ratios.dtype)
    weight = effectors.weight * is_position
    share = (weight / weight.sum(dim=1, keepdim=True))[..., None]
    centroid = (share * effectors.target).sum(dim=1)
    count = len(centroid)
    if not enabled:
        return Canonical(torch.eye(3).to(ratios).expand(count, 3, 3), centroid, torch.ones_like(ratios[:, 0]))
    scale = ratios.mean(dim=1).exp()
    points = template.positions[effectors.joint]
    have = points - (share * points).sum(dim=1, keepdim=True)
    want = (effectors.target - centroid[:, None]) / scale[:, None, None]
    axes = HEADING_OF_ROTATION_M * effectors.weight * (effectors.kind == ROTATION)
    axes_have = axes[..., None, None] * template.rotations[effectors.joint]
    axes_want = HEADING_OF_ROTATION_M * effectors.rotation
    cosine = (weight * (have[..., 0] * want[..., 0] + have[..., 2] * want[..., 2])).sum(dim=1)
    sine = (weight * (have[..., 2] * want[..., 0] - have[..., 0] * want[..., 2])).sum(dim=1)
    cosine = cosine + (axes_have[..., 0, :] * axes_want[..., 0, :] + axes_have[..., 2, :] * axes_want[..., 2, :]).sum(
        (1, 2)
    )
    sine = sine + (axes_have[..., 2, :] * axes_want[..., 0, :] - axes_have[..., 0, :] * axes_want[..., 2, :]).sum(
        (1, 2)
    )
    length = torch.hypot(cosine, sine)
    known = length > 1e-9
    c = torch.where(known, cosine / length.clamp_min(1e-9), torch.ones_like(length))
    s = torch.where(known, sine / length.clamp_min(1e-9), torch.zeros_like(length))
    return Canonical(turn_about_y(c, s), centroid, scale)


def turn_about_y(cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotations [..., 3, 3] about +Y by the angles of the unit vectors (cosine, sine) [...]."""
    zero, one = torch.zeros_like(cosine), torch.ones_like(cosine)
    rows = [cosine, zero, sine, zero, one, zero, -sine, zero, cosine]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def tokens(effectors: EffectorTensors, frame: Canonical, squash: bool) -> Tensor:
    """The seven numbers [B, N, 7] of each effector, in the frame (SMPL-IK, table of section 3.1).

    Rotations give the first and second column of the world rotation. ``squash`` draws far look-at targets in.
    """
    local = torch.einsum("bji,bnj->bni", frame.turn, effectors.target - frame.centroid[:, None])
    local = local / frame.scale[:, None, None]
    is_look = (effectors.kind == LOOK_AT)[..., None]
    is_rotation = (effectors.kind == ROTATION)[..., None]
    if squash:
        local = torch.where(is_look, local / (1 + local.norm(dim=-1, keepdim=True) / LOOK_AT_REACH), local)
    turned = torch.einsum("bji,bnjk->bnik", frame.turn, effectors.rotation)
    first = torch.where(is_rotation, turned[..., 0], local)
    second = torch.where(
        is_rotation, turned[..., 1], torch.where(is_look, effectors.direction, torch.zeros_like(first))
    )
    is_position = effectors.kind == POSITION
    tolerance = effectors.tolerance / torch.where(
        is_position, frame.scale[:, None], torch.ones_like(is_position.float())
    )
    tolerance = torch.where(is_look[..., 0], torch.zeros_like(tolerance), tolerance)
    return torch.cat([first, second, tolerance[..., None]], dim=-1)


class Block(nn.Module):
    """L layers, then a forward output and a backward residual (ProtoRes, equation 2)."""

    def __init__(self, inputs: int, outputs: int, config: NetworkConfig) -> None:
        super().__init__()
        sizes = [inputs, *[config.width] * config.layers]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.forward_out = nn.Linear(config.width, outputs)
        self.backward_out = nn.Linear(inputs, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Forward output and backward residual of ``x``."""
        h = x
        for index, layer in enumerate(self.layers):
            h = nn.functional.leaky_relu(layer(h), 0.01)
            if index == 0:
                h = self.dropout(h)
        return self.forward_out(h), torch.relu(h + self.backward_out(x))


class Decoder(nn.Module):
    """Fully connected residual decoder: the blocks' forward outputs are summed."""

    def __init__(self, inputs: int, outputs: int, config: NetworkConfig) -> None:
        super().__init__()
        sizes = [inputs, *[config.width] * (config.blocks - 1)]
        self.blocks = nn.ModuleList(Block(size, outputs, config) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        """The decoded vector."""
        total, x = self.blocks[0](x)
        for block in list(self.blocks)[1:]:
            out, x = block(x)
            total = total + out
        return total


def initialise(network: PoseNetwork) -> None:
    """Weights that keep the size of activations through the depth (He et al. 2015), and outputs near the mean pose.

    torch's own start shrinks each layer's output to 0.4 of its input: ten layers deep, nothing of the effectors is
    left, and training stands still for its first hundreds of steps.
    """
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            nn.init.zeros_(module.bias)
    decoders = (*network.position_decoder.blocks, *network.rotation_decoder.blocks)
    with torch.no_grad():
        for block in (*network.encoder, *decoders):
            block.get_submodule("backward_out").get_parameter("weight").mul_(0.5)
            block.get_submodule("forward_out").get_parameter("weight").mul_(0.1 if block in decoders else 0.7)
    network.start_at_template()


class Prediction(NamedTuple):
    """What the network says, in the world.

    Attributes:
        drawn: [B, 23, 3] m joint positions of the global position decoder.
        rotations: [B, 23, 3, 3] local rotations.
        positions: [B, 23, 3] m joint positions by kinematics with the body's own offsets.
        world: [B, 23, 3, 3] world rotations.
    """

    drawn: Tensor
    rotations: Tensor
    positions: Tensor
    world: Tensor


class PoseNetwork(nn.Module):
    """Effectors and a body's offsets in, poses out.

    Args:
        config: The size.
        template: Mean pose: local rotations [23, 3, 3], joint positions [23, 3] m and world rotations [23, 3, 3] of
            the template body.
    """

    def __init__(self, config: NetworkConfig, template: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        super().__init__()
        self.config = config
        local, positions, world = (torch.as_tensor(np.array(each), dtype=torch.float32) for each in template)
        self.register_buffer("template_rotations", local)
        self.register_buffer("template_positions", positions)
        self.register_buffer("template_world", world)
        self.joint_embedding = nn.Embedding(JOINT_COUNT, EMBEDDING_SIZE)
        self.kind_embedding = nn.Embedding(len(KIND_NAMES), EMBEDDING_SIZE)
        inputs = 7 + 2 * EMBEDDING_SIZE + SHAPE_SIZE
        self.encoder = nn.ModuleList(
            Block(inputs if index == 0 else config.width, config.width, config) for index in range(config.blocks)
        )
        self.position_decoder = Decoder(config.width + SHAPE_SIZE, 3 * JOINT_COUNT, config)
        self.rotation_decoder = Decoder(config.width + SHAPE_SIZE + 3 * JOINT_COUNT, 6 * JOINT_COUNT, config)
        self.start_at_template()

    def start_at_template(self) -> None:
        """Let the decoders' biases give the mean pose, not a collapsed one."""
        columns = self.get_buffer("template_rotations")[..., :2].transpose(-1, -2)
        points = self.get_buffer("template_positions")
        with torch.no_grad():
            self.rotation_decoder.blocks[0].get_parameter("forward_out.bias").copy_(columns.reshape(-1))
            self.position_decoder.blocks[0].get_parameter("forward_out.bias").copy_(
                (points - points.mean(0)).reshape(-1)
            )

    def encode(self, x: Tensor, weight: Tensor) -> Tensor:
        """Embedding [B, width] of tokens [B, N, inputs] of weights [B, N]."""
        share = (weight / weight.sum(dim=1, keepdim=True))[:, None]
        total = prototype = x.new_zeros(())
        for index, block in enumerate(self.encoder):
            out, back = block(x)
            total = total + out
            prototype = torch.bmm(share.to(out.dtype), total)
            x = torch.relu(back - prototype / (index + 1))
        return prototype[:, 0]

    def core(self, features: Tensor, joint: Tensor, kind: Tensor, weight: Tensor, shape: Tensor) -> tuple[Tensor, ...]:
        """Tokens [B, N, 7], ids [B, N], weights [B, N] and shape [B, 22] to positions [B, 69] and 6D [B, 138].

        This is the part that ONNX holds: everything between the canonical frame and the Gram-Schmidt step.
        """
        count, size = joint.shape
        shapes = shape[:, None].expand(count, size, SHAPE_SIZE)
        x = torch.cat([features, self.joint_embedding(joint), self.kind_embedding(kind), shapes], dim=-1)
        z = self.encode(x, weight)
        drawn = self.position_decoder(torch.cat([z, shape], dim=-1))
        relative = drawn - drawn[:, :3].repeat(1, JOINT_COUNT)
        return drawn, self.rotation_decoder(torch.cat([relative, z, shape], dim=-1))

    def forward(self, effectors: EffectorTensors, ratios: Tensor, offsets: Tensor) -> Prediction:
        """Poses of bodies with log bone ratios [B, 22] and T-pose offsets [B, 23, 3] m."""
        template = Template(self.get_buffer("template_positions"), self.get_buffer("template_world"))
        frame = canonical(effectors, ratios, template, self.config.canonical)
        features = tokens(effectors, frame, squash=self.config.canonical)
        shape = ratios - ratios.mean(dim=1, keepdim=True) if self.config.canonical else ratios
        drawn, sixd = self.core(features, effectors.joint, effectors.kind, effectors.weight, shape)
        drawn = drawn.float().unflatten(-1, (JOINT_COUNT, 3)) * frame.scale[:, None, None]
        drawn = torch.einsum("bij,bkj->bki", frame.turn, drawn) + frame.centroid[:, None]
        local = rotation_from_6d(sixd.float().unflatten(-1, (JOINT_COUNT, 2, 3)))
        local = torch.cat([(frame.turn @ local[:, 0])[:, None], local[:, 1:]], dim=1)
        positions, world = kinematics(local, drawn[:, 0], offsets)
        return Prediction(drawn, local, positions, world)


def rotation_from_6d(columns: Tensor) -> Tensor:
    """Rotations [..., 3, 3] from their first and second column [..., 2, 3], any length, by Gram-Schmidt.

    Zhou et al., On the Continuity of Rotation Representations in Neural Networks (CVPR 2019), equation 15: columns,
    as in ProtoRes; pytorch3d keeps rows.
    """
    first = nn.functional.normalize(columns[..., 0, :], dim=-1, eps=1e-6)
    second = columns[..., 1, :]
    second = nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1, eps=1e-6)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1)


def _levels() -> list[list[int]]:
    depth = [0] * JOINT_COUNT
    for joint, parent in enumerate(BODY_PARENTS):
        depth[joint] = 0 if parent < 0 else depth[parent] + 1
    return [[joint for joint in range(JOINT_COUNT) if depth[joint] == level] for level in range(max(depth) + 1)]


LEVELS = _levels()
_ORDER = [joint for level in LEVELS for joint in level]
_BACK = [_ORDER.index(joint) for joint in range(JOINT_COUNT)]


def kinematics(local: Tensor, root: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`soma_isaac.learned.skeleton.body_kinematics` in tensors, level by level: positions, world rotations."""
    world, positions = [local[:, 0:1]], [root[:, None]]
    for above, level in zip(LEVELS, LEVELS[1:], strict=False):
        slots = [above.index(BODY_PARENTS[joint]) for joint in level]
        parents = world[-1][:, slots]
        world.append(parents @ local[:, level])
        positions.append(positions[-1][:, slots] + (parents @ offsets[:, level, :, None])[..., 0])
    return torch.cat(positions, dim=1)[:, _BACK], torch.cat(world, dim=1)[:, _BACK]
