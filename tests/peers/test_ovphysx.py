"""PhysX itself as the judge of the ``beyondmimic`` clip: its link and joint order, its poses, its velocities.

The robot comes to PhysX by NVIDIA's own converters, once from our URDF and once from mjlab's MJCF. Each frame's root
state and joint state are written and the articulation's forward kinematics updated, without a simulation step.
"""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from soma_isaac.formats.reference_clip import reference_clip_bytes
from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.robot import BUNDLED_URDF, load_robot
from soma_isaac.rig.skeleton import data_path
from tests.oracles.random_motion import random_motion

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("ovphysx") is None,
        reason="ovphysx is not installed; make peers builds an environment that has it",
    ),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
MJCF = ROOT.parent / "shared" / "data" / "g1_model" / "g1_nomesh.xml"
WALK = ROOT / "out" / "g1_refs" / "beyondmimic" / "walk.npz"
# usd-exchange brings a USD of its own, so the conversion runs in a process without PhysX's. The URDF converter fixes
# the root link to the world; that joint goes.
CONVERT = """
import sys
from pathlib import Path
from pxr import Usd
source, folder = sys.argv[1:]
if source.endswith(".urdf"):
    from urdf_usd_converter import Converter
else:
    from mujoco_usd_converter import Converter
stage = Usd.Stage.Open(Converter(layer_structure=False).convert(source, folder).path)
for prim in [prim for prim in stage.Traverse() if prim.GetTypeName() == "PhysicsFixedJoint"]:
    stage.RemovePrim(prim.GetPath())
root = [prim for prim in stage.Traverse() if "PhysicsArticulationRootAPI" in prim.GetAppliedSchemas()]
stage.GetRootLayer().Export(str(Path(folder, "robot.usda")))
print("ROOT", root[0].GetPath())
"""


class Articulation(NamedTuple):
    """The robot in PhysX."""

    body_names: list[str]
    joint_names: list[str]
    bindings: dict
    physx: object

    def state(self, root_pose: np.ndarray, root_velocity: np.ndarray, joint_pos: np.ndarray, joint_vel: np.ndarray):
        """Link poses [B, 7] (xyzw) and velocities [B, 6] of a generalized state."""
        for name, value in (
            ("ROOT_POSE", root_pose),
            ("DOF_POSITION", joint_pos),
            ("ROOT_VELOCITY", root_velocity),
            ("DOF_VELOCITY", joint_vel),
        ):
            self.bindings[name].write(np.ascontiguousarray(value[None], dtype=np.float32))
        self.physx.update_articulations_kinematic()
        read = []
        for name in ("LINK_POSE", "LINK_VELOCITY"):
            array = np.full(self.bindings[name].shape, np.nan, dtype=np.float32)
            self.bindings[name].read(array)
            read.append(array[0])
        return read


@pytest.fixture(scope="module")
def physx() -> Iterator[object]:
    import ovphysx
    import ovstage
    from ovphysx.samples.python_samples.schema_support import physx_schema_paths

    ovphysx.PhysX.set_cpu_mode(True)
    physx = ovphysx.PhysX()
    schemas = [*(str(path) for path in physx_schema_paths()), str(ovphysx.newton_schema_root())]
    ovstage.population.register_usd_schemas(schemas)
    yield physx
    physx.destroy()


@pytest.fixture(params=["our URDF", "mjlab's MJCF"])
def articulation(request: pytest.FixtureRequest, physx, tmp_path: Path) -> Iterator[Articulation]:
    import ovstage
    from ovphysx.types import TensorType

    source = data_path(BUNDLED_URDF) if request.param == "our URDF" else MJCF
    if not source.exists():
        pytest.skip(f"{source.name} is not here")
    command = [sys.executable, "-c", CONVERT, str(source), str(tmp_path / "usd")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    root = printed.rsplit("ROOT ", 1)[1].strip()
    stage = ovstage.Stage(f"g1 {request.param}")
    usd = tmp_path / "usd" / "robot.usda"
    ovstage.population.open_usd(stage, str(usd), ordinal=1, domains=ovstage.PopulationDomain.ALL)
    stage.advance_write_floor(ordinal=1).wait()
    physx.wait_task(physx.attach_ovstage(stage, read_ordinal=1))
    kinds = ("ROOT_POSE", "ROOT_VELOCITY", "DOF_POSITION", "DOF_VELOCITY", "LINK_POSE", "LINK_VELOCITY")
    bindings = {
        kind: physx.create_tensor_binding(pattern=root, tensor_type=getattr(TensorType, f"ARTICULATION_{kind}"))
        for kind in kinds
    }
    links = bindings["LINK_POSE"]
    assert not links.is_fixed_base
    yield Articulation(list(links.body_names), list(links.dof_names), bindings, physx)
    for binding in bindings.values():
        binding.destroy()
    physx.wait_task(physx.detach_ovstage())
    stage.destroy()


@pytest.mark.parametrize("motion", ["a random motion", "the walk of make refs"])
def test_physx_reproduces_the_beyondmimic_clip(articulation: Articulation, motion: str) -> None:
    if motion == "a random motion":
        model = load_robot()
        clip = reference_clip(random_motion(model, 100, share=0.9), model)
        source = io.BytesIO(reference_clip_bytes(clip, "beyondmimic"))
    elif WALK.exists():
        source = io.BytesIO(WALK.read_bytes())
    else:
        pytest.skip("out/g1_refs is not here; make refs writes it")
    with np.load(source, allow_pickle=False) as archive:
        file = {key: archive[key] for key in archive.files}
    assert file["body_names"].tolist() == articulation.body_names
    assert file["joint_names"].tolist() == articulation.joint_names
    worst = np.zeros(4)
    for frame in range(len(file["joint_pos"])):
        pos, quat = file["body_pos_w"][frame], file["body_quat_w"][frame]
        lin, ang = file["body_lin_vel_w"][frame], file["body_ang_vel_w"][frame]
        poses, velocities = articulation.state(
            np.r_[pos[0], quat[0][[1, 2, 3, 0]]],
            np.r_[lin[0], ang[0]],
            file["joint_pos"][frame],
            file["joint_vel"][frame],
        )
        physx_quat = poses[:, [6, 3, 4, 5]]
        physx_quat *= np.sign((physx_quat * quat).sum(axis=1, keepdims=True))
        differences = (poses[:, :3] - pos, physx_quat - quat, velocities[:, :3] - lin, velocities[:, 3:] - ang)
        worst = np.maximum(worst, [np.abs(difference).max() for difference in differences])
    print("largest differences to PhysX: position {:.2g} m, quaternion {:.2g}, {:.2g} m/s, {:.2g} rad/s".format(*worst))
    assert np.abs(file["body_lin_vel_w"]).max() > 1.0  # the velocities are worth comparing
    assert worst[0] < 1e-5 and worst[1] < 1e-5  # m, unit quaternions
    assert worst[2] < 1e-4 and worst[3] < 1e-4  # m/s at the centres of mass, rad/s


def test_link_origin_velocities_are_not_what_physx_has(articulation: Articulation) -> None:
    model = load_robot()
    clip = reference_clip(random_motion(model, 100, share=0.9), model)
    with np.load(io.BytesIO(reference_clip_bytes(clip, "beyondmimic")), allow_pickle=False) as archive:
        file = {key: archive[key] for key in archive.files}
    order = [clip.body_names.index(name) for name in articulation.body_names]
    _, velocities = articulation.state(
        np.r_[file["body_pos_w"][50, 0], file["body_quat_w"][50, 0][[1, 2, 3, 0]]],
        np.r_[file["body_lin_vel_w"][50, 0], file["body_ang_vel_w"][50, 0]],
        file["joint_pos"][50],
        file["joint_vel"][50],
    )
    assert np.abs(velocities[:, :3] - clip.body_lin_vel_w[50][order]).max() > 0.05
