"""The user's model files by the names they are downloaded under; nothing is taken for another gender or kind."""

import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.run_config import SmplConfig
from soma_isaac.pipelines.smpl_files import find_models, model_name, smpl_key, smpl_settings
from soma_isaac.pipelines.smpl_mesh import choose_model


@pytest.mark.parametrize(
    "path,name",
    [
        ("smplh/male/model.npz", "smplh/male"),
        ("body_models/smplh/neutral/model.npz", "smplh/neutral"),
        ("SMPL_python_v.1.1.0/smpl/models/basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "smpl/male"),
        ("SMPL_python_v.1.0.0/smpl/models/basicModel_f_lbs_10_207_0_v1.0.0.pkl", "smpl/female"),
        ("basicmodel_neutral_lbs_10_207_0_v1.1.0.pkl", "smpl/neutral"),
        ("smpl/SMPL_MALE.pkl", "smpl/male"),
        ("models/SMPLX/SMPLX_NEUTRAL.npz", "smplx/neutral"),
        ("SMPLX_NEUTRAL_2020.npz", "smplx/neutral"),
        ("SMPL/SMPLH_FEMALE.npz", "smplh/female"),
        ("smplh/male/info.npz", None),
        ("smplh/MANO_LEFT.pkl", None),
        ("smplx/SMPLX_MALE.obj", None),
        ("smplx/male/model.txt", None),
        ("holiday/female/model.npz", None),
        ("SMPL/SMPL_MALE_FEMALE.npz", None),
    ],
)
def test_names(path, name):
    assert model_name(tuple(path.split("/"))) == name


def touched(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


PAIR = ("SMPL/base_body.obj", "SMPL/SOMA_wrap.obj")


def test_npz_before_pkl_and_pairs_for_both_families_of_one_mesh(tmp_path):
    root = touched(tmp_path, "SMPL/SMPL_MALE.npz", "SMPL/SMPL_MALE.pkl", "smplh/female/model.npz", *PAIR)
    settings = smpl_settings(SmplConfig(model_path=str(root)))
    assert list(settings["models"]) == ["smpl/male", "smplh/female"]
    assert [path for path, _ in settings["models"]["smpl/male"]] == [str(root / "SMPL/SMPL_MALE.npz")]
    assert settings["pairs"]["smplh"] == settings["pairs"]["smpl"]  # SMPL-H has SMPL's vertices


@pytest.mark.parametrize("named", ["", "SMPL", "SMPL/SMPL_MALE.npz"])
def test_the_pair_is_found_beside_a_model_that_is_named_itself(tmp_path, named):
    root = touched(tmp_path, "SMPL/SMPL_MALE.npz", *PAIR)
    settings = smpl_settings(SmplConfig(model_path=str(root / named)))
    assert settings["pairs"]["smpl"][0][0] == str(root / PAIR[0])


def test_keys_are_of_contents_not_places(tmp_path):
    names = ("SMPL/SMPL_MALE.npz", *PAIR)
    first, second = (smpl_settings(SmplConfig(str(touched(tmp_path / n, *names)))) for n in "ab")
    assert smpl_key(first) == smpl_key(second) != ()
    (tmp_path / "b/SMPL/SOMA_wrap.obj").write_bytes(b"another")
    assert smpl_key(smpl_settings(SmplConfig(str(tmp_path / "b")))) != smpl_key(first)
    assert smpl_key(smpl_settings(SmplConfig(str(tmp_path / "a"), gender="male"))) != smpl_key(first)
    assert smpl_key(None) == ()


def test_what_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigRefused, match="smpl.gender"):
        smpl_settings(SmplConfig(model_path=str(tmp_path), gender="man"))
    with pytest.raises(ConfigRefused, match="need smpl.model_path"):
        smpl_settings(SmplConfig(assets=str(tmp_path)))
    with pytest.raises(InputRejected, match="no such file or folder"):
        find_models(tmp_path / "nowhere")
    with pytest.raises(InputRejected, match="named like a model"):
        find_models(touched(tmp_path / "other", "notes.txt"))
    with pytest.raises(InputRejected, match="which model it is"):
        find_models(touched(tmp_path, "body.npz") / "body.npz")
    with pytest.raises(InputRejected, match=r"no SMPL/base_body.obj and SMPL/SOMA_wrap.obj there.*fetch --only smpl"):
        smpl_settings(SmplConfig(model_path=str(touched(tmp_path / "bare", "SMPL_MALE.npz"))))


def settings(*names, gender=None, several=False):
    files = [["a", "0"], ["b", "1"]] if several else [["a", "0"]]
    kinds = {name.partition("/")[0] for name in names}
    return {
        "models": dict.fromkeys(names, files),
        "pairs": dict.fromkeys(kinds, [["p", "0"], ["q", "0"]]),
        "gender": gender,
    }


def test_a_clip_gets_its_own_model_or_a_reason():
    assert choose_model("smplh", "male", settings("smpl/male", "smplh/male"), "c") == ("smplh", "male")
    assert choose_model("smplh", "male", settings("smpl/male"), "c") == ("smpl", "male")
    assert choose_model("smpl", "male", settings("smplh/male"), "c") == ("smplh", "male")
    with pytest.raises(InputRejected, match="needs a smpl model of gender male"):
        choose_model("smpl", "male", settings("smplh/male"), "c", exact=True)
    with pytest.raises(InputRejected, match="smplh model of gender female.*has smplh/male"):
        choose_model("smplh", "female", settings("smplh/male"), "c")
    with pytest.raises(InputRejected, match="smplx model of gender male"):
        choose_model("smplx", "male", settings("smplh/male"), "c")
    with pytest.raises(InputRejected, match="several smplh models of gender male"):
        choose_model("smplh", "male", settings("smplh/male", several=True), "c")


def test_unstated_gender_is_never_guessed():
    with pytest.raises(InputRejected, match="states no gender"):
        choose_model("smplh", None, settings("smplh/male", "smplh/neutral"), "c")
    both = settings("smplh/male", "smplh/neutral", gender="neutral")
    assert choose_model("smplh", None, both, "c") == ("smplh", "neutral")
    assert choose_model("smplh", "male", both, "c") == ("smplh", "male")
