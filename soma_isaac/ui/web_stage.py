"""The scene of the preview page: skins and robot links are sent once, after that only where bones and links are."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from soma_isaac.batch.thumbnails import APART, BONE_RGB, PERSON_RGB, ROBOT_RGB
from soma_isaac.rig.skeleton import POSE_PARENTS
from soma_isaac.ui import overlay
from soma_isaac.ui.web_figures import BodyFigure, Figure, Links, RobotFigure, Skin
from soma_isaac.ui.web_renderer import PageFrame

AFTER_RGB = (0.42, 0.56, 0.74)
AFTER_ROBOT_RGB = (0.70, 0.42, 0.26)
SEEN_THROUGH = 0.45
"""Opacity of a skin with its bones shown."""

BONE_WIDTH = 0.009
LABEL_ABOVE = 0.12
ROBOT_HEAD = 0.22
_BONES = np.array([(parent, joint) for joint, parent in enumerate(POSE_PARENTS) if parent >= 0])


class Stage:
    """Floor and figures.

    Every figure stands in a node of its own, :meth:`anchor`, whose axes are those of the figure's world: whatever is to
    be seen or dragged in it (a transform control, say) belongs below that node, in the figure's own coordinates.

    Args:
        scene: ``viser.SceneApi`` of a server or a client.
    """

    def __init__(self, scene: Any) -> None:
        self._scene = scene
        self._ground = scene.add_frame("/stage", show_axes=False)
        scene.add_grid(
            "/stage/floor",
            width=40.0,
            height=40.0,
            cell_size=0.5,
            section_size=2.0,
            cell_color=(216, 216, 212),
            section_color=(186, 186, 182),
            plane_color=(238, 238, 236),
            plane_opacity=1.0,
            position=(0.0, 0.0, -0.002),
        )
        self._places = (_Place(scene, self.anchor(0)), _Place(scene, self.anchor(1)))
        self._labels: list[Any] = []
        self._labelled: object = None

    @staticmethod
    def anchor(index: int) -> str:
        """Name of the node that a figure stands in, 0 or 1 from left to right."""
        return f"/stage/figure_{index}"

    def show(self, frame: PageFrame, *, skeleton: bool, apart: float = 2.0 * APART, follow: bool = True) -> None:
        """Show a frame.

        Args:
            frame: What stands where.
            skeleton: Draw the bones, through the skin.
            apart: Distance [m] between two figures.
            follow: Keep the first figure in the middle instead of the floor.
        """
        figures: list[Figure | None] = [*frame.figures, None, None][:2]
        across = [0.0] if figures[1] is None else [-0.5 * apart, 0.5 * apart]
        for index, (place, figure) in enumerate(zip(self._places, figures, strict=True)):
            after = index == 1 and frame.difference is not None
            place.show(figure, across[index % len(across)], skeleton, after)
        if follow and frame.centre is not None:
            _put(self._ground, (-float(frame.centre[0]), -float(frame.centre[1]), 0.0))
        else:
            _put(self._ground, (0.0, 0.0, 0.0))
        self._label(frame, across)

    def _label(self, frame: PageFrame, across: list[float]) -> None:
        names = frame.names if frame.difference is not None else ()
        height = ceil(10.0 * max(map(_top, frame.figures), default=0.0)) / 10.0 + LABEL_ABOVE
        wanted = (names, across[-1], height)
        if wanted != self._labelled:
            self._labelled = wanted
            for label in self._labels:
                label.remove()
            self._labels = [
                self._scene.add_label(f"/labels/{name}", name, position=(0.0, y, height))
                for name, y in zip(names, across, strict=False)
            ]


class _Place:
    """Where one figure stands: a body or a robot, whichever is asked for; the other is hidden.

    Nothing is removed again: viser 1.1.1's page breaks when a skinned mesh is.
    """

    def __init__(self, scene: Any, name: str) -> None:
        self._scene, self._name = scene, name
        self._anchor = scene.add_frame(name, show_axes=False)
        self._skin: Skin | None = None
        self._mesh: Any = None
        self._lines: Any = None
        self._links: Links | None = None
        self._machine: Any = None
        self._nodes: list[Any] = []
        self._shells: list[Any] = []

    def show(self, figure: Figure | None, across: float, skeleton: bool, after: bool) -> None:
        is_body, is_robot = isinstance(figure, BodyFigure), isinstance(figure, RobotFigure)
        if figure is not None:
            _put(self._anchor, tuple(figure.place + [0.0, across, 0.0]), tuple(figure.wxyz))
        if isinstance(figure, BodyFigure):
            self._show_body(figure, SEEN_THROUGH if skeleton else None, _bytes(AFTER_RGB if after else PERSON_RGB))
            if skeleton:
                self._show_bones(figure)
        if isinstance(figure, RobotFigure):
            self._show_robot(figure, _bytes(AFTER_ROBOT_RGB if after else ROBOT_RGB))
        for handle, shown in (
            (self._mesh, is_body),
            (self._lines, is_body and skeleton),
            (self._machine, is_robot),
        ):
            if handle is not None:
                handle.visible = shown

    def _show_body(self, figure: BodyFigure, opacity: float | None, rgb: tuple[int, int, int]) -> None:
        if figure.skin is not self._skin:
            skin = self._skin = figure.skin
            self._mesh = self._scene.add_mesh_skinned(
                f"{self._name}/skin",
                skin.points,
                skin.triangles,
                bone_wxyzs=skin.bind_wxyz,
                bone_positions=skin.bind_positions,
                skin_weights=skin.weights,
                color=rgb,
                opacity=opacity,
            )
        _set(self._mesh, opacity=opacity, color=rgb)
        # As float32 more of the numbers' bytes are zero, which the page's protocol packs away.
        turns, places = figure.bone_wxyz.astype(np.float32), figure.bone_positions.astype(np.float32)
        for bone, wxyz, position in zip(self._mesh.bones, turns, places, strict=True):
            _put(bone, position, wxyz)

    def _show_bones(self, figure: BodyFigure) -> None:
        points = figure.joints[_BONES].astype(np.float32)
        if self._lines is None:
            self._lines = self._scene.add_line_segments(
                f"{self._name}/bones", points, overlay.BONE_RGB, thickness=BONE_WIDTH
            )
        else:
            self._lines.points = points

    def _show_robot(self, figure: RobotFigure, rgb: tuple[int, int, int]) -> None:
        if figure.links is not self._links:
            self._links = figure.links
            group = f"{self._name}/g1"
            self._machine = self._scene.add_frame(group, show_axes=False)
            names, shells, struts = figure.links.names, figure.links.shells, figure.links.struts
            self._nodes = [self._scene.add_frame(f"{group}/{name}", show_axes=False) for name in names]
            self._shells = self._meshes(f"{group}/{{}}/shell", shells, rgb)
            self._meshes(f"{group}/{{}}/strut", struts, _bytes(BONE_RGB))
        for shell in self._shells:
            _set(shell, color=rgb)
        for node, position, wxyz in zip(self._nodes, figure.positions, figure.wxyzs, strict=True):
            _put(node, position.astype(np.float32), wxyz.astype(np.float32))

    def _meshes(
        self, name: str, meshes: Sequence[tuple[np.ndarray, np.ndarray] | None], rgb: tuple[int, int, int]
    ) -> list[Any]:
        assert self._links is not None
        return [
            self._scene.add_mesh_simple(name.format(link), *mesh, color=rgb)
            for link, mesh in zip(self._links.names, meshes, strict=True)
            if mesh is not None
        ]


def _top(figure: Figure) -> float:
    """About how high [m] a figure is."""
    if isinstance(figure, BodyFigure):
        return float(figure.joints[:, 1].max())
    return float(figure.positions[:, 2].max()) + ROBOT_HEAD


def _put(node: Any, position: Any, wxyz: Any = None) -> None:
    """Move a node; one that stands there already sends nothing."""
    node.position = position
    if wxyz is not None:
        node.wxyz = wxyz


def _set(handle: Any, **properties: Any) -> None:
    """Set properties that differ; each one that is set is sent."""
    for name, value in properties.items():
        if getattr(handle, name) != value:
            setattr(handle, name, value)


def _bytes(rgb: tuple[float, float, float]) -> tuple[int, int, int]:
    red, green, blue = (round(255 * value) for value in rgb)
    return red, green, blue
