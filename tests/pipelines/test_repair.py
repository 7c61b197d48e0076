"""Repairing clips: holds are met, nothing else changes, nothing jumps, and the robot follows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.npz import npz_bytes, open_npz
from soma_isaac.formats.reference_clip import read_reference_clip
from soma_isaac.formats.soma_npz import soma_npz_bytes
from soma_isaac.learned.effectors import joint_index
from soma_isaac.learned.limits import WIDEST_RAD
from soma_isaac.learned.poser import Poser, learned_poser
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton, body_kinematics
from soma_isaac.math.frames import yup_from_zup_points, zup_from_yup_points
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.pose_body import bones_body
from soma_isaac.pipelines.pose_pictures import View
from soma_isaac.pipelines.repair import RepairSettings, repair_motion
from soma_isaac.pipelines.repair_file import read_holds
from soma_isaac.pipelines.repair_pictures import hand_on_a_circle, repair_sheet
from soma_isaac.pipelines.repair_run import RepairConfig, check_config, repair
from soma_isaac.pipelines.repair_targets import Hold
from soma_isaac.retarget.human import HumanKeypoints, human_keypoints
from soma_isaac.retarget.retargeter import RetargetConfig, retarget_keypoints
from soma_isaac.retarget.robot import load_robot
from soma_isaac.retarget.targets import POINTS, build_targets, robot_sites
from soma_isaac.rig.skeleton import data_path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "soma_motion"
STILL = Poser(StillPose())


@pytest.fixture(scope="module")
def wave() -> SomaMotion:
    """A demo clip at a third of its rate."""
    return resample(load_motion(data_path("demo_clips/wave.npz")), 40.0)


def joints_of(motion: SomaMotion) -> tuple[np.ndarray, np.ndarray]:
    """Positions and world rotations of the 23 joints."""
    skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
    rotations = motion.rotations[:, list(POSE_INDICES)]
    return body_kinematics(rotations, motion.root_translation, skeleton.rest_offsets)


@pytest.fixture(scope="module")
def repaired(wave):
    """The wave with the hand on a circle."""
    return repair_motion(wave, [hand_on_a_circle(wave)], STILL)


def test_hold_is_met_and_the_rest_stays(wave, repaired):
    hold = hand_on_a_circle(wave)
    positions, world = joints_of(repaired.motion)
    missed = np.linalg.norm(positions[hold.begin : hold.end, joint_index("RightHand")] - hold.path, axis=-1)
    assert missed.max() < 1e-3
    assert repaired.residual[0][0] == pytest.approx(missed.max(), abs=1e-9)
    before, turned = joints_of(wave)
    feet = [joint_index(name) for name in ("LeftFoot", "LeftToeBase", "RightFoot", "RightToeBase")]
    assert np.linalg.norm(positions[:, feet] - before[:, feet], axis=-1).max() < 1e-3
    assert np.degrees(geodesic_angle(world[:, joint_index("Head")], turned[:, joint_index("Head")])).max() < 10.0
    assert np.linalg.norm(positions - before, axis=-1)[:, joint_index("LeftHand")].max() < 0.05


def test_other_frames_and_joints_keep_their_bytes(wave, repaired):
    hold, still = hand_on_a_circle(wave), ~repaired.changed
    assert still[: hold.begin - 80].all() and still[hold.end + 80 :].all() and still.any()
    assert repaired.motion.rotations[still].tobytes() == wave.rotations[still].tobytes()
    assert repaired.motion.root_translation[still].tobytes() == wave.root_translation[still].tobytes()
    others = np.setdiff1d(np.arange(77), POSE_INDICES)
    assert repaired.motion.rotations[:, others].tobytes() == wave.rotations[:, others].tobytes()


def test_nothing_jumps(wave, repaired):
    """No joint is thrown about where the hold begins and ends: what the way there itself asks for is the measure."""
    positions, _ = joints_of(repaired.motion)
    acceleration = np.linalg.norm(np.diff(positions, n=2, axis=0), axis=-1) * wave.fps**2
    # the hand's way in: a quintic over its length in its time has a peak acceleration of 5.8 length / time^2
    assert acceleration.max() < 20.0
    step = np.linalg.norm(np.diff(acceleration, axis=0), axis=0).max()
    assert step < 60.0


def test_rotation_look_at_and_foot(wave):
    """A hand that stands still and level, eyes that rest on it, and a foot lifted by 5 cm in place."""
    turned = matrix_from_rotvec(np.array([0.0, 0.0, 0.3]))
    point = np.array([-0.30, 1.10, 0.35]) + wave.root_translation[200] * [1, 0, 1]
    positions, _ = joints_of(wave)
    lifted = positions[190:220, joint_index("LeftFoot")] + [0.0, 0.05, 0.0]
    holds = [
        Hold("LeftHand", 150, 200, rotation=turned),
        Hold("Head", 150, 200, look_at=point),
        Hold("LeftFoot", 190, 220, lifted),
    ]
    found = repair_motion(wave, holds, STILL)
    for metres, radians, looking in found.residual:
        assert metres < 1e-3 and np.degrees(radians) < 0.5 and np.degrees(looking) < 0.5
    after, world = joints_of(found.motion)
    assert np.degrees(geodesic_angle(world[150:200, joint_index("LeftHand")], turned)).max() < 0.5
    sight = point - after[150:200, joint_index("Head")]
    cosine = (sight * world[150:200, joint_index("Head"), :, 2]).sum(-1) / np.linalg.norm(sight, axis=-1)
    assert np.degrees(np.arccos(cosine.min())) < 0.5
    assert after[200, joint_index("LeftToeBase"), 1] > positions[200, joint_index("LeftToeBase"), 1] + 0.01
    right = joint_index("RightFoot")
    assert np.linalg.norm(after[:, right] - positions[:, right], axis=-1).max() < 1e-3


def test_feet_stay_where_a_hold_is_out_of_reach(wave):
    far = Hold("RightHand", 120, 160, np.array([-3.0, 1.2, 0.0]))
    found = repair_motion(wave, [far], STILL)
    assert found.residual[0][0] > 0.5
    assert found.feet_moved < 2e-3


def test_out_of_reach_nothing_snaps(wave):
    """A straightened limb would; a hold a street away pulls no harder, and the miss is told against what was asked."""
    for target, miss in (([0.9, 1.6, 0.9], 0.05), ([100.0, 100.0, 100.0], 168.0)):
        found = repair_motion(wave, [Hold("LeftHand", 120, 130, np.array(target))], STILL)
        assert found.residual[0][0] > miss and found.feet_moved < 2e-3
        assert found.fastest[0] < np.radians(700.0) and found.fastest[1] < np.radians(300.0)


@pytest.mark.parametrize(
    "clip,offset", [("wave", (0.15, 0.7, -0.25)), ("squat", (0.0, 0.3, -0.3)), ("walk", (-0.15, 0.95, -0.1))]
)
def test_no_arm_snaps_over_on_its_way_around_the_body(clip, offset):
    """Behind the head, behind the back and beyond the other ear: the nearest poses jump between two ways to do it."""
    motion = resample(load_motion(data_path(f"demo_clips/{clip}.npz")), 40.0)
    middle = motion.frame_count // 2
    ahead = motion.rotations[middle, POSE_INDICES[0]][:, 2] * [1.0, 0.0, 1.0]
    ahead /= np.linalg.norm(ahead)
    axes = np.stack([np.cross([0.0, 1.0, 0.0], ahead), [0.0, 1.0, 0.0], ahead], axis=1)
    place = motion.root_translation[middle] + axes @ offset
    found = repair_motion(motion, [Hold("LeftHand", middle - 16, middle + 16, place)], learned_poser())
    assert np.degrees(found.fastest[0]) < max(600.0, 1.3 * np.degrees(found.fastest[1]))
    assert found.residual[0][0] < 1e-5 and found.feet_moved < 2e-4
    still = ~found.changed
    assert still.any() and found.motion.rotations[still].tobytes() == motion.rotations[still].tobytes()
    limits = learned_poser().limits
    assert limits is not None
    before, after = (
        np.clip(rotvec_from_matrix(each.rotations[:, list(POSE_INDICES)]), -WIDEST_RAD, WIDEST_RAD)
        for each in (motion, found.motion)
    )
    lower, upper = np.minimum(limits.lower, before.min(axis=0)), np.maximum(limits.upper, before.max(axis=0))
    assert np.maximum(after - upper, lower - after)[:, 1:].max() < 1e-3


def test_two_quantities_of_one_joint_may_be_held_apart(wave):
    """As two entries of a file or as one: neither hold has to be gone when the other begins."""
    place, turn = np.array([-0.25, 1.2, 0.35]), matrix_from_rotvec(np.array([0.0, -1.0, 0.0]))
    whole = repair_motion(wave, [Hold("RightHand", 120, 140, place, turn)], STILL)
    apart = [Hold("RightHand", 120, 140, place), Hold("RightHand", 120, 140, None, turn)]
    parts = repair_motion(wave, apart, STILL)
    steps = [geodesic_angle(each.motion.rotations[1:], each.motion.rotations[:-1]).max() for each in (whole, parts)]
    assert max(steps) < 0.3


def test_picture(wave, repaired):
    """Above and below differ where the hand is held, and nowhere else."""
    shown = bones_body(wave.identity, "wave", "xlo")
    sheet = repair_sheet(shown, wave, repaired.motion, hand_on_a_circle(wave), View(size=(40, 60)), columns=5)
    above, below = sheet[4:64], sheet[68:128]
    assert np.abs(above[20:, 92:132].astype(int) - below[20:, 92:132]).max() > 50
    same = repair_sheet(shown, wave, wave, hand_on_a_circle(wave), View(size=(40, 60)), columns=5)
    assert np.array_equal(same[4:64], above) and np.array_equal(same[92:128], same[28:64])


@pytest.mark.parametrize("feet", ["contacts", "free"])
def test_feet_choices(wave, feet):
    found = repair_motion(wave, [hand_on_a_circle(wave)], STILL, RepairSettings(feet=feet))
    assert found.residual[0][0] < 1e-3
    assert found.feet_moved < 2e-3


@pytest.mark.parametrize(
    "holds,words",
    [
        ([], "nothing to hold"),
        ([Hold("Head", 5, 9999, np.zeros(3))], "of a clip of"),
        ([Hold("Head", 5, 20, np.zeros(3)), Hold("Head", 19, 30, np.zeros(3))], "held twice in frame 19"),
        ([Hold("Head", 5, 20, np.ones(3), look_at=np.ones(3))], "Head shall look at a point that is where it is"),
    ],
)
def test_refused(wave, holds, words):
    with pytest.raises(InputRejected, match=words):
        repair_motion(wave, holds, STILL)


def test_hold_refused():
    for values, words in (
        ({"joint": "LeftToe"}, "no body joint"),
        ({"begin": 9}, "no range"),
        ({"path": None}, "nothing is asked"),
        ({"path": np.zeros((3, 3))}, "shape"),
    ):
        with pytest.raises(InputRejected, match=words):
            Hold(**({"joint": "Head", "begin": 0, "end": 4, "path": np.zeros(3)} | values))


def test_file(wave, tmp_path):
    """Seconds or frames, points, paths at another rate, files beside it, offsets, and a Z-up world."""
    line = np.linspace([0.0, 1.0, 0.0], [0.4, 1.0, 0.0], 21)
    (tmp_path / "line.npz").write_bytes(npz_bytes({"hand": line}))
    entries = [
        {"joint": "LeftHand", "begin_s": 1.0, "end_s": 2.0, "path_file": "line.npz:hand", "path_fps": 20},
        {"joint": "RightHand", "frames": [4, 6], "path": [[0, 0, 1], [0, 0, 2]]},
        {"joint": "LeftFoot", "frames": [4, 6], "offset": [0, 0, 0.1]},
        {"joint": "Head", "frames": [4, 6], "look_at": [5, 0, 1], "direction": [1, 0, 0], "rotation_deg": [0, 0, 90]},
    ]
    (tmp_path / "z.json").write_text(json.dumps({"up_axis": "z", "hold": entries}))
    hand, other, foot, head = read_holds(tmp_path / "z.json", wave)
    assert (hand.begin, hand.end) == (40, 80)
    assert hand.path is not None and hand.path[::2] == pytest.approx(yup_from_zup_points(line[:20]), abs=1e-9)
    assert other.path is not None and other.path.tolist() == [[0, 1, 0], [0, 2, 0]]
    positions, _ = joints_of(wave)
    assert foot.path == pytest.approx(positions[4:6, joint_index("LeftFoot")] + [0.0, 0.1, 0.0])
    assert head.direction.tolist() == [0, 0, 1] and head.look_at is not None and head.look_at[0].tolist() == [0, 1, 5]
    assert head.rotation is not None and head.rotation[0] == pytest.approx(
        matrix_from_rotvec(np.array([0, np.pi / 2, 0]))
    )
    for entry, words in (
        ({"frames": [0, 9999]}, "the clip has 0 to"),
        ({"frames": [4, 6], "position": [0, 0]}, "3 finite numbers"),
        ({"frames": [4, 6], "begin_s": 1, "end_s": 2}, "needs begin_s and end_s, or frames"),
        ({"frames": [4, 6], "position": [0, 0, 0], "offset": [0, 0, 0]}, "one of them says where"),
        ({"frames": [4, 7], "path": [[0, 0, 0]] * 2}, "2 points for 3 frames"),
        ({"frames": [4, 6], "positon": [0, 0, 0]}, "unknown name 'positon'"),
        ({"frames": [4.5, 6], "position": [0, 0, 0]}, "frames are whole numbers, not 4.5 and 6"),
        ({"frames": [4, 6], "begin_s": 1, "position": [0, 0, 0]}, "needs begin_s and end_s, or frames"),
        ({"begin_s": 1e300, "end_s": 2e300, "position": [0, 0, 0]}, "hold 1: begin_s is 1e+300, expected 0 to"),
        ({"frames": [4, 6], "position": [0, 0, 0], "path_fps": 20}, "path_fps, which goes with path or path_file"),
        ({"frames": [4, 6], "position": [0, 0, 0], "direction": [0, 1, 0]}, "direction, which goes with look_at"),
        ({"frames": [4, 6], "path": [[0, 0, 1e300]] * 2}, "beyond 500 m"),
        ({"frames": [4, 6], "path": [[0, 0, 0]], "path_fps": 0}, "hold 1: frame rate 0.0"),
        ({"frames": [4, 6]}, "hold 1: nothing is asked of Head"),
        ({"joint": "LeftThumb", "frames": [4, 6]}, "hold 1: no body joint named 'LeftThumb'"),
    ):
        (tmp_path / "bad.yaml").write_text(json.dumps({"hold": [{"joint": "Head"} | entry]}))
        with pytest.raises(InputRejected, match=re.escape(words)):
            read_holds(tmp_path / "bad.yaml", wave)


def test_command(wave, tmp_path):
    clip, hold, out = tmp_path / "clip.npz", tmp_path / "hold.yaml", tmp_path / "new" / "clip.npz"
    clip.write_bytes(soma_npz_bytes(wave))
    hold.write_text("hold:\n  - {joint: RightHand, begin_s: 2, end_s: 3, offset: [0, -0.1, 0.05]}\n")
    words = [f"motion={clip}", f"hold={hold}", f"output={out}", "network=still"]
    run = subprocess.run([sys.executable, ROOT / "scripts" / "repair.py", *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert re.search(r"RightHand, frames 80 to 120: path met within 0\.\d\d mm\n", run.stdout)
    after = load_motion(out)
    assert after.fps == wave.fps and np.array_equal(after.rotations[:40], wave.rotations[:40])
    assert "repaired: RightHand" in str(open_npz(out).text("provenance"))
    config = RepairConfig(str(clip), str(hold), str(out), network="still")
    assert "unchanged" in repair(config)[-1]
    hold.write_text("hold:\n  - {joint: RightHand, begin_s: 2, end_s: 3, offset: [0, -0.1, 0.06]}\n")
    with pytest.raises(OutputConflict):
        repair(config)


@pytest.mark.parametrize(
    "change,words",
    [
        ({"hold": ""}, "hold: is needed"),
        ({"output": "a.usd"}, "output:"),
        ({"feet": "kept"}, "keep, contacts, free"),
        ({"fade": -1.0}, "fade:"),
    ],
)
def test_config_refused(change, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_config(RepairConfig(**({"motion": "a.npz", "hold": "h.yaml", "output": "b.npz"} | change)))


def robot_hand_back(
    human: HumanKeypoints, root_pos: np.ndarray, root_quat_wxyz: np.ndarray, joint_pos: np.ndarray
) -> np.ndarray:
    """The G1's right hand [T, 3] m in the person's Z-up world: from the hips' middle, by the person's size."""
    robot, config = load_robot(), RetargetConfig()
    targets = build_targets(human, robot, config.scale, config.contact, config.foot_plan)
    sites = robot_sites(robot)
    places = robot.body_poses(root_pos, root_quat_wxyz, joint_pos)[0][:, sites.bodies]
    hips = 0.5 * (places[:, POINTS.index("left_hip")] + places[:, POINTS.index("right_hip")])
    own = 0.5 * (human.positions[:, human.index("left_hip")] + human.positions[:, human.index("right_hip")])
    wrist = human.positions[:, human.index("right_wrist")] - own
    size = np.median(np.linalg.norm(targets.reach[:, 3], axis=-1) / np.linalg.norm(wrist, axis=-1))
    return own + (places[:, POINTS.index("right_wrist")] - hips) / size


def follows(hold: Hold, fps: float, human: HumanKeypoints, hand: np.ndarray) -> tuple[float, float]:
    """Mean distance [m] of the robot's hand from a hold's path, and the correlation of both as seen from the hips."""
    assert hold.path is not None
    first, last = int(np.ceil(hold.begin / fps * human.fps)), int((hold.end - 1) / fps * human.fps)
    frames = np.arange(first, min(last, len(hand)))
    at = frames / human.fps * fps - hold.begin
    rows = np.arange(len(hold.path))
    path = np.stack([np.interp(at, rows, zup_from_yup_points(hold.path)[:, axis]) for axis in range(3)], axis=-1)
    hips = human.positions[frames, human.index("pelvis")]
    a, b = (each - hips - (each - hips).mean(axis=0) for each in (hand[frames], path))
    correlation = float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    return float(np.linalg.norm(hand[frames] - path, axis=-1).mean()), correlation


def test_robot_follows(wave, repaired):
    human = human_keypoints(resample(repaired.motion, 50.0))
    robot = retarget_keypoints(human, load_robot(), RetargetConfig())
    hand = robot_hand_back(human, robot.root_pos, robot.root_quat_wxyz, robot.joint_pos)
    distance, correlation = follows(hand_on_a_circle(wave), wave.fps, human, hand)
    assert distance < 0.06 and correlation > 0.99


@pytest.mark.skipif(not SHARED.is_dir(), reason="the clips in ../shared/data/soma_motion are not here")
@pytest.mark.parametrize("name", ["wave_R_001__A428", "kimodo_03_full_body_keyframes"])
def test_robot_follows_through_both_commands(name, tmp_path):
    """Shared clip -> repair.py -> prepare_g1_refs.py: the hand in the file that a policy trains on is on the circle."""
    motion = load_motion(SHARED / f"{name}.npz")
    hold = hand_on_a_circle(motion)
    (tmp_path / "path.npz").write_bytes(npz_bytes({"path": hold.path}))
    entry = {"joint": "RightHand", "frames": [hold.begin, hold.end], "path_file": "path.npz"}
    (tmp_path / "hold.json").write_text(json.dumps({"hold": [entry]}))
    new = tmp_path / "in" / "clip.npz"
    repair(RepairConfig(str(SHARED / f"{name}.npz"), str(tmp_path / "hold.json"), str(new), network="still"))
    words = [f"source.path={new.parent}", f"output.dir={tmp_path / 'refs'}", "formats=[mjlab]", "fps=50", "workers=1"]
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "prepare_g1_refs.py", *words], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    human = human_keypoints(resample(load_motion(new), 50.0))
    clip = read_reference_clip(tmp_path / "refs" / "mjlab" / "clip.npz")
    order = [clip.joint_names.index(joint) for joint in load_robot().joint_names]
    hand = robot_hand_back(human, clip.body_pos_w[:, 0], clip.body_quat_wxyz[:, 0], clip.joint_pos[:, order])
    distance, correlation = follows(hold, motion.fps, human, hand)
    assert distance < 0.12 and correlation > 0.95
