"""Linear maps whose parts are computed anyway: their sum in place of the whole.

The αβ rule applies a convolution to its positive and to its negative weights; w = max(w, 0) + min(w, 0), so the model's own
convolution is the sum of the two, and need not be computed. Rounding stays within the bound that holds for any order of a sum's
terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isclose, prod
from typing import Any

import numpy as np
import onnx

from onnxplain.ir.graph import READABLE_ELEMENTS
from onnxplain.ir.ops import traits_of
from onnxplain.ir.pattern import Pattern, constant, match, op, var
from onnxplain.ir.schema import signature
from onnxplain.passes.order import sort_nodes
from onnxplain.passes.view import FileView

__all__ = ["sum_parts"]

# operators: an implementation of each
PARTS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Min": lambda x: np.minimum(x, 0),
}
"""The operators that make the parts; those of small constants are computed while the graph is built."""

W = var("w")
# operators: as patterns
PART: dict[str, Pattern] = {"Relu": op.Relu(W), "Min": op.Min(W, 0)}
"""The same as nodes; of a bias also with a constant added to it."""


def sum_parts(model: onnx.ModelProto) -> bool:
    """Make every linear map whose positive and negative part are in the graph too the sum of these."""
    parts = _Parts(model)
    changed = False
    for node in model.graph.node:
        found = parts.of(node)
        if found is not None:
            parts.settled.update([*found, node.output[0]])
            made = onnx.helper.make_node("Add", found, list(node.output), name=node.name, doc_string=node.doc_string or None)
            made.metadata_props.extend(node.metadata_props)
            node.CopyFrom(made)
            changed = True
    if changed:
        sort_nodes(model)
    return changed


class _Parts:
    """The linear maps of a graph, by what they read."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        self.view = FileView(model.graph)
        self.constants = self.view.constants
        self.maps: dict[tuple[object, ...], list[onnx.NodeProto]] = {}
        self.settled: set[str] = set()
        """What is a sum, or a part of one: it becomes nothing else."""
        for node in model.graph.node:
            if self._is_map(node):
                self.maps.setdefault(self._key(node), []).append(node)

    def of(self, node: onnx.NodeProto) -> list[str] | None:
        """The outputs of the two parts of a map, None where they are not there."""
        if not self._is_map(node) or node.input[1] not in self.constants or node.output[0] in self.settled:
            return None
        found = {part: list(self._taking(node, part)) for part in PARTS}
        for above, up in found["Relu"]:
            for below, down in found["Min"]:
                if isclose(up, -down, rel_tol=0.1):
                    return [above, below]
        return None

    def _taking(self, node: onnx.NodeProto, kind: str) -> Iterator[tuple[str, float]]:
        """The maps like this one that take the part of its weights and bias of that kind; and the number added to that."""
        bias = node.input[2] if len(node.input) > 2 else ""
        for other in self.maps.get(self._key(node), ()):
            added = self._number(other.input[2] if len(other.input) > 2 else "", bias, kind)
            free = other is not node and other.output[0] not in self.settled
            if free and added is not None and self._is_part(other.input[1], node.input[1], kind):
                yield other.output[0], added

    def _is_part(self, name: str, whole: str, kind: str) -> bool:
        found = match(self.view, PART[kind], name)
        if found:
            return found["w"] == whole
        if self.view.makers.get(name) is not None:
            return False
        part, values = self._values(name), self._values(whole)
        return part is not None and values is not None and np.array_equal(part, PARTS[kind](values))

    def _number(self, name: str, bias: str, kind: str) -> float | None:
        """c where a bias is the part of another plus c, None where it is no such thing."""
        if not bias:
            return 0.0 if not name else self._uniform(name)
        if self._is_part(name, bias, kind):
            return 0.0
        found = match(self.view, PART[kind] + constant("c"), name)
        if found or self.view.makers.get(name) is not None:
            return self._uniform(found["c"]) if found and found["w"] == bias else None
        sums, values = self._values(name), self._values(bias)
        if sums is None or values is None or sums.shape != values.shape or not values.size:
            return None
        part = PARTS[kind](values)
        number = float((sums - part).flat[np.abs(part).argmin()])  # where least is lost by rounding
        return number if np.allclose(sums, part + values.dtype.type(number), rtol=1e-6, atol=0) else None

    def _uniform(self, name: str) -> float | None:
        """The number that a constant repeats."""
        values = self._values(name)
        return float(values.flat[0]) if values is not None and values.size and (values == values.flat[0]).all() else None

    def _values(self, name: str) -> np.ndarray[Any, Any] | None:
        """The values of a small constant."""
        found = self.constants.get(name)
        if found is None or prod(found.dims) > READABLE_ELEMENTS or found.data_location == onnx.TensorProto.EXTERNAL:
            return None
        return onnx.numpy_helper.to_array(found)

    def _is_map(self, node: onnx.NodeProto) -> bool:
        facts = traits_of(node.op_type, node.domain)
        return facts.multiplies and 2 in facts.parameters  # with a bias

    def _key(self, node: onnx.NodeProto) -> tuple[object, ...]:
        """What two maps have in common that do the same to the same input."""
        known = signature(node.op_type, "", self.opset)
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        text = {k: v.decode() if isinstance(v, bytes) else v for k, v in given.items()}
        return node.op_type, node.input[0], repr(sorted({**(known.defaults if known else {}), **text}.items()))
