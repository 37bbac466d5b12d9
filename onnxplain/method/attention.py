"""Attention as an explanation: its weights followed from layer to layer, alone or times their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from onnxplain.analysis.attention import attention_weights
from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.context import AttributionContext
from onnxplain.method.registry import method

__all__: list[str] = []


def _serves(graph: Graph, score: Tensor, traits: Traits) -> None:
    """Raises where the model has no self-attention."""
    attention_weights(graph)


@method(
    "attention-rollout",
    summary="Attention followed through the layers: how much of each token arrives where the score is read",
    formula="e · Π (½ I + ½ mean_h A_l), e the positions that the score is read at",
    source="Abnar, Zuidema 2020, Quantifying Attention Flow in Transformers, section 3",
    axioms=(),
    signed=False,
    attributes_to="token",
    serves=_serves,
)
def attention_rollout(context: AttributionContext) -> dict[Tensor, Tensor]:
    b = context.b
    weights = attention_weights(context.graph)
    slopes = context.gradient(of=[weights[-1]])

    def step(share: Tensor, attention: Tensor) -> Tensor:
        return b.Mul(b.Add(share, b.MatMul(share, _over_heads(b, attention))), 0.5)

    return _read(context, _followed(_positions(b, slopes[weights[-1]]), weights, step))


@method(
    "attention-gradient-rollout",
    summary="Attention times its gradient, what raises the score alone, followed through the layers",
    formula="e · (Π (I + mean_h (A_l ⊙ ∂f/∂A_l)⁺) − I), e the positions that the score is read at",
    source="Chefer, Gur, Wolf 2021, Generic Attention-model Explainability, eqs. 5 and 6",
    axioms=(),
    signed=False,
    attributes_to="token",
    serves=_serves,
)
def attention_gradient_rollout(context: AttributionContext) -> dict[Tensor, Tensor]:
    """The identity, which R begins with, is taken off at the end (R̂ of section 3.2): it tells only where the score is read."""
    b = context.b
    weights = attention_weights(context.graph)
    slopes = context.gradient(of=weights)
    raising = [b.Relu(b.Mul(a, slopes[a])) for a in weights]

    def step(share: Tensor, attention: Tensor) -> Tensor:
        return b.Add(share, b.MatMul(share, _over_heads(b, attention)))

    start = _positions(b, slopes[weights[-1]])
    return _read(context, b.Sub(_followed(start, raising, step), start))


def _followed(start: Tensor, layers: Sequence[Tensor], step: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """A row of shares taken backward through the layers, the last one first: no product of whole matrices is needed."""
    return reduce(step, reversed(layers), start)


def _over_heads(b: Builder, attention: Tensor) -> Tensor:
    """The mean over heads, [samples, tokens, tokens]."""
    return b.ReduceMean(attention, [1], keepdims=0)


def _positions(b: Builder, slopes: Tensor) -> Tensor:
    """Where the score is read, in equal shares, [samples, 1, tokens]: the rows of the last attention that have a gradient.

    Of a model that looks at its first token that is the first; of a language model the position explained; of one that takes the
    mean, all tokens that are no padding.
    """
    read = b.cast(b.Greater(b.ReduceMax(b.Abs(slopes), [1, 3], keepdims=0), 0.0), slopes)
    return b.Unsqueeze(b.Div(read, b.Max(b.ReduceSum(read, [1], keepdims=1), b.const(1.0, read.dtype))), [1])


def _read(context: AttributionContext, shares: Tensor) -> dict[Tensor, Tensor]:
    """The shares of the tokens."""
    (tokens,) = context.sources
    return {tokens: context.b.shaped(context.b.Squeeze(shares, [1]), tokens.shape)}
