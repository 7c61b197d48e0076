"""Fit the public skeleton to a rest shape: joints by regression, rotations by alignment in two stages.

First each joint turns with the skin that it moves, then it turns on so that its children lie where they were regressed.
Joints without children take over their parent's rotation, the root keeps the template's (SOMA-X, ``SkeletonTransfer``).
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np
import scipy.sparse
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.align import align_method, scaled_normals
from soma_isaac.body.identity import device_array
from soma_isaac.body.layout import JointLayout, joint_layout
from soma_isaac.body.regressor import folded_weights, joint_regressor, regressor_vertices
from soma_isaac.errors import InputRejected
from soma_isaac.formats.regressor_npz import shipped_regressor_weights
from soma_isaac.kernels.skeleton_fit import (
    FEATURE_COUNT,
    Clusters,
    Regressor,
    Tree,
    launch_bind,
    launch_features,
)
from soma_isaac.rig.rig import Rig

CLUSTER_WEIGHT = 0.01
"""A vertex turns with the joints that have more than this weight on it."""

_LINEAR_ROWS = 16


@dataclass(frozen=True, eq=False)
class FitTables:
    """What the fit reads of a rig at one level of detail.

    Attributes:
        layout: The rig's public joints.
        points: [V, 3] m, template bind shape.
        regressor: Sparse [J, V], joint positions from vertices.
        cluster_offsets: [J + 1], vertices that turn with each joint.
        cluster_vertices: [E], ascending within a joint.
        children: J lists of joints.
    """

    layout: JointLayout
    points: np.ndarray
    regressor: scipy.sparse.csr_array
    cluster_offsets: np.ndarray
    cluster_vertices: np.ndarray
    children: tuple[np.ndarray, ...]


_tables: weakref.WeakKeyDictionary[Rig, dict[tuple[str, bytes], FitTables]] = weakref.WeakKeyDictionary()


def fit_tables(rig: Rig, lod: str, excluded_vertices: ArrayLike | None = None) -> FitTables:
    """Factorise the fit of a rig once; later calls for the same rig, LOD and exclusions return the same object.

    Args:
        rig: The rig.
        lod: Level of detail.
        excluded_vertices: Vertices of that LOD that no joint is regressed from (eye and mouth bags).

    Raises:
        RigMismatch: The rig lacks the LOD, or a joint has no skin.
        InputRejected: An excluded vertex does not exist.
    """
    mesh = rig.mesh(lod)
    excluded = np.unique(np.asarray([] if excluded_vertices is None else excluded_vertices, dtype=np.int64))
    if excluded.size and (excluded[0] < 0 or excluded[-1] >= mesh.vertex_count):
        raise InputRejected(f"excluded_vertices point outside the {mesh.vertex_count} vertices of LOD {lod}")
    known = _tables.setdefault(rig, {})
    key = (lod, excluded.tobytes())
    if key not in known:
        layout = joint_layout(rig, twist=False)
        weights = folded_weights(mesh, layout)
        joints = layout.bind_T_world_joint[:, :3, 3]
        vertices = regressor_vertices(weights, layout.parents, excluded)
        cluster_joints, cluster_vertices = np.nonzero(weights.T > CLUSTER_WEIGHT)
        known[key] = FitTables(
            layout=layout,
            points=mesh.points,
            regressor=joint_regressor(mesh.points, joints, vertices, shipped_regressor_weights()),
            cluster_offsets=np.searchsorted(cluster_joints, np.arange(layout.public_count + 1)),
            cluster_vertices=cluster_vertices,
            children=tuple(np.flatnonzero(layout.parents == joint) for joint in range(layout.public_count)),
        )
    return known[key]


class SkeletonFit:
    """Bind transforms of the public joints for rest shapes in a rig's topology.

    Example::

        fit = SkeletonFit(load_template_rig(), "mid")
        bind = fit.fit(points)  # (B, 18056, 3) m -> (B, 78, 4, 4)
        linear = fit.linear(mean, directions)  # (V, 3), (K, V, 3)
        bind = linear.fit(coefficients)  # (B, K) -> as fit.fit(mean + coefficients @ directions), without vertices

    The fit commutes with rigid motions (but for the root, which keeps its rotation) and with changes of unit.
    """

    def __init__(
        self,
        rig: Rig,
        lod: str = "mid",
        *,
        excluded_vertices: ArrayLike | None = None,
        method: str = "auto",
        device: str = "cpu",
    ) -> None:
        """Set up the fit; see :func:`fit_tables` for the arguments and errors.

        Args:
            rig: The rig.
            lod: Level of detail of the shapes.
            excluded_vertices: Vertices of that LOD that no joint is regressed from.
            method: Alignment method, see :func:`soma_isaac.body.align.align`.
            device: Warp device.

        Raises:
            InputRejected: The method is unknown or an excluded vertex does not exist.
            RigMismatch: The rig lacks the LOD, or a joint has no skin.
        """
        self.lod = lod
        self.tables = fit_tables(rig, lod, excluded_vertices)
        self.device = wp.get_device(device)
        self._method = align_method(method)
        self._regressor, self._clusters, self._tree = _device_tables(self.tables, self.device)

    @property
    def joint_count(self) -> int:
        """Number of public joints J."""
        return self.tables.layout.public_count

    def fit(self, points: ArrayLike | wp.array) -> np.ndarray:
        """Bind transforms [B, J, 4, 4] m (float64) of rest shapes.

        Args:
            points: [B, V, 3] m, or a contiguous Warp array [B, V] of vec3 on the fit's device.

        Raises:
            InputRejected: The shape is another or a value is not finite.
        """
        return self.bind(self.features(points))

    def features(self, points: ArrayLike | wp.array) -> wp.array:
        """The linear features [B, J, 18] of rest shapes; see :mod:`soma_isaac.kernels.skeleton_fit`.

        Raises:
            InputRejected: The shape is another or a value is not finite.
        """
        shapes = self.device_points(points)
        features = wp.empty((shapes.shape[0], self.joint_count, FEATURE_COUNT), dtype=wp.float64, device=self.device)
        launch_features(self._regressor, self._clusters, points=shapes, features_out=features)
        return features

    def bind(self, features: wp.array) -> np.ndarray:
        """Bind transforms [B, J, 4, 4] m of features [B, J, 18].

        Raises:
            InputRejected: The shape is another.
        """
        bind = wp.empty((features.shape[0], self.joint_count), dtype=wp.mat44d, device=self.device)
        launch_bind(self._clusters, self._tree, method=self._method, features=features, bind_out=bind)
        return bind.numpy()

    def linear(self, mean: ArrayLike, directions: ArrayLike) -> LinearSkeletonFit:
        """The fit of a linear shape space ``mean + coefficients @ directions``.

        Args:
            mean: [V, 3] m.
            directions: [K, V, 3] m per unit of a coefficient.

        Raises:
            InputRejected: A shape is another or a value is not finite.
        """
        mean, directions = np.asarray(mean), np.asarray(directions)
        if directions.ndim != 3:
            raise InputRejected(f"directions has shape {directions.shape}, expected (K, V, 3)")
        shapes = [mean[None], *np.split(directions, np.arange(_LINEAR_ROWS, len(directions), _LINEAR_ROWS))]
        rows = [self.features(shape).numpy().reshape(len(shape), -1) for shape in shapes if len(shape)]
        return LinearSkeletonFit(self, np.concatenate(rows))

    def device_points(self, points: ArrayLike | wp.array) -> wp.array:
        """Rest shapes as a checked, contiguous Warp array [B, V] of vec3; a Warp array is not checked for NaN.

        Raises:
            InputRejected: The shape is another or a value is not finite.
        """
        count = len(self.tables.points)
        if isinstance(points, wp.array):
            if points.dtype is not wp.vec3 or points.ndim != 2 or points.shape[1] != count:
                raise InputRejected(f"points is a Warp array of shape {points.shape}, expected (B, {count}) of vec3")
            return points
        values = np.ascontiguousarray(points, dtype=np.float32)
        if values.ndim != 3 or values.shape[1:] != (count, 3):
            raise InputRejected(f"points has shape {values.shape}, expected (B, {count}, 3) for LOD {self.lod}")
        if not np.isfinite(values).all():
            raise InputRejected(f"points is not finite at index {tuple(np.argwhere(~np.isfinite(values))[0].tolist())}")
        # Flat first: a batch of one may have a stride of 0, which Warp would not call contiguous.
        flat = wp.array(values.reshape(-1, 3), dtype=wp.vec3, device=self.device, copy=not self.device.is_cpu)
        return flat.reshape(values.shape[:2])


class LinearSkeletonFit:
    """The fit of a linear shape space; its cost does not depend on the number of vertices."""

    def __init__(self, fit: SkeletonFit, features: np.ndarray) -> None:
        """Hold the features [K + 1, J * 18] of the mean and the directions."""
        self._fit = fit
        self._mean = features[0]
        self._directions = np.ascontiguousarray(features[1:])

    @property
    def coefficient_count(self) -> int:
        """Number of coefficients K."""
        return len(self._directions)

    @property
    def features(self) -> tuple[np.ndarray, np.ndarray]:
        """The features of the mean [J * 18] and of the directions [K, J * 18]."""
        return self._mean, self._directions

    def fit(self, coefficients: ArrayLike, scale: ArrayLike = 1.0) -> np.ndarray:
        """Bind transforms [B, J, 4, 4] m of shapes ``scale * (mean + coefficients @ directions)``.

        Args:
            coefficients: [B, K].
            scale: A number or [B]: overall scale of the bodies.

        Raises:
            InputRejected: A shape is another or a value is not finite.
        """
        values = np.asarray(coefficients, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != self.coefficient_count:
            raise InputRejected(f"coefficients has shape {values.shape}, expected (B, {self.coefficient_count})")
        scales = np.asarray(scale, dtype=np.float64)
        if scales.shape not in ((), (1,), (len(values),)):
            raise InputRejected(f"scale has shape {scales.shape}, expected a number or ({len(values)},)")
        if not (np.isfinite(values).all() and np.isfinite(scales).all()):
            raise InputRejected("coefficients or scale are not finite")
        features = (self._mean + values @ self._directions) * scales.reshape(-1, 1)
        shaped = features.reshape(len(values), self._fit.joint_count, FEATURE_COUNT)
        device = self._fit.device
        return self._fit.bind(wp.array(shaped, dtype=wp.float64, device=device, copy=not device.is_cpu))


def _device_tables(tables: FitTables, device: wp.Device) -> tuple[Regressor, Clusters, Tree]:
    def doubles(values: np.ndarray, dtype: type) -> wp.array:
        return wp.array(np.ascontiguousarray(values, dtype=np.float64), dtype=dtype, device=device)

    bind = tables.layout.bind_T_world_joint
    joints = bind[:, :3, 3]
    owners = np.repeat(np.arange(len(bind)), np.diff(tables.cluster_offsets))
    vectors = tables.points[tables.cluster_vertices] - joints[owners]
    normals = np.zeros_like(joints)
    pairs = np.flatnonzero(np.diff(tables.cluster_offsets) > 1)
    begin = tables.cluster_offsets[pairs]
    normals[pairs] = scaled_normals(vectors[begin], vectors[begin + 1])
    children = np.concatenate(tables.children)
    child_vectors = joints[children] - joints[tables.layout.parents[children]]
    return (
        Regressor(
            offsets=device_array(tables.regressor.indptr.astype(np.int32), wp.int32, device),
            vertices=device_array(tables.regressor.indices.astype(np.int32), wp.int32, device),
            weights=doubles(tables.regressor.data, wp.float64),
        ),
        Clusters(
            offsets=device_array(tables.cluster_offsets, wp.int32, device),
            vertices=device_array(tables.cluster_vertices, wp.int32, device),
            vectors=doubles(vectors, wp.vec3d),
            normals=doubles(normals, wp.vec3d),
        ),
        Tree(
            child_offsets=device_array(np.cumsum([0, *map(len, tables.children)]), wp.int32, device),
            children=device_array(children, wp.int32, device),
            child_vectors=doubles(child_vectors, wp.vec3d),
            rotations=doubles(bind[:, :3, :3], wp.mat33d),
        ),
    )
