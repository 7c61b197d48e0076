"""SOMA bodies beside a G1 in one Newton model, stepped together by SolverMuJoCo on the CPU."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import warp as wp

from soma_isaac.rig.skeleton import data_path, template_rest_offsets

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("newton") is None,
        reason="newton is not installed; make peers builds an environment that has it",
    ),
]

DT = 0.005


def scene(stepper, *, gravity, colliders=True, show=False):
    """Model, solver, two states, control and bodies; the G1 stands at the origin, faces x and holds its joints."""
    import newton

    from soma_isaac.sim.newton import NewtonBodies

    builder = newton.ModelBuilder(up_axis=newton.Axis.Z, gravity=(0.0, 0.0, gravity))
    builder.add_urdf(
        str(data_path("g1") / "g1_29dof.urdf"),
        xform=wp.transform(wp.vec3(0.0, 0.0, 0.79), wp.quat_identity()),
        floating=True,
        enable_self_collisions=False,
    )
    for dof in range(6, builder.joint_dof_count):
        builder.joint_target_ke[dof] = 200.0
        builder.joint_target_kd[dof] = 5.0
        builder.joint_target_mode[dof] = int(newton.JointTargetMode.POSITION)
        builder.joint_armature[dof] = 0.02
    builder.add_ground_plane()
    bodies = NewtonBodies(builder, stepper, colliders=colliders, show_capsules=show)
    model = builder.finalize(device="cpu")
    bodies.attach(model)
    solver = newton.solvers.SolverMuJoCo(model, nconmax=400, njmax=1200)
    states = model.state(), model.state()
    newton.eval_fk(model, model.joint_q, model.joint_qd, states[0])
    return model, solver, states, model.control(), bodies


@pytest.fixture(scope="module")
def body():
    from soma_isaac.body import SomaBody
    from soma_isaac.formats.rig_usd import load_template_rig

    return SomaBody(load_template_rig(), lod="low", threads=1)


def place(x, y, angle=0.0):
    from soma_isaac.sim.placement import Z_UP_FROM_Y_UP

    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turned[:2, 3] = x, y
    return turned @ Z_UP_FROM_Y_UP


def test_a_g1_and_four_bodies_step_together(body):
    from soma_isaac.pipelines.motion_in import load_motion
    from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
    from tests.oracles.clip_pose import clip_pose

    motions = [load_motion(data_path("demo_clips") / f"{name}.npz") for name in ("walk", "wave", "squat", "reach")]
    scale = np.array([1.0, 0.92, 1.05, 1.1])
    bind = np.repeat(body.layout.bind_T_world_joint[None, :78], 4, axis=0)
    bind[..., :3, 3] *= scale[:, None, None]
    identity = body.prepare(body.rig.mesh("low").points[None] * scale[:, None, None], bind)
    places = np.array([place(3.0, 0.0), place(-3.0, 0.0, 1.0), place(0.0, 3.0, 2.0), place(0.0, -3.0, 3.0)])
    speeds, phases = np.array([1.0, 0.5, 2.0, 1.3]), np.array([0.0, 0.3, 0.1, 1.0])
    stepper = BodyStepper(
        ClipLibrary(motions), [BodyGroup(body, identity)], phases=phases, speeds=speeds, placements=places, proxies=True
    )
    model, solver, (state, other), control, bodies = scene(stepper, gravity=-9.81)
    posed, capsules = stepper.groups[0], bodies.capsule_bodies[0]
    for step in range(1, 201):
        bodies.step(DT, state)
        solver.step(state, other, control, None, DT)
        state, other = other, state
        bodies.show(state)
        if step % 40:
            continue
        np.testing.assert_allclose(state.body_q.numpy()[capsules], posed.proxies.numpy(), atol=1e-5)
        points = state.particle_q.numpy().reshape(4, body.vertex_count, 3)
        for row, motion in enumerate(motions):
            duration = (motion.frame_count - 1) / motion.fps
            rotations, hips = clip_pose(motion, (phases[row] + step * DT * speeds[row]) % duration)
            hips = hips * scale[row] * template_rest_offsets()[1, 1] / motion.identity.rest_offsets[1, 1]
            expected = body.pose(identity, rotations[None], hips[None]).vertices.numpy()[row].astype(float)
            expected = expected @ places[row, :3, :3].T + places[row, :3, 3]
            assert np.linalg.norm(points[row] - expected, axis=1).max() < 1e-5
    for values in (state.body_q, state.body_qd, state.joint_q, state.joint_qd, state.particle_q):
        assert np.isfinite(values.numpy()).all()
    pelvis = state.body_q.numpy()[0]
    assert pelvis[2] > -0.1  # it may fall over without a policy, but not through the floor
    assert model.body_count == 30 + capsules.size


@pytest.mark.parametrize("colliders", [True, False])
def test_a_robot_pushed_into_a_person_is_stopped(body, colliders):
    from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
    from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary

    offsets = template_rest_offsets()
    standing = SomaMotion(
        fps=30.0,
        rotations=np.eye(3)[None, None].repeat(77, axis=1),
        root_translation=offsets[None, 1],
        identity=MotionIdentity("soma", np.zeros(0), None, offsets, "template"),
        provenance=Provenance("standing", "0" * 64, "generated", "option", "y", "format"),
    )
    stepper = BodyStepper(
        ClipLibrary([standing]), [BodyGroup(body, body.prepare())], placements=place(0.7, 0.0), proxies=True
    )
    _, solver, (state, other), control, bodies = scene(stepper, gravity=0.0, colliders=colliders)
    farthest = 0.0
    for _ in range(200):
        bodies.step(DT, state)
        force = np.zeros((len(state.body_f), 6), dtype=np.float32)
        force[0, 0] = 100.0  # N on the pelvis, along x
        state.body_f.assign(force)
        solver.step(state, other, control, None, DT)
        state, other = other, state
        farthest = max(farthest, float(state.body_q.numpy()[0, 0]))
    assert np.isfinite(state.joint_q.numpy()).all()
    if colliders:
        assert 0.05 < farthest < 0.6
        assert abs(state.body_qd.numpy()[0, 0]) < 0.2  # m/s, still pushed; 3 m/s without a person
    else:
        assert farthest > 1.0  # without the capsules it goes where the person stands


def test_the_scene_is_recorded_as_a_stage_that_usd_skins(tmp_path):
    from pxr import Usd, UsdGeom, UsdSkel, Vt

    from soma_isaac.pipelines.newton_scene import NewtonSceneConfig, run_newton_scene

    path = tmp_path / "scene.usdc"
    report = run_newton_scene(NewtonSceneConfig(output=str(path), count=2, seconds=0.8))
    assert report.finite and (report.steps, report.frames) == (160, 40)
    stage = Usd.Stage.Open(str(path))
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0.0, 39.0)
    for person in range(2):
        root = UsdSkel.Root.Get(stage, f"/World/Person_{person}")
        cache = UsdSkel.Cache()
        cache.Populate(root, Usd.PrimDefaultPredicate)
        (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
        query = cache.GetSkelQuery(binding.GetSkeleton())
        (skinning,) = binding.GetSkinningTargets()
        world = np.array(UsdGeom.Xformable(root).ComputeLocalToWorldTransform(0.0))
        frames = []
        for time in (0.0, 39.0):
            points = Vt.Vec3fArray(UsdGeom.Mesh(skinning.GetPrim()).GetPointsAttr().Get())
            assert skinning.ComputeSkinnedPoints(query.ComputeSkinningTransforms(time), points, time)
            frames.append(np.array(points, float) @ world[:3, :3] + world[3, :3])
        assert all(abs(points[:, 2].min()) < 0.05 and 1.4 < points[:, 2].max() < 2.2 for points in frames)
        assert np.abs(frames[1] - frames[0]).max() > 0.01
    pelvis = UsdGeom.Xformable(stage.GetPrimAtPath("/World/G1/body_0"))
    heights = [pelvis.ComputeLocalToWorldTransform(time).ExtractTranslation()[2] for time in (0.0, 39.0)]
    assert abs(heights[0] - 0.79) < 1e-3 and heights[1] > 0.2
    assert len([p for p in stage.Traverse() if p.IsA(UsdGeom.Gprim) and "/G1/" in str(p.GetPath())]) == 33
