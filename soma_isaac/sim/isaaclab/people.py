"""From names in a cfg to a stepper: clips, identities, places. Knows nothing of Isaac Lab."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from soma_isaac.body.identities.presets import preset
from soma_isaac.body.layer import OPEN_CORRECTIVES, SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import matrix_from_quat_xyzw, quat_xyzw_from_matrix
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.clips import ClipLibrary
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.proxies import limb_capsules
from soma_isaac.sim.stepper import BodyGroup, BodyStepper


def motion_path(name: str) -> Path:
    """The file of a motion: a path, or the name of a bundled clip.

    Raises:
        InputRejected: Neither exists.
    """
    bundled = data_path("demo_clips") / f"{name}.npz"
    path = bundled if bundled.is_file() else Path(name)
    if not path.is_file():
        known = ", ".join(sorted(clip.stem for clip in data_path("demo_clips").glob("*.npz")))
        raise InputRejected(f"there is no motion {name!r}; it is a file or one of {known}")
    return path


def motion_loader(name: str) -> Callable[[Path], SomaMotion]:
    """The function that a cfg names as ``package.module:function``, as Isaac Lab's cfgs do.

    Raises:
        InputRejected: There is no such function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputRejected(f"load={name!r} names no function as 'package.module:function'") from error
    return found


def placement(pos: Sequence[float], heading: float) -> np.ndarray:
    """Transform [4, 4] from a clip's Y-up world to an environment.

    Args:
        pos: [3] m, where the clip's origin comes to lie.
        heading: Where the clip's z axis, which a body at rest faces, comes to point; rad about z from x.
    """
    # Stood up, a body faces -y, which is -90 degrees.
    turn = heading + 0.5 * np.pi
    place = np.eye(4)
    place[0, 0] = place[1, 1] = np.cos(turn)
    place[1, 0], place[0, 1] = np.sin(turn), -np.sin(turn)
    place[:3, 3] = pos
    return place @ Z_UP_FROM_Y_UP


def people_stepper(
    count: int,
    *,
    motions: Sequence[str],
    presets: Sequence[str],
    phases: Sequence[float],
    speeds: Sequence[float],
    place: np.ndarray,
    lod: str,
    device: str,
    load: Callable[[Path], SomaMotion],
    loop: bool = True,
    fit_stride: bool = True,
    normals: bool = False,
    proxies: bool = False,
    correctives: bool = False,
) -> BodyStepper:
    """A stepper of one body per environment; lists repeat over the environments.

    Args:
        count: Environments.
        motions: Files or names of bundled clips.
        presets: Named bodies of the open shape space; none means the template's body.
        phases: s.
        speeds: Factors on the clips' pace.
        place: [4, 4] or [count, 4, 4] from the clips' world to the environment's.
        lod: Level of detail.
        device: Warp device.
        load: Reads a motion file.
        loop: Start again after the last frame, or hold it.
        fit_stride: Scale the paths by the bodies' legs.
        normals: Compute vertex normals.
        proxies: Pose collision capsules.
        correctives: Add the pose correctives that ship with soma_isaac.

    Raises:
        InputRejected: A motion or a preset does not exist or is not sound.
    """
    rows = np.arange(count)
    group = _group(count, presets, lod=lod, device=device, correctives=correctives)
    clips = ClipLibrary([load(motion_path(name)) for name in motions], device=device)
    return BodyStepper(
        clips,
        [group],
        playing=rows % len(clips),
        phases=np.resize(np.asarray(phases, dtype=np.float64), count),
        speeds=np.resize(np.asarray(speeds, dtype=np.float64), count),
        loop=loop,
        placements=place,
        fit_stride=fit_stride,
        normals=normals,
        proxies=proxies,
    )


def limb_colliders(presets: Sequence[str], lod: str) -> dict[str, tuple[float, ...]]:
    """Capsules for all environments, of the mean size of the named bodies, standing as the first one does at rest.

    Args:
        presets: As for :func:`people_stepper`.
        lod: Level of detail.

    Returns:
        By limb: position of the centre m, quaternion xyzw, radius and half height m; the axis is z, up is z.

    Raises:
        InputRejected: A preset does not exist.
    """
    group = _group(max(len(presets), 1), presets, lod=lod, device="cpu", correctives=False)
    capsules = limb_capsules(group.body, group.identity)
    binds = Z_UP_FROM_Y_UP @ np.asarray(group.identity.bind_T_world_joint)[0][capsules.joints]
    turns = binds[:, :3, :3] @ matrix_from_quat_xyzw(capsules.offsets[0, :, 3:])
    centres = np.einsum("kij,kj->ki", binds[:, :3, :3], capsules.offsets[0, :, :3]) + binds[:, :3, 3]
    sizes = np.stack([capsules.radii.mean(axis=0), capsules.half_heights.mean(axis=0)], axis=1)
    rows = np.concatenate([centres, quat_xyzw_from_matrix(turns), sizes], axis=1)
    return {name: tuple(row) for name, row in zip(capsules.names, rows.tolist(), strict=True)}


def _group(count: int, presets: Sequence[str], *, lod: str, device: str, correctives: bool) -> BodyGroup:
    """Bodies whose presets repeat over the environments."""
    layer = SomaLayer(
        identity="soma" if presets else "template",
        lod=lod,
        device=device,
        correctives=OPEN_CORRECTIVES if correctives else None,
    )
    if not presets:
        return BodyGroup(layer.body, layer.prepare_identity(), count)
    named = np.stack([preset(name) for name in presets])
    return BodyGroup(layer.body, layer.prepare_identity(named[np.arange(count) % len(named)]), count)
