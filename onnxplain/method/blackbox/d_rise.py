"""D-RISE: RISE for detectors, where a masked picture's score is how alike its most similar detection is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onnxplain.errors import MethodError
from onnxplain.method.blackbox.proposals import Proposals
from onnxplain.method.blackbox.rise import faded
from onnxplain.method.blackbox.task import PerturbationContext, PerturbationResult
from onnxplain.method.registry import method
from onnxplain.runtime.scorer import Array, Scorer

__all__ = ["ProposalScorer", "likeness"]


@method(
    "d-rise",
    summary="Of a detector: how much more like itself than on average a detection stays where an element is left visible",
    formula="Σ_k s(x ∘ M_k) (M_k − p) / (m · p), s = max over detections d′ of IoU(d, d′) · cos(P_d, P_d′) · O_d′",
    source="Petsiuk et al. 2021, Black-box Explanation of Object Detectors via Saliency Maps, eqs. 1-5",
    axioms=("implementation-invariance",),
    needs_baseline=True,
    forward_only=True,
)
def d_rise(
    context: PerturbationContext, *, samples: int = 2000, cells: int = 16, probability: float = 0.5, centred: bool = True,
    objectness: bool = True, axes: Any = None, seed: int = 0, chunk: int | str | None = None,
) -> PerturbationResult:  # fmt: skip
    """With objectness=False every proposal counts in full, as in the paper where a detector tells no objectness; else its
    greatest score takes that place."""
    proposals = context.proposals
    if proposals is None:
        raise MethodError("d-rise explains the detections of a detector: pass detect='auto' (--detect)")
    scorer = ProposalScorer.over(context.scorer, proposals)
    read = _Likeness(proposals, objectness)
    return faded(
        "d-rise", replace(context, scorer=scorer, read=read, targets=1), samples, cells, probability, centred, axes, seed, chunk
    )


class ProposalScorer(Scorer):
    """A model whose scores are its proposals, row by row: [rows, proposals · width], NaN where one has fewer than another."""

    _proposals: Proposals

    @classmethod
    def over(cls, scorer: Scorer, proposals: Proposals) -> ProposalScorer:
        """The same model, read otherwise."""
        made = cls.__new__(cls)
        made.__dict__.update(scorer.__dict__)
        made._proposals = proposals
        return made

    def scores(self, feeds: Mapping[str, Array]) -> Array:
        """The proposals of perturbed inputs."""
        if self.batched:
            found = self._proposals.of(self.as_fed(feeds))
        else:
            count = len(feeds[next(iter(self.sampled))])
            found = [rows for i in range(count) for rows in self._proposals.of({n: v[i] for n, v in feeds.items()})]
        width = found[0].shape[1]
        made = np.full((len(found), max(1, max(map(len, found))), width), np.nan)
        for row, some in zip(made, found, strict=True):
            row[: len(some)] = some
        return made.reshape(len(found), -1)


@dataclass(frozen=True)
class _Likeness:
    """Reads how alike the most similar proposal is off proposals [k, samples, m, proposals · width]."""

    proposals: Proposals
    objectness: bool

    def __call__(self, scores: Array, samples: slice) -> Array:
        mine = self.proposals.explained[samples]
        width = mine[0].shape[1]
        rows = scores.reshape(*scores.shape[:3], -1, width)
        found = [
            likeness(some, np.moveaxis(rows[:, i], -1, 0), one_class=self.proposals.one_class, objectness=self.objectness)
            for i, some in enumerate(mine)
        ]
        return np.stack(found, axis=1)[..., None]


def likeness(explained: Array, proposals: Array, *, one_class: bool, objectness: bool = True) -> Array:
    """How alike the most similar proposal is to what is explained, summed over what is explained (equations 1 to 4).

    Args:
        explained: [k, width].
        proposals: [width, …, proposals], NaN where there is none.
        one_class: whether classes are told by number.
        objectness: whether proposals count by their objectness.

    Returns:
        Numbers [k · (0 to 1)] without the axis of proposals; 0 where there are none.
    """
    here = ~np.isnan(proposals[0])
    left, top, right, bottom = np.where(here, proposals[:4], 0)
    kinds, weight = np.where(here, proposals[4:-1], 0), np.where(here, proposals[-1], 0)
    total: Array | float = 0.0
    for row in explained:
        wide = (np.minimum(right, row[2]) - np.maximum(left, row[0])).clip(min=0)
        high = (np.minimum(bottom, row[3]) - np.maximum(top, row[1])).clip(min=0)
        union = (right - left) * (bottom - top) + (row[2] - row[0]) * (row[3] - row[1]) - wide * high
        overlap = np.divide(wide * high, union, out=np.zeros_like(union), where=union > 0)
        same = _same_class(kinds, row[4:-1], one_class)
        alike = overlap * same * (weight if objectness else here)
        total = total + alike.max(axis=-1)
    return np.asarray(total)


def _same_class(kinds: Array, own: Array, one_class: bool) -> Array:
    """The cosine between vectors of classes; equality where classes are told by number."""
    if one_class:
        return np.asarray(kinds[0] == own[0], np.float64)
    sizes = np.sqrt((kinds**2).sum(axis=0)) * np.sqrt((own**2).sum())
    along = np.tensordot(own, kinds, axes=(0, 0))
    return np.asarray(np.divide(along, sizes, out=np.zeros_like(along), where=sizes > 0))
