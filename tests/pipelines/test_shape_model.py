"""The open shape space: the arithmetic on bodies made up here, the shipped file, and the way from Anny to it."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.body.identities.presets import open_shape_space, preset
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.neutral_npz_write import ShapeSpace
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.pipelines.shape_model import (
    LARGEST_FILE_BYTES,
    BindPose,
    ShapeModelConfig,
    principal_components,
    vertex_errors,
)
from soma_isaac.pipelines.shape_population import AGE_GROUPS, LOCAL_CHANGES, PRESETS
from soma_isaac.rig.mesh import edge_use, vertex_normals
from soma_isaac.rig.segments import body_segments, texture_charts

needs_anny = pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="anny is not installed")


@pytest.fixture(scope="module")
def shape():
    return read_neutral(open_shape_space())


@pytest.fixture(scope="module")
def space(shape):
    return ShapeSpace(shape.space.mean, shape.space.directions, np.sqrt(shape.space.eigenvalues))


def test_components_of_a_known_space():
    """Bodies from three orthogonal directions of known deviations: all come back, coefficients have variance 1."""
    random = np.random.default_rng(1)
    rows = np.linalg.qr(random.normal(size=(300, 3)))[0].T
    drawn = random.normal(size=(800, 3)) * [4.0, 1.0, 1e-3]
    bodies = (random.normal(size=300) + drawn @ rows).reshape(800, 100, 3)
    found, variances = principal_components(bodies, 3)
    assert np.allclose(np.sqrt(variances[:3]), [4.0, 1.0, 1e-3], rtol=0.1)
    assert variances[3:].sum() < 1e-12 * variances[0]
    cosine = np.abs(found.directions.reshape(3, -1) @ rows.T)
    assert np.allclose(cosine, np.eye(3), atol=0.05)
    assert np.allclose(found.coefficients(bodies).var(axis=0), 1.0, atol=1e-3)
    assert vertex_errors(found, bodies).max() < 1e-5
    signs = found.directions.reshape(3, -1)
    assert (signs[np.arange(3), np.abs(signs).argmax(axis=1)] > 0.0).all()


def test_the_file_is_small_and_for_this_rig(shape):
    rig = load_template_rig()
    assert open_shape_space().stat().st_size < LARGEST_FILE_BYTES
    assert rig.digest in shape.metadata
    assert np.array_equal(shape.triangles, rig.mesh("mid").triangles)
    assert np.array_equal(shape.low_from_mid, np.arange(rig.mesh("low").vertex_count))
    assert (np.diff(shape.space.eigenvalues) <= 0.0).all()


def test_the_file_is_symmetric(shape, space):
    flip = np.array([-1.0, 1.0, 1.0])
    assert np.array_equal(shape.mirror[shape.mirror], np.arange(len(shape.mirror)))
    assert np.abs(space.mean[shape.mirror] * flip - space.mean).max() < 1e-6
    difference = np.abs(space.directions[:, shape.mirror] * flip - space.directions).max(axis=(1, 2))
    assert (difference * space.standard_deviations).max() < 4e-5


def test_random_bodies_are_people(shape, space):
    bodies = space.bodies(np.random.default_rng(7).normal(size=(40, len(space.directions))))
    stature = np.ptp(bodies[..., 1], axis=1)
    assert stature.min() > 1.0 and stature.max() < 2.35 and 1.5 < np.median(stature) < 1.8
    template = load_template_rig().mesh("mid")
    ordinary = vertex_normals(template.points, template.triangles)
    for points in bodies:
        normals = vertex_normals(points, template.triangles)
        # nothing is inside out
        assert ((normals * ordinary).sum(axis=1) > 0.0).mean() > 0.985
    taller = np.ptp(space.bodies(np.eye(1, len(space.directions)) * 2.0)[0, :, 1])
    assert taller > np.ptp(space.mean[:, 1]) + 0.2


def test_bags_are_pockets(shape):
    """Their skin looks at its own middle, they lie behind their rims, and they touch the outside only there."""
    rig = load_template_rig()
    mesh = rig.mesh("mid")
    normals = vertex_normals(mesh.points, mesh.triangles)
    edges = edge_use(mesh.triangles)[0]
    for side in ("Left", "Right"):
        eye = rig.skeleton.bind_T_world_joint[rig.skeleton.index(f"{side}Eye"), :3, 3]
        bag = shape.segments["eye_bags"]
        bag = bag[mesh.points[bag, 0] * eye[0] > 0.0]
        distance = np.linalg.norm(mesh.points[bag] - eye, axis=1)
        assert distance.max() < 0.02
        center = mesh.points[bag].mean(axis=0)
        assert (((center - mesh.points[bag]) * normals[bag]).sum(axis=1) > 0.0).mean() > 0.85
    mouth = shape.segments["mouth_bag"]
    lips = mesh.points[shape.segments["head"], 2].max()
    assert mesh.points[mouth, 2].max() < lips - 0.01
    inside = np.zeros(mesh.vertex_count, dtype=bool)
    inside[mouth] = True
    rim = np.setdiff1d(edges[inside[edges].any(axis=1)], mouth)
    assert mesh.points[rim, 2].min() > 0.05, "the mouth bag ends at the lips"
    assert not set(mouth) & set(shape.segments["eye_bags"])


def test_other_segments(shape):
    points = load_template_rig().mesh("mid").points
    assert points[shape.segments["feet"], 1].max() < 0.12
    assert points[shape.segments["head"], 1].min() > 1.5
    assert points[shape.segments["haircap"], 1].max() == points[:, 1].max()
    assert np.isin(shape.segments["between_toes"], shape.segments["feet"]).all()
    for name, chosen in shape.segments.items():
        assert np.array_equal(np.sort(shape.mirror[chosen]), chosen), name


def test_charts_need_the_right_texture():
    quads = np.array([[0, 1, 2, 3], [3, 2, 4, 5]])
    assert texture_charts(np.array([[0, 1, 2, 3], [3, 2, 4, 5]])).tolist() == [0, 0]
    assert texture_charts(np.array([[0, 1, 2, 3], [6, 7, 4, 5]])).tolist() == [0, 1]
    weights = np.eye(78)[np.full(6, 7)]
    with pytest.raises(RigMismatch, match="0 eye pockets"):
        body_segments(np.random.default_rng(0).normal(size=(6, 3)), quads, quads, weights, np.full((78, 3), 9.0))


def test_configuration_is_checked():
    with pytest.raises(InputRejected, match="do not make a space"):
        ShapeModelConfig(Path("x.npz"), samples=10, components=10)


@pytest.fixture(scope="module")
def source():
    if importlib.util.find_spec("anny") is None:
        pytest.skip("anny is not installed")
    from soma_isaac.pipelines.shape_population import AnnySource

    return AnnySource()


@pytest.fixture(scope="module")
def studio(shape):
    return BindPose(load_template_rig(), shape.bag_vertices)


@needs_anny
def test_the_population_is_as_stated(source):
    people = source.draw(np.random.default_rng(5), 400)
    again = source.draw(np.random.default_rng(5), 400)
    assert np.array_equal(people.age_years, again.age_years)
    assert all(np.array_equal(people.phenotypes[name], again.phenotypes[name]) for name in people.phenotypes)
    counts = np.bincount(people.groups, minlength=len(AGE_GROUPS))
    assert counts.tolist() == [round(400 * share) for _, _, share in AGE_GROUPS.values()]
    assert people.local_changes.shape == (400, len(LOCAL_CHANGES))
    for name, values in people.phenotypes.items():
        assert values.min() >= 0.0 and values.max() <= 1.0, name
    assert 0.15 < (people.phenotypes["gender"] == 0.0).mean() < 0.35


@needs_anny
def test_fresh_people_lie_in_the_shipped_space(source, studio, space):
    """People that were neither in the sample nor held out when the file was made."""
    bodies = studio.bodies(source, source.draw(np.random.default_rng(99), 30))
    errors = vertex_errors(space, bodies)
    assert errors.mean() < 0.0005 and errors.max() < 0.012
    template = load_template_rig().mesh("mid").points
    assert vertex_errors(space, template[None].astype(np.float32)).mean() < 0.02


@needs_anny
def test_presets_are_annys_bodies(source, studio, space):
    names = ("child", "heavy")
    bodies = studio.bodies(source, source.describe([PRESETS[name] for name in names]))
    for name, body in zip(names, bodies, strict=True):
        shipped = space.bodies(preset(name)[None])[0]
        assert np.linalg.norm(shipped - body, axis=1).mean() < 0.0005, name


@needs_anny
def test_unknown_phenotypes_are_refused(source):
    with pytest.raises(InputRejected, match="no phenotype or local change hight"):
        source.describe([{"age_years": 3.0, "hight": 1.0}])
