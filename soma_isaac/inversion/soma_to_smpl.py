"""SOMA motions to SMPL family parameters by mesh: pose SOMA's body, carry it to the model's topology, invert there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.formats.amass import AmassClip
from soma_isaac.inversion.smpl_inversion import SmplInversion, SmplSubject
from soma_isaac.inversion.smpl_mesh import CHUNK, MeshPerson, SmplMeshConverter
from soma_isaac.math.frames import zup_from_yup_points, zup_from_yup_rotations
from soma_isaac.math.so3 import rotvec_from_matrix
from soma_isaac.motion.soma import SomaMotion

FAMILIES = {"smpl": ("smpl", "smplh"), "smplh": ("smpl", "smplh"), "smplx": ("smplx",)}
"""Models with one shape space."""


@dataclass(frozen=True, eq=False)
class SmplMotion:
    """A motion that was converted to the SMPL family by mesh.

    Attributes:
        clip: In AMASS's world (Z-up).
        per_vertex_error: [T, V] float16 m, distance of the posed model from the carried mesh, in the model's topology.
        mean_error: [T] m.
        largest_error: [T] m.
    """

    clip: AmassClip
    per_vertex_error: np.ndarray
    mean_error: np.ndarray
    largest_error: np.ndarray


class SomaToSmpl:
    """Converts motions for one model file.

    Args:
        converter: The way there, which prepares persons and holds the layer.
        bridge: From the layer's mesh to the model's.
    """

    def __init__(self, converter: SmplMeshConverter, bridge: TopologyTransfer) -> None:
        self.converter = converter
        self.bridge = bridge
        self._inversion = SmplInversion(converter.smpl)
        self._subject: tuple[bytes, SmplSubject] | None = None

    def convert(self, motion: SomaMotion) -> SmplMotion:
        """Convert a motion.

        A motion whose identity is of the model's family keeps its person. Another's has no place in the model's shape
        space: its rotations then move the model's mean person, whose path is scaled with the height of the Hips.
        """
        model = self.converter.smpl.model
        same = motion.identity.model in FAMILIES[model.kind]
        betas = motion.identity.coefficients if same else np.zeros(0)
        betas = betas[: len(model.shape_directions)]
        person, subject = self.converter.person(betas), self._prepared(betas)
        place, notes = motion.root_translation, []
        if not same:
            ratio = float(person.rest_offsets[1, 1] / motion.identity.rest_offsets[1, 1])
            place = place * ratio
            notes.append(
                f"the motion's identity is of the model {motion.identity.model}: the mean {model.kind} person took its "
                f"place, and the path was scaled by {ratio:.3f}"
            )
        rotations, trans, errors, mean, largest = self._fit(motion, place, person, subject)
        joint = subject.person.rest_joints[0, 0].astype(np.float64)
        rotations[:, 0] = zup_from_yup_rotations(rotations[:, 0])
        vectors = rotvec_from_matrix(rotations)
        notes.append(
            f"converted by mesh to a {model.kind} model of gender {self.converter.gender}; error against the carried "
            f"mesh {1e3 * mean.mean():.2f} mm in the mean, {1e3 * mean.max():.2f} mm in the worst frame's mean"
        )
        clip = AmassClip(
            model.kind,
            motion.fps,
            motion.provenance.fps_key,
            self.converter.gender,
            betas,
            vectors[:, :22],
            None if model.kind == "smpl" else vectors[:, -30:].reshape(-1, 2, 15, 3),
            vectors[:, 22:25] if model.kind == "smplx" else None,
            zup_from_yup_points(trans + joint) - joint,
            tuple(notes),
            motion.provenance.source_digest,
        )
        return SmplMotion(clip, errors, mean, largest)

    def _fit(
        self, motion: SomaMotion, place: np.ndarray, person: MeshPerson, subject: SmplSubject
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Local rotations [T, J, 3, 3], translations [T, 3] m in the Y-up world, and errors."""
        smpl, frames = self.converter.smpl, motion.frame_count
        rotations, trans = np.empty((frames, smpl.joint_count, 3, 3)), np.empty((frames, 3))
        errors = np.empty((frames, smpl.vertex_count), dtype=np.float16)
        mean, largest = np.empty(frames), np.empty(frames)
        stream = self.converter.layer.stream(motion.rotations, place, chunk=CHUNK, identity=person.identity)
        for rows, posed in stream:
            fit = self._inversion.fit(self.bridge.apply(posed.vertices.numpy()), subject)
            rotations[rows], trans[rows], errors[rows] = fit.rotations, fit.trans, fit.per_vertex_error
            mean[rows], largest[rows] = fit.per_vertex_error.mean(axis=1), fit.per_vertex_error.max(axis=1)
        return rotations, trans, errors, mean, largest

    def _prepared(self, betas: np.ndarray) -> SmplSubject:
        key = np.ascontiguousarray(betas).tobytes()
        if self._subject is None or self._subject[0] != key:
            self._subject = key, self._inversion.subject(betas)
        return self._subject[1]
