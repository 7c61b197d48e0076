"""Bodies on somebody's open stage, in a layer of their own: added, removed, taken back, saved beside the stage.

The layer is the strongest sublayer of the stage's root layer, so that what the user says in the root layer (moving a
body, hiding it) stands above it. Two things are said in the root layer itself: that the sublayer exists, and a time
range that holds the clips.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from pxr import Sdf, Tf, Usd, UsdGeom

from soma_isaac.errors import InputRejected
from soma_isaac.rig.rig import Rig
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.sinks.usd_rig import author_samples, author_shape, reference_rig
from soma_isaac.sim.sinks.usd_rig_values import RigMotion, RigShape

MARK = "soma_isaac"
"""Key in the custom data of the layer and of each body's prim."""

_APART_M = 1.2
_RANGE = ("startTimeCode", "endTimeCode")


@dataclass(frozen=True, eq=False, repr=False)
class RigBody:
    """A body that is ready to be put on a stage.

    Attributes:
        name: What to call its prim; a number is added where the name is taken.
        rig: The rig that is referenced.
        lod: Level of detail that is seen.
        shapes: Its shape at some levels of detail.
        motion: Its clip, or a single frame to hold.
    """

    name: str
    rig: Rig
    lod: str
    shapes: tuple[RigShape, ...]
    motion: RigMotion


def own_layer(stage: Usd.Stage) -> Sdf.Layer | None:
    """The layer of bodies among the stage's own, ``None`` where there is none."""
    for layer in stage.GetLayerStack(includeSessionLayers=False):
        if MARK in layer.customLayerData:
            return layer
    return None


def bodies_on(stage: Usd.Stage) -> tuple[str, ...]:
    """Paths of the bodies that the stage's layer of bodies holds, in its order."""
    layer = own_layer(stage)
    return () if layer is None else tuple(str(spec.path) for spec in _bodies(layer.rootPrims))


class AddBody:
    """Puts a body on a stage; can be taken back and done again."""

    def __init__(self, stage: Usd.Stage, body: RigBody) -> None:
        """Choose the path of the new prim.

        Args:
            stage: Any up axis and unit.
            body: What to put there.
        """
        self._stage = stage
        self._body = body
        self._range: dict[str, float | None] = {}
        self._made_layer = False
        self.path = _free_path(stage, body.name)

    def do(self) -> str:
        """Put the body there.

        Returns:
            Its path.

        Raises:
            InputRejected: The stage cannot be edited, or the path is taken by now.
            RigMismatch: A shape does not fit the rig.
        """
        stage = self._stage
        layer = own_layer(stage)
        self._made_layer = layer is None
        layer = _make_layer(stage) if layer is None else layer
        place = Z_UP_FROM_Y_UP.copy() if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z else np.eye(4)
        place[0, 3] = _APART_M * len(list(_bodies(layer.rootPrims)))
        try:
            with Usd.EditContext(stage, stage.GetEditTargetForLocalLayer(layer)):
                prim = reference_rig(stage, self.path, self._body.rig, lod=self._body.lod, T_world_body=place)
                prim.SetCustomDataByKey(MARK, "body")
                for shape in self._body.shapes:
                    author_shape(prim, shape)
                author_samples(prim, self._body.motion)
        except BaseException:
            self._take_out(layer)
            raise
        self._range = _hold_time(stage, self._body.motion)
        return self.path

    def undo(self) -> None:
        """Take the body away, and the layer if it came with it."""
        layer = own_layer(self._stage)
        if layer is not None:
            self._take_out(layer)
        _set_range(self._stage.GetRootLayer(), self._range)
        self._range = {}

    def _take_out(self, layer: Sdf.Layer) -> None:
        with Sdf.ChangeBlock():
            _delete(layer, Sdf.Path(self.path))
        if self._made_layer:
            _drop_unsaved(self._stage, layer)


class RemoveBody:
    """Takes a body off a stage, with what other layers of the stage say about it; can be taken back."""

    def __init__(self, stage: Usd.Stage, path: str) -> None:
        """Choose the body.

        Args:
            stage: The stage.
            path: One of :func:`bodies_on`.

        Raises:
            InputRejected: There is no such body.
        """
        if path not in bodies_on(stage):
            raise InputRejected(f"there is no body at {path} that was added here")
        self._stage = stage
        self._path = Sdf.Path(path)
        self._kept: list[tuple[Sdf.Layer | None, Sdf.Layer]] = []

    def do(self) -> None:
        """Take the body away.

        Raises:
            InputRejected: A layer that holds it cannot be edited.
        """
        layers = [layer for layer in self._stage.GetLayerStack() if layer.GetPrimAtPath(self._path)]
        locked = [layer.GetDisplayName() for layer in layers if not layer.permissionToEdit]
        if locked:
            raise InputRejected(f"the layer {locked[0]} cannot be edited")
        self._kept, own = [], own_layer(self._stage)
        for layer in layers:
            copy = Sdf.Layer.CreateAnonymous(".usdc")
            Sdf.CreatePrimInLayer(copy, self._path)
            Sdf.CopySpec(layer, self._path, copy, self._path)
            # The layer of bodies may be another one by the time this is taken back: see :func:`settle`.
            self._kept.append((None if layer == own else layer, copy))
        with Sdf.ChangeBlock():
            for layer in layers:
                _delete(layer, self._path)

    def undo(self) -> None:
        """Put back what was taken away.

        Raises:
            InputRejected: The stage cannot be edited any more.
        """
        own = own_layer(self._stage) or _make_layer(self._stage)
        with Sdf.ChangeBlock():
            for layer, copy in self._kept:
                Sdf.CreatePrimInLayer(layer or own, self._path)
                Sdf.CopySpec(copy, self._path, layer or own, self._path)


def settle(stage: Usd.Stage) -> str | None:
    """Give the layer of bodies a file beside the root layer's and save it; call it when the stage has been saved.

    A layer that was in memory only, because the stage was, is moved to ``NAME.soma.usdc``; so is one that lies beside
    another stage, which happens when a stage is saved under another name. The root layer is saved again where it
    changed. A layer without bodies is taken out of the stage.

    Args:
        stage: The stage.

    Returns:
        The file, or ``None`` where there is no layer of bodies or the stage has no file yet.

    Raises:
        InputRejected: USD cannot write the file.
    """
    layer, root = own_layer(stage), stage.GetRootLayer()
    if layer is None or root.anonymous:
        return None
    if not layer.rootPrims:
        _replace_sublayer(root, layer, None)
        _save(root)
        return None
    if layer.anonymous or not _is_beside(root, layer):
        copy = _new_file(root)
        copy.TransferContent(layer)
        for asset in copy.GetCompositionAssetDependencies():
            copy.UpdateCompositionAssetDependency(asset, layer.ComputeAbsolutePath(asset))
        _replace_sublayer(root, layer, copy)
        layer = copy
        _save(layer)
        _save(root)
    elif layer.dirty:
        _save(layer)
    return layer.realPath


class LiveLayer:
    """Opinions above all others that are never saved: a sublayer of the session layer, for as long as it is open."""

    def __init__(self, stage: Usd.Stage) -> None:
        """Add the layer; nothing is in it.

        Args:
            stage: The stage.
        """
        self._stage = stage
        self._layer = Sdf.Layer.CreateAnonymous("soma_isaac_live.usda")
        stage.GetSessionLayer().subLayerPaths.insert(0, self._layer.identifier)

    def edit(self) -> Usd.EditContext:
        """A context in which edits of the stage go to the layer."""
        return Usd.EditContext(self._stage, self._stage.GetEditTargetForLocalLayer(self._layer))

    def close(self) -> None:
        """Take the layer and all that it says away; a second call does nothing."""
        self._layer.Clear()
        _replace_sublayer(self._stage.GetSessionLayer(), self._layer, None)


def _bodies(specs: Sequence[Sdf.PrimSpec]) -> Iterator[Sdf.PrimSpec]:
    for spec in specs:
        if spec.customData.get(MARK) == "body":
            yield spec
        else:
            yield from _bodies(spec.nameChildren)


def _free_path(stage: Usd.Stage, name: str) -> str:
    """A path that no prim has, below the default prim where that is a group of things."""
    above = stage.GetDefaultPrim()
    group = above and not above.IsInstance() and above.GetTypeName() in ("", "Xform", "Scope")
    base = above.GetPath() if group else Sdf.Path.absoluteRootPath
    wanted = Tf.MakeValidIdentifier(name)
    path, number = base.AppendChild(wanted), 1
    while stage.GetPrimAtPath(path):
        number += 1
        path = base.AppendChild(f"{wanted}_{number}")
    return str(path)


def _make_layer(stage: Usd.Stage) -> Sdf.Layer:
    root = stage.GetRootLayer()
    if not root.permissionToEdit:
        raise InputRejected("the open stage cannot be edited; save it under another name first")
    layer = Sdf.Layer.CreateAnonymous("soma_isaac.usdc") if root.anonymous else _new_file(root)
    layer.customLayerData = {MARK: "bodies"}
    layer.timeCodesPerSecond = layer.framesPerSecond = stage.GetTimeCodesPerSecond()
    root.subLayerPaths.insert(0, layer.identifier if root.anonymous else _sublayer_path(layer))
    return layer


def _new_file(root: Sdf.Layer) -> Sdf.Layer:
    """A layer with the name of a file beside the root layer's that does not exist; it is written when it is saved."""
    number = 1
    while True:
        tail = "" if number == 1 else f"_{number}"
        path = root.ComputeAbsolutePath(f"./{_stem(root)}.soma{tail}.usdc")
        if not os.path.lexists(path) and Sdf.Layer.Find(path) is None:
            return Sdf.Layer.New(Sdf.FileFormat.FindByExtension("usdc"), path)
        number += 1


def _stem(layer: Sdf.Layer) -> str:
    return PurePosixPath(layer.GetDisplayName()).stem


def _sublayer_path(layer: Sdf.Layer) -> str:
    return f"./{PurePosixPath(layer.GetDisplayName()).name}"


def _is_beside(root: Sdf.Layer, layer: Sdf.Layer) -> bool:
    """Whether a layer's file is the one that :func:`_new_file` would have made for this root layer."""
    name = layer.GetDisplayName()
    return name.startswith(f"{_stem(root)}.soma") and root.ComputeAbsolutePath(f"./{name}") == layer.identifier


def _replace_sublayer(above: Sdf.Layer, layer: Sdf.Layer, other: Sdf.Layer | None) -> None:
    """Name another sublayer in the place of one, or none."""
    for index, path in enumerate(above.subLayerPaths):
        if path == layer.identifier or above.ComputeAbsolutePath(path) == layer.identifier:
            if other is None:
                del above.subLayerPaths[index]
            else:
                above.subLayerPaths[index] = _sublayer_path(other)
            return


def _drop_unsaved(stage: Usd.Stage, layer: Sdf.Layer) -> None:
    """Take an empty layer out of the stage unless it is a file that a saved root layer may name."""
    if not layer.rootPrims and (layer.anonymous or not os.path.lexists(layer.realPath)):
        _replace_sublayer(stage.GetRootLayer(), layer, None)


def _delete(layer: Sdf.Layer, path: Sdf.Path) -> None:
    """Delete a prim's spec, and those above it that then say nothing."""
    spec = layer.GetPrimAtPath(path)
    while spec:
        above = spec.nameParent  # nothing above a root prim
        del (above.nameChildren if above else layer.rootPrims)[spec.name]
        spec = above if above and _says_nothing(above) else None


def _says_nothing(spec: Sdf.PrimSpec) -> bool:
    inert = spec.specifier == Sdf.SpecifierOver and spec.ListInfoKeys() == ["specifier"]
    return inert and not spec.nameChildren and not spec.properties


def _hold_time(stage: Usd.Stage, motion: RigMotion) -> dict[str, float | None]:
    """Widen the stage's time range so that a clip fits; returns what was authored before, nothing if it fits."""
    end = motion.duration * stage.GetTimeCodesPerSecond()
    authored = stage.HasAuthoredTimeCodeRange()
    if end <= 0.0 or (authored and stage.GetStartTimeCode() <= 0.0 and stage.GetEndTimeCode() >= end):
        return {}
    root = stage.GetRootLayer()
    before = {key: root.pseudoRoot.GetInfo(key) if root.pseudoRoot.HasInfo(key) else None for key in _RANGE}
    first, last = (stage.GetStartTimeCode(), stage.GetEndTimeCode()) if authored else (0.0, end)
    _set_range(root, dict(zip(_RANGE, (min(first, 0.0), max(last, end)), strict=True)))
    return before


def _set_range(root: Sdf.Layer, values: dict[str, float | None]) -> None:
    for key, value in values.items():
        if value is None:
            root.pseudoRoot.ClearInfo(key)
        else:
            root.pseudoRoot.SetInfo(key, value)


def _save(layer: Sdf.Layer) -> None:
    try:
        saved = layer.Save()
    except Tf.ErrorException as error:
        raise InputRejected(f"cannot be saved: {' '.join(str(error).split())[:300]}", layer.identifier) from error
    if not saved:
        raise InputRejected("cannot be saved", layer.identifier)
