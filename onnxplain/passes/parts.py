"""Linear maps whose parts are computed anyway: their sum in place of the whole.

The αβ rule applies a convolution to its positive and to its negative weights; w = max(w, 0) + min(w, 0), so the model's own
convolution is the sum of the two, and one product in three is saved. Rounding stays within the bound that holds for any order
of a sum's terms.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from onnxplain.passes.order import sort_nodes
from onnxplain.schema import signature

__all__ = ["sum_parts"]

MAPS = ("Conv", "ConvTranspose", "Gemm")
"""Maps of an input, weights and a bias."""


def sum_parts(model: onnx.ModelProto) -> bool:
    """Make every linear map whose positive and negative part are in the graph too the sum of these."""
    parts = _Parts(model)
    changed = False
    for node in model.graph.node:
        found = parts.of(node)
        if found is not None:
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
        self.constants = {t.name: t for t in model.graph.initializer}
        self.makers = {name: node for node in model.graph.node for name in node.output}
        self.maps: dict[tuple[object, ...], list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            if self._is_map(node) and node.input[1] not in self.constants:
                self.maps.setdefault(self._key(node), []).append(node)

    def of(self, node: onnx.NodeProto) -> list[str] | None:
        """The outputs of the two parts of a map, None where they are not there."""
        if not self._is_map(node) or node.input[1] not in self.constants:
            return None
        found = {op: list(self._taking(node, op)) for op in ("Relu", "Min")}
        for above, up in found["Relu"]:
            for below, down in found["Min"]:
                if up == -down:
                    return [above, below]
        return None

    def _taking(self, node: onnx.NodeProto, op: str) -> Iterator[tuple[str, float]]:
        """The maps like this one that take the part of its weights and bias which `op` makes; and the number added to that."""
        bias = node.input[2] if len(node.input) > 2 else ""
        for other in self.maps.get(self._key(node), ()):
            added = self._number(other.input[2] if len(other.input) > 2 else "", bias, op)
            if self._is_part(other.input[1], node.input[1], op) and added is not None:
                yield other.output[0], added

    def _is_part(self, name: str, whole: str, op: str) -> bool:
        maker = self.makers.get(name)
        if maker is None or maker.op_type != op or maker.input[0] != whole:
            return False
        return op != "Min" or (len(maker.input) == 2 and self._value(maker.input[1]) == 0)

    def _number(self, name: str, bias: str, op: str) -> float | None:
        """c where a bias is the part of another plus c, None where it is no such thing."""
        if not bias:
            return 0.0 if not name else self._value(name)
        if self._is_part(name, bias, op):
            return 0.0
        maker = self.makers.get(name)
        if maker is None or maker.op_type != "Add" or not self._is_part(maker.input[0], bias, op):
            return None
        return self._value(maker.input[1])

    def _value(self, name: str) -> float | None:
        """The number that a constant repeats."""
        if name not in self.constants or self.constants[name].data_location == onnx.TensorProto.EXTERNAL:
            return None
        values = onnx.numpy_helper.to_array(self.constants[name])
        return float(values.flat[0]) if values.size and (values == values.flat[0]).all() else None

    def _is_map(self, node: onnx.NodeProto) -> bool:
        return node.op_type in MAPS and not node.domain

    def _key(self, node: onnx.NodeProto) -> tuple[object, ...]:
        """What two maps have in common that do the same to the same input."""
        known = signature(node.op_type, "", self.opset)
        given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        text = {k: v.decode() if isinstance(v, bytes) else v for k, v in given.items()}
        return node.op_type, node.input[0], repr(sorted({**(known.defaults if known else {}), **text}.items()))
