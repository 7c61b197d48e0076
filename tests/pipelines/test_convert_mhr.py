"""MHR samples, from parquet and npz: a stand-in module in MHR's calling convention, of its own topology, in cm."""

import importlib.util
import io
import json
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats import mhr_samples
from soma_isaac.formats.mhr_samples import read_mhr_samples
from soma_isaac.formats.npz import npz_bytes, open_npz
from soma_isaac.math.so3 import geodesic_angle
from soma_isaac.pipelines import folder_run
from soma_isaac.pipelines.convert import run_convert
from soma_isaac.pipelines.convert_config import ConvertConfig, MhrConfig
from soma_isaac.pipelines.run_config import OutputConfig, SourceConfig
from tests.body.model_files import native, shape_field, write_pair
from tests.pipelines.test_convert import Inline

torch = pytest.importorskip("torch", reason="mhr needs torch")


def arrays(count=5, seed=2):
    rng = np.random.default_rng(seed)
    parameters = np.zeros((count, 204))
    parameters[:, :3] = rng.normal(scale=100.0, size=(count, 3))
    parameters[:, 4] = rng.uniform(-2.0, 2.0, count)
    parameters[:, 136:204] = rng.normal(scale=0.3, size=(count, 68))
    parameters[:, 130:136] = rng.normal(scale=0.1, size=(count, 6))
    return {
        "mhr_valid": np.arange(count) % 3 != 1,
        "shape_params": rng.normal(size=(count, 45)) * 0.3,
        "model_params": parameters,
    }


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    class Mhr(torch.nn.Module):
        """Shapes and scales a mesh, turns it about Y by parameter 4 and moves it by parameters 0 to 2."""

        def __init__(self, mean: torch.Tensor, shapes: torch.Tensor, scales: torch.Tensor) -> None:
            super().__init__()
            self.register_buffer("mean", mean)
            self.register_buffer("shapes", shapes)
            self.register_buffer("scales", scales)

        def forward(
            self, identity: torch.Tensor, parameters: torch.Tensor, face: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            scale = 1.0 + parameters[:, 136:204] @ self.scales + 0.1 * parameters[:, 130:136].sum(1, keepdim=True)
            points = (self.mean[None] + torch.einsum("bk,kvc->bvc", identity, self.shapes)) * scale[:, :, None]
            c, s = torch.cos(parameters[:, 4:5]), torch.sin(parameters[:, 4:5])
            x = c * points[:, :, 0] + s * points[:, :, 2]
            z = c * points[:, :, 2] - s * points[:, :, 0]
            turned = torch.stack([x, points[:, :, 1], z], dim=2)
            return turned + parameters[:, None, :3] + 0.0 * face.sum(), parameters

    points = native().points * 100.0
    module = Mhr(
        torch.from_numpy(points).float(),
        torch.from_numpy(shape_field(points / 100.0, 45) * 20.0).float(),
        torch.linspace(0.005, 0.01, 68)[:, None],
    )
    root = tmp_path_factory.mktemp("assets")
    (root / "MHR").mkdir()
    torch.jit.save(torch.jit.script(module), str(root / "MHR/mhr_model_lod6.pt"))
    write_pair(root / "MHR", 0.01, base="base_body_lod6.obj", wrap="SOMA_wrap_lod1.obj")
    return root


@pytest.fixture
def run(monkeypatch, tmp_path, assets):
    monkeypatch.setattr(folder_run, "Supervisor", Inline)

    def call(source, **keys):
        config = ConvertConfig(
            source=SourceConfig(str(source)),
            output=OutputConfig(str(tmp_path / "out")),
            verb="mhr",
            mhr=MhrConfig(assets=str(assets)),
            **keys,
        )
        return run_convert(config, io.StringIO()), tmp_path / "out"

    return call


def test_samples_become_poses_of_their_own_persons(run, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    given = arrays()
    (source / "batch.npz").write_bytes(npz_bytes(given))
    report, out = run(source)
    assert report.exit_code == 0, report.records
    archive = open_npz(out / "soma/batch.npz")
    kept = np.array([0, 2, 3])
    np.testing.assert_array_equal(archive.read("sample_rows"), kept)
    np.testing.assert_array_equal(archive.read("identity_coeffs"), given["shape_params"][kept])
    np.testing.assert_array_equal(archive.read("scale_params"), given["model_params"][kept, 136:204])
    turn = Rotation.from_rotvec(given["model_params"][kept, 4:5] * [[0.0, 1.0, 0.0]]).as_matrix()
    assert np.degrees(geodesic_angle(archive.read("poses")[:, 0], turn)).max() < 1.0
    record = json.loads((out / "details/batch.json").read_text())
    assert record["error_mm"]["worst_frame_mean"] < 5.0 and record["path"] == "mesh"
    assert archive.read("per_vertex_error").shape[0] == 3
    assert record["notes"] == ["2 of 5 rows are not valid and were left out"]
    # the Hips moved by the translation, in metres
    place = archive.read("transl")
    shift = 0.01 * given["model_params"][kept, :3]
    assert np.abs(place[:, [0, 2]] - shift[:, [0, 2]]).max() < 0.1
    assert "fps" not in archive


def parquet(path, given):
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed (extra parquet)")
    writer = importlib.import_module("pyarrow.parquet")
    table = {key: values.tolist() for key, values in given.items()}
    for row in np.flatnonzero(~given["mhr_valid"]):
        table["shape_params"][row] = None
    writer.write_table(pyarrow.table(table), path)


def test_parquet_holds_the_same(tmp_path):
    given = arrays()
    parquet(tmp_path / "batch.parquet", given)
    (tmp_path / "batch.npz").write_bytes(npz_bytes(given))
    first, second = (read_mhr_samples(tmp_path / f"batch.{suffix}") for suffix in ("parquet", "npz"))
    for name in ("rows", "shapes", "parameters"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.total == second.total == 5


def test_broken_tables_are_refused(tmp_path):
    given = arrays()
    path = tmp_path / "batch.parquet"
    parquet(path, {**given, "shape_params": given["shape_params"][:, :44]})
    with pytest.raises(InputRejected, match="row 0 holds 44 values, expected 45"):
        read_mhr_samples(path)
    parquet(path, {key: values for key, values in given.items() if key != "model_params"})
    with pytest.raises(InputRejected, match="no column 'model_params'"):
        read_mhr_samples(path)
    parquet(path, given)
    data = path.read_bytes()
    for cut in (5, 40, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:cut])
        with pytest.raises(InputRejected):
            read_mhr_samples(path)


def test_broken_arrays_are_refused(tmp_path):
    given, path = arrays(), tmp_path / "batch.npz"
    for change, words in (
        ({"mhr_valid": np.zeros(5, bool)}, "no valid sample"),
        ({"shape_params": np.full((5, 45), np.nan)}, "shape_params"),
        ({"model_params": np.zeros((4, 204))}, "model_params"),
    ):
        path.write_bytes(npz_bytes({**given, **change}))
        with pytest.raises(InputRejected, match=words):
            read_mhr_samples(path)


def test_parquet_without_pyarrow_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 40)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[parquet\]"):
        mhr_samples.read_mhr_samples(tmp_path / "a.parquet")


@pytest.mark.parametrize("name,package", [("batch.npz", "torch"), ("batch.parquet", "pyarrow")])
def test_missing_packages_are_named_before_any_work(run, tmp_path, monkeypatch, name, package):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"PAR1")
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda word, *rest: None if word == package else real(word, *rest))
    with pytest.raises(MissingDependency, match=package):
        run(tmp_path / "in")
    assert not (tmp_path / "out").exists()
