"""Clips whose nearest poses jump: a way that does not is found, and nothing is touched where none do."""

import functools

import numpy as np
import pytest

from soma_isaac.learned.pins import Pin, held_hips, smooth_step
from soma_isaac.learned.sequence import RefinedSequence, SequenceSettings, refine_sequence
from soma_isaac.learned.sequence_jumps import Frames, _least_jumping, unwound
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, POSE_INDICES, BodyPose, BodySkeleton, body_kinematics
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.repair import repair_prior
from soma_isaac.rig.skeleton import data_path

FPS, COUNT = 40.0, 120
HAND = BODY_JOINT_NAMES.index("LeftHand")
FASTEST = float(np.deg2rad(500.0))


@functools.cache
def stand() -> tuple[BodyPose, BodySkeleton]:
    """The first pose of a demo clip, arms hanging, for three seconds; and its body."""
    motion = load_motion(data_path("demo_clips") / "squat.npz")
    first = BodyPose(motion.rotations[:1, list(POSE_INDICES)], motion.root_translation[:1])
    clip = BodyPose(np.repeat(first.rotations, COUNT, axis=0), np.repeat(first.root_position, COUNT, axis=0))
    return clip, BodySkeleton.from_public_offsets(motion.identity.rest_offsets)


def led(place: tuple[float, float, float], fastest: float | None) -> RefinedSequence:
    """A standing body whose left hand is led to a place (from the hips, m) and back; hips about where they are."""
    clip, body = stand()
    own = body_kinematics(clip.rotations, clip.root_position, body.rest_offsets)[0][:, HAND]
    frames = np.arange(COUNT)
    share = smooth_step(np.minimum(frames, COUNT - 1 - frames) / 50.0)[:, None]
    settings = SequenceSettings(proposal_cutoff=None, fastest=fastest)
    path = own + share * (clip.root_position[0] + place - own)
    pins = [Pin("LeftHand", 0, COUNT, path)]
    return refine_sequence(clip, held_hips(clip), body, FPS, pins=pins, prior=repair_prior(), settings=settings)


def speed(found: RefinedSequence) -> float:
    """Of the fastest joint [deg/s]."""
    rotations = found.result.pose.rotations
    return float(np.degrees(FPS * geodesic_angle(rotations[1:], rotations[:-1]).max()))


def test_a_hand_led_around_the_body_does_not_snap() -> None:
    """Over the head to the other side, behind the ear."""
    before, after = (led((-0.15, 0.95, -0.1), fastest) for fastest in (None, FASTEST))
    assert speed(before) > 1000.0  # the case is one
    assert speed(after) < 600.0
    assert after.pin_residual.max() < 1e-5


def test_where_nothing_jumps_every_byte_stays() -> None:
    before, after = (led((0.35, 0.3, 0.35), fastest) for fastest in (None, FASTEST))
    assert speed(before) < 500.0
    assert before.result.pose.rotations.tobytes() == after.result.pose.rotations.tobytes()
    assert before.result.pose.root_position.tobytes() == after.result.pose.root_position.tobytes()


def test_turns_go_on_beyond_a_half_turn() -> None:
    """170, 190 and 370 degrees are told from -190, -170 and 10 by what is near; the rotation stays the same."""
    axis = np.array([0.6, 0.0, 0.8])
    near, steps = np.zeros((3, 72)), np.zeros((3, 72))
    near[:, 6:9] = np.radians([[150.0], [180.0], [300.0]]) * axis
    steps[:, 6:9] = np.radians([[170.0], [-170.0], [10.0]]) * axis
    counted = unwound(steps, near)
    assert np.degrees(counted[:, 6:9] @ axis) == pytest.approx([170.0, 190.0, 370.0])
    assert matrix_from_rotvec(counted[:, 6:9]) == pytest.approx(matrix_from_rotvec(steps[:, 6:9]))
    assert not counted[:, 9:].any() and not counted[:, :6].any()


def test_of_several_ways_the_one_that_jumps_least_and_misses_nothing_is_taken() -> None:
    """Two ways half a radian apart but for frames 6 and 7; the first is wrong from 9 on, the second up to 3."""
    ways, wrong = np.zeros((2, 12, 72)), np.zeros((2, 12), dtype=bool)
    ways[1, :, 20] = 0.5
    ways[1, 6:8, 20] = 0.01
    wrong[0, 9:], wrong[1, :4] = True, True
    taken = _least_jumping(ways, wrong)[:, 20]
    assert taken[:6] == pytest.approx(0.0) and taken[8:] == pytest.approx(0.5)
    wrong[:] = False
    assert not _least_jumping(ways, wrong).any()


def test_what_turns_with_the_clip_is_not_fast() -> None:
    """A constant change of a fast clip has no speed of its own."""
    spin = matrix_from_rotvec(np.linspace(0.0, 9.0, 10)[:, None] * np.array([0.0, 1.0, 0.0]))
    rotations = np.tile(np.eye(3), (10, 23, 1, 1))
    rotations[:, 5] = spin
    clip = BodyPose(rotations, np.zeros((10, 3)))
    turned = rotations.copy()
    turned[:, 5] = spin @ matrix_from_rotvec(np.array([0.3, 0.0, 0.0]))
    offsets = np.broadcast_to(stand()[1].rest_offsets, (10, 23, 3))
    frames = Frames(clip, offsets, FPS, None, None, None)  # type: ignore[arg-type]
    assert frames.speeds(BodyPose(turned, clip.root_position)).max() < 1e-6
