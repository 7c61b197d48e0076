"""What the tests of this folder simulate: two environments with a G1 and a person, on either engine."""

from contextlib import contextmanager

import isaaclab.sim as sim_utils
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, AssetBaseCfg
from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
from isaaclab.sensors import CameraCfg
from isaaclab.sim import SimulationCfg, build_simulation_context
from isaaclab.utils.configclass import configclass
from isaaclab_newton.renderers import NewtonWarpRendererCfg

from soma_isaac.sim.isaaclab import FloorSpawnerCfg, RobotSpawnerCfg, SomaBodiesCfg
from soma_isaac.sim.isaaclab.engines import physics_cfg

DT = 0.005
BACKENDS = ("newton", "ovphysx")
SIZE = (320, 240)


@configclass
class SceneCfg(InteractiveSceneCfg):
    """A robot in the air inside a person, and a camera."""

    floor = AssetBaseCfg(prim_path="/World/Floor", spawn=FloorSpawnerCfg())
    robot = ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=RobotSpawnerCfg(),
        init_state=ArticulationCfg.InitialStateCfg(pos=(0.0, 0.0, 1.6)),
        actuators={"all": ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=100.0, damping=4.0, armature=0.02)},
    )
    person = SomaBodiesCfg(
        prim_path="{ENV_REGEX_NS}/Person",
        motions=["squat", "wave"],
        phases=[1.5, 3.0],
        speeds=[4.0, -4.0],
        pos=(0.2, 0.1, 0.0),
        heading=0.4,
        normals=True,
        proxies=True,
        stage_points="usd",
    )
    camera = CameraCfg(
        prim_path="{ENV_REGEX_NS}/Camera",
        width=SIZE[0],
        height=SIZE[1],
        data_types=["rgb", "instance_segmentation_fast"],
        spawn=sim_utils.PinholeCameraCfg(focal_length=18.0, clipping_range=(0.05, 30.0)),
        # At (4, 0, 1), looking back along x.
        offset=CameraCfg.OffsetCfg(pos=(4.0, 0.0, 1.0), rot=(0.0, 0.0, 1.0, 0.0), convention="world"),
        renderer_cfg=NewtonWarpRendererCfg(enable_shadows=True, colorize_instance_segmentation=False),
    )


@contextmanager
def running_scene(backend):
    """A simulation and its scene after the first reset."""
    cfg = SimulationCfg(device="cpu", dt=DT, physics=physics_cfg(backend))
    with build_simulation_context(sim_cfg=cfg) as sim:
        scene = InteractiveScene(SceneCfg(num_envs=2, env_spacing=5.0))
        sim.reset()
        scene.reset()
        yield sim, scene


def steps(sim, scene, count):
    for _ in range(count):
        scene.write_data_to_sim()
        sim.step(render=False)
        scene.update(DT)


def envs(*numbers):
    return torch.tensor(numbers)
