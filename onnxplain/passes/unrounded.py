"""The final scores of a quantized model as they are before they are rounded, where one operator computes and rounds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx
from onnx import helper

from onnxplain.ir.markers import UNROUNDED
from onnxplain.ir.ops import traits_of
from onnxplain.ir.pattern import match, op
from onnxplain.passes.view import FileView

__all__ = ["unrounded_scores"]


def unrounded_scores(model: onnx.ModelProto) -> bool:
    """Beside the scores that QLinearConv or QLinearMatMul makes, add the product of what its operands stand for.

    Scores are outputs of the model and inputs of a softmax or sigmoid. The model's own nodes stay as they are; what nothing
    needs is dropped again when the model is written.
    """
    if not any(n.op_type in MAKERS and not n.domain for n in model.graph.node):
        return False
    view = FileView(model.graph)
    ends = {o.name for o in model.graph.output}
    ends |= {n.input[0] for n in model.graph.node if traits_of(n.op_type, n.domain).of_logits}
    added: list[onnx.NodeProto] = []
    for end in sorted(ends & set(view.makers)):
        found, name = match(view, ROUNDED, end), f"{end}{UNROUNDED}"
        if found and name not in view.makers:
            product = found.named["product"]
            added.extend(MAKERS[product.op_type](product, name))
    model.graph.node.extend(added)
    return bool(added)


def _convolution(product: onnx.NodeProto, name: str) -> Iterator[onnx.NodeProto]:
    """Conv of what image and filters stand for; the bias counts in units of both scales."""
    yield _real(product.input[0:3], f"{name}_x", 1)
    yield _real(product.input[3:6], f"{name}_w", 0)
    inputs = [f"{name}_x", f"{name}_w"]
    if len(product.input) > 8 and product.input[8]:
        yield helper.make_node("Mul", [product.input[1], product.input[4]], [f"{name}_unit"], name=f"{name}_unit")
        yield _real([product.input[8], f"{name}_unit"], f"{name}_b", 0)
        inputs.append(f"{name}_b")
    made = helper.make_node("Conv", inputs, [name], name=name)
    made.attribute.extend(product.attribute)
    yield made


def _matrices(product: onnx.NodeProto, name: str) -> Iterator[onnx.NodeProto]:
    """MatMul of what the operands stand for, with scales for all of an operand, each row or each column."""
    yield _real(product.input[0:3], f"{name}_a", -2)
    yield _real(product.input[3:6], f"{name}_b", -1)
    yield helper.make_node("MatMul", [f"{name}_a", f"{name}_b"], [name], name=name)


def _real(inputs: Iterable[str], name: str, axis: int) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", list(inputs), [name], name=name, axis=axis)


# operators: how each is written out
MAKERS = {"QLinearConv": _convolution, "QLinearMatMul": _matrices}

ROUNDED = op.DequantizeLinear(op[tuple(MAKERS)](...).named("product"), ...)
"""Scores that one operator computes and rounds."""
