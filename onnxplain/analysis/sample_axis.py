"""The sample axis: which axis of each tensor counts samples. All that cuts, joins, tiles or counts samples asks here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from onnxplain.analysis.score import Score
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Dim, Tensor, same_dim

__all__ = ["SampleAxes", "explained_axis", "find_sample_axes", "is_batched", "sample_axis", "shared_symbol"]


@dataclass(frozen=True)
class SampleAxes:
    """Which axis counts samples, tensor by tensor.

    Attributes:
        score: the explained output.
        inputs: the inputs of the model.
        batched: whether the explained output has an axis that counts samples. Where it has none, no tensor has one.
    """

    score: Tensor
    inputs: tuple[Tensor, ...]
    batched: bool

    @cached_property
    def sampled(self) -> frozenset[str]:
        """The inputs whose first axis counts samples: those with the first extent of the explained output.

        Where that extent is known of no input, all that have axes. A vector of settings beside the samples is not cut.
        """
        if not self.batched:
            return frozenset()
        mine = (self.score.shape or ())[:1]
        alike = {t.name for t in self.inputs if t.shape and mine and same_dim(t.shape[0], mine[0])}
        return frozenset(alike or {t.name for t in self.inputs if t.shape != ()})

    @cached_property
    def fixed(self) -> int | None:
        """The batch size the model was exported with; None where it is free, or nothing counts samples."""
        sizes = {t.shape[0] for t in self.inputs if t.name in self.sampled and t.shape and isinstance(t.shape[0], int)}
        return max(sizes) if sizes else None

    def of_input(self, name: str) -> int | None:
        """The axis of an input that counts samples; None where none does."""
        return 0 if name in self.sampled else None


def find_sample_axes(graph: Graph, score: Score) -> SampleAxes:
    """The sample axes of a model, seen from what is explained."""
    return SampleAxes(score.tensor, graph.inputs, is_batched(graph, score.tensor))


def is_batched(graph: Graph, target: Tensor) -> bool:
    """Whether the first axis of the explained output counts samples.

    It does when it has the extent of an input's first axis. An extent that nothing is known of is taken for samples, unless
    neither the output nor any input has further axes.
    """
    if not target.shape:
        return False
    shapes = [t.shape for t in graph.inputs if t.shape]
    mine = target.shape[0]
    if not shapes or any(same_dim(shape[0], mine) for shape in shapes):
        return len(target.shape) > 1 or bool(shapes)
    return not isinstance(mine, int) and (len(target.shape) > 1 or any(len(shape) > 1 for shape in shapes))


def sample_axis(tensor: Tensor, symbol: Dim) -> int | None:
    """The axis that counts samples: the only one of that extent; None where there is none or more than one."""
    axes = [i for i, d in enumerate(tensor.shape or ()) if d == symbol]
    return axes[0] if len(axes) == 1 else None


def explained_axis(tensor: Tensor, target: Tensor) -> int:
    """The axis of an explained tensor that counts samples, where the target's first one does: the one of its extent, else the
    first."""
    return sample_axis(tensor, target.dim(0)) or 0


def shared_symbol(target: Tensor, inputs: Sequence[Tensor], others: Iterable[Tensor]) -> str | None:
    """The symbol of the sample axis where all tensors have just one axis of it, so that samples can take turns or be tiled.

    Args:
        target: the explained output, whose first axis counts samples.
        inputs: of the model. Each has that symbolic extent once or not at all, and no first extent of another symbol, which
            might count samples too.
        others: what must have the extent as well: the explained tensors and layers.
    """
    mine = target.shape[0] if target.shape else None
    if not isinstance(mine, str):
        return None
    alone = all(isinstance(d, int) or d == mine for d in {t.shape[0] for t in inputs if t.shape})
    tiled = [*others, target, *(t for t in inputs if t.shape and mine in t.shape)]
    return mine if alone and all(sample_axis(t, mine) is not None for t in tiled) else None
