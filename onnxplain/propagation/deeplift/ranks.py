"""DeepLIFT of order statistics: the j-th greatest of many, whose element may be another one at the baseline."""

from __future__ import annotations

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import change, reference_of
from onnxplain.propagation.rule import named
from onnxplain.rulekit.scatter import add_elements

__all__ = ["greatest"]


@named(
    "greatest", "Δy_j to what changed most of all that is not below y_j now and was not above it at the baseline (|Δy_j| ≤ |Δx|)",
    "max pooling's rule for every rank: for j = 1 the maximum here where it grew, that at the baseline where it fell",
)  # fmt: skip
def greatest(b: Builder, node: Node, m: Tensor, _: Tensor | None = None) -> Messages:
    """TopK. Of the j elements that are not below the j-th greatest now, at most j − 1 were above the j-th greatest at the
    baseline: where it grew, one of them grew as much at least. Where it fell, the same holds the other way round."""
    x, k = node.input(0), node.input(1)
    if b.reference(k) != k:
        raise RuleError("how many it takes depends on what is explained")
    if not node["sorted"]:
        raise RuleError("its results have no order, so that none stands for one at the baseline; export it with sorted=1")
    other, axis = reference_of(b, node), node["axis"] % x.rank
    order = [*(i for i in range(x.rank) if i != axis), axis]
    back = [int(i) for i in np.argsort(order)]

    def rows(t: Tensor) -> Tensor:
        """[…, 1, n] of the elements."""
        return b.Unsqueeze(b.transpose(t, order), [-2])

    def ranks(t: Tensor) -> Tensor:
        """[…, k, 1] of the results."""
        return b.Unsqueeze(b.transpose(t, order), [-1])

    here, there, y, y0 = rows(x), rows(b.reference(x)), ranks(node.y), ranks(other.y)
    if not node["largest"]:  # the j-th smallest is the j-th greatest of the negatives
        here, there, y, y0 = (b.Neg(t) for t in (here, there, y, y0))
    dx, dy = b.Sub(here, there), b.Sub(y, y0)
    grew = b.And(b.GreaterOrEqual(here, y), b.LessOrEqual(there, y0))
    fell = b.And(b.LessOrEqual(here, y), b.GreaterOrEqual(there, y0))
    rising = b.Greater(dy, 0)
    size = b.Where(b.Or(b.And(rising, grew), b.And(b.Not(rising), fell)), b.Where(rising, dx, b.Neg(dx)), -np.inf)
    chosen = b.ArgMax(size, axis=-1, keepdims=0)
    step = b.GatherElements(b.transpose(change(b, x), order), chosen, axis=x.rank - 1)
    share = b.Mul(m, change(b, node.y))
    still = b.Equal(step, 0)
    multiplier = b.Where(still, 0, b.Div(b.transpose(share, order), b.Where(still, 1, step)))
    placed = add_elements(b, b.Shape(b.transpose(x, order)), chosen, multiplier, x.rank - 1)
    sent = b.transpose(placed, back)
    plain = b.gradient(node, m, None)[0]
    return (sent if plain is None else b.Where(b.Equal(change(b, x), 0), plain, sent)), None
