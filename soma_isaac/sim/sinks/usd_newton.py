"""A Newton model's own shapes (a robot's collision geometry) as moving USD prims, to record a scene with its robot."""

from __future__ import annotations

from typing import Any

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom

from soma_isaac.math.so3 import matrix_from_quat_xyzw

_COLOR = (0.35, 0.4, 0.45)


class UsdShapesSink:
    """Spheres, capsules and cylinders of some rigid bodies; other shapes are left out.

    A cylinder of Newton's URDF importer stands where the robot has a capsule (see ``data/g1/README.md``).
    """

    def __init__(self, stage: Usd.Stage, model: Any, bodies: np.ndarray, root: str) -> None:
        """Define one prim per body with its shapes below.

        Args:
            stage: In metres, with the model's up axis.
            model: The finalized ``newton.Model``.
            bodies: [N] which rigid bodies.
            root: Path of the prim above them, made if there is none.
        """
        import newton

        UsdGeom.Xform.Define(stage, root)
        self._bodies = np.asarray(bodies)
        self._ops: list[UsdGeom.XformOp] = []
        paths: dict[int, str] = {}
        for body in self._bodies.tolist():
            paths[body] = f"{root}/body_{body}"
            self._ops.append(UsdGeom.Xform.Define(stage, paths[body]).AddTransformOp())
        kinds = {
            int(newton.GeoType.SPHERE): UsdGeom.Sphere,
            int(newton.GeoType.CAPSULE): UsdGeom.Capsule,
            int(newton.GeoType.CYLINDER): UsdGeom.Cylinder,
        }
        sizes, poses = model.shape_scale.numpy(), model.shape_transform.numpy()
        for shape, (kind, body) in enumerate(zip(model.shape_type.numpy(), model.shape_body.numpy(), strict=True)):
            if int(body) not in paths or int(kind) not in kinds:
                continue
            prim = kinds[int(kind)].Define(stage, f"{paths[int(body)]}/shape_{shape}")
            prim.CreateRadiusAttr(float(sizes[shape, 0]))
            if kinds[int(kind)] is not UsdGeom.Sphere:
                prim.CreateHeightAttr(2.0 * float(sizes[shape, 1]))
                prim.CreateAxisAttr(UsdGeom.Tokens.z)
            prim.CreateDisplayColorAttr([Gf.Vec3f(*_COLOR)])
            prim.AddTransformOp().Set(_matrix(poses[shape]))

    def write(self, state: Any, time_code: float | None = None) -> None:
        """Write the bodies' poses of a ``newton.State`` as one change, at a time code or as the default value."""
        time = Usd.TimeCode.Default() if time_code is None else Usd.TimeCode(time_code)
        poses = state.body_q.numpy()
        with Sdf.ChangeBlock():
            for body, op in zip(self._bodies.tolist(), self._ops, strict=True):
                op.Set(_matrix(poses[body]), time)


def _matrix(pose: np.ndarray) -> Gf.Matrix4d:
    """USD's row-vector matrix of a position and a quaternion (xyzw)."""
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quat_xyzw(pose[3:].astype(np.float64)).T
    matrix[3, :3] = pose[:3]
    return Gf.Matrix4d(matrix.tolist())
