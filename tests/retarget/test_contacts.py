"""Contacts of feet whose motion is made up, so that the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from soma_isaac.math.runs import runs
from soma_isaac.retarget.contacts import ContactConfig, detect_contacts, floor_height
from soma_isaac.retarget.human import KEYPOINT_NAMES, HumanKeypoints

FPS = 50.0
STANDING = {"ankle": 0.072, "foot": 0.02}


def person(lift: np.ndarray, ahead: np.ndarray, floor: float = 0.0, stature: float = 1.767) -> HumanKeypoints:
    """A person of whose left foot heel and ball are lifted by ``lift`` [T, 2] m and moved ``ahead`` [T] m."""
    frames = len(lift)
    points = np.full((frames, 22, 3), [0.0, 0.0, 1.0 + floor])
    for side, y in (("left", 0.1), ("right", -0.1)):
        for column, joint in enumerate(("ankle", "foot")):
            where = points[:, KEYPOINT_NAMES.index(f"{side}_{joint}")]
            where[:] = [0.14 * column, y, floor + STANDING[joint]]
            if side == "left":
                where[:, 2] += lift[:, column]
                where[:, 0] += ahead
    return HumanKeypoints(FPS, points, np.tile(np.eye(3), (frames, 22, 1, 1)), stature)


def smooth(frames: int) -> np.ndarray:
    u = np.linspace(0.0, 1.0, frames)
    return u * u * (3.0 - 2.0 * u)


@pytest.mark.parametrize("floor", [-0.3, 0.0, 0.12])
def test_a_standing_person_is_in_contact_wherever_the_floor_is(floor: float):
    human = person(np.zeros((60, 2)), np.zeros(60), floor)
    contacts = detect_contacts(human, ContactConfig())
    assert floor_height(human) == pytest.approx(floor, abs=1e-9)
    assert contacts.floor == pytest.approx(floor, abs=1e-9)
    assert contacts.flat.all() and contacts.any.all()


def test_a_step_leaves_the_floor_once():
    ahead = np.concatenate([np.zeros(40), 0.6 * smooth(20), np.full(40, 0.6)])
    height = np.concatenate([np.zeros(40), 0.15 * np.sin(np.linspace(0.0, np.pi, 20)), np.zeros(40)])
    contacts = detect_contacts(person(np.stack([height, height], axis=1), ahead), ContactConfig())
    assert contacts.any[:, 1].all()
    ((start, stop),) = runs(~contacts.any[:, 0])
    assert 38 <= start <= 43 and 57 <= stop <= 62


def test_a_raised_heel_leaves_the_ball_planted():
    heel = np.concatenate([np.zeros(30), 0.12 * smooth(10), np.full(30, 0.12)])
    contacts = detect_contacts(person(np.stack([heel, np.zeros(70)], axis=1), np.zeros(70)), ContactConfig())
    assert contacts.ball[:, 0].all()
    assert contacts.heel[:28, 0].all() and not contacts.heel[42:, 0].any()
    assert contacts.flat[:28, 0].all() and not contacts.flat[42:, 0].any()


def test_hysteresis_bridges_a_wavering_speed_and_a_fast_slide_is_no_contact():
    config = ContactConfig()
    between = 0.5 * (config.speed_on + config.speed_off)
    pause = np.concatenate([np.zeros(20), np.full(10, between / FPS), np.zeros(20)])
    contacts = detect_contacts(person(np.zeros((50, 2)), np.cumsum(pause)), config)
    assert contacts.any[:, 0].all()
    sliding = detect_contacts(person(np.zeros((50, 2)), np.cumsum(np.full(50, 1.0 / FPS))), config)
    assert not sliding.any[:, 0].any()


def test_a_flicker_is_no_contact_and_a_dropout_is_closed():
    away = np.full(60, 0.3)
    away[30] = 0.0
    contacts = detect_contacts(person(np.stack([away, away], axis=1), np.zeros(60)), ContactConfig())
    assert not contacts.any[:, 0].any()
    blip = np.zeros(60)
    blip[30] = 0.3
    contacts = detect_contacts(person(np.stack([blip, blip], axis=1), np.zeros(60)), ContactConfig(speed_off=1e9))
    assert contacts.any[:, 0].all()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_short_clips(frames: int):
    contacts = detect_contacts(person(np.zeros((frames, 2)), np.zeros(frames)), ContactConfig())
    assert contacts.flat.shape == (frames, 2) and contacts.flat.all()
