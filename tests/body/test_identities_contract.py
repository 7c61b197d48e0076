"""One table of tests for every identity backend: neutral shape, batches, gradients, units, faults."""

import numpy as np
import pytest

from soma_isaac.body.identities import IDENTITY_SPECS, SomaTarget, load_identity
from soma_isaac.body.identities.presets import open_shape_space
from soma_isaac.errors import InputRejected
from soma_isaac.formats.neutral_npz import read_neutral
from tests.body import model_files

pytestmark = pytest.mark.py312

BACKENDS = ("soma", "smpl", "smplh", "smplx", "garment", "mhr", "anny")
TRANSFERRED = ("smpl", "smplh", "smplx", "garment", "mhr")
NEEDS_TORCH = ("mhr", "anny")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    model_files.write_neutral(folder)
    model_files.write_garment(folder)
    for kind, form in (("smpl", "npz"), ("smplh", "pkl"), ("smplx", "pkl0")):
        model_files.write_smpl(folder, kind, form)
    return folder


@pytest.fixture(scope="module")
def targets(root):
    from soma_isaac.formats.rig_usd import load_template_rig

    rig, neutral = load_template_rig(), read_neutral(root / "SOMA_neutral.npz")
    return {lod: SomaTarget.of(rig, lod, neutral) for lod in ("mid", "low")}


@pytest.fixture(scope="module")
def load(root, targets):
    loaded = {}

    def loader(name, lod="mid", **options):
        if name in NEEDS_TORCH:
            pytest.importorskip("torch", reason=f"{name} needs torch")
        if name == "anny":
            pytest.importorskip("anny", reason="anny belongs to the anny extra")
        if name == "mhr" and not (root / "MHR").is_dir():
            model_files.write_mhr(root)
        key = (name, lod, *sorted(options.items()))
        if key not in loaded:
            assets = None if name == "anny" else root
            loaded[key] = load_identity(name, targets[lod], assets=assets, **options)
        return loaded[key]

    return loader


def neutral(model, batch=1):
    scales = model.spec.scales
    return model.spec.coefficients.defaults(batch), None if scales is None else scales.defaults(batch)


def varied(model, batch, seed=0):
    random = np.random.default_rng(seed)
    groups = [group for group in (model.spec.coefficients, model.spec.scales) if group is not None]
    values = []
    for group in groups:
        low, high = group.limits
        values.append(random.uniform(0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high, (batch, group.count)))
    return (*values, None)[:2]


def test_every_backend_is_in_the_table():
    assert set(BACKENDS) == set(IDENTITY_SPECS)
    for name, spec in IDENTITY_SPECS.items():
        assert spec.name == name and spec.licence and spec.origin and spec.unit_metres in (1.0, 0.01)


@pytest.mark.parametrize("lod", ["mid", "low"])
@pytest.mark.parametrize("name", BACKENDS)
def test_shapes_types_and_size_of_the_neutral_body(load, targets, name, lod):
    model = load(name, lod)
    points = model.rest_points(*neutral(model, 2))
    assert points.shape == (2, targets[lod].vertex_count, 3) and points.dtype == np.float32
    np.testing.assert_array_equal(points[0], points[1])
    extent = np.ptp(points[0], axis=0)
    assert 1.5 < extent[1] < 1.9 and extent[2] < 0.5  # metres, upright, facing along z
    toes, heels = points[0][points[0, :, 1] < points[0, :, 1].min() + 0.03][:, 2], points[0, :, 2].mean()
    assert toes.max() > heels + 0.05
    native = model.native_points(*neutral(model))
    assert native.shape[0] == 1 and model.native_triangles.max() == native.shape[1] - 1


@pytest.mark.parametrize("name", BACKENDS)
def test_left_is_at_positive_x(load, name):
    """A left-right mistake in the axes would put the mirrored body there; the vertex numbering tells them apart."""
    model = load(name)
    points = model.rest_points(*neutral(model))[0]
    reference = load("soma").rest_points(*neutral(load("soma")))[0]
    assert np.corrcoef(points[:, 0], reference[:, 0])[0, 1] > 0.9


@pytest.mark.parametrize("name", BACKENDS)
def test_bodies_of_a_batch_do_not_touch_each_other(load, name):
    model = load(name)
    coefficients, scales = varied(model, 3)
    together = model.rest_points(coefficients, scales)
    for row in range(3):
        alone = model.rest_points(coefficients[row : row + 1], None if scales is None else scales[row : row + 1])
        np.testing.assert_allclose(together[row], alone[0], atol=2e-6)
    assert np.linalg.norm(together[0] - together[1], axis=1).max() > 0.005
    if scales is not None:  # one row of scales goes with every body
        shared = model.rest_points(coefficients, scales[:1])
        np.testing.assert_allclose(shared[0], together[0], atol=2e-6)


@pytest.mark.parametrize("name", BACKENDS)
def test_low_is_the_low_part_of_mid(load, targets, name):
    coefficients, scales = varied(load(name), 1)
    mid = load(name).rest_points(coefficients, scales)[0, targets["low"].mid_rows]
    low = load(name, "low").rest_points(coefficients, scales)[0]
    solid = np.setdiff1d(np.arange(len(low)), targets["low"].bag_vertices)
    np.testing.assert_allclose(low[solid], mid[solid], atol=2e-6)
    assert np.linalg.norm(low - mid, axis=1).max() < 0.02  # the bags are filled in on another mesh


@pytest.mark.parametrize("name", TRANSFERRED)
def test_growth_and_shift_pass_through_the_transfer(load, targets, name):
    model = load(name)
    wrap = model_files.native().wrap[targets["mid"].mid_rows]
    coefficients, scales = neutral(model, 2)
    np.testing.assert_allclose(model.rest_points(coefficients, scales)[0], wrap, atol=1e-6)
    step = np.sqrt(model_files.garment_space().eigenvalues[:2]) if name == "garment" else (1.0, 1.0)
    coefficients[0, 0] = coefficients[1, 1] = 1.0  # 5 % larger; 10 cm higher, per standard deviation
    grown, shifted = model.rest_points(coefficients, scales)
    solid = np.setdiff1d(np.arange(len(wrap)), targets["mid"].bag_vertices)
    np.testing.assert_allclose(grown[solid], wrap[solid] * (1.0 + 0.05 * step[0]), atol=2e-6)
    assert np.linalg.norm(grown - wrap * (1.0 + 0.05 * step[0]), axis=1).max() < 0.01
    np.testing.assert_allclose(shifted, wrap + [0.0, 0.1 * step[1], 0.0], atol=2e-6)


def test_area_offsets_do_not_grow_with_the_body(load):
    edge, area = (load("smpl", transfer_mode=mode) for mode in ("edge", "area"))
    coefficients = edge.spec.coefficients.defaults()
    np.testing.assert_allclose(edge.rest_points(coefficients), area.rest_points(coefficients), atol=1e-6)
    coefficients[0, 0] = 10.0  # half as large again
    wrap = model_files.native().wrap
    solid = np.setdiff1d(np.arange(len(wrap)), edge.target.bag_vertices)
    assert np.linalg.norm(edge.rest_points(coefficients)[0] - 1.5 * wrap, axis=1)[solid].max() < 1e-5
    assert np.linalg.norm(area.rest_points(coefficients)[0] - 1.5 * wrap, axis=1)[solid].max() > 0.005


@pytest.mark.parametrize("name", BACKENDS)
def test_torch_gives_the_same_points_and_their_gradient(load, name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    model = load(name, "low")
    coefficients, scales = varied(model, 2, seed=4)
    tensors = [torch.tensor(value, dtype=torch.float32) for value in (coefficients, scales) if value is not None]
    leaf = tensors[0].requires_grad_()
    points = model.rest_points_torch(*tensors)
    np.testing.assert_allclose(points.detach(), model.rest_points(coefficients, scales), atol=3e-6)
    random = np.random.default_rng(5)
    direction = random.normal(size=coefficients.shape)
    probe = random.normal(size=points.shape)
    (points * torch.tensor(probe, dtype=torch.float32)).sum().backward()
    step = 1e-3
    ends = [model.rest_points(coefficients + sign * step * direction, scales).astype(np.float64) for sign in (1, -1)]
    expected = ((ends[0] - ends[1]) * probe).sum() / (2.0 * step)
    found = (leaf.grad.double().numpy() * direction).sum()
    assert found == pytest.approx(expected, rel=2e-2, abs=2e-2 * np.abs(probe).mean())


@pytest.mark.parametrize("name", ["soma", "smpl", "garment"])
def test_linear_models_give_their_basis(load, name):
    model = load(name)
    coefficients = varied(model, 2)[0].astype(np.float32)
    basis = model.native_linear
    expected = basis.mean + np.einsum("bk,kvc->bvc", coefficients.astype(np.float64), basis.directions)
    np.testing.assert_allclose(model.native_points(coefficients), expected, atol=2e-6)
    assert (model.linear is basis) == (name == "soma")


@pytest.mark.parametrize("name", BACKENDS)
def test_faults_are_named(load, name):
    model = load(name)
    coefficients, scales = neutral(model)
    count = model.spec.coefficients.count
    with pytest.raises(InputRejected, match=rf"expected \(B, {count}\)"):
        model.rest_points(coefficients[:, :-1], scales)
    with pytest.raises(InputRejected, match=rf"expected \(B, {count}\)"):
        model.rest_points(coefficients[0], scales)
    wrong = coefficients.copy()
    wrong[0, -1] = np.nan
    with pytest.raises(InputRejected, match=f"{model.spec.coefficients.names[-1]} of body 0 is nan"):
        model.rest_points(wrong, scales)
    with pytest.raises(InputRejected, match="takes no 'scale_params'"):
        model.rest_points(coefficients, scales, scale_params=coefficients)
    if scales is None:
        with pytest.raises(InputRejected, match="takes no 'scales'"):
            model.rest_points(coefficients, coefficients)
    else:
        with pytest.raises(InputRejected, match="2 rows of scales do not fit 1"):
            model.rest_points(coefficients, np.repeat(scales, 2, axis=0))


@pytest.mark.parametrize("name", [name for name in BACKENDS if name != "anny"])
def test_missing_files_are_named_with_their_origin_and_option(targets, tmp_path, name):
    if name == "mhr":
        pytest.importorskip("torch", reason="mhr needs torch")
    stem = {"soma": "SOMA_neutral.npz", "garment": "point.npz", "mhr": "mhr_model_lod1.pt"}.get(
        name, f"{name.upper()}_NEUTRAL.npz or {name.upper()}/{name.upper()}_NEUTRAL.pkl"
    )
    for assets in (tmp_path,) if name == "soma" else (None, tmp_path):
        with pytest.raises(InputRejected) as caught:
            load_identity(name, targets["mid"], assets=assets)
        for part in (stem, IDENTITY_SPECS[name].origin, "assets=PATH", "model_path=FILE"):
            assert part in str(caught.value)
    with pytest.raises(InputRejected, match="is no file"):
        load_identity(name, targets["mid"], assets=tmp_path, model_path=tmp_path / "absent.npz")


def test_soma_without_files_is_the_open_shape_space(targets):
    model = load_identity("soma", targets["low"])
    mean = read_neutral(open_shape_space()).space.mean
    np.testing.assert_allclose(model.rest_points(model.spec.coefficients.defaults())[0], mean[:4505], atol=1e-6)
    assert model.spec.coefficients.count == 64 and "soma_isaac" in model.spec.licence


def test_unknown_names_and_options_are_refused(targets, root):
    with pytest.raises(InputRejected, match="no identity model 'flame'; there are soma"):
        load_identity("flame", targets["mid"])
    with pytest.raises(InputRejected, match="has no option 'betas'; it has gender"):
        load_identity("smpl", targets["mid"], assets=root, betas=3)
    with pytest.raises(InputRejected, match="takes no model_path"):
        load_identity("anny", targets["mid"], model_path="x")
    with pytest.raises(InputRejected, match="no topology transfer 'volume'"):
        load_identity("smpl", targets["mid"], assets=root, transfer_mode="volume")
