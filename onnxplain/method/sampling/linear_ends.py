"""What a model begins and ends with, as far as it is linear, need not be differentiated at every point.

Σ wₖ · J₁ᵀ J₂(xₖ)ᵀ J₃ᵀ s = J₁ᵀ Σ wₖ · J₂(xₖ)ᵀ (J₃ᵀ s) for f = f₃ ∘ f₂ ∘ f₁ with f₁ and f₃ affine: the first layer of a network of
convolutions or the patches of a transformer, backward often the dearest layer, and the last layer before the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxplain.analysis.liveness import liveness
from onnxplain.analysis.sample_axis import only_axis
from onnxplain.ir.node import Node
from onnxplain.ir.ops import OpTraits, standard_traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import inner_method
from onnxplain.method.context import AttributionContext
from onnxplain.method.sampling.accumulate import Points, PointTransform, Reduction, Sum, accumulate
from onnxplain.method.sampling.chunk_size import Chunk
from onnxplain.propagation.backward import backpropagate
from onnxplain.propagation.composite import GRADIENT, RuleSelector

__all__ = ["LinearEnds", "linear_ends", "reduced"]


@dataclass(frozen=True)
class LinearEnds:
    """The linear nodes at both ends of a context's model, by their places among all, and the tensors between which the rest lies.

    `inner` are what the first nodes hand to others, `heads` what the last ones read of others, with the message there.
    """

    job: AttributionContext
    first: frozenset[int]
    inner: tuple[Tensor, ...]
    last: frozenset[int]
    heads: Mapping[Tensor, Tensor]

    def gradient_between(self, moved: AttributionContext) -> list[Tensor]:
        """The gradient at the inner tensors, for the context at other points."""
        assert moved.origin is not None
        _, copies = moved.origin
        nodes = [node for i, node in enumerate(moved.nodes) if i not in self.first | self.last]
        target_messages = {moved.became.get(t, t): m if copies is None else copies.tile(m) for t, m in self.heads.items()}
        inner = [moved.became.get(t, t) for t in self.inner]
        found = backpropagate(moved.b, nodes, inner, target_messages, RuleSelector(GRADIENT, moved.registry))
        return [found[t] if t in found else moved.b.zeros_like(t) for t in inner]

    def carried_back(self, messages: Sequence[Tensor]) -> list[Tensor]:
        """What messages on the inner tensors become at the explained ones."""
        context = self.job
        if not self.first:
            return list(messages)
        nodes = [node for i, node in enumerate(context.nodes) if i in self.first]
        found = backpropagate(
            context.b,
            nodes,
            context.sources,
            dict(zip(self.inner, messages, strict=True)),
            RuleSelector(GRADIENT, context.registry),
        )
        return [found[x] if x in found else context.b.zeros_like(x) for x in context.sources]


def reduced(
    context: AttributionContext, count: Tensor, points: Points, inner: str, options: Mapping[str, Any], reduction: Reduction, *,
    chunk: Chunk, place: PointTransform | None,
) -> list[Tensor]:  # fmt: skip
    """As `repeated` for the inner method of that name; gradients are not carried through linear ends at every point."""
    sums = place is None and isinstance(reduction, Sum)
    ends = linear_ends(context, sums=sums) if inner == "gradient" and not options else None
    if ends is None:
        return accumulate(context, count, points, inner_method(inner, options, chunk), reduction, chunk=chunk, place=place)
    between = ends.gradient_between
    made = accumulate(
        context, count, points, between, reduction, chunk=chunk, place=place, likes=ends.inner if ends.first else None
    )
    return ends.carried_back(made)


def linear_ends(context: AttributionContext, *, sums: bool) -> LinearEnds | None:
    """The linear ends of a context's model, the first one only for `sums` of gradients; None where neither holds a linear map, or
    messages must be seen on the way."""
    if context.identity_cotangents is not None or context.point.masks or context.observer is not None:
        return None
    live = _live(context)
    moved = _moved(context)
    first = _first(context, live, moved) if sums else frozenset()
    outside = {i: node for i, node in live.items() if i not in first}
    read = {t.name for node in outside.values() for t in node.reads if t is not None} | {context.target.name}
    known = [*context.sources, *(t for i in sorted(first) for t in context.nodes[i].outputs if t is not None)]
    inner = tuple(t for t in dict.fromkeys(known) if t.name in read) if first else context.sources
    if not outside or any(t.shape is None or t.dtype is None for t in inner):
        return None
    last = _last(context, outside, moved)
    if not first and not last:
        return None
    heads = {context.target: context.cotangent}
    if last:
        nodes = [context.nodes[i] for i in sorted(last)]
        made = {t for node in nodes for t in node.outputs}
        reads = (t for i in sorted(last) for k, t in enumerate(live[i].reads) if live[i].needs_input_grad(k))
        ends = [t for t in dict.fromkeys(reads) if t is not None and t not in made]
        heads = backpropagate(context.b, nodes, ends, heads, RuleSelector(GRADIENT, context.registry))
        heads = {t: heads[t] for t in ends if t in heads}
    return LinearEnds(context, first, inner, last, heads)


def _live(context: AttributionContext) -> dict[int, Node]:
    """The nodes that carry messages, by their places, in order."""
    found = liveness(context.nodes, context.sources, [context.target], context.registry.role).nodes
    makers = {t.name: node for node in found for t in node.outputs if t is not None}
    live = {}
    for i, node in enumerate(context.nodes):
        seen = next((makers[t.name] for t in node.outputs if t is not None and t.name in makers), None)
        if seen is not None:
            live[i] = seen
    return live


def _moved(context: AttributionContext) -> set[str]:
    """The names of all tensors that depend on the point."""
    moved = {t.name for t in context.sources}
    for node in context.nodes:
        if not standard_traits(node).shape_only and any(t is not None and t.name in moved for t in node.reads):
            moved.update(t.name for t in node.outputs if t is not None)
    return moved


def _first(context: AttributionContext, live: Mapping[int, Node], moved: set[str]) -> frozenset[int]:
    """The nodes by which the explained tensors go through affine maps alone."""
    affine, places = {t.name for t in context.sources}, []
    for i, node in live.items():
        if _is_affine(node, moved, context.registry.traits(node)) and all(
            t is None or t.name in affine or t.name not in moved for t in node.reads
        ):
            places.append(i)
            affine.update(t.name for t in node.outputs if t is not None)
    # What follows the last map costs little, and may be part of what is differentiated as one.
    kept: set[int] = set()
    wanted: set[str] = set()
    for i in reversed(places):
        if standard_traits(live[i]).multiplies or any(t is not None and t.name in wanted for t in live[i].outputs):
            kept.add(i)
            wanted.update(t.name for t in live[i].reads if t is not None)
    return frozenset(kept)


def _last(context: AttributionContext, live: Mapping[int, Node], moved: set[str]) -> frozenset[int]:
    """The nodes from which only affine maps lead to the target; none where their tensors lack a sample axis that is needed."""
    readers: dict[str, list[int]] = {}
    for i, node in live.items():
        for t in node.reads:
            if t is not None:
                readers.setdefault(t.name, []).append(i)
    places: set[int] = set()
    for i, node in reversed(list(live.items())):
        made = [t.name for t in node.outputs if t is not None]
        onward = {k for name in made for k in readers.get(name, ())}
        if (
            (onward or context.target.name in made)
            and onward <= places
            and _is_affine(node, moved, context.registry.traits(node))
        ):
            places.add(i)
    behind: set[str] = set()  # a map: what comes before the first one costs little
    for i in sorted(places):
        if standard_traits(live[i]).multiplies or any(t is not None and t.name in behind for t in live[i].reads):
            behind.update(t.name for t in live[i].outputs if t is not None)
        else:
            places.discard(i)
    if context.symbol is not None:
        reads = {i: [t for k, t in enumerate(live[i].reads) if t is not None and live[i].needs_input_grad(k)] for i in places}
        if any(only_axis(t, context.symbol) is None for tensors in reads.values() for t in tensors):
            return frozenset()
    return frozenset(places)


def _is_affine(node: Node, moved: set[str], facts: OpTraits) -> bool:
    """Whether a node is affine in what it passes messages to, and all else that it reads is the same at every point."""
    if not facts.linear_in or facts.recodes or node.get("training_mode"):
        return False
    varies = [i for i, t in enumerate(node.reads) if t is not None and t.name in moved]
    if not all(node.needs_input_grad(i) for i in varies) or any(
        t is not None and t.is_sequence for t in (*node.reads, *node.outputs)
    ):
        return False
    return facts.linear_in == "together" or varies == [0] or (facts.linear_in == "each" and len(varies) == 1)
