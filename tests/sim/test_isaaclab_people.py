"""People for environments, from names: places and lists that repeat. Needs no Isaac Lab."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from soma_isaac.body.identities.presets import preset
from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab.people import limb_colliders, motion_loader, motion_path, people_stepper, placement

LOAD = motion_loader("soma_isaac.pipelines.motion_in:load_motion")


def test_a_placement_stands_a_body_up_and_lets_it_face_its_heading():
    place = placement((1.0, 2.0, 0.5), 0.7)
    assert np.allclose(place[:3, :3] @ [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])  # up
    assert np.allclose(place[:3, :3] @ [0.0, 0.0, 1.0], [np.cos(0.7), np.sin(0.7), 0.0])  # ahead
    assert np.allclose(place[:3, 3], [1.0, 2.0, 0.5]) and np.isclose(np.linalg.det(place[:3, :3]), 1.0)


def test_lists_repeat_over_the_environments():
    stepper = people_stepper(
        5,
        motions=["wave", "squat"],
        presets=["child", "adult_male", "teen"],
        phases=[0.1, 0.2],
        speeds=[1.0, 2.0, -1.0],
        place=placement((0.0, 0.0, 0.0), 0.0),
        lod="xlo",
        device="cpu",
        load=LOAD,
        normals=False,
    )
    stepper.reset()
    assert stepper.playing.numpy().tolist() == [0, 1, 0, 1, 0]
    assert stepper.times.numpy() == pytest.approx([0.1, 0.2, 0.1, 0.2, 0.1])
    stepper.step(0.05)
    assert stepper.times.numpy() == pytest.approx([0.15, 0.3, 0.05, 0.25, 0.2])
    points = stepper.groups[0].pose.vertices.numpy()
    heights = points[..., 2].max(axis=1)
    assert heights[0] < heights[1] and abs(heights[0] - heights[3]) < 0.02 * heights[0]


def test_correctives_are_the_layers_and_change_the_skin():
    options = {"motions": ["squat"], "presets": ["adult_male"], "phases": [1.4], "speeds": [1.0], "lod": "low"}
    places = {"place": placement((0.0, 0.0, 0.0), 0.0), "device": "cpu", "load": LOAD}
    plain, corrected = (people_stepper(2, **options, **places, correctives=on) for on in (False, True))
    for stepper in (plain, corrected):
        stepper.reset()
        stepper.step(0.1)
    posed, bare = corrected.groups[0], plain.groups[0].pose.vertices.numpy()
    vertices = posed.pose.vertices.numpy()
    assert np.linalg.norm(vertices - bare, axis=-1).max() > 0.005
    layer = SomaLayer(identity="soma", lod="low", correctives="open")
    identity = layer.prepare_identity(preset("adult_male")[None])
    motion = LOAD(motion_path("squat"))
    frame = 1.5 * motion.fps
    pair = slice(int(frame), int(frame) + 2)
    turns = Rotation.from_matrix(motion.rotations[pair].reshape(-1, 3, 3)).as_quat().reshape(2, 77, 4)
    share = [0.0, 1.0]
    rotations = np.stack(
        [Slerp(share, Rotation.from_quat(turns[:, joint]))(frame % 1.0).as_matrix() for joint in range(77)]
    )
    # The place of the hips is the stepper's, which other tests hold: here the skin around them is compared.
    wanted = layer.pose(rotations[None], identity=identity)
    place = placement((0.0, 0.0, 0.0), 0.0)[:3, :3]
    moved = (wanted.vertices.numpy()[0] - wanted.joints.numpy()[0, 0]) @ place.T
    assert np.abs(vertices[1] - posed.pose.joints.numpy()[1, 0] - moved).max() < 1e-5


def test_colliders_have_the_mean_size_of_the_presets():
    small, large = (limb_colliders([name], "low") for name in ("child", "adult_male"))
    both = limb_colliders(["child", "adult_male"], "low")
    for name, row in both.items():
        assert row[7:] == pytest.approx((np.array(small[name][7:]) + large[name][7:]) / 2, rel=1e-4)
        assert row[7] > 0.01 and np.linalg.norm(row[3:7]) == pytest.approx(1.0)
    assert both["Head"][2] > 0.8 and large["Head"][2] > 1.4  # standing, z up
    assert large["LeftThigh"][7] > small["LeftThigh"][7]


def test_unknown_motions_and_loaders_are_refused():
    with pytest.raises(InputRejected, match="wave"):
        motion_path("no_such_motion")
    for name in ("json", "json:nothing", "no.such:thing", ":x"):
        with pytest.raises(InputRejected, match="load="):
            motion_loader(name)
