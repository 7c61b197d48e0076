"""The backends whose files hold a linear shape space: soma, the SMPL family, garment."""

import numpy as np
import pytest

from soma_isaac.body.identities import SomaTarget, load_identity
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.rig_usd import load_template_rig
from tests.body import model_files

pytestmark = pytest.mark.py312


@pytest.fixture(scope="module")
def rig():
    return load_template_rig()


@pytest.fixture(scope="module")
def target(rig):
    return SomaTarget.of(rig, "low")


def test_soma_components_are_standard_deviations_of_the_files_space(tmp_path, rig):
    arrays = model_files.neutral_arrays()
    path = model_files.write_neutral(tmp_path)
    model = load_identity("soma", SomaTarget.of(rig, "mid"), model_path=path)
    coefficients = np.array([[1.0, -2.0, 0.5, 3.0]])
    weighted = coefficients * np.sqrt(arrays["eigenvalues"].astype(np.float64))
    expected = arrays["mean"].astype(np.float64) + (weighted @ arrays["shapedirs"]).reshape(-1, 3)
    np.testing.assert_allclose(model.rest_points(coefficients)[0] * 100.0, expected, atol=2e-4)
    assert model.spec.coefficients.count == 4


def test_a_shape_file_of_another_mesh_is_refused(tmp_path, rig, target):
    arrays = model_files.neutral_arrays()
    small = {
        "mean": arrays["mean"][:10],
        "shapedirs": arrays["shapedirs"][:, :30],
        "eigenvalues": arrays["eigenvalues"],
    }
    path = tmp_path / "small.npz"
    path.write_bytes(model_files.npz({**small, "triangles": np.array([[0, 1, 2]])}))
    with pytest.raises(InputRejected, match="10 vertices"):
        load_identity("soma", target, model_path=path)
    with pytest.raises(RigMismatch, match="10 vertices"):
        SomaTarget.of(rig, "low", read_neutral(path))


def test_bags_come_from_the_shape_file(tmp_path, rig):
    neutral = read_neutral(model_files.write_neutral(tmp_path))
    mid, low = (SomaTarget.of(rig, lod, neutral) for lod in ("mid", "low"))
    np.testing.assert_array_equal(mid.bag_vertices, neutral.bag_vertices)
    np.testing.assert_array_equal(low.bag_vertices, neutral.bag_vertices[neutral.bag_vertices < 4505])
    assert SomaTarget.of(rig, "xlo", neutral).lod == "low"


@pytest.mark.parametrize("form", ["pkl", "pkl0"])
def test_a_pickled_smpl_model_gives_what_its_npz_gives(tmp_path, target, form):
    model_files.write_smpl(tmp_path / "npz", form="npz")
    model_files.write_smpl(tmp_path / "pkl", form=form)
    models = [load_identity("smpl", target, assets=tmp_path / folder) for folder in ("npz", "pkl")]
    betas = np.random.default_rng(0).normal(size=(2, 10))
    np.testing.assert_array_equal(*(model.rest_points(betas) for model in models))


def test_gender_betas_and_model_path_choose(tmp_path, target):
    path = model_files.write_smpl(tmp_path)
    with pytest.raises(InputRejected, match="SMPL_FEMALE.npz or SMPL/SMPL_FEMALE.pkl"):
        load_identity("smpl", target, assets=tmp_path, gender="female")
    with pytest.raises(InputRejected, match="no gender 'other'"):
        load_identity("smpl", target, assets=tmp_path, gender="other")
    arrays = model_files.smpl_arrays()
    taller = {**arrays, "v_template": arrays["v_template"] * 1.1}
    path.with_name("SMPL_FEMALE.npz").write_bytes(model_files.npz(taller))
    neutral, female = (load_identity("smpl", target, assets=tmp_path, gender=who) for who in ("neutral", "female"))
    tall = np.ptp(female.rest_points(np.zeros((1, 10)))[0, :, 1]) / np.ptp(
        neutral.rest_points(np.zeros((1, 10)))[0, :, 1]
    )
    assert tall == pytest.approx(1.1, rel=1e-4)
    given = load_identity("smpl", target, assets=tmp_path, model_path=path.with_name("SMPL_FEMALE.npz"), num_betas=4)
    assert given.spec.coefficients.names == ("beta_0", "beta_1", "beta_2", "beta_3")
    np.testing.assert_array_equal(given.rest_points(np.zeros((1, 4))), female.rest_points(np.zeros((1, 10))))
    with pytest.raises(InputRejected, match="holds 10 shape components; 300"):
        load_identity("smpl", target, assets=tmp_path, num_betas=300)


def test_the_pair_has_to_fit_the_model_and_soma(tmp_path, target):
    model_files.write_smpl(tmp_path)
    folder, body = tmp_path / "SMPL", model_files.native()
    model_files.write_pair(folder, 0.01)
    model_files.write_obj(folder / "base_body.obj", body.points, body.triangles)  # metres, the wrap in centimetres
    with pytest.raises(InputRejected, match="not a pair"):
        load_identity("smpl", target, assets=tmp_path)
    model_files.write_obj(folder / "SOMA_wrap.obj", body.wrap[:100], body.wrap_quads[:0])
    with pytest.raises(InputRejected, match="the wrap has 100 points|not a pair"):
        load_identity("smpl", target, assets=tmp_path)
    model_files.write_obj(folder / "base_body.obj", body.points[:-1], body.triangles[:5] * 0 + [0, 1, 2])
    model_files.write_obj(folder / "SOMA_wrap.obj", body.wrap, body.wrap_quads)
    with pytest.raises(InputRejected, match="611 vertices, the model 612"):
        load_identity("smpl", target, assets=tmp_path)
    (folder / "SOMA_wrap.obj").unlink()
    with pytest.raises(InputRejected, match="lacks SMPL/SOMA_wrap.obj.*--only smpl.*assets=PATH"):
        load_identity("smpl", target, assets=tmp_path)


def test_a_pointer_file_is_not_taken_for_a_model(tmp_path, target):
    path = tmp_path / "SOMA_neutral.npz"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    for where in ({"assets": tmp_path}, {"model_path": path}):
        with pytest.raises(InputRejected, match="git lfs pull"):
            load_identity("soma", target, **where)


def test_garment_reads_the_binary_and_the_npz(tmp_path, target):
    for form in ("npz", "pca"):
        model_files.write_garment(tmp_path / form, form)
    models = [load_identity("garment", target, assets=tmp_path / form) for form in ("npz", "pca")]
    coefficients = np.random.default_rng(0).normal(size=(2, 6))
    np.testing.assert_array_equal(*(model.rest_points(coefficients) for model in models))
    space = model_files.garment_space()
    expected = space.mean + np.einsum("bk,kvc->bvc", coefficients * np.sqrt(space.eigenvalues), space.directions)
    np.testing.assert_allclose(models[0].native_points(coefficients), expected, atol=2e-6)
