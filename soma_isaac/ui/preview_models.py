"""What previews are made of, loaded once and kept: layers, identities, motions, references, the robot."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from soma_isaac.body.identities import Coefficients
from soma_isaac.body.identities.presets import preset
from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.scales import BONE_SCALE_JOINTS
from soma_isaac.errors import InputRejected
from soma_isaac.formats.reference_clip import read_reference_clip
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton
from soma_isaac.math.frames import zup_from_yup_points, zup_from_yup_rotations
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.still_pose import still_pose
from soma_isaac.retarget.robot import RobotModel, load_robot
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.placement import hips_heights
from soma_isaac.ui.choices import BONES, SCALES, SHAPE, BodyChoice, Clip, PointEffector, PreviewRequest, SliderSpec
from soma_isaac.ui.posing import Places, rest_places, rounded_places
from soma_isaac.ui.posing_solve import posed_motion, public_offsets

CORRECTIVES_FILE = "SOMA_correctives.safetensors"
BONE_LENGTHS = Coefficients(BONE_SCALE_JOINTS, default=1.0, low=0.7, high=1.3, unit="times its own length")
"""Distance of a joint from its parent; the skin between them stretches with it. The range is for sliders."""
ROBOT_STANDS = 0.793
"""Height [m] of a G1's pelvis over its soles with all joints at zero."""

_REFERENCE_FORMATS = ("mjlab", "beyondmimic", "amp")
_KEPT_LAYERS, _KEPT_IDENTITIES, _KEPT_MOTIONS = 3, 8, 4

_Kept = TypeVar("_Kept")


class PreviewModels:
    """Loads what requests name and keeps what successive ones share.

    For one thread. Nothing is loaded before it is asked for.
    """

    def __init__(self) -> None:
        self._layers: OrderedDict[Hashable, SomaLayer] = OrderedDict()
        self._identities: OrderedDict[Hashable, tuple[PreparedIdentity, float]] = OrderedDict()
        self._motions: OrderedDict[Hashable, SomaMotion] = OrderedDict()
        self._references: OrderedDict[Hashable, ReferenceClip] = OrderedDict()
        self._posed: OrderedDict[Hashable, SomaMotion] = OrderedDict()

    @cached_property
    def robot(self) -> RobotModel:
        """The bundled G1."""
        return load_robot()

    def layer(self, body: BodyChoice) -> SomaLayer:
        """The layer that poses a body.

        Raises:
            InputRejected: A model file is not sound, or correctives are asked for and there are none.
            MissingDependency: The identity model needs a package that is not installed.
        """

        def load() -> SomaLayer:
            file = data_path(CORRECTIVES_FILE) if body.correctives else None
            if file is not None and not file.is_file():
                raise InputRejected("this version ships without pose correctives; switch them off", str(file))
            return SomaLayer(
                load_template_rig(),
                identity=body.backend,
                lod=body.lod,
                twist=body.twist,
                correctives=file,
                assets=body.assets,
                threads=1,
            )

        return _kept(self._layers, _layer_key(body), _KEPT_LAYERS, load)

    def identity(self, layer: SomaLayer, body: BodyChoice, coefficients: np.ndarray) -> tuple[PreparedIdentity, float]:
        """The identity of a body and the height [m] of its Hips in the T-pose.

        Args:
            layer: Of :meth:`layer`.
            body: The body.
            coefficients: [K] of :func:`body_coefficients`, all groups.

        Raises:
            InputRejected: A coefficient is out of range.
        """

        def prepare() -> tuple[PreparedIdentity, float]:
            groups = coefficient_groups(layer)
            ends = np.cumsum([group.count for group in groups.values()])[:-1]
            rows: dict[str, Any] = {
                name: row[None] for name, row in zip(groups, np.split(coefficients, ends), strict=True)
            }
            # Groups that nobody moved are left out where they may be: that is the cheaper way to the same body.
            given = {SHAPE, *(name for name, _ in body.groups), *(name for name in groups if groups[name].required)}
            rows = {name: row for name, row in rows.items() if name in given}
            identity = layer.prepare_identity(
                rows.pop(SHAPE, None),
                rows.pop(SCALES, None),
                bone_scales=rows.pop(BONES, None),
                global_scale=body.size,
                **rows,
            )
            return identity, float(hips_heights(layer.body, identity)[0])

        key = (replace(body, preset=None, coefficients=None), coefficients.tobytes())
        return _kept(self._identities, key, _KEPT_IDENTITIES, prepare)

    def motion(self, request: PreviewRequest) -> SomaMotion:
        """The clip, or the still pose where there is none.

        Raises:
            InputRejected: The clip is not sound, or effectors hold no place.
            OSError: It cannot be read.
        """
        if request.posed and request.effectors:
            return self._posed_motion(request.body, request.effectors)
        if request.clip is None:
            return _kept(self._motions, request.still, _KEPT_MOTIONS, lambda: still_pose(request.still == "bind pose"))
        clip = request.clip
        key = (clip.path, _stamp(Path(clip.path)))
        return _kept(self._motions, key, _KEPT_MOTIONS, lambda: load_motion(Path(clip.path), name=clip.name))

    def rest_joints(self, body: BodyChoice, coefficients: np.ndarray) -> Places:
        """Places of the 23 body joints of a body in its T-pose.

        Args:
            body: The body.
            coefficients: As for :meth:`identity`.
        """
        identity = self.identity(self.layer(body), body, coefficients)
        return rest_places(BodySkeleton.from_public_offsets(public_offsets(*identity)))

    def _posed_motion(self, body: BodyChoice, effectors: tuple[PointEffector, ...]) -> SomaMotion:
        """The pose of a body that effectors ask for."""

        def solve() -> SomaMotion:
            layer = self.layer(body)
            return posed_motion(effectors, *self.identity(layer, body, body_coefficients(layer, body)))

        return _kept(self._posed, (body, effectors), _KEPT_MOTIONS, solve)

    def reference(self, clip: Clip, folder: str) -> ReferenceClip | None:
        """The prepared G1 reference of a clip, ``None`` where there is none.

        Raises:
            InputRejected: The file is not sound.
            OSError: It cannot be read.
        """
        path = reference_path(clip, folder)
        if path is None:
            return None
        return _kept(self._references, (str(path), _stamp(path)), _KEPT_MOTIONS, lambda: read_reference_clip(path))


def reference_path(clip: Clip, folder: str) -> Path | None:
    """The prepared G1 reference of a clip, ``None`` where there is none.

    Args:
        clip: The clip.
        folder: Output folder of ``prepare_g1_refs.py``.
    """
    stem = clip.name.rpartition(".")[0]
    for name in dict.fromkeys((stem, Path(stem).name)):  # a clip that was prepared alone lies at the top
        for kind in _REFERENCE_FORMATS:
            path = Path(folder).expanduser() / kind / f"{name}.npz"
            if path.is_file():
                return path
    return None


def _kept(cache: OrderedDict[Hashable, _Kept], key: Hashable, limit: int, make: Callable[[], _Kept]) -> _Kept:
    """``cache[key]``, made if it is missing; beyond ``limit`` the least recently used entry goes."""
    if key not in cache:
        cache[key] = make()
        while len(cache) > limit:
            cache.popitem(last=False)
    cache.move_to_end(key)
    return cache[key]


def _layer_key(body: BodyChoice) -> Hashable:
    return replace(body, preset=None, coefficients=None, groups=(), size=1.0)


def _stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does."""
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def body_coefficients(layer: SomaLayer, body: BodyChoice) -> np.ndarray:
    """The coefficients [K] to shape the body with, group after group; one per slider of :func:`body_sliders`.

    Raises:
        InputRejected: There is another number of them.
    """
    groups = coefficient_groups(layer)
    values = {name: group.defaults()[0] for name, group in groups.items()}
    if SHAPE in values and body.preset is not None and body.backend == "soma":
        values[SHAPE] = np.asarray(preset(body.preset), np.float32)
    given = dict(body.groups) if body.coefficients is None else {SHAPE: body.coefficients, **dict(body.groups)}
    for name, numbers in given.items():
        if name not in groups or len(numbers) != groups[name].count:
            raise InputRejected(f"{len(numbers)} values of {name!r} do not fit the {body.backend} body")
        values[name] = np.array(numbers, np.float32)
    return np.concatenate(list(values.values()))


def body_sliders(layer: SomaLayer) -> tuple[SliderSpec, ...]:
    """What can be moved on a layer's bodies, one slider per coefficient of :func:`coefficient_groups`."""
    return tuple(
        SliderSpec(number, float(low), float(high), group.unit, name, group.default)
        for name, group in coefficient_groups(layer).items()
        for number, low, high in zip(group.names, *group.limits, strict=True)
    )


def coefficient_groups(layer: SomaLayer) -> dict[str, Coefficients]:
    """All groups of coefficients of a layer's bodies: the identity model's, its shape first, and bone lengths."""
    groups = {}
    if layer.identity_model is not None:
        spec = layer.identity_model.spec
        groups[SHAPE] = spec.coefficients
        if spec.scales is not None:
            groups[SCALES] = spec.scales
        groups.update(spec.extras)
    return {**groups, BONES: BONE_LENGTHS}


def ground(request: PreviewRequest, motion: SomaMotion, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """The turn [3, 3] after which the person starts towards +X, and where [3] m on the floor (Z-up) that is.

    A body that effectors pose stands still in its own world: it is dragged there.

    Args:
        request: What is shown.
        motion: Its motion.
        stride: Factor on the motion's path.
    """
    if request.posed:
        return np.eye(3), np.zeros(3)
    return facing_rotation(motion), zup_from_yup_points(motion.root_translation[0] * stride) * [1.0, 1.0, 0.0]


def body_joints(joints: np.ndarray) -> Places:
    """Places of the 23 body joints of learned IK, in mm steps, from those of the pose joints [77, 3] m."""
    return rounded_places(joints[list(POSE_INDICES)])


def facing_rotation(motion: SomaMotion) -> np.ndarray:
    """The rotation [3, 3] about the vertical after which the person looks along +X at the start."""
    forward = zup_from_yup_rotations(motion.rotations[0, 0]) @ np.array([0.0, 0.0, 1.0])
    return matrix_from_rotvec(np.array([0.0, 0.0, -np.arctan2(forward[1], forward[0])]))
