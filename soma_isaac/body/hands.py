"""Hands on their own, in the frame of the wrist: 25 joints, left or right, three levels of detail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.hand_rig import HandCut, cut_hand
from soma_isaac.body.identities.base import IdentityModel
from soma_isaac.body.identities.mano import ManoIdentity
from soma_isaac.body.identities.mano import hand_file as asset_hand_file
from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.launches import BodyPose
from soma_isaac.body.scales import global_scales
from soma_isaac.body.skeleton_fit import SkeletonFit
from soma_isaac.body.soma import SomaBody
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.asset_tree import AssetTree
from soma_isaac.formats.hand_npz import HandFile, read_hand_npz
from soma_isaac.formats.pca_binary import PcaSpace
from soma_isaac.rig.rig import Rig

HAND_JOINT_COUNT = 25
HAND_IDENTITIES = ("soma", "mano")
_LOCAL_MIRROR = np.diag([-1.0, 1.0, 1.0])


class SomaHand:
    """Prepare a hand once, pose it many times.

    Example::

        hand = SomaHand(side="right")
        identity = hand.prepare_identity()  # the template's hand
        pose = hand.pose(identity, poses)  # (B, 25, 3) rad
        vertices = pose.vertices.numpy()  # (B, 2859, 3) m

    The world is the frame of the wrist in the bind pose; the wrist is a real root at its origin. Poses are relative to
    the T-pose: entry 0 turns the whole hand, entries 1 to 24 are the fingers. At zero pose the wrist has the axes of
    the bind pose and the fingers are straight. All rotations are told in the axes of the wrist's bind frame.

    Attributes:
        cut: The hand's rig, and which vertices and joints of the body it has.
        body: What poses it.
        identity_model: The loaded model of ``mano``; ``None`` for ``soma``.
    """

    def __init__(
        self,
        rig: Rig | None = None,
        side: str = "left",
        identity: str = "soma",
        *,
        lod: str = "mid",
        device: str = "cpu",
        hand_file: Path | str | None = None,
        assets: Path | str | None = None,
        model_path: Path | str | None = None,
        mirror: str = "rig",
        transfer_mode: str = "edge",
        threads: int | None = None,
    ) -> None:
        """Set up a hand. Nothing is downloaded.

        Args:
            rig: The body; the template that ships with soma_isaac by default.
            side: ``left`` or ``right``.
            identity: ``soma``, the shapes of the hand file, if there is one; or ``mano``, the user's own MANO model,
                see :data:`soma_isaac.body.identities.mano.MANO_SPEC` for its files and licence.
            lod: ``mid``, ``low`` or ``xlo`` (2859, 718 and 134 vertices on SOMA's mesh).
            device: Warp device.
            hand_file: ``SOMAHand.npz`` of ``nvidia/soma-x`` with the hand's vertices and shapes; without it the cut is
                found by skin weights and the hand has no coefficients. ``mano`` needs it and takes that of ``assets``.
            assets: Folder in SOMA-X layout with the files of ``mano``.
            model_path: The MANO model file of this side, where it does not lie in ``assets``.
            mirror: How the left hand's shapes become the right hand's: ``rig``, by the mirror that takes the left
                wrist's bind frame to the right one's; or ``x``, by turning x around, as SOMA-X does whatever its rig.
            transfer_mode: How ``xlo`` rides on ``mid``, and ``mid`` on MANO's mesh: ``edge`` or ``area`` (SOMA-X).
            threads: CPU threads for large batches.

        Raises:
            InputRejected: An option is unknown, or a file is missing or not sound.
            RigMismatch: The rig lacks the hand or the LOD, or the file belongs to another rig.
        """
        if mirror not in ("rig", "x"):
            raise InputRejected(f"no mirror {mirror!r}; there are rig, x")
        if identity not in HAND_IDENTITIES:
            raise InputRejected(f"no hand identity {identity!r}; there are {', '.join(HAND_IDENTITIES)}")
        if rig is None:
            from soma_isaac.formats.rig_usd import load_template_rig

            rig = load_template_rig()
        tree = None if assets is None else AssetTree(Path(assets))
        if identity == "mano" and hand_file is None:
            hand_file = asset_hand_file(tree)
        file = None if hand_file is None else read_hand_npz(Path(hand_file), side)
        self.cut: HandCut = (
            cut_hand(rig, side)
            if file is None
            else cut_hand(rig, side, mid_vertices=file.vertices, mid_border=file.border)
        )
        self.side, self.lod = side, lod
        self.body = SomaBody(self.cut.rig, device=device, lod=lod, twist=False, threads=threads)
        self._device, self._transfer_mode = device, transfer_mode
        self._space = None if file is None else _side_space(file, rig, self.cut, mirror)
        self.identity_model: IdentityModel | None = None
        if identity == "mano":
            path = None if model_path is None else Path(model_path).expanduser()
            self.identity_model = ManoIdentity.load(
                self.cut.rig.mesh("mid"), side, assets=tree, model_path=path, transfer_mode=transfer_mode
            )
        self._fit: SkeletonFit | None = None
        self._transfer: TopologyTransfer | None = None

    @property
    def vertex_count(self) -> int:
        """Number of vertices V."""
        return self.body.vertex_count

    @property
    def triangles(self) -> np.ndarray:
        """Triangles [N, 3] int32; the hand is open at the wrist."""
        return self.cut.rig.mesh(self.lod).triangles

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The 25 joints, the wrist first."""
        return self.cut.rig.public_joint_names[1:]

    @property
    def coefficient_count(self) -> int:
        """Number of shape coefficients K; 0 for ``soma`` without a hand file."""
        if self.identity_model is not None:
            return self.identity_model.spec.coefficients.count
        return 0 if self._space is None else len(self._space.eigenvalues)

    def prepare_identity(
        self,
        coefficients: ArrayLike | None = None,
        bone_scales: ArrayLike | None = None,
        *,
        global_scale: ArrayLike = 1.0,
        repose: bool = True,
    ) -> PreparedIdentity:
        """Shape hands and fit their joints.

        Args:
            coefficients: [B, K] standard deviations of the shape space; by default the template's hand, for ``mano``
                its mean hand.
            bone_scales: [1 or B, 24] factors on the bones from the parent to each joint but the wrist; the skin is
                stretched.
            global_scale: A positive number or [B]: overall size.
            repose: Move the shape into the template's bind pose; a MANO hand keeps MANO's axes otherwise.

        Raises:
            InputRejected: A shape does not fit, a value is not finite, or there is no shape space.
        """
        if self.identity_model is not None:
            values = coefficients
            if values is None:
                values = self.identity_model.spec.coefficients.defaults(np.size(global_scale))
            points = self.identity_model.rest_points(values)
            size = global_scales(global_scale, len(points))
            return self._fitted(points * size[:, None, None], bone_scales, repose)
        if coefficients is None:
            points = self.cut.rig.mesh(self.lod).points[None]
            size = global_scales(global_scale, np.size(global_scale))
            bind = np.tile(self.cut.rig.skeleton.bind_T_world_joint, (len(size), 1, 1, 1))
            bind[..., :3, 3] *= size[:, None, None]
            return self._prepared(points * size[:, None, None], bind, bone_scales)
        if self._space is None:
            raise InputRejected("hand coefficients need the shape space in SOMAHand.npz (hand_file=...)")
        values = np.asarray(coefficients, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.coefficient_count or not np.isfinite(values).all():
            raise InputRejected(f"coefficients has shape {values.shape}, expected finite (B, {self.coefficient_count})")
        steps = np.tensordot(values * np.sqrt(self._space.eigenvalues), self._space.directions, axes=1)
        size = global_scales(global_scale, len(values))
        return self._fitted((self._space.mean + steps) * size[:, None, None], bone_scales, repose)

    def prepare_body(self, identity: PreparedIdentity, bone_scales: ArrayLike | None = None) -> PreparedIdentity:
        """The hands of bodies: cut from their rest shapes, with the joints that were fitted there.

        Args:
            identity: Bodies prepared for this hand's LOD by a body with the same rig.
            bone_scales: As for :meth:`prepare_identity`.

        Raises:
            InputRejected: The bodies have another LOD.
        """
        if identity.lod != self.lod:
            raise InputRejected(f"the bodies are prepared for LOD {identity.lod}, this hand is {self.lod}")
        bind = np.asarray(identity.bind_T_world_joint)
        wrist = bind[:, self.cut.joints[0]]
        points = np.asarray(identity.rest_points, dtype=np.float64)[:, self.cut.vertices[self.lod]]
        local = (points - wrist[:, None, :3, 3]) @ wrist[:, :3, :3]
        joints = np.linalg.solve(wrist[:, None], bind[:, self.cut.joints])
        root = np.tile(np.eye(4), (len(bind), 1, 1, 1))
        return self._prepared(local, np.concatenate([root, joints], axis=1), bone_scales)

    def pose(
        self,
        identity: PreparedIdentity,
        poses: ArrayLike,
        transl: ArrayLike | None = None,
        *,
        absolute: bool = False,
        fk_only: bool = False,
    ) -> BodyPose:
        """Pose hands.

        Args:
            identity: From :meth:`prepare_identity` or :meth:`prepare_body`.
            poses: [B, 25, 3] rotation vectors in rad or [B, 25, 3, 3] matrices.
            transl: [B, 3] or [1, 3] m, position of the wrist; at the origin by default.
            absolute: ``poses`` are local rotations of the rig instead.
            fk_only: Only joints and transforms; no vertices.

        Returns:
            Vertices (B, V, 3) m, joints (B, 25, 3) m and transforms (B, 25, 4, 4).

        Raises:
            InputRejected: A shape does not fit or a value is not finite.
        """
        rotations = np.asarray(poses, dtype=np.float64)
        if rotations.ndim < 2 or rotations.shape[1:] not in ((HAND_JOINT_COUNT, 3), (HAND_JOINT_COUNT, 3, 3)):
            raise InputRejected(f"poses has shape {rotations.shape}, expected (B, 25, 3) or (B, 25, 3, 3)")
        if not absolute:
            # The cut rig tells its T-pose in the wrist's T-pose axes, poses are in its bind axes.
            turn = self.cut.wrist_from_rest
            rotations = rotations @ turn if rotations.ndim == 3 else turn.T @ rotations @ turn
        posed = self.body.pose(identity, rotations, transl, absolute=absolute, fk_only=fk_only)
        return BodyPose(posed.vertices, posed.joints, posed.transforms[:, 1:])

    def _fitted(self, mid_points: np.ndarray, bone_scales: ArrayLike | None, repose: bool) -> PreparedIdentity:
        """Prepare mid shapes [B, Vh, 3] m; joints of ``xlo`` are fitted to the low ones."""
        fit_lod = "mid" if self.lod == "mid" else "low"
        if self._fit is None:
            self._fit = SkeletonFit(self.cut.rig, fit_lod, device=self._device)
        points = mid_points
        if fit_lod == "low":
            row = {int(vertex): number for number, vertex in enumerate(self.cut.vertices["mid"])}
            points = mid_points[:, [row[int(vertex)] for vertex in self.cut.vertices["low"]]]
        bind = self._fit.fit(points)
        if self.lod == "xlo":
            points = self._xlo_transfer().apply(mid_points)
        if repose:
            local = self.cut.rig.skeleton.bind_T_world_joint[1:, :3, :3].copy()
            above = self.cut.rig.skeleton.parent_indices[2:] - 1
            local[1:] = np.swapaxes(local[above], -1, -2) @ local[1:]
            posed = self.body.pose(self.body.prepare(points, bind), local[None], absolute=True)
            points, bind = posed.vertices.numpy(), posed.transforms.numpy().astype(np.float64)
        return self._prepared(points, bind, bone_scales)

    def _xlo_transfer(self) -> TopologyTransfer:
        if self._transfer is None:
            mid, xlo = self.cut.rig.mesh("mid"), self.cut.rig.mesh("xlo")
            self._transfer = TopologyTransfer(mid.points, mid.triangles, xlo.points, mode=self._transfer_mode)
        return self._transfer

    def _prepared(self, points: np.ndarray, bind: np.ndarray, bone_scales: ArrayLike | None) -> PreparedIdentity:
        options: dict[str, Any] = {}
        if bone_scales is not None:
            scales = np.asarray(bone_scales, dtype=np.float64)
            if scales.shape not in ((1, HAND_JOINT_COUNT - 1), (len(points), HAND_JOINT_COUNT - 1)):
                raise InputRejected(f"bone_scales has shape {scales.shape}, expected (1 or {len(points)}, 24)")
            if not (np.isfinite(scales).all() and (scales > 0.0).all()):
                raise InputRejected("bone_scales must be finite and positive")
            options["joint_scales"] = np.concatenate([np.ones((len(scales), 2)), scales], axis=1)
        return self.body.prepare(points, bind, **options)


def _side_space(file: HandFile, rig: Rig, cut: HandCut, mirror: str) -> PcaSpace | None:
    """The shape space of the cut's own side.

    Raises:
        RigMismatch: The file's joints are not the hand's.
    """
    if not np.array_equal(file.joints, cut.joints):
        raise RigMismatch(f"the hand file's joints are {file.joints.tolist()}, the rig's {cut.joints.tolist()}")
    if file.left_space is None or cut.side == "left":
        return file.left_space
    turn = _LOCAL_MIRROR
    if mirror == "rig":
        left = rig.skeleton.bind_T_world_joint[rig.skeleton.index("LeftHand"), :3, :3]
        turn = cut.T_body_wrist[:3, :3].T @ _LOCAL_MIRROR @ left
    space = file.left_space
    return PcaSpace(space.mean @ turn.T, space.directions @ turn.T, space.eigenvalues, space.digest)
