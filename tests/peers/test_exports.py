"""Exported bodies as other software reads them: py-soma-x (npz, UsdSkel), trimesh (glTF), NVIDIA's USD validator."""

import functools
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, PUBLIC_JOINT_NAMES, data_path, template_rest_offsets

pytestmark = pytest.mark.peer

CLIP = data_path("demo_clips") / "walk.npz"
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """Exports of a walk by file name and options, each made once."""
    pytest.importorskip("pxr", reason="usd-core is not installed")
    from soma_isaac.pipelines.body_export import BodyExportConfig, export_body

    folder = tmp_path_factory.mktemp("exports")

    @functools.cache
    def write(name, **options):
        export_body(BodyExportConfig(output=str(folder / name), **({"motion": str(CLIP), "fps": 10.0} | options)))
        return folder / name

    return write


@pytest.fixture(scope="module")
def soma():
    pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    import soma
    import torch

    torch.set_num_threads(1)
    return soma, torch, tuple(int(n) for n in importlib.metadata.version("py-soma-x").split("."))


@pytest.fixture(scope="module")
def layer(soma, soma_data_root):
    module, torch, _ = soma
    layer = module.SOMALayer(
        data_root=str(soma_data_root),
        identity_model_type="soma",
        device="cpu",
        lod="low",
        correctives_model_path=None,
    )
    with torch.no_grad():
        layer.prepare_identity(torch.zeros(1, 128))
    return layer


def our_vertices(soma, motion, stride=1.0):
    from soma_isaac.body import SomaBody
    from soma_isaac.formats.rig_usd import load_template_rig

    anchor = "rest" if soma[2] < (0, 2, 2) else "bind"
    body = SomaBody(load_template_rig(), lod="low", twist_anchor=anchor)
    return body.pose(body.prepare(), motion.rotations, motion.root_translation * stride).vertices.numpy()


def walk():
    from soma_isaac.motion.resample import resample
    from soma_isaac.pipelines.motion_in import load_motion

    return resample(load_motion(CLIP), 10.0)


def test_soma_npz(soma, layer, export):
    from soma.io import load_soma_npz

    torch = soma[1]
    read, motion = load_soma_npz(export("walk.npz")), walk()
    assert [str(name) for name in read["joint_names"]] == list(POSE_JOINT_NAMES)
    assert (read["rotation_repr"], read["absolute_pose"], read["keep_root"]) == ("matrix", False, False)
    assert read["unit"] == "meters" and float(np.ravel(read["fps"])[0]) == 10.0
    assert read["joint_orient"].shape == (78, 3, 3)
    with torch.no_grad():
        theirs = layer.pose(
            torch.tensor(read["poses"], dtype=torch.float32),
            transl=torch.tensor(read["transl"], dtype=torch.float32),
            pose2rot=False,
            apply_correctives=False,
        )["vertices"].numpy()
    assert np.linalg.norm(our_vertices(soma, motion) - theirs, axis=-1).max() < TOLERANCE


def test_usd_animation(soma, layer, export, record_property):
    if soma[2] < (0, 3):
        pytest.skip("py-soma-x 0.2.1 reads no USD animation")
    torch = soma[1]
    poses, transl, fps = layer.load_motion(export("walk.usdc", scale=1.0))
    assert fps == 10.0
    with torch.no_grad():
        theirs = layer.pose(poses, transl=transl, pose2rot=False, apply_correctives=False)["vertices"].numpy()
    motion = walk()
    # A body of the template's size takes longer steps than the person in the clip.
    stride = template_rest_offsets()[1, 1] / motion.identity.rest_offsets[1, 1]
    error = np.linalg.norm(our_vertices(soma, motion, stride) - theirs, axis=-1).max()
    record_property("largest_difference_mm", f"{error * 1000:.5f}")
    assert error < TOLERANCE


def test_usd_animation_is_a_template_for_them_too(soma, export):
    from soma.io import load_rig_from_usd

    ours, theirs = (
        load_rig_from_usd(data_path("SOMA_template_rig.usda")),
        load_rig_from_usd(export("walk.usda", scale=1.0)),
    )
    assert list(ours["joint_names"]) == list(theirs["joint_names"])
    for key in ("bind_pose_world", "t_pose_world", "bind_shape"):
        np.testing.assert_allclose(ours[key], theirs[key], atol=1e-4, err_msg=key)
    assert set(PUBLIC_JOINT_NAMES) < set(theirs["joint_names"])


def test_trimesh_reads_the_glb(export):
    trimesh = pytest.importorskip("trimesh", reason="trimesh is not installed")
    from soma_isaac.formats.rig_usd import load_template_rig

    scene = trimesh.load(export("bind.glb", motion=None, fps=None, pose="bind", kind="points"), process=False)
    (mesh,) = scene.geometry.values()
    template = load_template_rig().mesh("mid")
    # Vertices on texture seams come twice, so that corners are compared.
    np.testing.assert_allclose(mesh.vertices[mesh.faces], template.points[template.triangles], atol=2e-6)
    assert len(mesh.visual.uv) == len(mesh.vertices) > template.vertex_count


@pytest.mark.parametrize(
    "name,options",
    [
        ("walk.usdc", {}),
        ("walk.usda", {}),
        ("low.usd", {"lod": "low"}),
        ("points.usdc", {"kind": "points"}),
        ("t.usda", {"motion": None, "fps": None, "pose": "t"}),
        ("still.usdc", {"kind": "points", "frame": 2}),
    ],
)
def test_validator_accepts(export, name, options):
    command = Path(sys.executable).parent / "nvidia_usd_validate"
    if not command.exists():
        pytest.skip("usd-validation-nvidia is not installed; make peers builds an environment that has it")
    # The one rule left out for text files asks for a binary file.
    rule = ["--disable-rule", "UsdAsciiPerformanceChecker"] if name.endswith(".usda") else []
    result = subprocess.run([str(command), *rule, str(export(name, **options))], capture_output=True, text=True)
    assert result.returncode == 0 and "No issues found" in result.stdout + result.stderr, result.stderr
