"""Assets for py-soma-x, made from our own data: enough for ``SOMALayer(identity_model_type="soma")``."""

import shutil

import numpy as np
import pytest

from soma_isaac.rig.skeleton import data_path


@pytest.fixture(scope="session")
def soma_data_root(tmp_path_factory):
    """A data_root for py-soma-x: our rig, our twist table, and a shape model that starts at our bind shape (cm)."""
    from soma_isaac.formats.rig_usd import load_template_rig  # here, because not every peer environment has USD

    root = tmp_path_factory.mktemp("soma_assets")
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json"):
        shutil.copy(data_path(name), root / name)
    rig = load_template_rig()
    mid, low = rig.mesh("mid"), rig.mesh("low")
    mean = mid.points * 100.0
    joints = rig.skeleton.bind_T_world_joint[:, :3, 3] * 100.0

    def nearest(*names):
        distance = np.min([np.linalg.norm(mean - joints[rig.skeleton.index(name)], axis=1) for name in names], axis=0)
        return np.sort(np.argsort(distance)[:120])

    random = np.random.default_rng(7)
    shapes = random.normal(size=(16, mean.size)).astype(np.float32) * 0.01
    np.savez(
        root / "SOMA_neutral.npz",
        mean=mean.astype(np.float32),
        shapedirs=np.concatenate([shapes, np.zeros((112, mean.size), np.float32)]),
        eigenvalues=np.ones(128, np.float32),
        triangles=mid.triangles,
        triangles_low=low.triangles,
        lod_mid_to_low=np.arange(low.vertex_count),
        face_vert_indices=mid.face_vertex_indices,
        face_vert_counts=mid.face_vertex_counts,
        segment_eye_bags=nearest("LeftEye", "RightEye"),
        segment_mouth_bag=nearest("Jaw"),
    )
    return root
