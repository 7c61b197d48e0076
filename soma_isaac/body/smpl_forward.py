"""Posing SMPL, SMPL-H and SMPL-X from plain arrays: shape, pose blend shapes, joint regressor, linear skinning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.identity import device_array, empty_array
from soma_isaac.body.inputs import warp_device
from soma_isaac.errors import InputRejected
from soma_isaac.formats.smpl_model import SmplModel
from soma_isaac.kernels.lbs import Influences, launch_blend
from soma_isaac.kernels.smpl import launch_pose_blend, launch_smpl_fk
from soma_isaac.math.arrays import check_rotations, frozen_array

BODY_JOINT_COUNT = 22
HAND_JOINT_COUNT = 15
_WEIGHT_MIN = 1e-7


@dataclass(frozen=True, eq=False)
class SmplPerson:
    """One or several shaped bodies, ready for posing.

    Attributes:
        rest_points: [I, V, 3] float32 m, shaped template in the zero pose.
        rest_joints: [I, J, 3] float32 m.
        points_array: ``rest_points`` on the device.
        joints_array: ``rest_joints`` on the device.
    """

    rest_points: np.ndarray
    rest_joints: np.ndarray
    points_array: wp.array
    joints_array: wp.array


@dataclass(frozen=True, eq=False)
class SmplPose:
    """B posed bodies as Warp arrays.

    Attributes:
        vertices: [B, V] vec3, m.
        joints: [B, J] vec3, m.
        turns: [B, J] mat33, world rotations.
    """

    vertices: wp.array
    joints: wp.array
    turns: wp.array


class SmplBody:
    """A model of the family on one device.

    Example::

        body = SmplBody(read_smpl_model(path, "smplh"))
        person = body.shape(betas)
        vertices = body.pose(person, poses, trans).vertices.numpy()  # (B, 6890, 3) m

    Axes are the file's: poses of AMASS files give Z-up bodies.
    """

    def __init__(self, model: SmplModel, *, device: str = "cpu") -> None:
        """Upload a model.

        Raises:
            InputRejected: It was read without its pose blend shapes, or Warp does not know the device.
        """
        directions = model.pose_directions
        if directions is None:
            raise InputRejected("the model was read without its pose blend shapes; read it with pose=True")
        self.model = model
        self.device = warp_device(device)
        weights = np.where(model.weights > _WEIGHT_MIN, model.weights, 0.0)
        rows, joints = np.nonzero(weights)
        self._influences = Influences(
            offsets=device_array(np.searchsorted(rows, np.arange(len(weights) + 1)), wp.int32, self.device),
            joints=device_array(joints, wp.int32, self.device),
            weights=device_array(weights[rows, joints] / weights.sum(axis=1)[rows], wp.float32, self.device),
        )
        self._parents = device_array(model.parents, wp.int32, self.device)
        self._directions = device_array(directions, wp.vec3, self.device)
        # Joints are linear in the betas too: the regressor is applied to the components once.
        self._mean_joints = model.joint_regressor @ model.points
        self._joint_directions = np.einsum("jv,kvx->kjx", model.joint_regressor, model.shape_directions)

    @property
    def vertex_count(self) -> int:
        """Vertices V."""
        return len(self.model.points)

    @property
    def joint_count(self) -> int:
        """Joints J: 24, 52 or 55."""
        return len(self.model.parents)

    def shape(self, betas: ArrayLike | None = None) -> SmplPerson:
        """Shape bodies.

        Args:
            betas: [K] or [I, K]; fewer than the model has, or none, count as zero for the rest.

        Raises:
            InputRejected: There are more betas than the model has components, or one is not finite.
        """
        held = len(self.model.shape_directions)
        values = np.atleast_2d(np.zeros(held) if betas is None else np.asarray(betas, dtype=np.float64))
        if values.ndim != 2 or values.shape[1] > held:
            raise InputRejected(f"betas of shape {values.shape} do not fit the {held} components of the model")
        values = frozen_array("betas", values, (None, None))
        used = values.shape[1]
        flat = self.model.shape_directions[:used].reshape(used, 3 * self.vertex_count)
        points = self.model.points + (values @ flat).reshape(len(values), -1, 3)
        joints = self._mean_joints + np.einsum("ik,kjx->ijx", values, self._joint_directions[:used])
        points, joints = points.astype(np.float32), joints.astype(np.float32)
        return SmplPerson(
            points, joints, device_array(points, wp.vec3, self.device), device_array(joints, wp.vec3, self.device)
        )

    def pose(self, person: SmplPerson, poses: ArrayLike, trans: ArrayLike | None = None) -> SmplPose:
        """Pose bodies.

        Args:
            person: From :meth:`shape`; one body for all poses, or one for each.
            poses: [B, J, 3] (or [B, 3 J]) rotation vectors in rad, or [B, J, 3, 3] matrices, local.
            trans: [B, 3] or [1, 3] m, the model's translation (not the pelvis); none by default.

        Raises:
            InputRejected: A shape does not fit or a value is not finite.
        """
        rotations, kind = self._checked(poses)
        batch = max(len(rotations), len(person.rest_points))
        shift = frozen_array("trans", np.zeros((1, 3)) if trans is None else trans, (None, 3))
        device, joints = self.device, self.joint_count
        turns = wp.empty((batch, joints), dtype=wp.mat33, device=device)
        places = empty_array((batch, joints), wp.vec3, device)
        columns = empty_array((batch, joints), wp.mat44, device)
        features = wp.empty((batch, 9 * (joints - 1)), dtype=wp.float32, device=device)
        launch_smpl_fk(
            parents=self._parents,
            rest_joints=person.joints_array,
            rotations=device_array(rotations, kind, device),
            translations=device_array(shift, wp.vec3, device),
            turns_out=turns,
            joints_out=places,
            columns_out=columns,
            features_out=features,
        )
        moved = empty_array((batch, self.vertex_count), wp.vec3, device)
        launch_pose_blend(directions=self._directions, features=features, points=person.points_array, points_out=moved)
        vertices = empty_array((batch, self.vertex_count), wp.vec3, device)
        launch_blend(self._influences, points=moved, columns=columns, vertices_out=vertices)
        return SmplPose(vertices, places, turns)

    def stream(
        self, person: SmplPerson, poses: ArrayLike, trans: ArrayLike, *, chunk: int = 128
    ) -> Iterator[tuple[slice, SmplPose]]:
        """Pose any number of poses of one body in bounded memory.

        Yields:
            The rows and their result.

        Raises:
            InputRejected: As :meth:`pose`.
        """
        values, shift = np.asarray(poses), np.asarray(trans)
        for begin in range(0, len(values), chunk):
            rows = slice(begin, min(begin + chunk, len(values)))
            yield rows, self.pose(person, values[rows], shift[rows])

    def full_pose(
        self, body: ArrayLike, hands: ArrayLike | None = None, face: ArrayLike | None = None, *, flat: bool = True
    ) -> np.ndarray:
        """Rotation vectors of all joints from parts of a pose.

        Args:
            body: [B, 22, 3] rad, pelvis first.
            hands: [B, 2, 15, 3] rad, left and right; measured from the flat hand, as in AMASS. SMPL has no fingers and
                leaves them out.
            face: [B, 3, 3] rad, jaw, left and right eye, for SMPL-X.
            flat: Where ``hands`` are missing, hold them flat; otherwise in the mean pose that the file gives.

        Returns:
            [B, J, 3] rad.

        Raises:
            InputRejected: A shape does not fit.
        """
        parts = frozen_array("body", body, (None, BODY_JOINT_COUNT, 3))
        result = np.zeros((len(parts), self.joint_count, 3))
        result[:, :BODY_JOINT_COUNT] = parts
        if self.model.kind == "smpl":
            return result
        begin = self.joint_count - 2 * HAND_JOINT_COUNT
        if hands is not None:
            fingers = frozen_array("hands", hands, (len(parts), 2, HAND_JOINT_COUNT, 3))
            result[:, begin:] = fingers.reshape(len(parts), -1, 3)
        elif not flat and self.model.hand_means is not None:
            result[:, begin:] = self.model.hand_means.reshape(-1, 3)
        if face is not None and self.model.kind == "smplx":
            result[:, BODY_JOINT_COUNT:begin] = frozen_array("face", face, (len(parts), 3, 3))
        return result

    def _checked(self, poses: ArrayLike) -> tuple[np.ndarray, type]:
        values = np.asarray(poses)
        if values.ndim == 2:
            values = values.reshape(len(values), -1, 3)
        if values.ndim == 4:
            matrices = frozen_array("poses", values, (None, self.joint_count, 3, 3))
            check_rotations("poses (frame, joint)", matrices)
            return matrices, wp.mat33
        return frozen_array("poses", values, (None, self.joint_count, 3)), wp.vec3
