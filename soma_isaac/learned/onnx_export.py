"""The pose network as an ONNX file, for engines that run neither torch nor numpy.

The graph is :meth:`soma_isaac.learned.network.PoseNetwork.core`: everything between the frame of the effectors and the
Gram-Schmidt step, with any number of sets and of effectors. What comes before (tokens) and after (rotations, place) is
a few lines of :mod:`soma_isaac.learned.inference`, which docs/learned_ik.md repeats for other languages. It is written
operator by operator, so that neither torch nor its exporter is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.pose_network import PoseNetworkFile
from soma_isaac.learned.inference import JOINT_COUNT, SHAPE_SIZE

OPSET, IR_VERSION = 17, 8
"""Read by every onnxruntime since 1.12 (2022)."""

INPUTS = ("tokens", "joint", "kind", "weight", "shape")
OUTPUTS = ("positions", "columns")
_SLOPE = 0.01


def export_onnx(file: PoseNetworkFile, path: Path | str) -> None:
    """Write the network's core.

    Inputs: ``tokens`` [B, N, 7], ``joint`` and ``kind`` [B, N] int64, ``weight`` [B, N], ``shape`` [B, 22] (log bone
    ratios less their mean). Outputs, in the frame of the set: ``positions`` [B, 69], ``columns`` [B, 138] (first and
    second column of each local rotation, of any length).

    Args:
        file: The network.
        path: Where the file goes.

    Raises:
        MissingDependency: onnx is not installed.
        InputRejected: A tensor is missing.
    """
    write_file(Path(path), onnx_bytes(file))


def onnx_bytes(file: PoseNetworkFile) -> bytes:
    """The file's bytes.

    Raises:
        MissingDependency: onnx is not installed.
        InputRejected: A tensor is missing.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise MissingDependency("onnx", "writing an ONNX file", "pip install 'soma_isaac[onnx]'") from error
    graph = _Graph(file.tensors, helper)
    graph.core(int(file.card["network"]["blocks"]), int(file.card["network"]["layers"]))
    types = {"joint": TensorProto.INT64, "kind": TensorProto.INT64}
    sizes = {
        "tokens": ["sets", "effectors", 7],
        "shape": ["sets", SHAPE_SIZE],
        "positions": ["sets", 3 * JOINT_COUNT],
        "columns": ["sets", 6 * JOINT_COUNT],
    }
    inputs, outputs = (
        [
            helper.make_tensor_value_info(
                name, types.get(name, TensorProto.FLOAT), sizes.get(name, ["sets", "effectors"])
            )
            for name in names
        ]
        for names in (INPUTS, OUTPUTS)
    )
    made = helper.make_graph(graph.nodes, "SOMA pose network", inputs, outputs, graph.constants)
    model = helper.make_model(
        made,
        producer_name="soma_isaac",
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(model, {"card": json.dumps(dict(file.card), sort_keys=True)})
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


class _Graph:
    """Nodes and constants under construction; every method adds nodes and gives the name of what they compute."""

    def __init__(self, tensors: Mapping[str, np.ndarray], helper: Any) -> None:
        self._tensors, self._helper = tensors, helper
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._held: set[str] = set()

    def core(self, blocks: int, layers: int) -> None:
        """The whole of ``PoseNetwork.core``."""
        joints = self._do("Gather", self._tensor("joint_embedding.weight"), "joint")
        kinds = self._do("Gather", self._tensor("kind_embedding.weight"), "kind")
        row = self._do("Unsqueeze", "shape", self._value("one", np.array([1])))
        size = self._do("Concat", self._do("Shape", "joint"), self._value("shape_size", np.array([SHAPE_SIZE])), axis=0)
        x = self._do("Concat", "tokens", joints, kinds, self._do("Expand", row, size), axis=-1)
        z = self._encoded(x, blocks, layers)
        drawn = self._decoded("position_decoder", self._do("Concat", z, "shape", axis=-1), blocks, layers)
        self._do("Identity", drawn, out="positions")
        root = self._do(
            "Slice", drawn, self._value("zero", np.array([0])), self._value("three", np.array([3])), self._value("one")
        )
        roots = self._do("Tile", root, self._value("each_joint", np.array([1, JOINT_COUNT])))
        wide = self._do("Concat", self._do("Sub", drawn, roots), z, "shape", axis=-1)
        self._do("Identity", self._decoded("rotation_decoder", wide, blocks, layers), out="columns")

    def _encoded(self, x: str, blocks: int, layers: int) -> str:
        one = self._value("one")
        share = self._do("Div", "weight", self._do("ReduceSum", "weight", one, keepdims=1))
        share = self._do("Unsqueeze", share, one)
        total = prototype = ""
        for index in range(blocks):
            out, back = self._block(f"encoder.{index}", x, layers)
            total = out if not total else self._do("Add", total, out)
            prototype = self._do("MatMul", share, total)
            if index + 1 < blocks:
                part = self._do("Div", prototype, self._value(f"block_{index + 1}", np.float32(index + 1)))
                x = self._do("Relu", self._do("Sub", back, part))
        return self._do("Squeeze", prototype, one)

    def _decoded(self, name: str, x: str, blocks: int, layers: int) -> str:
        total = ""
        for index in range(blocks):
            out, x = self._block(f"{name}.blocks.{index}", x, layers)
            total = out if not total else self._do("Add", total, out)
        return total

    def _block(self, name: str, x: str, layers: int) -> tuple[str, str]:
        h = x
        for index in range(layers):
            h = self._do("LeakyRelu", self._linear(f"{name}.layers.{index}", h), alpha=_SLOPE)
        back = self._do("Relu", self._do("Add", h, self._linear(f"{name}.backward_out", x)))
        return self._linear(f"{name}.forward_out", h), back

    def _linear(self, name: str, x: str) -> str:
        product = self._do("MatMul", x, self._tensor(f"{name}.weight", turned=True))
        return self._do("Add", product, self._tensor(f"{name}.bias"))

    def _tensor(self, name: str, *, turned: bool = False) -> str:
        if name not in self._tensors:
            raise InputRejected(f"the pose network lacks {name}")
        array = np.asarray(self._tensors[name], dtype=np.float32)
        return self._value(name, np.ascontiguousarray(array.T) if turned else array)

    def _value(self, name: str, value: Any = None) -> str:
        if name not in self._held:
            from onnx import numpy_helper

            self._held.add(name)
            self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _do(self, operator: str, *inputs: str, out: str | None = None, **attributes: Any) -> str:
        name = out or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(operator, list(inputs), [name], **attributes))
        return name
