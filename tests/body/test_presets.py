"""The bodies that ship: statures, builds, symmetry, and what a file without presets does."""

import numpy as np
import pytest

from soma_isaac.body.identities.presets import open_shape_space, preset, preset_names
from soma_isaac.body.repose import Repose
from soma_isaac.errors import InputRejected
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.formats.rig_usd import load_template_rig

STATURE_M = {
    "toddler": (0.75, 0.95),
    "child": (1.05, 1.3),
    "teen": (1.45, 1.7),
    "adult_female": (1.55, 1.7),
    "adult_male": (1.7, 1.85),
    "elder_female": (1.5, 1.7),
    "elder_male": (1.65, 1.85),
    "tall": (1.95, 2.1),
    "short": (1.35, 1.5),
    "heavy": (1.7, 1.85),
    "thin": (1.5, 1.7),
    "muscular": (1.7, 1.85),
}


@pytest.fixture(scope="module")
def shape():
    return read_neutral(open_shape_space())


@pytest.fixture(scope="module")
def bodies(shape):
    deviations = np.sqrt(shape.space.eigenvalues)
    directions = shape.space.directions.reshape(len(deviations), -1).astype(np.float64)
    return {
        name: shape.space.mean + ((preset(name) * deviations) @ directions).reshape(-1, 3) for name in preset_names()
    }


def volume(points, triangles):
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    return np.einsum("ij,ij->", np.cross(a, b), c) / 6.0


def body_mass_index(points, triangles):
    return volume(points, triangles) * 1000.0 / np.ptp(points[:, 1]) ** 2


def girth(points, height_share, half_width_m):
    """Rough girth at a height: extent in x plus extent in z of the trunk's vertices there."""
    height = height_share * np.ptp(points[:, 1])
    ring = points[(np.abs(points[:, 1] - height) < 0.02) & (np.abs(points[:, 0]) < half_width_m)]
    return np.ptp(ring[:, 0]) + np.ptp(ring[:, 2])


def arm_radius(points):
    """Mean distance of the upper arm's skin from its bone."""
    fit = Repose(load_template_rig()).fit
    joints = fit.fit(points[None])[0, :, :3, 3]
    shoulder, elbow = (joints[fit.tables.layout.index(name)] for name in ("LeftArm", "LeftForeArm"))
    along = (elbow - shoulder) / np.linalg.norm(elbow - shoulder)
    share = (points - shoulder) @ along / np.linalg.norm(elbow - shoulder)
    away = np.linalg.norm(np.cross(points - shoulder, along), axis=1)
    return away[(share > 0.3) & (share < 0.8) & (away < 0.12)].mean()


def test_names_and_statures(bodies):
    assert set(bodies) == set(STATURE_M)
    for name, (low, high) in STATURE_M.items():
        assert low < np.ptp(bodies[name][:, 1]) < high, name


def test_builds_differ_the_way_their_names_say(bodies, shape):
    index = {name: body_mass_index(points, shape.triangles) for name, points in bodies.items()}
    assert index["heavy"] > 30.0 > index["adult_male"] > 18.5 > index["thin"] > 13.0
    male, muscular, heavy = (bodies[name] for name in ("adult_male", "muscular", "heavy"))
    assert girth(heavy, 0.6, 0.25) > 1.15 * girth(male, 0.6, 0.25)
    assert arm_radius(muscular) > 1.05 * arm_radius(male)
    assert arm_radius(bodies["thin"]) < 0.8 * arm_radius(heavy)


def test_a_child_is_no_small_adult(bodies):
    """Heads grow less than legs: the child's head is a larger share of its stature."""
    rig = load_template_rig()
    head = rig.skeleton.index("Head")
    fit = Repose(rig).fit

    def head_share(name):
        joints = fit.fit(bodies[name][None])[0, :, :3, 3]
        return (bodies[name][:, 1].max() - joints[head, 1]) / np.ptp(bodies[name][:, 1])

    assert head_share("toddler") > 1.1 * head_share("child") > 1.1 * head_share("adult_male")


def test_bodies_stand_on_the_floor_and_are_symmetric(bodies, shape):
    for name, points in bodies.items():
        assert abs(points[:, 1].min()) < 0.001, name
        assert np.abs(points[shape.mirror] * [-1.0, 1.0, 1.0] - points).max() < 0.0005, name


def test_preparing_keeps_the_shape(bodies):
    """The bodies are in the bind pose already; preparing them moves the skin by a millimetre or two."""
    repose = Repose(load_template_rig(), "mid", excluded_vertices=read_neutral(open_shape_space()).bag_vertices)
    for name in ("child", "heavy"):
        rest = repose.prepare_rest(bodies[name][None])[0][0].astype(np.float64)
        moved = rest - bodies[name]
        moved -= moved.mean(axis=0)
        assert np.linalg.norm(moved, axis=1).mean() < 0.002, name


def test_coefficients_cannot_be_changed_for_everybody():
    with pytest.raises(ValueError):
        preset("child")[0] = 0.0


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputRejected, match=r"no body named 'giant'.*toddler.*muscular"):
        preset("giant")


def test_files_without_presets_and_with_broken_ones(tmp_path):
    plain = tmp_path / "plain.npz"
    plain.write_bytes(npz_bytes({"eigenvalues": np.ones(4, np.float32)}))
    assert preset_names(plain) == ()
    with pytest.raises(InputRejected, match="none in this file"):
        preset("child", plain)
    for label, table in (("short", np.zeros((1, 3))), ("nan", np.full((1, 4), np.nan))):
        broken = tmp_path / f"{label}.npz"
        arrays = {"eigenvalues": np.ones(4, np.float32), "preset_names": np.array(["a"]), "preset_coefficients": table}
        broken.write_bytes(npz_bytes(arrays))
        with pytest.raises(InputRejected):
            preset_names(broken)
