"""Small models written as expression trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from tests.support.linear_cases import Array
from tests.support.models import model, node


class Writer:
    """Writes nodes as an expression tree: every operator is a method, numbers become constants.

    Names say nothing: every tensor is called t0, t1, ….
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}

    def __getattr__(self, op: str) -> Any:
        if not op[:1].isupper():
            raise AttributeError(op)

        def emit(*operands: Any, **attributes: Any) -> str:
            name = f"t{len(self.nodes)}"
            self.nodes.append(onnx.helper.make_node(op, [self._operand(o) for o in operands], [name], name, **attributes))
            return name

        return emit

    def several(self, op: str, count: int, *operands: Any, **attributes: Any) -> list[str]:
        """What an operator makes that has several results."""
        names = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(onnx.helper.make_node(op, [self._operand(o) for o in operands], names, names[0], **attributes))
        return names

    def _operand(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        name = f"k{len(self.weights)}"
        array = np.asarray(value)
        self.weights[name] = array.astype(np.float32) if array.dtype == np.float64 else array
        return name

    def model(self, y: str, shapes: Mapping[str, Sequence[Any]], also: Sequence[str] = (), *, opset: int = 18) -> onnx.ModelProto:
        """The model whose output `y` is what a tensor holds."""
        self.nodes.append(node("Identity", y, "y"))
        made = model(self.nodes, shapes, {"y": None, **dict.fromkeys(also)}, self.weights, opset=opset)
        made.opset_import.extend(onnx.helper.make_opsetid(d, 1) for d in {n.domain for n in self.nodes} - {""})
        return made
