"""What commands with one result share: nothing is overwritten unasked, and an input never."""

import os

import pytest

from soma_isaac.errors import OutputConflict
from soma_isaac.formats.atomic import stage
from soma_isaac.pipelines.single_run import publish_result, write_results


def test_all_or_none(tmp_path):
    first, second = tmp_path / "a.npz", tmp_path / "deep" / "b.npz"
    second.parent.mkdir()
    second.write_bytes(b"old")
    with pytest.raises(OutputConflict, match="exists with other bytes"):
        write_results([(first, b"1"), (second, b"2")], replace=False)
    assert not first.exists() and second.read_bytes() == b"old"
    assert [line.split(": ")[1][:8] for line in write_results([(first, b"1"), (second, b"2")], replace=True)] == [
        "written,",
        "replaced",
    ]
    assert "unchanged" in write_results([(first, b"1")], replace=False)[0]


def test_a_staged_file_is_gone_whatever_becomes_of_it(tmp_path):
    final = tmp_path / "a.glb"

    def written(data, replace=False):
        return publish_result(stage(final, data), final, replace)

    assert [written(b"1"), written(b"1"), written(b"2", replace=True)] == ["written", "unchanged", "replaced"]
    with pytest.raises(OutputConflict, match="exists with other bytes"):
        written(b"3")
    assert final.read_bytes() == b"2" and os.listdir(tmp_path) == ["a.glb"]
    final.unlink()
    final.mkdir()
    with pytest.raises(OutputConflict, match="a folder or a link"):
        written(b"3", replace=True)
    assert os.listdir(tmp_path) == ["a.glb"]


def test_an_input_is_never_written_to(tmp_path):
    source = tmp_path / "clip.npz"
    source.write_bytes(b"mine")
    os.symlink(tmp_path, tmp_path / "way")
    for path in (source, tmp_path / "way" / "clip.npz"):
        with pytest.raises(OutputConflict, match="is an input"):
            write_results([(tmp_path / "other.npz", b"x"), (path, b"x")], replace=True, inputs=[source])
    assert source.read_bytes() == b"mine" and sorted(os.listdir(tmp_path)) == ["clip.npz", "way"]
