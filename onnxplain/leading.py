"""What a model begins with, as far as it is linear: its adjoint commutes with sums over points, and need not run at each.

Σ wₖ · J₁ᵀ J₂(xₖ)ᵀ s = J₁ᵀ Σ wₖ · J₂(xₖ)ᵀ s for f = f₂ ∘ f₁ with f₁ affine: the first layer of a network of convolutions, the
patches of a transformer. Backward it is often the dearest layer: it has the most places, and few channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from onnxplain.backward import carry
from onnxplain.call import Call
from onnxplain.chunks import Chunk
from onnxplain.composite import GRADIENT, Choice
from onnxplain.liveness import liveness
from onnxplain.method import inner_method
from onnxplain.repeated import Place, Points, Reduction, Sum, repeated
from onnxplain.tensor import Tensor

if TYPE_CHECKING:
    from onnxplain.job import Job

__all__ = ["Leading", "leading", "reduced"]

MAPS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Linear in each operand, and worth it."""

ALONE = frozenset(
    {"Mul", "Div", "BatchNormalization", "AveragePool", "GlobalAveragePool", "ReduceSum", "ReduceMean", "Reshape", "Flatten"}
    | {"Squeeze", "Unsqueeze", "Transpose", "Slice", "Pad", "Expand", "Identity"}
)
"""Affine in one operand if the others stay the same, Div in the first."""

TOGETHER = frozenset({"Add", "Sub", "Sum", "Mean", "Concat"})
"""Affine in all operands together."""

EXTENTS = frozenset({"Shape", "Size"})
"""Operators whose results tell nothing of the values that they read."""


@dataclass(frozen=True)
class Leading:
    """The calls that a job's model begins with, by their places among all, and the tensors behind them that other calls read."""

    job: Job
    places: frozenset[int]
    ends: tuple[Tensor, ...]

    def gradient_behind(self, moved: Job) -> list[Tensor]:
        """The gradient at the ends, for the job at other points."""
        behind = [call for i, call in enumerate(moved.calls) if i not in self.places]
        ends = [moved.became.get(t, t) for t in self.ends]
        found = replace(moved, calls=behind).gradient(of=ends)
        return [found[t] for t in ends]

    def carried_back(self, messages: Sequence[Tensor]) -> list[Tensor]:
        """What messages on the ends become at the explained tensors."""
        job = self.job
        calls = [call for i, call in enumerate(job.calls) if i in self.places]
        seeds: Mapping[Tensor, Tensor] = dict(zip(self.ends, messages, strict=True))
        found = carry(job.b, calls, job.sources, seeds, Choice(GRADIENT, job.registry))
        return [found[x] if x in found else job.b.zeros_like(x) for x in job.sources]


def reduced(
    job: Job, count: Tensor, points: Points, inner: str, options: Mapping[str, Any], reduction: Reduction, *,
    chunk: Chunk, place: Place | None,
) -> list[Tensor]:  # fmt: skip
    """As `repeated` for the inner method of that name; sums of gradients are carried through the leading part once."""
    plain = inner == "gradient" and not options and place is None and isinstance(reduction, Sum)
    first = leading(job) if plain else None
    if first is None:
        return repeated(job, count, points, inner_method(inner, options, chunk), reduction, chunk=chunk, place=place)
    made = repeated(job, count, points, first.gradient_behind, reduction, chunk=chunk, likes=first.ends)
    return first.carried_back(made)


def leading(job: Job) -> Leading | None:
    """The affine part that a job's model begins with; None where it has no linear map, or messages must be seen on the way."""
    if job.basis is not None or job.masks or job.watch is not None:
        return None
    on_the_way = liveness(job.calls, job.sources, [job.target], job.registry.role).calls
    live = {t.name: call for call in on_the_way for t in call.outputs if t is not None}
    moved = {t.name for t in job.sources}  # depends on the points
    affine = set(moved)
    places, outside = [], []
    for i, call in enumerate(job.calls):
        if call.op in EXTENTS or not any(t is not None and t.name in moved for t in call.reads):
            continue
        made = [t.name for t in call.outputs if t is not None]
        moved.update(made)
        seen = next((live[name] for name in made if name in live), None)
        if seen is None:
            continue
        if _is_affine(seen, affine, moved):
            places.append(i)
            affine.update(made)
        else:
            outside.append(seen)
    if not outside or not any(job.calls[i].op in MAPS for i in places):
        return None
    read = {t.name for call in outside for t in call.reads if t is not None} | {job.target.name}
    known = [*job.sources, *(t for i in places for t in job.calls[i].outputs if t is not None)]
    ends = [t for t in dict.fromkeys(known) if t.name in read]
    if any(t.shape is None or t.dtype is None or t.is_sequence for t in ends):
        return None
    return Leading(job, frozenset(places), tuple(ends))


def _is_affine(call: Call, affine: set[str], moved: set[str]) -> bool:
    """Whether a call is affine in what it reads of affine tensors, and all else that it reads is the same at every point."""
    if call.domain or call.op not in MAPS | ALONE | TOGETHER or call.get("training_mode"):
        return False
    varies = [i for i, t in enumerate(call.reads) if t is not None and t.name in moved]
    known = all(call.wants(i) and t is not None and t.name in affine for i, t in enumerate(call.reads) if i in varies)
    return known and (call.op in TOGETHER or len(varies) == 1) and (call.op != "Div" or varies == [0])
