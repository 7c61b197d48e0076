"""Isaac Lab 2.3.2 needs Kit to be imported; its sources can be read: what the adapter uses of them is there."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.peer

SPEC = importlib.util.find_spec("isaaclab")


@cache
def source_root():
    if SPEC is None:
        pytest.skip("isaaclab is not installed here")
    root = Path(next(iter(SPEC.submodule_search_locations))) / "source" / "isaaclab" / "isaaclab"
    if not root.is_dir() or (root / "physics").is_dir():
        pytest.skip("no sources of Isaac Lab 2.3")
    return root


@cache
def tree(name):
    return ast.parse((source_root() / name).read_text())


def functions(name, owner=None):
    """Arguments of the functions of a module or of one of its classes; properties and fields have none."""
    body = tree(name).body
    if owner is not None:
        body = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == owner).body
    found = {node.name: [arg.arg for arg in node.args.args] for node in body if isinstance(node, ast.FunctionDef)}
    fields = {
        node.target.id: [] for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return fields | found


def test_sensors_are_reset_updated_and_filled_as_the_entity_expects():
    base = functions("sensors/sensor_base.py", "SensorBase")
    assert base["reset"] == ["self", "env_ids"]
    assert base["update"] == ["self", "dt", "force_recompute"]
    assert base["_update_buffers_impl"] == ["self", "env_ids"]
    assert base["_initialize_impl"] == ["self"] and base["_invalidate_initialize_callback"] == ["self", "event"]
    source = (source_root() / "sensors/sensor_base.py").read_text()
    for name in ("self._num_envs", "self._device", "self._is_initialized", "self.stage"):
        assert f"{name} =" in source, name
    assert {"class_type", "prim_path", "update_period"} <= set(functions("sensors/sensor_base_cfg.py", "SensorBaseCfg"))


def test_robots_are_written_by_the_names_that_the_adapter_calls():
    robot = functions("assets/articulation/articulation.py", "Articulation")
    assert robot["write_root_link_pose_to_sim"] == ["self", "root_pose", "env_ids"]
    assert robot["write_root_link_velocity_to_sim"] == ["self", "root_velocity", "env_ids"]
    assert robot["write_joint_state_to_sim"] == ["self", "position", "velocity", "joint_ids", "env_ids"]
    for name in ("set_joint_position_target", "set_joint_velocity_target"):
        assert robot[name] == ["self", "target", "joint_ids", "env_ids"]
    assert robot["find_joints"][:2] == ["self", "name_keys"]
    data = functions("assets/articulation/articulation_data.py", "ArticulationData")
    bodies = {f"body_link_{what}_w" for what in ("pos", "quat", "lin_vel", "ang_vel")}
    roots = {"root_link_pos_w", "root_link_quat_w"}
    assert bodies | roots | {"joint_pos", "joint_vel", "default_joint_pos", "soft_joint_pos_limits"} <= set(data)


def test_commands_and_scenes_work_the_same_way():
    term = functions("managers/command_manager.py", "CommandTerm")
    assert {"command", "reset", "compute", "_resample_command", "_update_command", "_update_metrics"} <= set(term)
    assert "resampling_time_range" in functions("managers/manager_term_cfg.py", "CommandTermCfg")
    step = (source_root() / "envs/manager_based_rl_env.py").read_text()
    # The counter moves before resets, and resets come before commands: what the command's clock rests on.
    moments = ["self.common_step_counter += 1", "self._reset_idx(reset_env_ids)", "self.command_manager.compute("]
    assert [step.count(moment) for moment in moments] == [1, 1, 1]
    assert sorted(moments, key=step.index) == moments
    dispatch = (source_root() / "scene/interactive_scene.py").read_text()
    assert "isinstance(asset_cfg, SensorBaseCfg)" in dispatch and "asset_cfg.class_type(asset_cfg)" in dispatch


def test_spawning_prims_and_turning_vectors_have_their_names():
    assert functions("sim/utils/prims.py")["clone"] == ["func"]
    assert "find_matching_prims" in functions("sim/utils/queries.py")
    assert {"get_current_stage", "get_current_stage_id"} <= set(functions("sim/utils/stage.py"))
    assert "func" in functions("sim/spawners/spawner_cfg.py", "SpawnerCfg")
    assert "resolve_matching_names" in functions("utils/string.py")
    turns = "mul inv apply apply_inverse error_magnitude from_euler_xyz"
    names = {f"quat_{name}" for name in turns.split()} | {"yaw_quat", "matrix_from_quat"}
    assert names <= set(functions("utils/math.py"))
    assert "(w, x, y, z)" in (source_root() / "utils/math.py").read_text()
