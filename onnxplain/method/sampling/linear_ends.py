"""What a model begins and ends with, as far as it is linear, need not be differentiated at every point.

Σ wₖ · J₁ᵀ J₂(xₖ)ᵀ J₃ᵀ s = J₁ᵀ Σ wₖ · J₂(xₖ)ᵀ (J₃ᵀ s) for f = f₃ ∘ f₂ ∘ f₁ with f₁ and f₃ affine: the first layer of a network of
convolutions or the patches of a transformer, backward often the dearest layer, and the last layer before the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnxplain.analysis.liveness import liveness
from onnxplain.analysis.sample_axis import sample_axis
from onnxplain.ir.node import Call
from onnxplain.ir.ops import OpTraits, standard_traits
from onnxplain.ir.tensor import Tensor
from onnxplain.method.attribution import inner_method
from onnxplain.method.context import AttributionContext
from onnxplain.method.sampling.accumulate import Place, Points, Reduction, Sum, repeated
from onnxplain.method.sampling.chunk_size import Chunk
from onnxplain.propagation.backward import carry
from onnxplain.propagation.composite import GRADIENT, Choice

__all__ = ["LinearEnds", "linear_ends", "reduced"]


@dataclass(frozen=True)
class LinearEnds:
    """The linear calls at both ends of a job's model, by their places among all, and the tensors between which the rest lies.

    `inner` are what the first calls hand to others, `heads` what the last ones read of others, with the message there.
    """

    job: AttributionContext
    first: frozenset[int]
    inner: tuple[Tensor, ...]
    last: frozenset[int]
    heads: Mapping[Tensor, Tensor]

    def gradient_between(self, moved: AttributionContext) -> list[Tensor]:
        """The gradient at the inner tensors, for the job at other points."""
        assert moved.origin is not None
        _, copies = moved.origin
        calls = [call for i, call in enumerate(moved.calls) if i not in self.first | self.last]
        seeds = {moved.became.get(t, t): m if copies is None else copies.tile(m) for t, m in self.heads.items()}
        inner = [moved.became.get(t, t) for t in self.inner]
        found = carry(moved.b, calls, inner, seeds, Choice(GRADIENT, moved.registry))
        return [found[t] if t in found else moved.b.zeros_like(t) for t in inner]

    def carried_back(self, messages: Sequence[Tensor]) -> list[Tensor]:
        """What messages on the inner tensors become at the explained ones."""
        job = self.job
        if not self.first:
            return list(messages)
        calls = [call for i, call in enumerate(job.calls) if i in self.first]
        found = carry(job.b, calls, job.sources, dict(zip(self.inner, messages, strict=True)), Choice(GRADIENT, job.registry))
        return [found[x] if x in found else job.b.zeros_like(x) for x in job.sources]


def reduced(
    job: AttributionContext, count: Tensor, points: Points, inner: str, options: Mapping[str, Any], reduction: Reduction, *,
    chunk: Chunk, place: Place | None,
) -> list[Tensor]:  # fmt: skip
    """As `repeated` for the inner method of that name; gradients are not carried through linear ends at every point."""
    sums = place is None and isinstance(reduction, Sum)
    ends = linear_ends(job, sums=sums) if inner == "gradient" and not options else None
    if ends is None:
        return repeated(job, count, points, inner_method(inner, options, chunk), reduction, chunk=chunk, place=place)
    between = ends.gradient_between
    made = repeated(job, count, points, between, reduction, chunk=chunk, place=place, likes=ends.inner if ends.first else None)
    return ends.carried_back(made)


def linear_ends(job: AttributionContext, *, sums: bool) -> LinearEnds | None:
    """The linear ends of a job's model, the first one only for `sums` of gradients; None where neither holds a linear map, or
    messages must be seen on the way."""
    if job.identity_seeds is not None or job.point.masks or job.observer is not None:
        return None
    live = _live(job)
    moved = _moved(job)
    first = _first(job, live, moved) if sums else frozenset()
    outside = {i: call for i, call in live.items() if i not in first}
    read = {t.name for call in outside.values() for t in call.reads if t is not None} | {job.target.name}
    known = [*job.sources, *(t for i in sorted(first) for t in job.calls[i].outputs if t is not None)]
    inner = tuple(t for t in dict.fromkeys(known) if t.name in read) if first else job.sources
    if not outside or any(t.shape is None or t.dtype is None for t in inner):
        return None
    last = _last(job, outside, moved)
    if not first and not last:
        return None
    heads = {job.target: job.seed}
    if last:
        calls = [job.calls[i] for i in sorted(last)]
        made = {t for call in calls for t in call.outputs}
        reads = (t for i in sorted(last) for k, t in enumerate(live[i].reads) if live[i].wants(k))
        ends = [t for t in dict.fromkeys(reads) if t is not None and t not in made]
        heads = carry(job.b, calls, ends, heads, Choice(GRADIENT, job.registry))
        heads = {t: heads[t] for t in ends if t in heads}
    return LinearEnds(job, first, inner, last, heads)


def _live(job: AttributionContext) -> dict[int, Call]:
    """The calls that carry messages, by their places, in order."""
    found = liveness(job.calls, job.sources, [job.target], job.registry.role).calls
    makers = {t.name: call for call in found for t in call.outputs if t is not None}
    live = {}
    for i, call in enumerate(job.calls):
        seen = next((makers[t.name] for t in call.outputs if t is not None and t.name in makers), None)
        if seen is not None:
            live[i] = seen
    return live


def _moved(job: AttributionContext) -> set[str]:
    """The names of all tensors that depend on the point."""
    moved = {t.name for t in job.sources}
    for call in job.calls:
        if not standard_traits(call).shape_only and any(t is not None and t.name in moved for t in call.reads):
            moved.update(t.name for t in call.outputs if t is not None)
    return moved


def _first(job: AttributionContext, live: Mapping[int, Call], moved: set[str]) -> frozenset[int]:
    """The calls by which the explained tensors go through affine maps alone."""
    affine, places = {t.name for t in job.sources}, []
    for i, call in live.items():
        if _is_affine(call, moved, job.registry.traits(call)) and all(
            t is None or t.name in affine or t.name not in moved for t in call.reads
        ):
            places.append(i)
            affine.update(t.name for t in call.outputs if t is not None)
    # What follows the last map costs little, and may be part of what is differentiated as one.
    kept: set[int] = set()
    wanted: set[str] = set()
    for i in reversed(places):
        if standard_traits(live[i]).multiplies or any(t is not None and t.name in wanted for t in live[i].outputs):
            kept.add(i)
            wanted.update(t.name for t in live[i].reads if t is not None)
    return frozenset(kept)


def _last(job: AttributionContext, live: Mapping[int, Call], moved: set[str]) -> frozenset[int]:
    """The calls from which only affine maps lead to the target; none where their tensors lack a sample axis that is needed."""
    readers: dict[str, list[int]] = {}
    for i, call in live.items():
        for t in call.reads:
            if t is not None:
                readers.setdefault(t.name, []).append(i)
    places: set[int] = set()
    for i, call in reversed(list(live.items())):
        made = [t.name for t in call.outputs if t is not None]
        onward = {k for name in made for k in readers.get(name, ())}
        if (onward or job.target.name in made) and onward <= places and _is_affine(call, moved, job.registry.traits(call)):
            places.add(i)
    behind: set[str] = set()  # a map: what comes before the first one costs little
    for i in sorted(places):
        if standard_traits(live[i]).multiplies or any(t is not None and t.name in behind for t in live[i].reads):
            behind.update(t.name for t in live[i].outputs if t is not None)
        else:
            places.discard(i)
    if job.symbol is not None:
        reads = {i: [t for k, t in enumerate(live[i].reads) if t is not None and live[i].wants(k)] for i in places}
        if any(sample_axis(t, job.symbol) is None for tensors in reads.values() for t in tensors):
            return frozenset()
    return frozenset(places)


def _is_affine(call: Call, moved: set[str], facts: OpTraits) -> bool:
    """Whether a call is affine in what it passes messages to, and all else that it reads is the same at every point."""
    if not facts.linear_in or facts.recodes or call.get("training_mode"):
        return False
    varies = [i for i, t in enumerate(call.reads) if t is not None and t.name in moved]
    if not all(call.wants(i) for i in varies) or any(t is not None and t.is_sequence for t in (*call.reads, *call.outputs)):
        return False
    return facts.linear_in == "together" or varies == [0] or (facts.linear_in == "each" and len(varies) == 1)
