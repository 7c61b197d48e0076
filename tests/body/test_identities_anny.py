"""Anny: works out of the box, its own mesh unchanged, phenotypes and local changes."""

import sys

import numpy as np
import pytest

from soma_isaac.body.identities import SomaTarget, load_identity
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.rig_usd import load_template_rig

anny = pytest.importorskip("anny", reason="anny belongs to the anny extra")


@pytest.fixture(scope="module")
def target():
    return SomaTarget.of(load_template_rig(), "low")


@pytest.fixture(scope="module")
def model(target):
    return load_identity("anny", target)


def body(model, **phenotypes):
    values = model.spec.coefficients.defaults()
    for name, value in phenotypes.items():
        values[0, model.spec.coefficients.names.index(name)] = value
    return values


def height(points):
    return float(np.ptp(points[0, :, 1]))


def test_the_native_mesh_is_what_anny_itself_computes_turned_upright(model):
    torch = pytest.importorskip("torch")
    original = anny.Anny(topology="anny")
    values = {"gender": 0.2, "age": 0.6, "muscle": 0.9, "weight": 0.3, "height": 0.8, "proportions": 0.1}
    weights = original.get_phenotype_blendshape_coefficients(
        **{k: torch.tensor([v]).double() for k, v in values.items()}
    )
    expected = original.get_rest_vertices(weights)[0].detach().numpy()
    found = model.native_points(body(model, **values))[0]
    np.testing.assert_allclose(found, expected[:, [0, 2, 1]] * [1.0, 1.0, -1.0], atol=2e-6)
    assert len(found) == 13718


def test_the_soma_mesh_lies_on_the_native_surface(model):
    from scipy.spatial import cKDTree

    values = body(model, age=0.9, weight=0.9)
    native, soma = model.native_points(values)[0], model.rest_points(values)[0]
    distance = cKDTree(native).query(soma)[0]
    assert distance.mean() < 0.006 and distance.max() < 0.03
    assert height(soma[None]) == pytest.approx(height(native[None]), abs=0.006)


def test_people_are_as_tall_as_they_should_be(model):
    heights = {name: height(model.rest_points(body(model, age=age))) for name, age in
               {"newborn": -1 / 3, "baby": 0.0, "child": 1 / 3, "adult": 2 / 3}.items()}  # fmt: skip
    assert heights["newborn"] == pytest.approx(0.50, abs=0.05)
    assert heights["baby"] == pytest.approx(0.66, abs=0.05)
    assert 1.3 < heights["child"] < 1.5 and 1.75 < heights["adult"] < 1.9
    man, woman = (height(model.rest_points(body(model, age=2 / 3, gender=g))) for g in (0.0, 1.0))
    assert man > woman + 0.1


def test_local_changes_move_what_they_name(model):
    names = model.spec.scales.names
    assert len(names) == 139 and not [n for n in names if any(hidden in n for hidden in ("eye", "mouth", "nose"))]
    plain = model.rest_points(body(model))[0]
    changed = np.zeros((1, len(names)))
    changed[0, names.index("l-foot-scale-incr")] = 1.0
    moved = np.linalg.norm(model.rest_points(body(model), changed)[0] - plain, axis=1)
    assert moved.max() > 0.005
    left_lower_leg = (plain[:, 0] > 0.0) & (plain[:, 1] < plain[:, 1].min() + 0.3)
    assert left_lower_leg[moved > 1e-3].all()
    changed[:] = 0.0
    np.testing.assert_allclose(model.rest_points(body(model), changed)[0], plain, atol=1e-6)


def test_phenotypes_outside_their_range_are_refused(model):
    with pytest.raises(InputRejected, match="weight of body 0 is 1.5, expected a value from 0 to 1"):
        model.rest_points(body(model, weight=1.5))
    with pytest.raises(InputRejected, match="age of body 0 is -0.5, expected a value from -0.3333 to 1"):
        model.rest_points(body(model, age=-0.5))
    model.rest_points(body(model, age=-0.2))


def test_without_local_changes_it_is_the_same_body_and_takes_none(model, target):
    light = load_identity("anny", target, local_changes=False)
    np.testing.assert_allclose(
        light.rest_points(body(model, age=0.4)), model.rest_points(body(model, age=0.4)), atol=1e-6
    )
    assert light.spec.scales.count == 0


def test_without_the_package_the_error_names_the_extra(target, monkeypatch):
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[anny\]"):
        load_identity("anny", target)
