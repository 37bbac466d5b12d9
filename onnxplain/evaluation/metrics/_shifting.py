"""A model that takes inputs moved by a constant and says the same: the constant is absorbed where the input is first used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxplain.ir.edit import NodeWriter, names_in, set_nodes
from onnxplain.runtime.scorer import Array

__all__ = ["shifted_model"]


def shifted_model(model: onnx.ModelProto, name: str, shift: Array) -> onnx.ModelProto:
    """A model with f₂(x + shift) = f(x), changed in place.

    Where a linear layer or the sum with a constant reads the input, its bias takes the shift back (Kindermans et al. 2019); a
    convolution's border of zeros becomes one of the shift. Whatever else reads the input reads it less the shift.

    Args:
        model: prepared, its weights within it.
        name: the input that is moved.
        shift: a number per sample (), or per column of a table, [columns].
    """
    made = _Shifted(model, name, np.asarray(shift))
    nodes: list[onnx.NodeProto] = []
    for original in model.graph.node:
        node = onnx.NodeProto.FromString(original.SerializeToString())
        nodes.append(node)
        if name in node.input:
            nodes += made.absorb(node)
    set_nodes(model.graph, [*made.new.nodes, *nodes])
    return model


@dataclass
class _Shifted:
    model: onnx.ModelProto
    name: str
    shift: Array

    def __post_init__(self) -> None:
        self.new = NodeWriter(names_in(self.model.graph), constants=self.model.graph.initializer)  # goes first
        self.unshifted = ""
        self.constants = {t.name: t for t in self.model.graph.initializer}
        value = next(v for v in self.model.graph.input if v.name == self.name).type.tensor_type
        self.dtype = helper.tensor_dtype_to_np_dtype(value.elem_type)

    def absorb(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Make one reader of the input do with the moved one what it did with the input; the nodes to put behind it."""
        self.behind: list[onnx.NodeProto] = []
        # operators: how each takes the shift back
        known = {"Conv": self._conv, "Gemm": self._gemm, "MatMul": self._matmul, "Sub": self._sum, "Add": self._sum}
        write = known.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if write is None or list(node.input).count(self.name) != 1 or not write(node):
            self._replace(node, self._less())
        return self.behind

    def _value(self, name: str) -> Array | None:
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def _constant(self, values: Array, like: str, dtype: Any = None) -> str:
        """A new initializer; others may read the old one."""
        return self.new.constant(np.asarray(values, dtype or self.dtype), f"{like}_shifted")

    def _replace(self, node: onnx.NodeProto, new: str) -> None:
        node.input[:] = [new if i == self.name else i for i in node.input]

    def _less(self) -> str:
        """The moved input less the shift, made once."""
        if not self.unshifted:
            shift = self._constant(self.shift, self.name)
            self.unshifted = self.new.op("Sub", self.name, shift, hint=f"{self.name}_unshifted")
        return self.unshifted

    def _conv(self, node: onnx.NodeProto) -> bool:
        weight = self._value(node.input[1])
        bias = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if node.input[0] != self.name or weight is None or bias is None or self.shift.ndim:
            return False
        pads = list(attributes.get("pads", []))
        if attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            return False
        less = self.shift * weight.astype(np.float64).reshape(len(weight), -1).sum(axis=1)
        inputs = [node.input[0], node.input[1], self._constant(bias - less, node.input[1])]
        if any(pads):
            half = len(pads) // 2
            ends = self._constant(np.array([0, 0, *pads[:half], 0, 0, *pads[half:]]), f"{self.name}_ends", np.int64)
            border = self._constant(self.shift, f"{self.name}_border")
            inputs[0] = self.new.op("Pad", self.name, ends, border, hint=f"{node.output[0]}_bordered")
            kept = [a for a in node.attribute if a.name != "pads"]
            del node.attribute[:]
            node.attribute.extend(kept)
        node.input[:] = inputs
        return True

    def _gemm(self, node: onnx.NodeProto) -> bool:
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        weight = self._value(node.input[1])
        bias = self._value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        if node.input[0] != self.name or weight is None or bias is None or given.get("transA", 0) or not given.get("beta", 1.0):
            return False
        table = weight.astype(np.float64).T if given.get("transB", 0) else weight.astype(np.float64)
        less = given.get("alpha", 1.0) * np.broadcast_to(self.shift, table.shape[0]) @ table
        node.input[:] = [*node.input[:2], self._constant(bias - less / given.get("beta", 1.0), node.input[1])]
        return True

    def _matmul(self, node: onnx.NodeProto) -> bool:
        weight = self._value(node.input[1])
        if node.input[0] != self.name or weight is None or weight.ndim != 2:
            return False
        less = np.broadcast_to(self.shift, weight.shape[0]) @ weight.astype(np.float64)
        product = self.new.name(f"{node.output[0]}_unbiased")
        bias = self._constant(-less, node.input[1])
        self.behind.append(helper.make_node("Add", [product, bias], [node.output[0]], name=product))
        node.output[0] = product
        return True

    def _sum(self, node: onnx.NodeProto) -> bool:
        at = list(node.input).index(self.name)
        constant = self._value(node.input[1 - at])
        if constant is None:
            return False
        # x − c = (x + s) − (c + s), c − x = (c + s) − (x + s), x + c = (x + s) + (c − s)
        moved = constant + self.shift if node.op_type == "Sub" else constant - self.shift
        node.input[1 - at] = self._constant(moved, node.input[1 - at])
        return True
