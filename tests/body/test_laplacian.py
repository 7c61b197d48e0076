"""Free parts of a mesh that follow their surroundings."""

import numpy as np
import pytest

from soma_isaac.body.laplacian import LaplacianFill, cotangent_laplacian
from soma_isaac.errors import InputRejected, RigMismatch


def sheet(size=9, seed=0):
    """A bumpy square sheet: points [V, 3], triangles, inner vertices."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(size, dtype=float), np.arange(size, dtype=float))
    points = np.stack([x.ravel(), y.ravel(), rng.normal(size=size * size) * 0.3], axis=1)
    corner = (np.arange(size - 1)[:, None] * size + np.arange(size - 1)).ravel()
    triangles = np.concatenate(
        [np.stack([corner, corner + 1, corner + size], 1), np.stack([corner + 1, corner + size + 1, corner + size], 1)]
    )
    inner = [v for v in range(size * size) if 2 <= v % size < size - 2 and 2 <= v // size < size - 2]
    return points, triangles, np.array(inner)


@pytest.fixture(scope="module")
def head(rig):
    mesh = rig.mesh("low")
    eye = rig.skeleton.bind_T_world_joint[rig.skeleton.index("LeftEye"), :3, 3]
    return mesh.points, mesh.triangles, np.argsort(np.linalg.norm(mesh.points - eye, axis=1))[:70]


@pytest.mark.parametrize("part", ["sheet", "head"])
def test_the_laplacian_of_the_free_part_is_kept_and_the_rest_untouched(part, head):
    points, triangles, free = sheet() if part == "sheet" else head
    fill = LaplacianFill(points, triangles, free)
    deformed = points * [1.1, 0.9, 1.2] + 0.05 * np.sin(3.0 * points[:, [1, 2, 0]])
    broken = deformed.copy()
    broken[free] = 1e3
    filled = fill.apply(broken[None])[0]
    matrix = cotangent_laplacian(points, triangles)
    np.testing.assert_allclose((matrix @ filled)[free], (matrix @ points)[free], atol=1e-8 * np.abs(matrix.data).max())
    held = np.setdiff1d(np.arange(len(points)), free)
    np.testing.assert_array_equal(filled[held], deformed[held])
    # What filled the hole before does not matter.
    np.testing.assert_array_equal(fill.apply(deformed[None])[0], filled)


def test_the_rest_mesh_and_its_shifts_stay(head):
    points, triangles, free = head
    fill = LaplacianFill(points, triangles, free)
    np.testing.assert_allclose(fill.apply(points[None])[0], points, atol=1e-12)
    shift = np.array([0.3, -2.0, 0.7])
    np.testing.assert_allclose(fill.apply((points + shift)[None])[0], points + shift, atol=1e-9)
    np.testing.assert_allclose(fill.weights.sum(axis=1), 1.0, atol=1e-9)


def test_laplacian_has_linear_precision_in_the_plane():
    points, triangles, inner = sheet()
    points[:, 2] = 0.0
    matrix = cotangent_laplacian(points, triangles)
    assert np.abs(matrix.sum(axis=1)).max() < 1e-12
    assert np.abs(matrix - matrix.T).max() < 1e-12
    np.testing.assert_allclose((matrix @ points)[inner], 0.0, atol=1e-12)
    # Right isosceles triangles: the five-point stencil of the square grid.
    row = matrix[[inner[0]]].toarray()[0]
    assert sorted(np.round(row[row != 0.0], 12)) == [-4.0, 1.0, 1.0, 1.0, 1.0]


def test_obtuse_and_flat_triangles_do_no_harm():
    # A sheet squeezed into needles, with one free vertex moved onto the side of a triangle: no area left there.
    points, triangles, free = sheet()
    points = points * [1.0, 0.02, 0.1]
    points[free[0]] = 0.5 * (points[free[0] + 1] + points[free[0] - 1])
    points[free[0] + 9] = points[free[0]]
    fill = LaplacianFill(points, triangles, free)
    assert np.isfinite(fill.weights).all()
    shift = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(fill.apply((points + shift)[None])[0], points + shift, atol=1e-6)


def test_batch_and_nothing_to_fill():
    points, triangles, free = sheet()
    fill = LaplacianFill(points, triangles, free)
    shapes = points * np.random.default_rng(1).uniform(0.9, 1.1, size=(3, 1, 3))
    together = fill.apply(shapes)
    for row in range(3):
        np.testing.assert_allclose(fill.apply(shapes[row, None])[0], together[row], atol=1e-12)
    np.testing.assert_array_equal(LaplacianFill(points, triangles, []).apply(shapes), shapes)


def test_torch_agrees_and_has_gradients():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    points, triangles, free = sheet(6)
    fill = LaplacianFill(points, triangles, free)
    shapes = points * np.random.default_rng(1).uniform(0.9, 1.1, size=(2, 1, 3))
    np.testing.assert_allclose(fill.apply_torch(torch.tensor(shapes)).numpy(), fill.apply(shapes), atol=1e-12)
    assert torch.autograd.gradcheck(fill.apply_torch, torch.tensor(shapes).requires_grad_())


def test_parts_that_nothing_holds_are_refused():
    points, triangles, free = sheet()
    lone = np.concatenate([points, points[:3] + 50.0])
    with pytest.raises(RigMismatch, match="not held"):
        LaplacianFill(lone, np.vstack([triangles, [[81, 82, 83]]]), [*free, 81, 82, 83])
    with pytest.raises(InputRejected, match="outside the 81"):
        LaplacianFill(points, triangles, [81])
    with pytest.raises(InputRejected, match=r"expected \(B, 81, 3\)"):
        LaplacianFill(points, triangles, free).apply(points)
