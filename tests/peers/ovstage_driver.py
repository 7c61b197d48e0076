"""A G1 in PhysX and SOMA bodies on the same ovstage scene, in a process of its own: two USD libraries meet here.

Prints one line of JSON: how far the robot moved, and the largest difference between what the scene holds and the
stepper's vertices.
"""

import json
import sys
from pathlib import Path

import numpy as np
from pxr import Usd, UsdGeom

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.sinks.ovstage import OvStageSink
from soma_isaac.sim.sinks.usd_points import UsdPointsSink
from tests.sim.conftest import make_motion

robot, folder, link_root = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
body = SomaBody(load_template_rig(), lod="low", threads=1)
stepper = BodyStepper(
    ClipLibrary([make_motion(8, 30.0, 1)]),
    [BodyGroup(body, body.prepare(), 3)],
    phases=[0.0, 0.05, 0.1],
    placements=Z_UP_FROM_Y_UP,
)
group = stepper.groups[0]
stage = Usd.Stage.CreateNew(str(folder / "scene.usda"))
UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
UsdGeom.SetStageMetersPerUnit(stage, 1.0)
stage.GetRootLayer().subLayerPaths.append(str(robot))
sink = UsdPointsSink(stage, group, "/Bodies", normals=False)
stage.Save()

import ovphysx  # noqa: E402 - after USD has done its part
import ovstage  # noqa: E402
from ovphysx.samples.python_samples.schema_support import physx_schema_paths  # noqa: E402
from ovphysx.types import TensorType  # noqa: E402

ovphysx.PhysX.set_cpu_mode(True)
physx = ovphysx.PhysX()
ovstage.population.register_usd_schemas([*map(str, physx_schema_paths()), str(ovphysx.newton_schema_root())])
scene = ovstage.Stage("scene")
ovstage.population.open_usd(scene, str(folder / "scene.usda"), ordinal=1, domains=ovstage.PopulationDomain.ALL)
scene.advance_write_floor(ordinal=1).wait()
physx.wait_task(physx.attach_ovstage(scene, read_ordinal=1))
pose = physx.create_tensor_binding(pattern=link_root, tensor_type=TensorType.ARTICULATION_ROOT_POSE)
points = OvStageSink(scene, group, [f"/Bodies/body_{row}" for row in range(3)])
token = ovstage.PathDictionary(scene).intern_token("points")
before, after = (np.zeros(pose.shape, dtype=np.float32) for _ in range(2))
pose.read(before)
worst, moved, previous = 0.0, np.inf, None
for ordinal in range(2, 42):
    stepper.step(0.01)
    points.write(group, ordinal)
    scene.advance_write_floor(ordinal=ordinal).wait()
    physx.wait_task(physx.update_from_ovstage(ordinal, ordinal))
    physx.step(0.01)
    if ordinal % 10:
        continue
    vertices = group.pose.vertices.numpy()
    for read in scene.read_attributes(points._query, [token], ovstage.OrdinalRange.latest(ordinal)).groups():
        with read:
            held = [np.array(read.array(row)).reshape(-1, 3) for row in range(3)]
    worst = max(worst, *(float(np.abs(held[row] - vertices[row]).max()) for row in range(3)))
    if previous is not None:
        moved = min(moved, float(np.abs(held[0] - previous).max()))
    previous = held[0].copy()
pose.read(after)
print(
    json.dumps(
        {
            "worst": worst,
            "moved": moved,
            "fell": float(before[0, 2] - after[0, 2]),
            "finite": bool(np.isfinite(after).all()),
        }
    )
)
