"""SMPL family motions to SOMA by mesh: pose the person's own body, carry it to SOMA's topology, find the SOMA pose.

The person's shape becomes a SOMA identity once; its skeleton is fitted to the rest mesh, so that bones have their true
lengths. What remains per vertex is where the two models bend differently; it is reported, frame by frame.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from soma_isaac.body.identities.transfer import Transfer
from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.smpl_forward import SmplBody, SmplPerson
from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import AmassClip
from soma_isaac.inversion.pose_inversion import InversionBody, PoseInversion
from soma_isaac.inversion.settings import InversionSettings
from soma_isaac.inversion.smpl_joints import decide_up_axis
from soma_isaac.math.frames import yup_from_zup_points
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion

CHUNK = 128
SETTINGS = InversionSettings(steps=6, prior=1e-9)
"""Another body's mesh is met as well after 6 steps as after 15; the prior rules where the mesh tells nothing, as of the
fingers of a model that has none."""
_KEPT_PERSONS = 8
_SMALL_BETA = 1e-6


@dataclass(frozen=True, eq=False)
class MeshPerson:
    """One person, prepared once for all clips.

    Attributes:
        smpl: The body to pose.
        identity: The same person as a SOMA identity.
        body: The same, summed up for inversion.
        rest_offsets: [78, 3] m, see :class:`soma_isaac.motion.soma.MotionIdentity`.
    """

    smpl: SmplPerson
    identity: PreparedIdentity
    body: InversionBody
    rest_offsets: np.ndarray


@dataclass(frozen=True, eq=False)
class MeshMotion:
    """A motion that was converted by mesh.

    Attributes:
        motion: The SOMA motion.
        per_vertex_error: [T, V] float16 m, distance of the posed SOMA body from the transferred mesh, LOD of the layer.
        mean_error: [T] m, its mean of each frame.
        largest_error: [T] m, its largest value of each frame.
    """

    motion: SomaMotion
    per_vertex_error: np.ndarray
    mean_error: np.ndarray
    largest_error: np.ndarray


class SmplMeshConverter:
    """Converts clips of one model file (kind and gender).

    Args:
        smpl: The model.
        transfer: From its mesh to the layer's.
        layer: SOMA layer of the template identity; its LOD is where errors are measured.
        inversion: Of the layer's body.
        gender: Of the model.
    """

    def __init__(
        self, smpl: SmplBody, transfer: Transfer, layer: SomaLayer, inversion: PoseInversion, gender: str
    ) -> None:
        self.smpl = smpl
        self.transfer = transfer
        self.layer = layer
        self.inversion = inversion
        self.gender = gender
        self._persons: OrderedDict[bytes, MeshPerson] = OrderedDict()

    def person(self, betas: np.ndarray) -> MeshPerson:
        """The person with these betas [K], prepared at first use; the last few are kept."""
        key = np.ascontiguousarray(betas, dtype=np.float64).tobytes()
        if key not in self._persons:
            self._persons[key] = self._prepare(betas)
            while len(self._persons) > _KEPT_PERSONS:
                self._persons.popitem(last=False)
        self._persons.move_to_end(key)
        return self._persons[key]

    def _prepare(self, betas: np.ndarray) -> MeshPerson:
        smpl = self.smpl.shape(betas)
        identity = self.layer.prepare_shape(self.transfer.apply(smpl.rest_points))
        standing = self.layer.pose(np.zeros((1, 77, 3)), identity=identity)
        offsets = identity.arrays.relative_offsets.numpy()[0].astype(np.float64)
        offsets[0] = 0.0
        offsets[1] = (0.0, -float(standing.vertices.numpy()[0, :, 1].min()), 0.0)  # the Hips stood at the origin
        return MeshPerson(smpl, identity, self.inversion.prepare(identity), offsets)

    def convert(
        self, clip: AmassClip, source: str, up_axis: str | None = None, *, flat_hands: bool = True
    ) -> MeshMotion:
        """Convert a clip.

        Args:
            clip: The clip, world axes as in the file.
            source: Name of the source for the provenance.
            up_axis: ``y`` or ``z`` if the user says so; ``None`` decides.
            flat_hands: Hold fingers flat where the clip has none; otherwise in the model's mean pose.

        Returns:
            The motion in the Y-up SOMA world, metres, with the person's own bones.

        Raises:
            InputRejected: ``up_axis`` is neither ``y`` nor ``z``.
        """
        root = matrix_from_rotvec(clip.body[:, 0])
        axis, axis_source = decide_up_axis(root, clip.trans) if up_axis is None else (up_axis, "option")
        if axis not in ("y", "z"):
            raise InputRejected(f"up axis {axis!r} is neither 'y' nor 'z'")
        betas, notes = self._betas(clip)
        person = self.person(betas)
        poses = self.smpl.full_pose(clip.body, clip.hands, clip.face, flat=flat_hands)
        frames = len(poses)
        rotations, place = np.empty((frames, 77, 3, 3)), np.empty((frames, 3))
        errors = np.empty((frames, self.layer.vertex_count), dtype=np.float16)
        mean, largest = np.empty(frames), np.empty(frames)
        for rows, posed in self.smpl.stream(person.smpl, poses, clip.trans, chunk=CHUNK):
            target = self.transfer.apply(posed.vertices.numpy())
            if axis == "z":
                target = np.ascontiguousarray(yup_from_zup_points(target))
            result = self.inversion.fit(target, person.body, SETTINGS)
            rotations[rows] = result.rotations
            place[rows] = result.root_translation
            errors[rows] = result.per_vertex_error
            mean[rows], largest[rows] = result.per_vertex_error.mean(axis=1), result.per_vertex_error.max(axis=1)
        notes = (
            *clip.notes,
            *notes,
            f"converted by mesh with a {self.smpl.model.kind} model of gender {self.gender}; error against the carried "
            f"mesh {1e3 * mean.mean():.2f} mm in the mean, {1e3 * mean.max():.2f} mm in the worst frame's mean",
        )
        identity = MotionIdentity(self.smpl.model.kind, betas, self.gender, person.rest_offsets, "mesh")
        provenance = Provenance(source, clip.digest, "amass", clip.fps_key, axis, axis_source, notes)
        motion = SomaMotion(clip.fps, rotations, place, identity, provenance)
        return MeshMotion(motion, errors, mean, largest)

    def _betas(self, clip: AmassClip) -> tuple[np.ndarray, tuple[str, ...]]:
        """Betas that the model has, and what has to be said of them."""
        held = len(self.smpl.model.shape_directions)
        used, rest = clip.betas[:held], clip.betas[held:]
        notes = []
        if not len(used):
            notes.append("the model's mean body is taken")
        if np.abs(rest).max(initial=0.0) > _SMALL_BETA:
            notes.append(f"the model has {held} betas; {len(rest)} more of the clip are left out")
        if clip.hands is not None and self.smpl.model.kind == "smpl":
            notes.append("the SMPL model has no fingers; the clip's finger rotations are left out")
        return used, tuple(notes)
