"""Physics engines of Isaac Lab 3.0 by name."""

from __future__ import annotations

from typing import Any

from soma_isaac.errors import InputRejected
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
