"""The exact stage over clips: no flicker, pins that hold, nothing that snaps."""

import functools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import Effectors, position
from soma_isaac.learned.pins import CONTACT_JOINTS, Pin, held_hips, pins_of_contacts
from soma_isaac.learned.refine import refine
from soma_isaac.learned.sequence import SequenceSettings, cutoff_gains, refine_sequence
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, POSE_INDICES, BodyPose, BodySkeleton, body_kinematics
from soma_isaac.math.rts import rts_points
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path

SIX = ("Hips", "Neck1", "LeftHand", "RightHand", "LeftFoot", "RightFoot")
HAND = BODY_JOINT_NAMES.index("LeftHand")


@functools.cache
def walk() -> tuple[BodyPose, BodySkeleton, float, np.ndarray]:
    """Two seconds of the bundled walk at 60 Hz, its body, frame rate and joint positions."""
    motion = load_motion(data_path("demo_clips") / "walk.npz")
    every = round(motion.fps / 60.0)
    rows = slice(0, 120 * every, every)
    skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
    clip = BodyPose(motion.rotations[rows][:, list(POSE_INDICES)], motion.root_translation[rows])
    return clip, skeleton, motion.fps / every, paths(clip, skeleton)


def paths(clip: BodyPose, skeleton: BodySkeleton) -> np.ndarray:
    return body_kinematics(clip.rotations, clip.root_position, skeleton.rest_offsets)[0]


def acceleration(positions: np.ndarray, fps: float) -> np.ndarray:
    return np.linalg.norm(np.diff(positions, 2, axis=0), axis=-1) * fps**2


def jerk(positions: np.ndarray, fps: float) -> float:
    return float(np.linalg.norm(np.diff(positions, 3, axis=0), axis=-1).mean() * fps**3)


def jittering(clip: BodyPose, bias: float = 0.1, jitter: float = 0.05) -> BodyPose:
    """What a network proposes: off by the same for the whole clip, and by something else in every frame."""
    rng = np.random.default_rng(0)
    off = Rotation.from_rotvec(rng.normal(0, bias, (23, 3))).as_matrix()
    flicker = Rotation.from_rotvec(rng.normal(0, jitter, (clip.count * 23, 3))).as_matrix()
    root = clip.root_position + rng.normal(0, 0.01, (clip.count, 3))
    return BodyPose(clip.rotations @ off @ flicker.reshape(-1, 23, 3, 3), root)


def points(positions: np.ndarray) -> Effectors:
    return Effectors.of(*[[position(n, row[BODY_JOINT_NAMES.index(n)]) for n in SIX] for row in positions])


def test_flicker_of_proposals_is_gone_and_targets_are_met() -> None:
    clip, skeleton, fps, true = walk()
    proposed, asked = jittering(clip), points(true)
    frames = refine(proposed, asked, skeleton)
    sequence = refine_sequence(proposed, asked, skeleton, fps)
    one, all_ = paths(frames.pose, skeleton), paths(sequence.result.pose, skeleton)
    assert sequence.result.residual.max() < 1e-3
    assert sequence.result.reached.all()
    assert acceleration(one, fps).mean() > 10.0 * acceleration(true, fps).mean()  # frame by frame it flickers
    assert acceleration(all_, fps).mean() < 2.0 * acceleration(true, fps).mean()
    assert jerk(all_, fps) < 0.02 * jerk(one, fps)
    assert np.linalg.norm(all_ - true, axis=-1).mean() < np.linalg.norm(one - true, axis=-1).mean()
    # each frame begins where the last one ended
    assert sequence.result.iterations[1:].mean() < frames.iterations.mean()


def test_a_pinned_hand_stays_and_the_rest_of_a_clean_clip_is_left_alone() -> None:
    clip, skeleton, fps, true = walk()
    target = true[50, HAND] + np.array([0.0, 0.1, 0.15])
    still = SequenceSettings(proposal_cutoff=None)
    pin = Pin("LeftHand", 45, 75, target)
    found = refine_sequence(clip, held_hips(clip), skeleton, fps, pins=[pin], settings=still)
    where = paths(found.result.pose, skeleton)
    assert found.pin_residual.max() < 1e-3
    np.testing.assert_allclose(where[45:75, HAND], np.broadcast_to(target, (30, 3)), atol=1e-3)
    assert acceleration(where, fps).max() < 2.0 * acceleration(true, fps).max()
    assert np.abs(where[0] - true[0]).max() < 2e-3
    assert np.abs(where[-1] - true[-1]).max() < 2e-3


def test_a_pin_follows_a_path_and_frames_outside_are_eased() -> None:
    clip, skeleton, fps, true = walk()
    turn = np.linspace(0.0, 2.0 * np.pi, 40)[:, None]
    circle = true[60, HAND] + 0.08 * np.concatenate([np.cos(turn) - 1, np.sin(turn), 0 * turn], axis=1)
    settings = SequenceSettings(proposal_cutoff=None)
    pins = [Pin("LeftHand", 40, 80, circle)]
    found = refine_sequence(clip, held_hips(clip), skeleton, fps, pins=pins, settings=settings)
    hand = paths(found.result.pose, skeleton)[:, HAND]
    np.testing.assert_allclose(hand[40:80], circle, atol=1e-3)
    speed = np.linalg.norm(np.diff(hand, axis=0), axis=-1) * fps
    assert np.abs(np.diff(speed)).max() * fps < 60.0  # m/s^2: no snap at either end


def test_feet_in_contact_stop_sliding() -> None:
    clip, skeleton, fps, true = walk()
    feet = [BODY_JOINT_NAMES.index(name) for name in CONTACT_JOINTS]
    speed = np.linalg.norm(np.gradient(true[:, feet], axis=0), axis=-1) * fps
    contacts = (speed < 0.15) & (true[:, feet, 1] < 0.12)
    pins = pins_of_contacts(contacts)
    assert len(pins) >= 2
    proposed = jittering(clip, bias=0.05, jitter=0.02)
    loose = refine_sequence(proposed, held_hips(clip), skeleton, fps)
    held = refine_sequence(proposed, held_hips(clip), skeleton, fps, pins=pins)
    assert held.pin_residual.max() < 1e-3

    def slide(pose: BodyPose) -> float:
        where = paths(pose, skeleton)
        parts = [where[p.begin : p.end, BODY_JOINT_NAMES.index(p.joint)] for p in pins]
        return max(float(np.linalg.norm(part - part.mean(axis=0), axis=-1).max()) for part in parts)

    assert slide(loose.result.pose) > 5e-3
    assert slide(held.result.pose) < 1e-3


def test_the_smoother_halves_what_vibrates_at_its_cutoff() -> None:
    fps, time = 60.0, np.arange(600) / 60.0
    for cutoff in (2.0, 5.0):
        for frequency, share in ((0.25 * cutoff, 1.0 / (1.0 + 0.25**4)), (cutoff, 0.5), (2.0 * cutoff, 1.0 / 17.0)):
            wave = np.sin(2.0 * np.pi * frequency * time)
            left = rts_points(wave[:, None], fps, cutoff_gains(cutoff, fps))[150:450, 0]
            assert np.ptp(left) / 2.0 == pytest.approx(share, abs=0.05)


def test_stretches_of_contact_become_pins() -> None:
    mask = np.zeros((6, 4), dtype=bool)
    mask[:2, 0], mask[3:5, 0], mask[5, 3] = True, True, True
    found = [(pin.joint, pin.begin, pin.end) for pin in pins_of_contacts(mask)]
    assert found == [("LeftFoot", 0, 2), ("LeftFoot", 3, 5), ("RightToeBase", 5, 6)]
    with pytest.raises(InputRejected, match="contact mask"):
        pins_of_contacts(mask[:, :3])


def test_pins_that_make_no_sense_are_refused() -> None:
    clip, skeleton, fps, _ = walk()
    short = BodyPose(clip.rotations[:8], clip.root_position[:8])
    asked = held_hips(short)
    for pins, why in (
        ([Pin("LeftHand", 3, 9)], "frames 3 to 9 of a clip of 8"),
        ([Pin("LeftHand", 0, 5), Pin("LeftHand", 4, 8)], "two pins hold LeftHand at once in frame 4"),
        ([Pin("Tail", 0, 5)], "no body joint"),
        ([Pin("LeftHand", 0, 5, np.zeros((4, 3)))], "has shape"),
    ):
        with pytest.raises(InputRejected, match=why):
            refine_sequence(short, asked, skeleton, fps, pins=pins)
    with pytest.raises(InputRejected, match="120 poses for 8 sets"):
        refine_sequence(clip, asked, skeleton, fps)
    with pytest.raises(InputRejected, match="frame rate"):
        refine_sequence(short, asked, skeleton, 0.0)
