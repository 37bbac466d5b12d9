"""Which tensors carry messages: those that depend on a source and that the target depends on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from onnxplain.call import Call
from onnxplain.tensor import Tensor

__all__ = ["Live", "liveness"]


@dataclass(frozen=True)
class Live:
    """The live calls in topological order, each with its `live` inputs marked, and the names of all live tensors."""

    calls: tuple[Call, ...]
    tensors: frozenset[str]


def liveness(
    calls: Sequence[Call],
    sources: Iterable[Tensor],
    targets: Iterable[Tensor],
    stops: Callable[[Call], bool] = lambda call: False,
) -> Live:
    """Calls and tensors on the way from sources to targets, in one pass forward and one backward.

    A tensor that is no floating-point tensor carries no message; nor does what a call with derivative zero (`stops`)
    makes.
    """
    reached = {t.name for t in sources}
    for call in calls:
        if any(t is not None and t.name in reached for t in call.reads) and not stops(call):
            reached.update(t.name for t in call.outputs if t is not None and t.is_float)
    wanted = {t.name for t in targets} & reached
    kept: list[Call] = []
    for call in reversed(calls):
        if not any(t is not None and t.name in wanted for t in call.outputs):
            continue
        live = tuple(t is not None and t.is_float and t.name in reached for t in call.reads)
        if any(live) and not stops(call):
            wanted.update(t.name for t, is_live in zip(call.reads, live, strict=True) if t is not None and is_live)
            kept.append(replace(call, live=live))
    return Live(tuple(reversed(kept)), frozenset(wanted))
