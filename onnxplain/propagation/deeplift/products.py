"""DeepLIFT through products of all elements along axes."""

from __future__ import annotations

from dataclasses import replace

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import only
from onnxplain.propagation.rule import named

__all__ = ["factors"]


@named(
    "factors", "m_x = m_y · (∏ x before · ∏ x₀ behind + ∏ x₀ before · ∏ x behind) / 2",
    "factors changed one after the other, from either end; of two, Δ(ab) = ā Δb + b̄ Δa",
)  # fmt: skip
def factors(b: Builder, node: Node, m: Tensor) -> Messages:
    """One axis after the other. Each order of changing factors adds up to the change of the product, and so does their mean."""
    axes = [] if node.inputs[1] is None else b.ints(node.inputs[1])
    if axes is None:
        raise RuleError("the axes it reduces are not known before it runs")
    if not axes and node["noop_with_empty_axes"]:
        return only(node, m)
    over = [axis % node.x.rank for axis in axes] or list(range(node.x.rank))
    pairs = [(node.x, b.reference(node.x))]
    for axis in over:
        here, there = (b.ReduceProd(t, [axis], keepdims=1) for t in pairs[-1])
        pairs.append((here, there))
    message = b.keepdims(m, node)
    for axis, (x, x0) in zip(reversed(over), reversed(pairs[:-1]), strict=True):
        one = b.Mul(_others(b, x, axis, behind=False), _others(b, x0, axis, behind=True))
        other = b.Mul(_others(b, x0, axis, behind=False), _others(b, x, axis, behind=True))
        message = b.Mul(message, b.Mul(b.Add(one, other), 0.5))
    return only(node, message)


def _others(b: Builder, x: Tensor, axis: int, *, behind: bool) -> Tensor:
    """The product of the elements before each one along an axis, or behind it; 1 where there are none."""
    start = b.full_like(b.ReduceProd(x, [axis], keepdims=0), 1)
    row = replace(start, name="row")

    def step(before: Tensor, factor: Tensor) -> list[Tensor]:
        return [b.Mul(before, factor), b.Identity(before)]

    made = b.op(
        "Scan", start, x, outputs=2, body=b.body([replace(start, name="state"), row], step), num_scan_inputs=1,
        scan_input_axes=[axis], scan_input_directions=[int(behind)],
        scan_output_axes=[axis], scan_output_directions=[int(behind)],
    )  # fmt: skip
    return b.shaped(made[1], x.shape)
