"""fit_character.py: every format of one body gives that body, by any naming; what it cannot read it says."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.body.identities import SomaTarget, load_identity
from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.learned.shape_features import SEGMENT_NAMES, segment_lengths
from soma_isaac.learned.shape_population import LengthModel
from soma_isaac.pipelines.character_file import READERS, read_character
from soma_isaac.pipelines.character_fit import fit_character, report_lines
from soma_isaac.pipelines.character_fit_config import (
    MODELS,
    SUFFIXES,
    CharacterFitConfig,
    CharacterFitOutputConfig,
    check_config,
)
from soma_isaac.pipelines.character_names import character_families, match_character, plain_name
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.pose_body import file_bones
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, template_rest_offsets
from tests.inversion.test_bvh_joints import write_bvh

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def body():
    """Joints [78, 3] m of a body of the open shape space."""
    model = LengthModel(load_identity("soma", SomaTarget.of(load_template_rig(), "low")))
    return model.joints(model.drawn(1, 4))[0]


def gltf(joints, rename=lambda name: name, scale=1.0, keep=PUBLIC_JOINT_NAMES):
    """A file of nodes without turns; joints that are not kept leave their children to their nearest kept ancestor."""
    kept = [joint for joint, name in enumerate(PUBLIC_JOINT_NAMES) if name in keep]
    nodes = [{"name": rename(PUBLIC_JOINT_NAMES[joint]), "children": []} for joint in kept]
    for number, joint in enumerate(kept):
        parent = PUBLIC_PARENTS[joint]
        while parent >= 0 and parent not in kept:
            parent = PUBLIC_PARENTS[parent]
        base = joints[parent] if parent >= 0 else np.zeros(3)
        nodes[number]["translation"] = (scale * (joints[joint] - base)).tolist()
        if parent >= 0:
            nodes[kept.index(parent)]["children"].append(number)
    return json.dumps({"asset": {"version": "2.0"}, "nodes": nodes}).encode()


def lengths_of(path):
    return segment_lengths(read_character(path).joints[None])[0]


def test_the_config_knows_what_the_readers_read():
    assert tuple(READERS) == SUFFIXES
    from soma_isaac.body.identities import IDENTITY_SPECS

    assert set(MODELS) == set(IDENTITY_SPECS)


def test_names_go_by_table_whatever_their_spelling():
    assert {plain_name(name) for name in ("mixamorig:LeftUpLeg", "mixamorig1_Left UpLeg", "Bip|left-up.leg")} == {
        "leftupleg"
    }
    mixamo = {soma: names[0] for soma, names in character_families()["mixamo"].items()}
    for prefix in ("", "mixamorig:", "mixamorig", "mixamorig9:"):
        family, matched = match_character([prefix + name for name in mixamo.values()])
        assert family == "mixamo" and set(matched) == set(mixamo)
    assert matched["LeftLeg"] == list(mixamo).index("LeftLeg")
    for family, aliases in character_families().items():
        found, matched = match_character([names[0] for names in aliases.values()])
        assert (found, set(matched)) == (family, set(aliases))
    assert character_families()["unreal"]["RightArm"] == ("upperarm_r",)
    with pytest.raises(InputRejected, match="nearest is 'unreal', which lacks calf_l"):
        match_character([n[0] for j, n in character_families()["unreal"].items() if "Shin" not in j])


def test_gltf_by_foreign_names_has_the_bodys_lengths(tmp_path, body):
    names = {soma: aliases[0] for soma, aliases in character_families()["unreal"].items()}
    path = tmp_path / "hero.gltf"
    path.write_bytes(gltf(body, names.get, 3.0, tuple(names)))
    character = read_character(path)
    assert character.family == "unreal" and character.metres_per_unit == 1.0
    found, truth = lengths_of(path), segment_lengths(body[None])[0]
    missing = {"toes", "head", "middle finger"}
    for name, length, own in zip(SEGMENT_NAMES, found, truth, strict=True):
        if name in missing:
            assert np.isnan(length)
        elif name != "upper spine":
            assert length == pytest.approx(3.0 * own, rel=1e-6), name


def test_bvh_has_the_files_lengths_in_its_unit(tmp_path):
    offsets = template_rest_offsets() * 80.0
    path = tmp_path / "person.bvh"
    names, parents = list(PUBLIC_JOINT_NAMES[1:]), [parent - 1 for parent in PUBLIC_PARENTS[1:]]
    rotations = np.tile(np.eye(3), (1, 77, 1, 1))
    path.write_text(write_bvh(names, parents, offsets[1:], rotations, np.zeros((1, 3))))
    character = read_character(path)
    rest = np.zeros((78, 3))
    for joint, parent in enumerate(PUBLIC_PARENTS[1:], 1):
        rest[joint] = offsets[joint] + (rest[parent] if parent > 0 else 0.0)
    np.testing.assert_allclose(lengths_of(path), segment_lengths(rest[None])[0], rtol=1e-5)
    assert character.metres_per_unit == 0.01


def test_a_fit_comes_back_as_the_body_and_is_written_once(tmp_path, body):
    source = tmp_path / "hero.gltf"
    source.write_bytes(gltf(body, scale=40.0))
    config = CharacterFitConfig(str(source), "soma", CharacterFitOutputConfig(str(tmp_path / "out")))
    report = fit_character(config)
    record = report.record
    assert "by its file's unit the character is" in "".join(report_lines(report))
    assert record["mean_length_error"] < 0.0015 and len(record["lengths"]) == 15
    assert record["units_per_metre_of_body"] == pytest.approx(40.0, rel=0.1)
    path = tmp_path / "out" / "hero.soma.json"
    assert json.loads(path.read_text()) == record and len(record["coefficients"]) == 64
    assert fit_character(config).path == path  # the same bytes are no conflict
    path.write_text("{}")
    with pytest.raises(OutputConflict, match="replace=true"):
        fit_character(config)
    config.known_size, config.replace = True, True
    known = fit_character(config)
    assert known.record["units_per_metre_of_body"] == 1.0
    assert "unit the character" not in "".join(report_lines(known))


def test_what_cannot_be_fitted_is_refused(tmp_path, body):
    for source, message in (("a.fbx", "are not read, but .usda"), ("a.usdc", "usdcat"), (None, "name a character")):
        with pytest.raises(ConfigRefused, match=message):
            check_config(CharacterFitConfig(source))
    with pytest.raises(ConfigRefused, match="did you mean 'anny'"):
        check_config(CharacterFitConfig("a.glb", "any"))
    source = tmp_path / "few.gltf"
    source.write_bytes(gltf(body, lambda name: f"bone_{name}"))
    with pytest.raises(InputRejected, match="no known skeleton"):
        read_character(source)
    with pytest.raises(InputRejected, match="is no character file"):
        read_character(tmp_path / "a.txt")


def test_a_character_that_no_pose_fits_is_refused(tmp_path, body):
    """Of a size that is no figure's, or mirrored by a negative scale: the fit of its lengths does not mind."""
    source = tmp_path / "hero.gltf"
    for joints, words in ((1e4 * body, "times a person's size"), (body * [-1.0, 1.0, 1.0], "it is mirrored")):
        source.write_bytes(gltf(joints))
        assert np.isfinite(read_character(source).joints).any()
        with pytest.raises(InputRejected, match=words) as raised:
            file_bones(source)
        assert raised.value.path == str(source)
    source.write_bytes(gltf(body))
    shin = PUBLIC_JOINT_NAMES.index("LeftShin")
    length = np.linalg.norm(body[shin] - body[PUBLIC_PARENTS[shin]])
    assert np.linalg.norm(file_bones(source).rest_offsets[shin]) == pytest.approx(length, rel=1e-6)


def test_the_command_says_what_bones_tell(tmp_path, body):
    source = tmp_path / "hero.gltf"
    source.write_bytes(gltf(body))
    arguments = [f"source={source}", "model=soma", f"output.dir={tmp_path}"]
    command = [sys.executable, "scripts/fit_character.py"]
    done = subprocess.run(command + arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "not observable from these bones: component_" in done.stdout and "15 lengths:" in done.stdout
    wrong = subprocess.run([*command, "sorce=a.glb"], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert wrong.returncode == 2 and "did you mean 'source'" in wrong.stderr
