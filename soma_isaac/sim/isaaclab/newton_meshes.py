"""One mesh per environment in a Newton model, aliasing vertices that somebody else moves.

Newton shares one ``wp.Mesh`` between shapes of equal content, so that all environments would show the first one's pose;
and it keeps the bounds of a mesh from when the model was built, so that what leaves them is cut off. Both are mended
here from outside, with the model's own arrays.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.visual_meshes import launch_mesh_bounds


class EnvMeshes:
    """Visual shapes of a Newton model that show B moving meshes, without a copy."""

    def __init__(self, path: str, vertices: wp.array, triangles: np.ndarray) -> None:
        """Remember what to show; nothing happens before :meth:`refresh`.

        Args:
            path: Expression of the mesh prims, with one ``.*`` where the environment's number stands.
            vertices: [B, V] vec3, m, in the frame of each prim.
            triangles: [F, 3].

        Raises:
            InputRejected: The expression does not have exactly one ``.*``.
        """
        if path.count(".*") != 1:
            raise InputRejected(f"{path!r} should have '.*' once, for the environment's number")
        before, after = path.split(".*")
        self._pattern = re.compile(f"{re.escape(before)}([0-9]+){re.escape(after)}$")
        self._vertices = vertices
        self._triangles = np.ascontiguousarray(triangles, dtype=np.int32).ravel()
        self._model: Any = None
        self._meshes: list[wp.Mesh] = []
        self._shapes: wp.array | None = None

    def refresh(self, model: Any) -> None:
        """Bring the model's acceleration structures up to date with the vertices.

        Args:
            model: ``newton.Model``; the first call with a model puts the meshes into it.

        Raises:
            InputRejected: The model has not exactly one shape per environment for them.
        """
        if model is not self._model:
            self._enter(model)
        for mesh in self._meshes:
            mesh.refit()
        if model.bvh_shape_bounds is not None:
            launch_mesh_bounds(vertices=self._vertices, shapes=self._shapes, bounds_out=model.bvh_shape_bounds)

    def _enter(self, model: Any) -> None:
        count = self._vertices.shape[0]
        shape_of: dict[int, int] = {}
        for shape, label in enumerate(model.shape_label):
            found = self._pattern.search(label)
            if found:
                shape_of[int(found.group(1))] = shape
        if sorted(shape_of) != list(range(count)):
            raise InputRejected(
                f"the Newton model has shapes {self._pattern.pattern!r} for {len(shape_of)} of {count} environments"
            )
        device = self._vertices.device
        indices = wp.array(self._triangles, dtype=wp.int32, device=device)
        self._meshes = [wp.Mesh(points=self._vertices[env], indices=indices) for env in range(count)]
        pointers = model.shape_source_ptr.numpy()
        pointers[[shape_of[env] for env in range(count)]] = [mesh.id for mesh in self._meshes]
        model.shape_source_ptr.assign(pointers)
        self._shapes = device_array(np.array([shape_of[env] for env in range(count)]), wp.int32, device)
        self._model = model
