"""Hands from a user's MANO files, in the official layout, to posed hands in SOMA's topology."""

import shutil

import numpy as np
import pytest

from soma_isaac.body.hand_rig import SIDES
from soma_isaac.body.hands import SomaHand
from soma_isaac.body.identities.mano import MANO_SPEC
from soma_isaac.errors import InputRejected
from soma_isaac.formats.smpl_model import read_smpl_model
from tests.body import model_files

LODS = {"mid": 2859, "low": 718, "xlo": 134}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    (folder / "SOMAHand.npz").write_bytes(model_files.npz(model_files.hand_file_arrays()))
    model_files.write_mano(folder, folder / "SOMAHand.npz", "pkl")
    return folder


@pytest.fixture(scope="module", params=SIDES)
def side(request):
    return request.param


@pytest.fixture(scope="module")
def hands(rig, root, side):
    return {lod: SomaHand(rig, side, "mano", lod=lod, assets=root, threads=1) for lod in LODS}


def betas(count, **values):
    table = np.zeros((count, 10))
    for name, value in values.items():
        table[-1, int(name[1:])] = value
    return table


def test_the_files_are_as_official_ones(root, side):
    model = read_smpl_model(root / f"MANO/MANO_{side.upper()}.pkl", "mano", pose=False)
    assert model.points.shape == (778, 3) and model.shape_directions.shape == (10, 778, 3)
    # Flat, fingers sideways, thumb to the front, the wrist away from the origin.
    spread = np.ptp(model.points, axis=0)
    assert spread.argmax() == 0 and spread.argmin() == 1
    wrist = model.joint_regressor[0] @ model.points
    assert np.linalg.norm(wrist) > 0.05
    assert np.sign((model.points - wrist)[:, 0].mean()) == (1 if side == "left" else -1)


def test_the_mean_hand_is_the_wrap_seen_from_the_wrist(root, hands, side):
    model = hands["mid"].identity_model
    native = model_files.NativeHand(side, root / "SOMAHand.npz")
    found = model.rest_points(betas(1))[0]
    np.testing.assert_allclose(found, native.wrap - native.joints[0], atol=2e-6)
    assert model.spec.coefficients.count == hands["mid"].coefficient_count == 10


def test_a_mano_hand_becomes_the_hand_that_it_was_made_of(rig, hands, side):
    """The template's hand, laid flat as MANO's and turned into the world, comes back into the wrist's bind frame."""
    poses = np.random.default_rng(3).normal(scale=0.4, size=(4, 25, 3))
    transl = np.array([[0.1, -0.2, 0.3]])
    for lod, hand in hands.items():
        assert hand.vertex_count == LODS[lod]
        found = hand.pose(hand.prepare_identity(), poses, transl)
        template = SomaHand(rig, side, lod=lod, threads=1)
        own = template.pose(template.prepare_identity(), poses, transl)
        rows = np.argsort(np.argsort(hand.cut.vertices[lod]))
        apart = np.linalg.norm(found.vertices.numpy() - own.vertices.numpy()[:, rows], axis=-1)
        # Laying a hand flat and fitting its joints costs some shape between the fingers.
        assert apart.mean() < 7e-4 and apart.max() < 5e-3
        assert np.linalg.norm(found.joints.numpy() - own.joints.numpy(), axis=-1).max() < 1.2e-3


def test_betas_grow_a_hand_and_its_bones_about_the_wrist(hands):
    """Of the files' shapes the first is growth by 5 % about the world's origin, the second a shift."""
    poses = np.random.default_rng(4).normal(scale=0.4, size=(1, 25, 3))
    for hand in hands.values():
        plain = hand.pose(hand.prepare_identity(betas(1)), poses)
        larger = hand.pose(hand.prepare_identity(betas(2, b0=2.0)), poses)
        same_size = hand.pose(hand.prepare_identity(betas(1), global_scale=1.1), poses)
        for part in ("vertices", "joints"):
            grown = getattr(larger, part).numpy()
            np.testing.assert_allclose(grown[0], getattr(plain, part).numpy()[0], atol=2e-6)
            np.testing.assert_allclose(grown[1], 1.1 * grown[0], atol=2e-5)
            np.testing.assert_allclose(grown[1], getattr(same_size, part).numpy()[0], atol=2e-5)
        shifted = hand.pose(hand.prepare_identity(betas(1, b1=1.0)), poses)
        np.testing.assert_allclose(shifted.vertices.numpy(), plain.vertices.numpy(), atol=2e-5)
    sizes = hands["xlo"].prepare_identity(global_scale=np.array([1.0, 0.9]))
    assert sizes.rest_points.shape[0] == 2


def test_unreposed_hands_keep_the_axes_of_mano(hands, side):
    hand = hands["low"]
    flat = np.asarray(hand.prepare_identity(betas(1), repose=False).rest_points)[0]
    wrapped = hand.identity_model.rest_points(betas(1))[0]
    rows = {int(vertex): row for row, vertex in enumerate(hand.cut.vertices["mid"])}
    np.testing.assert_allclose(flat, wrapped[[rows[int(v)] for v in hand.cut.vertices["low"]]], atol=2e-6)
    assert np.ptp(flat, axis=0).argmin() == 1


@pytest.mark.parametrize("form", ["npz", "pkl0"])
def test_every_form_of_the_file_gives_the_same_hand(root, hands, side, form, tmp_path):
    model_files.write_mano(tmp_path, root / "SOMAHand.npz", form)
    path = tmp_path / f"MANO/MANO_{side.upper()}.{form[:3]}"
    options = {"lod": "xlo", "hand_file": root / "SOMAHand.npz", "assets": root, "model_path": path}
    other = SomaHand(None, side, "mano", **options)
    values = np.random.default_rng(5).normal(size=(2, 10))
    np.testing.assert_array_equal(
        other.prepare_identity(values).rest_points, hands["xlo"].prepare_identity(values).rest_points
    )


@pytest.mark.parametrize(
    ("absent", "origin"),
    [
        ("MANO/MANO_{SIDE}.pkl", MANO_SPEC.origin),
        ("MANO/base_hand_{side}.obj", "python -m soma_isaac.assets fetch --only hands"),
        ("MANO/SOMA_wrap_{side}.obj", "python -m soma_isaac.assets fetch --only hands"),
        ("SOMAHand.npz", "python -m soma_isaac.assets fetch --only hands"),
    ],
)
def test_missing_files_are_named_with_their_origin_and_option(rig, root, side, absent, origin, tmp_path):
    name = absent.format(side=side, SIDE=side.upper())
    shutil.copytree(root, tmp_path / "assets")
    (tmp_path / "assets" / name).unlink()
    for assets in (tmp_path / "assets", None):
        if assets is None and not name.startswith("SOMAHand"):
            continue
        with pytest.raises(InputRejected) as caught:
            SomaHand(rig, side, "mano", assets=assets)
        for part in (name, origin, "assets=PATH", "mano"):
            assert part in str(caught.value)
    if name == "SOMAHand.npz":
        assert "hand_file=FILE" in str(caught.value)


def test_files_that_do_not_fit_are_refused(rig, root, side, tmp_path):
    with pytest.raises(InputRejected, match="no hand identity 'mhr'; there are soma, mano"):
        SomaHand(rig, side, "mhr")
    body = model_files.write_smpl(tmp_path)
    with pytest.raises(InputRejected, match="has 24 joints; a mano model has 16"):
        SomaHand(rig, side, "mano", assets=root, model_path=body)
    shutil.copytree(root, tmp_path / "assets")
    wrap = model_files.NativeHand(side, root / "SOMAHand.npz").wrap[:-1]
    model_files.write_obj(tmp_path / f"assets/MANO/SOMA_wrap_{side}.obj", wrap, np.array([[0, 1, 2]]))
    with pytest.raises(InputRejected, match="the wrap has 2858 points, SOMA's mid mesh 2859"):
        SomaHand(rig, side, "mano", assets=tmp_path / "assets")
    hand = SomaHand(rig, side, "mano", lod="xlo", assets=root)
    with pytest.raises(InputRejected, match=r"expected \(B, 10\)"):
        hand.prepare_identity(np.zeros((1, 9)))


def test_the_licence_is_told():
    assert "mano.is.tue.mpg.de" in MANO_SPEC.licence and "non-commercial" in MANO_SPEC.licence
    assert {"MANO/MANO_LEFT.pkl", "MANO/MANO_RIGHT.pkl"} < set(MANO_SPEC.files)
