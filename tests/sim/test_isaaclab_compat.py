"""What differs between Isaac Lab 2.3 and 3.0, with stand-ins for their objects."""

import numpy as np
import pytest
import warp as wp

torch = pytest.importorskip("torch", reason="Isaac Lab speaks torch")

from soma_isaac.errors import InputRejected  # noqa: E402
from soma_isaac.sim.isaaclab import compat, engines  # noqa: E402
from soma_isaac.sim.isaaclab.compat import Dialect, WarpView  # noqa: E402

OLD, NEW = Dialect(2), Dialect(3)
QUAT_XYZW = torch.tensor([[0.1, 0.2, 0.3, 0.9]])


class Recorder:
    """Takes any call and keeps it."""

    def __init__(self):
        self.calls = {}

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.__setitem__(name, (args, kwargs))


def test_quaternions_go_to_each_generations_order_and_back():
    assert (OLD.quat_order, NEW.quat_order) == ("wxyz", "xyzw")
    assert OLD.from_xyzw(QUAT_XYZW).tolist()[0] == pytest.approx([0.9, 0.1, 0.2, 0.3])
    assert NEW.from_xyzw(QUAT_XYZW) is QUAT_XYZW
    for dialect in (OLD, NEW):
        assert torch.equal(dialect.to_xyzw(dialect.from_xyzw(QUAT_XYZW)), QUAT_XYZW)
    assert OLD.rotation((1, 0, 0, 0)) == (1.0, 0.0, 0.0, 0.0)
    assert NEW.rotation((1, 0, 0, 0)) == (0.0, 0.0, 0.0, 1.0)


def test_data_is_a_tensor_in_2_and_a_proxy_in_3():
    tensor = torch.zeros(2)
    assert OLD.tensor(tensor) is tensor
    proxy = WarpView(wp.zeros((2, 3), dtype=wp.vec3), tensor)
    assert NEW.tensor(proxy) is tensor
    view = OLD.view(wp.zeros((2, 5), dtype=wp.transform))
    assert view.shape == (2, 5) and tuple(view.torch.shape) == (2, 5, 7)
    view.torch[1, 2, 0] = 4.0
    assert view.warp.numpy()[1, 2, 0] == 4.0


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool])
def test_a_reset_means_the_same_environments_however_it_is_said(dtype):
    out = torch.empty(4, dtype=dtype)
    wanted = {
        "all": (None, None, [1, 1, 1, 1]),
        "list": ([1, 3], None, [0, 1, 0, 1]),
        "tensor": (torch.tensor([2]), None, [0, 0, 1, 0]),
        "int32": (torch.tensor([2], dtype=torch.int32), None, [0, 0, 1, 0]),
        "slice": (slice(None), None, [1, 1, 1, 1]),
        "mask": ([0], wp.array([False, True, True, False], dtype=wp.bool), [0, 1, 1, 0]),
    }
    for said, (ids, mask, rows) in wanted.items():
        out.fill_(1)
        assert NEW.mask(ids, mask, out).int().tolist() == rows, said


def test_states_are_written_by_the_names_and_orders_of_each_generation():
    ids = torch.tensor([1])
    pose = torch.cat([torch.tensor([[1.0, 2.0, 3.0]]), QUAT_XYZW], dim=1)
    velocity, pos, vel = torch.ones(1, 6), torch.ones(1, 29), torch.zeros(1, 29)
    old, new = Recorder(), Recorder()
    for dialect, robot in ((OLD, old), (NEW, new)):
        dialect.write_root_state(robot, pose_xyzw=pose, link_velocity=velocity, env_ids=ids)
        dialect.write_joint_state(robot, pos=pos, vel=vel, env_ids=ids)
        dialect.set_joint_targets(robot, pos=pos, vel=vel, env_ids=ids)
    assert set(old.calls) == {
        "write_root_link_pose_to_sim",
        "write_root_link_velocity_to_sim",
        "write_joint_state_to_sim",
        "set_joint_position_target",
        "set_joint_velocity_target",
    }
    assert all(name.endswith("_index") for name in new.calls)
    assert old.calls["write_root_link_pose_to_sim"][0][0][0, 3:].tolist() == pytest.approx([0.9, 0.1, 0.2, 0.3])
    assert new.calls["write_root_link_pose_to_sim_index"][1]["root_pose"][0, 3:].tolist() == QUAT_XYZW[0].tolist()
    assert not new.calls["write_root_link_pose_to_sim_index"][0]  # 3.0 takes keywords only


def test_a_sensor_spawns_at_its_expression_in_2_and_at_the_scenes_path_in_3():
    class Cfg:
        prim_path = "/World/envs/env_.*/Body"

        class spawn:
            spawn_path = "/World/envs/env_0/Body"
            asked = []
            func = staticmethod(lambda path, cfg: Cfg.spawn.asked.append(path))

    OLD.spawn(Cfg)
    NEW.spawn(Cfg)
    assert Cfg.spawn.asked == ["/World/envs/env_.*/Body", "/World/envs/env_0/Body"]


def test_generation_2_knows_kit_only_and_never_a_newton_model(monkeypatch):
    monkeypatch.setattr(engines, "DIALECT", OLD)
    monkeypatch.setattr(compat, "DIALECT", OLD)
    assert engines.physics_cfg("kit") is None
    with pytest.raises(InputRejected, match="kit"):
        engines.physics_cfg("newton")
    assert compat.newton_model(None) is None


def test_a_camera_looks_where_it_is_told_with_its_head_up():
    from scipy.spatial.transform import Rotation

    eye, target = np.array([3.0, -1.0, 2.0]), np.array([0.0, 0.5, 0.8])
    w, x, y, z = engines.look_at_wxyz(eye, target)
    turn = Rotation.from_quat([x, y, z, w])
    ahead = (target - eye) / np.linalg.norm(target - eye)
    assert np.abs(turn.apply([1.0, 0.0, 0.0]) - ahead).max() < 1e-12
    assert turn.apply([0.0, 0.0, 1.0])[2] > 0.5 and abs(turn.apply([0.0, 1.0, 0.0])[2]) < 1e-12
    with pytest.raises(InputRejected):
        engines.look_at_wxyz([0, 0, 2], [0, 0, 0])
