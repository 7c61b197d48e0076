"""The people of a shot, posed: vertices, normals and joints in the Z-up world, feet on the floor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.layer import SomaLayer
from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.render.plan import ClipFile, Shot
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, template_rest_offsets


@dataclass(frozen=True, eq=False)
class PosedFrame:
    """All bodies of a shot in one frame.

    Attributes:
        vertices: [B, V, 3] float32 m, world, Z-up.
        normals: [B, V, 3] float32 unit.
        joints: [B, 77, 3] float32 m.
        times: [B] s, where each body is in its clip.
    """

    vertices: np.ndarray
    normals: np.ndarray
    joints: np.ndarray
    times: np.ndarray


class PosedScene:
    """Poses the bodies of one scene at any of its frames.

    A body's path is the clip's, in proportion to its legs, turned by its heading; in the scene's middle frame its Hips
    are above its place. It is raised or lowered so that its lowest point over all of the scene's frames touches the
    floor.

    Args:
        shot: Bodies and frames.
        layers: Layer per identity model of the bodies, all of the same level of detail.
        load: Gives the motion of a clip; called once per body, of whose motion only the scene's frames are kept.

    Raises:
        InputRejected: Coefficients do not fit their model.
    """

    def __init__(self, shot: Shot, layers: Mapping[str, SomaLayer], load: Callable[[ClipFile], SomaMotion]) -> None:
        self._shot = shot
        self._groups: list[tuple[np.ndarray, SomaLayer, PreparedIdentity]] = []
        strides = np.ones(len(shot.bodies))
        for model in sorted({body.model for body in shot.bodies}):
            rows = np.array([number for number, body in enumerate(shot.bodies) if body.model == model])
            layer = layers[model]
            identity = layer.prepare_identity(np.array([shot.bodies[row].coefficients for row in rows]))
            self._groups.append((rows, layer, identity))
            strides[rows] = _hips_heights(layer, identity)
        count, frames = len(shot.bodies), shot.scene_frames
        self._rotations = np.empty((frames, count, len(POSE_JOINT_NAMES), 3, 3), np.float32)
        self._paths = np.empty((frames, count, 3), np.float32)
        self._times = np.empty((frames, count))
        for number, body in enumerate(shot.bodies):
            motion = load(body.clip)
            rows = clip_rows(shot, body.phase, motion)
            self._rotations[:, number] = motion.rotations[rows]
            stride = strides[number] / motion.identity.rest_offsets[1, 1]
            self._paths[:, number] = motion.root_translation[rows] * stride
            self._times[:, number] = rows / motion.fps
        self._places = np.zeros((count, 3))
        self._turns = np.stack([_turn(body.heading) for body in shot.bodies])
        self._settle()

    def joints_over_time(self) -> np.ndarray:
        """Joints [F, B, 77, 3] m of all frames of the scene: what cameras are fitted to."""
        return self._all_joints

    def frame(self, number: int) -> PosedFrame:
        """Pose a frame, counted from the scene's first."""
        vertices, normals, joints = self._posed(number, with_normals=True)
        turns = self._turns.astype(np.float32)
        places = self._places.astype(np.float32)[:, None]
        return PosedFrame(
            vertices @ turns.transpose(0, 2, 1) + places,
            normals @ turns.transpose(0, 2, 1),
            joints @ turns.transpose(0, 2, 1) + places,
            self._times[number],
        )

    def _settle(self) -> None:
        """Find the places of the bodies and their joints in all frames; only a few numbers per frame are kept."""
        frames = self._shot.scene_frames
        lowest = np.full(len(self._shot.bodies), np.inf)
        joints = []
        for number in range(frames):
            vertices, _, posed = self._posed(number, with_normals=False)
            lowest = np.minimum(lowest, vertices[..., 2].min(axis=1))
            joints.append(posed @ self._turns.transpose(0, 2, 1).astype(np.float32))
        hips = joints[frames // 2][:, 0]
        self._places[:, :2] = np.array([body.place for body in self._shot.bodies]) - hips[:, :2]
        self._places[:, 2] = -lowest
        self._all_joints = np.stack(joints) + self._places[:, None]

    def _posed(self, number: int, *, with_normals: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rotations, paths = self._rotations[number], self._paths[number]
        count = len(rotations)
        vertices = np.empty((count, self._groups[0][1].vertex_count, 3), np.float32)
        normals = np.empty(vertices.shape if with_normals else (0, 0, 3), np.float32)
        joints = np.empty((count, len(POSE_JOINT_NAMES), 3), np.float32)
        for bodies, layer, identity in self._groups:
            pose = layer.pose(rotations[bodies], paths[bodies], identity=identity)
            vertices[bodies] = zup_from_yup_points(pose.vertices.numpy())
            joints[bodies] = zup_from_yup_points(pose.joints.numpy())
            if with_normals:
                normals[bodies] = zup_from_yup_points(layer.body.normals(pose.vertices).numpy())
        return vertices, normals, joints


def clip_rows(shot: Shot, phase: float, motion: SomaMotion) -> np.ndarray:
    """Frame [F] of a clip that is nearest to each frame of the scene; the last one where the clip is too short."""
    numbers = np.arange(shot.scene_frames) / shot.fps * motion.fps
    start = phase * max(0.0, motion.frame_count - 1 - numbers[-1])
    return np.minimum(np.rint(start + numbers).astype(int), motion.frame_count - 1)


def make_layers(models: Sequence[str], lod: str, correctives: bool, device: str) -> dict[str, SomaLayer]:
    """The layer of each identity model.

    Raises:
        MissingDependency: A model needs a package that is not installed.
    """
    chosen = "open" if correctives else None
    return {model: SomaLayer(identity=model, lod=lod, correctives=chosen, device=device, threads=1) for model in models}


def _hips_heights(layer: SomaLayer, identity: PreparedIdentity) -> np.ndarray:
    """Height [I] m of the Hips above the soles in the T-pose, in the template's proportion to the legs."""
    pose = layer.pose(np.zeros((identity.count, 77, 3), np.float32), identity=identity, fk_only=True)
    heights = pose.joints.numpy()[..., 1]
    offsets = template_rest_offsets()
    template = layer.body.layout.rest_T_world_joint[1:, 1, 3]
    return (heights[:, 0] - heights.min(axis=1)) * offsets[1, 1] / (template[0] - template.min())


def _turn(heading: float) -> np.ndarray:
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
