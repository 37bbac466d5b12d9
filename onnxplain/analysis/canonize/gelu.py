"""GELU written out with Erf, as exporters write it below opset 20.

The derivative of the whole needs x alone. Propagated operator by operator it would keep three tensors as large as x, and it would
read inner tensors of the forward operators, which ONNX Runtime then could not fuse.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.ir.node import Node
from onnxplain.ir.pattern import Match, match, number, op, product, var
from onnxplain.ir.tensor import Tensor

__all__ = ["group_gelus"]

X = var("x")
SCALED = X * number("scale") | X / number("over")
GELU = product(1 + op.Erf(SCALED), X, number="factor")


def group_gelus(flow: Dataflow) -> Sequence[Node]:
    """`Gelu(x)` with `scale` and `factor` for factor · x · (1 + erf(scale · x)), its numbers multiplied in any order."""
    if not any(node.op == "Erf" for node in flow.nodes):
        return flow.nodes
    made: list[Node] = []
    inside: set[str] = set()
    for node in reversed(flow.nodes):  # the largest first: with all numbers behind it
        # operators: the last step of the formula, in either spelling
        if node.op not in ("Mul", "Div") or node.domain or node.name in inside:
            continue
        found = match(flow, GELU, node.y)
        gelu = _gelu(flow, found) if found else None
        if gelu is not None:
            made.append(gelu)
            inside.update(part.name for part in gelu.parts)
    return flow.replaced(made)


def _gelu(flow: Dataflow, found: Match[Tensor, Node]) -> Node | None:
    numbers = found.numbers
    if not numbers.get("over", 1.0):
        return None
    scale = numbers["scale"] if "scale" in numbers else 1 / numbers["over"]
    return flow.group("Gelu", found, [found["x"]], scale=scale, factor=numbers.get("factor", 1.0))
