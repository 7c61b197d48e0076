"""People that a robot can bump into, on both engines."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, AssetBaseCfg
from isaaclab.scene import InteractiveScene, InteractiveSceneCfg
from isaaclab.sim import SimulationCfg, build_simulation_context
from isaaclab.utils.configclass import configclass

from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab import FloorSpawnerCfg, RobotSpawnerCfg, SomaBodies, SomaBodiesCfg
from soma_isaac.sim.isaaclab.engines import physics_cfg
from tests.isaac.scenes import BACKENDS, DT, steps

SPEED, FLIGHT = 2.0, 80


@configclass
class SceneCfg(InteractiveSceneCfg):
    """A robot in the air, 0.8 m in front of a person who waves on the floor."""

    floor = AssetBaseCfg(prim_path="/World/Floor", spawn=FloorSpawnerCfg())
    robot = ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=RobotSpawnerCfg(),
        init_state=ArticulationCfg.InitialStateCfg(pos=(0.0, 0.0, 1.2)),
        actuators={"all": ImplicitActuatorCfg(joint_names_expr=[".*"], stiffness=100.0, damping=4.0, armature=0.02)},
    )
    person = SomaBodiesCfg(
        prim_path="{ENV_REGEX_NS}/Person",
        motions=["wave"],
        presets=["adult_male"],
        phases=[0.5],
        pos=(0.8, 0.0, 0.0),
        heading=3.14159,
        colliders=True,
    )


def capsules(scene, backend):
    """Poses [N, K, 7] of the kinematic bodies as the engine has them, in the world."""
    person = scene["person"]
    if backend == "ovphysx":
        collection = person._colliders._collection
        collection.update(0.0)
        order = [collection.body_names.index(name) for name in person._colliders._names]
        return collection.data.body_link_pose_w.torch[:, order].clone()
    from isaaclab_newton.physics import NewtonManager

    labels = list(NewtonManager.get_model().body_label)
    names = person._colliders._names
    rows = [[labels.index(f"/World/envs/env_{env}/Person/capsules/{name}") for name in names] for env in range(2)]
    return torch.from_numpy(NewtonManager.get_state_0().body_q.numpy()[np.array(rows)].copy())


@pytest.fixture(scope="module", params=BACKENDS)
def run(request):
    """Environment 0 throws its robot at the person, environment 1 away from it."""
    cfg = SimulationCfg(device="cpu", dt=DT, physics=physics_cfg(request.param))
    with build_simulation_context(sim_cfg=cfg) as sim:
        scene = InteractiveScene(SceneCfg(num_envs=2, env_spacing=6.0))
        sim.reset()
        scene.reset()
        robot, person = scene["robot"], scene["person"]
        started = capsules(scene, request.param)
        wanted = [person.data.proxies.torch.clone()]
        thrown = torch.zeros(2, 6)
        thrown[0, 0], thrown[1, 0] = SPEED, -SPEED
        robot.write_root_link_velocity_to_sim_index(root_velocity=thrown, env_ids=torch.arange(2))
        path, bent = [], []
        for _ in range(FLIGHT // 10):
            steps(sim, scene, 10)
            path.append(robot.data.root_link_pos_w.torch - scene.env_origins)
            bent.append(robot.data.joint_pos.torch.abs().max(dim=1).values.clone())
        flown = capsules(scene, request.param)
        wanted.append(person.data.proxies.torch.clone())
        person.place([1], (0.0, 2.0, 0.0), 0.0)
        person.reset(torch.tensor([1]))
        moved = capsules(scene, request.param)
        wanted.append(person.data.proxies.torch.clone())
        yield SimpleNamespace(
            poses=[started, flown, moved],
            wanted=wanted,
            origins=scene.env_origins.clone(),
            path=torch.stack(path),
            bent=torch.stack(bent),
        )


def test_the_engine_has_the_capsules_where_the_bodies_are_at_once_after_a_reset_too(run):
    for poses, proxies in zip(run.poses, run.wanted, strict=True):
        assert (poses[..., :3] - proxies[..., :3] - run.origins[:, None]).abs().max() < 1e-5
        turns = (poses[..., 3:] * proxies[..., 3:]).sum(dim=-1).abs()
        assert (turns - 1.0).abs().max() < 1e-5
    assert (run.poses[1] - run.poses[0])[..., :3].norm(dim=-1).max() > 0.02  # a hand waves
    assert (run.poses[2] - run.poses[1])[1, :, 1].mean() > 1.5


def test_a_robot_is_stopped_by_a_person_and_only_where_there_is_one(run):
    seconds = FLIGHT * DT
    towards, away = run.path[-1, 0, 0], -run.path[-1, 1, 0]
    assert towards < 0.75 * SPEED * seconds
    assert away > 0.95 * SPEED * seconds
    # Where the capsules' feet stand in the floor nothing is disturbed: the robot lands and stays in shape.
    assert 0.7 < run.path[-1, 1, 2] < 0.85 and run.bent[:5, 1].max() < 1e-3 and run.bent[:, 1].max() < 0.6
    assert run.bent[-1, 0] > 2.0 * run.bent[-1, 1]


def test_colliders_without_a_prim_are_refused():
    cfg = SomaBodiesCfg(prim_path="/World/Person", colliders=True, spawn=None)
    simulation = SimulationCfg(device="cpu", dt=DT, physics=physics_cfg("newton"))
    with build_simulation_context(sim_cfg=simulation), pytest.raises(InputRejected, match="spawn"):
        SomaBodies(cfg)
