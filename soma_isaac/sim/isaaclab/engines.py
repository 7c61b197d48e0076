"""Physics engines of Isaac Lab by name, and the cameras that go with them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.math.so3 import quat_wxyz_from_matrix
from soma_isaac.sim.isaaclab.compat import DIALECT

ENGINES = ("newton", "ovphysx", "kit")


def physics_cfg(engine: str, *, device: str = "cpu") -> Any:
    """Value of ``SimulationCfg.physics``, with room for the contacts of a G1.

    Args:
        engine: ``newton`` or ``ovphysx``, which need no Kit, or ``kit``: PhysX inside Isaac Sim, the default of
            Isaac Lab (the only one of 2.3, which has no such setting: ``None``).
        device: Where the simulation runs; CUDA graphs are used on a GPU.

    Raises:
        InputRejected: There is no such engine in this Isaac Lab.
    """
    if engine not in ENGINES or (DIALECT.generation == 2 and engine != "kit"):
        known = ENGINES if DIALECT.generation == 3 else ("kit",)
        raise InputRejected(f"no engine {engine!r}; this Isaac Lab has {', '.join(known)}")
    if engine == "kit":
        return None
    if engine == "newton":
        from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg

        solver = MJWarpSolverCfg(nconmax=60, njmax=250)
        return NewtonCfg(solver_cfg=solver, use_cuda_graph=device != "cpu")
    from isaaclab_ovphysx.physics import OvPhysxCfg

    return OvPhysxCfg()


def camera_cfg(
    engine: str,
    *,
    eye: Sequence[float],
    target: Sequence[float],
    width: int,
    height: int,
    data_types: Sequence[str] = ("rgb",),
) -> Any:
    """A camera per environment that looks from one point to another.

    Args:
        engine: As for :func:`physics_cfg`; without Kit Newton's ray tracer draws, inside Kit RTX.
        eye: [3] m, in the environment.
        target: [3] m.
        width: Pixels.
        height: Pixels.
        data_types: What to draw.

    Raises:
        InputRejected: Eye and target are above each other.
    """
    import isaaclab.sim as sim_utils
    from isaaclab.sensors import CameraCfg, TiledCameraCfg

    pinhole = sim_utils.PinholeCameraCfg(focal_length=18.0, clipping_range=(0.05, 50.0))
    kinds = CameraCfg if DIALECT.generation == 3 else TiledCameraCfg
    offset = kinds.OffsetCfg(pos=tuple(eye), rot=DIALECT.rotation(look_at_wxyz(eye, target)), convention="world")
    more = {}
    if engine != "kit":
        from isaaclab_newton.renderers import NewtonWarpRendererCfg

        more["renderer_cfg"] = NewtonWarpRendererCfg(enable_shadows=True, colorize_instance_segmentation=False)
    return kinds(
        prim_path="{ENV_REGEX_NS}/Camera",
        offset=offset,
        spawn=pinhole,
        width=width,
        height=height,
        data_types=list(data_types),
        **more,
    )


def look_at_wxyz(eye: Sequence[float], target: Sequence[float]) -> list[float]:
    """Rotation (4 numbers) of a camera whose x axis looks from one point to another and whose z axis is up.

    Raises:
        InputRejected: The points are above each other.
    """
    ahead = np.asarray(target, dtype=np.float64) - np.asarray(eye, dtype=np.float64)
    left = np.cross([0.0, 0.0, 1.0], ahead)
    if np.linalg.norm(left) < 1e-6:
        raise InputRejected("a camera cannot look straight up or down: eye and target are above each other")
    ahead, left = ahead / np.linalg.norm(ahead), left / np.linalg.norm(left)
    return quat_wxyz_from_matrix(np.stack([ahead, left, np.cross(ahead, left)], axis=1)).tolist()


def start_application(engine: str, *, device: str) -> Any:
    """Kit, headless with cameras, where the engine needs it; it must run before the rest of Isaac Lab is imported.

    Args:
        engine: As for :func:`physics_cfg`.
        device: Where the simulation will run.

    Returns:
        The application, to be closed at the end, or ``None``.

    Raises:
        MissingDependency: Isaac Lab cannot be imported.
    """
    if importlib.util.find_spec("isaaclab") is None:
        raise MissingDependency("isaaclab", "this scene", "see docs/isaaclab.md")
    if engine != "kit":
        return None
    from isaaclab.app import AppLauncher

    return AppLauncher(headless=True, enable_cameras=True, device=device).app


def new_environment(cfg: Any) -> Any:
    """``ManagerBasedRLEnv(cfg)``."""
    from isaaclab.envs import ManagerBasedRLEnv

    return ManagerBasedRLEnv(cfg)
