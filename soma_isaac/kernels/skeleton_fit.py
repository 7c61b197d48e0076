"""Skeleton fit: linear features of a shape, then bind transforms from the features.

Eighteen numbers per joint are linear in the vertices: the regressed position ``p`` (3), the covariance
``sum (v - p) (v0 - p0)^T`` of the joint's vertices with the template's (9, by rows) and the first two vectors
``v - p`` (6). Everything that is not linear happens on these few numbers, so that a linear shape space needs its
vertices only once.
"""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.align import aligned_rotation, arc_rotation, matrix_from_rows, scaled_normal
from soma_isaac.kernels.rigid import rigid_transform
from soma_isaac.kernels.shapes import check_array, check_contiguous

wp.set_module_options({"enable_backward": False, "max_unroll": 1})

FEATURE_COUNT = 18


class Regressor(NamedTuple):
    """Device arrays of the joint positions as weighted sums of vertices.

    Attributes:
        offsets: [J + 1] int32.
        vertices: [E] int32.
        weights: [E] float64; the entries of a joint sum to 1.
    """

    offsets: wp.array
    vertices: wp.array
    weights: wp.array


class Clusters(NamedTuple):
    """Device arrays of the vertices that turn with each joint.

    Attributes:
        offsets: [J + 1] int32.
        vertices: [E] int32, ascending within a joint.
        vectors: [E] vec3d, m, template vertex minus template joint.
        normals: [J] vec3d, scaled normal of the first two vectors; zero where there is none.
    """

    offsets: wp.array
    vertices: wp.array
    vectors: wp.array
    normals: wp.array


class Tree(NamedTuple):
    """Device arrays of the template's joints.

    Attributes:
        child_offsets: [J + 1] int32.
        children: [E] int32.
        child_vectors: [E] vec3d, m, child minus joint in the template's bind pose.
        rotations: [J] mat33d, bind rotations of the template.
    """

    child_offsets: wp.array
    children: wp.array
    child_vectors: wp.array
    rotations: wp.array


@wp.func
def _point(points: wp.array(dtype=wp.vec3, ndim=2), body: int, vertex: int) -> wp.vec3d:
    point = points[body, vertex]
    return wp.vec3d(wp.float64(point[0]), wp.float64(point[1]), wp.float64(point[2]))


@wp.kernel
def features_kernel(
    # rig
    regressor_offsets: wp.array(dtype=wp.int32),
    regressor_vertices: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float64),
    cluster_offsets: wp.array(dtype=wp.int32),
    cluster_vertices: wp.array(dtype=wp.int32),
    vectors: wp.array(dtype=wp.vec3d),
    # shape in
    points: wp.array(dtype=wp.vec3, ndim=2),
    # out
    features_out: wp.array(dtype=wp.float64, ndim=3),
):
    """The features of one joint of one body."""
    body, joint = wp.tid()
    position = wp.vec3d()
    for entry in range(regressor_offsets[joint], regressor_offsets[joint + 1]):
        position += weights[entry] * _point(points, body, regressor_vertices[entry])
    along_x = wp.vec3d()
    along_y = wp.vec3d()
    along_z = wp.vec3d()
    begin = cluster_offsets[joint]
    end = cluster_offsets[joint + 1]
    for entry in range(begin, end):
        arm = _point(points, body, cluster_vertices[entry]) - position
        vector = vectors[entry]
        along_x += arm[0] * vector
        along_y += arm[1] * vector
        along_z += arm[2] * vector
    first = wp.vec3d()
    second = wp.vec3d()
    if begin < end:
        first = _point(points, body, cluster_vertices[begin]) - position
    if begin + 1 < end:
        second = _point(points, body, cluster_vertices[begin + 1]) - position
    for axis in range(3):
        features_out[body, joint, axis] = position[axis]
        features_out[body, joint, 3 + axis] = along_x[axis]
        features_out[body, joint, 6 + axis] = along_y[axis]
        features_out[body, joint, 9 + axis] = along_z[axis]
        features_out[body, joint, 12 + axis] = first[axis]
        features_out[body, joint, 15 + axis] = second[axis]


@wp.func
def _feature(features: wp.array(dtype=wp.float64, ndim=3), body: int, joint: int, begin: int) -> wp.vec3d:
    return wp.vec3d(features[body, joint, begin], features[body, joint, begin + 1], features[body, joint, begin + 2])


@wp.kernel
def bind_kernel(
    # rig
    cluster_offsets: wp.array(dtype=wp.int32),
    vectors: wp.array(dtype=wp.vec3d),
    normals: wp.array(dtype=wp.vec3d),
    child_offsets: wp.array(dtype=wp.int32),
    children: wp.array(dtype=wp.int32),
    child_vectors: wp.array(dtype=wp.vec3d),
    template_rotations: wp.array(dtype=wp.mat33d),
    method: int,
    # shape in
    features: wp.array(dtype=wp.float64, ndim=3),
    # out
    bind_out: wp.array(dtype=wp.mat44d, ndim=2),
):
    """Bind transforms of one joint that has children, and of its children that have none."""
    body, joint = wp.tid()
    child_begin = child_offsets[joint]
    child_end = child_offsets[joint + 1]
    if child_begin == child_end and joint > 0:
        return
    position = _feature(features, body, joint, 0)
    rotation = template_rotations[joint]
    if joint > 0:
        # The turn of the skin that moves with the joint ...
        turn = wp.identity(n=3, dtype=wp.float64)
        cluster_begin = cluster_offsets[joint]
        count = cluster_offsets[joint + 1] - cluster_begin
        first = _feature(features, body, joint, 12)
        if count == 1:
            turn = arc_rotation(vectors[cluster_begin], first)
        if count > 1:
            covariance = matrix_from_rows(
                _feature(features, body, joint, 3),
                _feature(features, body, joint, 6),
                _feature(features, body, joint, 9),
            )
            normal = scaled_normal(first, _feature(features, body, joint, 15))
            turn = aligned_rotation(covariance + wp.outer(normal, normals[joint]), method)
        # ... then what is left to bring the children where they are.
        before = turn * child_vectors[child_begin]
        after = _feature(features, body, children[child_begin], 0) - position
        if child_end == child_begin + 1:
            turn = arc_rotation(before, after) * turn
        else:
            covariance = wp.outer(after, before)
            for entry in range(child_begin + 1, child_end):
                arm = _feature(features, body, children[entry], 0) - position
                covariance += wp.outer(arm, turn * child_vectors[entry])
            second = _feature(features, body, children[child_begin + 1], 0) - position
            second_before = turn * child_vectors[child_begin + 1]
            covariance += wp.outer(scaled_normal(after, second), scaled_normal(before, second_before))
            turn = aligned_rotation(covariance, method) * turn
        rotation = turn * rotation
    bind_out[body, joint] = rigid_transform(rotation, position)
    for entry in range(child_begin, child_end):
        child = children[entry]
        if child_offsets[child] == child_offsets[child + 1]:
            bind_out[body, child] = rigid_transform(rotation, _feature(features, body, child, 0))


def launch_features(regressor: Regressor, clusters: Clusters, *, points: wp.array, features_out: wp.array) -> None:
    """Features of the J joints of B bodies.

    Args:
        regressor: Joint positions from vertices.
        clusters: The vertices that turn with each joint.
        points: [B, V] vec3, m, rest points; contiguous.
        features_out: [B, J, 18] float64, as in the module's docstring.

    Raises:
        InputRejected: A shape or a device does not fit, or an array is not contiguous.
    """
    batch, count, _ = features_out.shape
    device = features_out.device
    check_array("offsets", regressor.offsets, (count + 1,), device)
    check_array("offsets", clusters.offsets, (count + 1,), device)
    check_array("points", points, (batch, None), device)
    check_array("features_out", features_out, (batch, count, FEATURE_COUNT), device)
    check_contiguous("points", points)
    wp.launch(
        features_kernel,
        dim=(batch, count),
        inputs=[*regressor, clusters.offsets, clusters.vertices, clusters.vectors, points],
        outputs=[features_out],
        device=device,
    )


def launch_bind(clusters: Clusters, tree: Tree, *, method: int, features: wp.array, bind_out: wp.array) -> None:
    """Bind transforms of the J joints of B bodies; joint 0 keeps the template's rotation.

    Args:
        clusters: The vertices that turn with each joint.
        tree: The template's joints.
        method: See :mod:`soma_isaac.kernels.align`.
        features: [B, J, 18] float64, from :func:`launch_features`.
        bind_out: [B, J] mat44d, m.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = bind_out.shape
    device = bind_out.device
    check_array("features", features, (batch, count, FEATURE_COUNT), device)
    check_array("child_offsets", tree.child_offsets, (count + 1,), device)
    wp.launch(
        bind_kernel,
        dim=(batch, count),
        inputs=[
            *(clusters.offsets, clusters.vectors, clusters.normals),
            *(tree.child_offsets, tree.children, tree.child_vectors, tree.rotations),
            *(method, features),
        ],
        outputs=[bind_out],
        device=device,
    )
