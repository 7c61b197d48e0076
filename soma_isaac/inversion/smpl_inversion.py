"""From posed vertices in an SMPL family topology to the model's own pose.

The model becomes a rig of its own, without twist helpers, under a dummy root; the solver is the one for SOMA bodies.
Pose blend shapes, which skinning does not know, are taken off the targets at the pose found so far, a few times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.smpl_forward import SmplBody, SmplPerson
from soma_isaac.body.soma import SomaBody
from soma_isaac.formats.smpl_model import SmplModel
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.prepared import InversionBody
from soma_isaac.inversion.settings import InversionSettings
from soma_isaac.rig.rig import Rig, SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton

BLEND_ROUNDS = 4
SETTINGS = InversionSettings(steps=6, hinge=0.0, prior=1e-9)
_INFLUENCES = 8


@dataclass(frozen=True, eq=False)
class SmplFit:
    """Poses of B meshes.

    Attributes:
        rotations: [B, J, 3, 3] local rotations.
        trans: [B, 3] m, the model's translation.
        per_vertex_error: [B, V] m, distance of the posed model, blend shapes included, from the target.
    """

    rotations: np.ndarray
    trans: np.ndarray
    per_vertex_error: np.ndarray


@dataclass(frozen=True, eq=False)
class SmplSubject:
    """One person, summed up for inversion.

    Attributes:
        person: For posing.
        identity: For skinning without blend shapes.
        body: For the solver.
    """

    person: SmplPerson
    identity: PreparedIdentity
    body: InversionBody


class SmplInversion:
    """Inverts meshes of one model.

    Args:
        smpl: The model.
    """

    def __init__(self, smpl: SmplBody) -> None:
        self.smpl = smpl
        self._body = SomaBody(smpl_rig(smpl.model), twist=False, threads=1, device=str(smpl.device))
        self._inversion = PoseInversion(self._body)

    def subject(self, betas: np.ndarray) -> SmplSubject:
        """Prepare the person with these betas [K] once.

        Raises:
            InputRejected: The model has fewer betas.
        """
        person = self.smpl.shape(betas)
        joints = person.rest_joints[0].astype(np.float64)
        bind = np.tile(np.eye(4), (1, len(joints) + 1, 1, 1))
        bind[0, 1:, :3, 3] = joints
        identity = self._body.prepare(person.rest_points, bind)
        return SmplSubject(person, identity, self._inversion.prepare(identity))

    def fit(self, vertices: np.ndarray, subject: SmplSubject) -> SmplFit:
        """Poses of meshes [B, V, 3] m, axes as they come.

        Raises:
            InputRejected: The shape is another.
        """
        targets = np.asarray(vertices, dtype=np.float32)
        first = subject.person.rest_joints[0, 0].astype(np.float64)
        found = self._inversion.fit(targets, subject.body, SETTINGS)
        for rounds_left in reversed(range(BLEND_ROUNDS)):
            rotations = found.rotations
            trans = found.root_translation - first
            posed = self.smpl.pose(subject.person, rotations, trans).vertices.numpy()
            if rounds_left:
                plain = self._body.pose(subject.identity, rotations, found.root_translation).vertices.numpy()
                found = self._inversion.fit(targets - (posed - plain), subject.body, SETTINGS, initial=rotations)
        return SmplFit(rotations, trans, np.linalg.norm(posed - targets, axis=-1))


def smpl_rig(model: SmplModel) -> Rig:
    """The model's mean body as a rig: joints below a dummy root at the origin, zero pose as bind and rest pose."""
    joints = model.joint_regressor @ model.points
    count = len(joints)
    transforms = np.tile(np.eye(4), (count + 1, 1, 1))
    transforms[1:, :3, 3] = joints
    names = ("Root", *(f"joint{k}" for k in range(count)))
    parents = np.concatenate([[-1], np.where(model.parents < 0, 0, model.parents + 1)])
    order = np.argsort(-model.weights, axis=1, kind="stable")[:, :_INFLUENCES]
    weights = np.maximum(np.take_along_axis(model.weights, order, axis=1), 0.0)
    mesh = SkinnedMesh(
        name=model.kind,
        points=model.points,
        face_vertex_counts=np.full(len(model.triangles), 3),
        face_vertex_indices=model.triangles.ravel(),
        triangles=model.triangles,
        joint_indices=np.where(weights > 0.0, order + 1, 0),
        joint_weights=weights / weights.sum(axis=1, keepdims=True),
    )
    return Rig(Skeleton(names, parents, transforms, transforms), names, None, {"mid": mesh}, model.digest)
