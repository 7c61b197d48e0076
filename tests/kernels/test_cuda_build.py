"""The kernels compile for CUDA on any machine that has NVRTC, so that a CPU-only change cannot break the GPU side."""

import importlib

import pytest
import warp as wp

BODY_KERNELS = {
    "align": {"align_kernel"},
    "correctives": {"inputs_kernel", "hidden_units_kernel"},
    "corrective_offsets": {"correct_vertices_kernel", "units_adjoint_kernel"},
    "lbs_adjoint": {"points_adjoint_kernel", "columns_adjoint_kernel"},
    "closest": {"closest_triangle_kernel", "ride_kernel"},
    "repose": {"repose_kernel"},
    "skeleton_fit": {"features_kernel", "bind_kernel"},
    "fk": {"fk_kernel"},
    "twist": {"twist_channels_kernel", "helpers_kernel"},
    "lbs": {"skin_matrices_kernel", "blend_bodies_kernel", "blend_vertices_kernel"},
    "normals": {"triangle_areas_kernel", "vertex_normals_kernel", "body_normals_kernel"},
    "clip_sampling": {"advance_kernel", "reset_kernel", "sample_clips_kernel"},
    "proxies": {"pose_proxies_kernel"},
    "fabric": {"fabric_points_kernel"},
    "raycast_layers": {"trace_kernel", "smooth_kernel"},
}


@pytest.mark.parametrize("name", sorted(BODY_KERNELS))
def test_compiles_for_hopper(name, tmp_path):
    if not hasattr(wp, "compile_aot_module"):
        pytest.skip("this Warp cannot compile ahead of time")
    wp.init()
    if wp.get_cuda_supported_archs() == []:
        pytest.skip("this Warp has no NVRTC")
    wp.compile_aot_module(importlib.import_module(f"soma_isaac.kernels.{name}"), arch=[90], module_dir=tmp_path)
    binaries = [path for path in tmp_path.iterdir() if path.suffix in (".cubin", ".ptx")]
    assert len(binaries) == 1
    content = binaries[0].read_bytes()
    assert all(kernel.encode() in content for kernel in BODY_KERNELS[name])
