"""DeepLIFT through what normalizes: softmax and its kin, norms. Every formula is exact and becomes the gradient as x → x₀."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.deeplift.rules import mean, only, only_live, slope
from onnxplain.propagation.rule import named

__all__ = ["log_sum", "log_sum_exp", "normalized", "response", "sizes", "softmax_multipliers"]


# -- softmax -----------------------------------------------------------------------------------------------------------


@named(
    "softmax", "m_x = L · (m_y − Σ L m_y / Σ L) with L = Δy / Δ log y",
    "y = exp(log y) by Rescale; Δ log Σ eˣ = Σ L Δx / Σ L because Σ Δy = 0",
)  # fmt: skip
def softmax_multipliers(b: Builder, node: Node, m: Tensor) -> Messages:
    """The gradient of softmax with the logarithmic mean L of y and y₀ in place of y; shifting all x changes nothing.

    For two scores it is the Rescale rule of the sigmoid of their difference.
    """
    axis = [node["axis"]]
    means = log_means(b, node.x, axis)
    total = b.ReduceSum(means, axis, keepdims=1)
    total = b.Where(b.Equal(total, 0), 1, total)
    if node.op == "LogSoftmax":
        return b.Sub(m, b.Mul(b.Div(means, total), b.ReduceSum(m, axis, keepdims=1)))
    weighted = b.Div(b.ReduceSum(b.Mul(means, m), axis, keepdims=1), total)
    return b.Mul(means, b.Sub(m, weighted))


@named("log-sum-exp", "m_x = L / Σ L · m_y with L the logarithmic means of softmax x and softmax x₀", "as for softmax")
def log_sum_exp(b: Builder, node: Node, m: Tensor) -> Messages:
    """log Σ eˣ over axes."""
    given = node.inputs[1]
    known = b.ints(given) if given is not None else []
    if node["noop_with_empty_axes"]:
        if known is None:
            raise RuleError("the axes it reduces are not known before it runs")
        if not known:
            return only(node, m)
    # Axes that are no constant yet, as raising the opset leaves them, reduce as the node itself does.
    axes = given if known is None and given is not None else known or list(range(node.x.rank))
    means = log_means(b, node.x, axes)
    total = b.ReduceSum(means, axes, keepdims=1)
    return only(node, b.Mul(b.keepdims(m, node), b.Div(means, b.Where(b.Equal(total, 0), 1, total))))


def log_means(b: Builder, x: Tensor, axes: Sequence[int] | Tensor) -> Tensor:
    """L = (y − y₀) / (log y − log y₀) of y = softmax x: between y and y₀. Masked scores (−∞) have 0."""

    over = axes if isinstance(axes, Tensor) else list(axes)

    def logs(t: Tensor) -> Tensor:
        below = b.Sub(t, b.ReduceMax(t, over, keepdims=1))
        return b.Sub(below, b.Log(b.ReduceSum(b.Exp(below), over, keepdims=1)))

    log_y, log_y0 = logs(x), logs(b.reference(x))
    counts = b.Greater(b.Add(log_y, log_y0), -np.inf)  # false where one of them is no number
    log_y, log_y0 = (b.Where(counts, t, 0) for t in (log_y, log_y0))
    y, y0 = b.Exp(log_y), b.Exp(log_y0)
    made = slope(b, log_y, log_y0, y, y0, y, y0)
    return b.Where(counts, made, 0)


# -- norms -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Norm:
    """y = c / (σ + δ) with c = x, less its mean where `centred`, and σ² = Σ c²/n + ε, the sum over `axes`.

    n counts the elements, or is 1 where the norm takes no `mean` of the squares.
    """

    axes: tuple[int, ...]
    epsilon: float = 0.0
    delta: float = 0.0
    centred: bool = True
    mean: bool = True

    def back(self, b: Builder, x: Tensor, x0: Tensor, m: Tensor) -> Tensor:
        """m_c = (m − c̄ · Σ m ȳ / (n σ̄)) / (σ̄ + δ), bars for means of here and baseline; m_x = m_c less its mean.

        From c = y · (σ + δ), a product, and Δσ = Σ c̄ Δc / (n σ̄): the gradient with c, y and σ at their means.
        """
        (c, sigma, y), (c0, sigma0, y0) = self._parts(b, x), self._parts(b, x0)
        c, sigma, y = (b.Mul(b.Add(t, t0), 0.5) for t, t0 in ((c, c0), (sigma, sigma0), (y, y0)))
        made = b.Sub(m, b.Mul(b.Div(c, sigma), self._sum(b, b.Mul(m, y))))
        made = b.Div(made, b.Add(sigma, self.delta) if self.delta else sigma)
        if self.centred:
            made = b.Sub(made, b.ReduceMean(made, list(self.axes), keepdims=1))
        return made

    def _parts(self, b: Builder, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c, σ and y"""
        c = b.Sub(x, b.ReduceMean(x, list(self.axes), keepdims=1)) if self.centred else x
        square = self._sum(b, b.Mul(c, c))
        sigma = b.Sqrt(b.Add(square, self.epsilon) if self.epsilon else square)
        return c, sigma, b.Div(c, b.Add(sigma, self.delta) if self.delta else sigma)

    def _sum(self, b: Builder, x: Tensor) -> Tensor:
        made: Tensor = (b.ReduceMean if self.mean else b.ReduceSum)(x, list(self.axes), keepdims=1)
        return made


@named(
    "normalized", "m_x = centred(g − c̄/σ̄ · mean(g ȳ)) / σ̄ with g = m_y · scale, bars for means of here and baseline",
    "c = y · σ, a product; σ = √mean c² by Rescale",
)  # fmt: skip
def normalized(b: Builder, node: Node, m: Tensor | None, *rest: Tensor | None) -> Messages:
    """Layer, instance, group and RMS norms, and those without scale."""
    if m is None or any(r is not None for r in rest):
        raise RuleError("its statistics are outputs that the explained score depends on; DeepLIFT takes its first output only")
    if any(node.needs_input_grad(i) for i in range(1, len(node.inputs))):
        raise RuleError("its scale or bias depends on what is explained; explain a tensor behind it (--layer)")
    x = node.x
    x0 = b.reference(x)
    match node.op:
        case "LayerNormalization" | "RMSNormalization":
            axes = tuple(range(node["axis"] % x.rank, x.rank))
            norm = Norm(axes, node["epsilon"], centred=node.op[0] == "L")
            made = norm.back(b, x, x0, b.Mul(m, node.input(1)))
        case "InstanceNormalization":
            norm = Norm(tuple(range(2, x.rank)), node["epsilon"])
            made = norm.back(b, x, x0, b.Mul(m, per_channel(b, node.input(1), x)))
        case "GroupNormalization":
            made = in_groups(b, node, m)
        case "MeanVarianceNormalization":
            made = Norm(tuple(node["axes"]), delta=1e-9).back(b, x, x0, m)
        case "LpNormalization" if node["p"] == 2:
            made = Norm((node["axis"],), centred=False, mean=False).back(b, x, x0, m)
        case _:
            raise RuleError("DeepLIFT has no rule for this norm")
    return only(node, made)


def in_groups(b: Builder, node: Node, m: Tensor) -> Tensor:
    """The layer norm of each group of channels; before version 21 with a scale per group."""
    x, groups = node.x, [0, node["num_groups"], -1]
    if node.version < 21:
        g = b.Mul(b.Reshape(m, groups), b.Unsqueeze(node.input(1), [1]))
    else:
        g = b.Reshape(b.Mul(m, per_channel(b, node.input(1), x)), groups)
    made = Norm((2,), node["epsilon"]).back(b, b.Reshape(x, groups), b.Reshape(b.reference(x), groups), g)
    return b.reshape(made, x)


def per_channel(b: Builder, vector: Tensor, x: Tensor) -> Tensor:
    """A vector over axis 1 of x, ready to broadcast against it."""
    vector = b.cast(vector, x)
    return b.Unsqueeze(vector, list(range(1, x.rank - 1))) if x.rank > 2 else vector


@named(
    "response", "m_x = m_y · q̄ + 2 x̄ α/n · Σ m_y x̄ · Δq/Δd with d = k + α/n Σ x², q = d^(−β), sums over windows",
    "a product with q, and q of d by Rescale",
)  # fmt: skip
def response(b: Builder, node: Node, m: Tensor) -> Messages:
    """Local response normalization over channels."""
    x, n, alpha, beta = node.x, node["size"], node["alpha"], node["beta"]
    before, after = (n - 1) // 2, n // 2

    def windows(t: Tensor, first: int, last: int) -> Tensor:
        """The mean over windows of n channels."""
        flat = b.Unsqueeze(b.Reshape(t, [0, 0, -1]), [1])
        means = b.AveragePool(flat, kernel_shape=[n, 1], pads=[first, 0, last, 0], count_include_pad=1)
        return b.reshape(means, x)

    def density(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        d = b.Add(b.Mul(windows(b.Mul(t, t), before, after), alpha), node["bias"])
        q = b.Pow(d, b.const(-beta, x.dtype))
        return d, q, b.Mul(b.Div(q, d), -beta)

    (d, q, g), (d0, q0, g0) = density(x), density(b.reference(x))
    half_way = mean(b, x)
    others = windows(b.Mul(b.Mul(m, half_way), slope(b, d, d0, q, q0, g, g0)), after, before)
    return b.Add(b.Mul(m, b.Mul(b.Add(q, q0), 0.5)), b.Mul(b.Mul(half_way, others), 2 * alpha))


# -- reductions to a size ----------------------------------------------------------------------------------------------


@named("sizes", "m_x = m_y · (x + x₀) / (|x| + |x₀|)", "Δ|x| / Δx")
def sizes(b: Builder, node: Node, m: Tensor) -> Messages:
    """Sums of absolute values."""
    x, x0 = node.x, b.reference(node.x)
    size = b.Add(b.Abs(x), b.Abs(x0))
    sign = b.Div(b.Add(x, x0), b.Where(b.Equal(size, 0), 1, size))
    return only(node, b.Mul(b.keepdims(m, node), sign))


@named("log-sum", "m_x = m_y · Δy / Δ Σ x", "the logarithm by Rescale")
def log_sum(b: Builder, node: Node, m: Tensor) -> Messages:
    """The logarithm of a sum."""
    index = only_live(node)
    y, y0 = node.y, b.reference(node.y)
    s, s0 = b.Exp(y), b.Exp(y0)
    rate = slope(b, s, s0, y, y0, b.Reciprocal(s), b.Reciprocal(s0))
    return only(node, b.expand(b.keepdims(b.Mul(m, rate), node), node.input(index)))
