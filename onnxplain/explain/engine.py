"""Engine: what an Explainer asks, whether a rewritten model answers or forward passes do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx

from onnxplain.analysis.positions import last_only
from onnxplain.analysis.sample_axis import SampleAxes
from onnxplain.analysis.target import Target
from onnxplain.errors import InputError
from onnxplain.ir.tensor import Dim
from onnxplain.method.blackbox.proposals import Proposals
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.inputs import Nonfinite
from onnxplain.runtime.session import Providers

__all__ = ["Engine", "Question", "RunSettings", "count_samples", "extents_of_a_sample", "top_ones"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class RunSettings:
    """How models are run.

    Attributes:
        providers: "auto", "cpu", "cuda", or ONNX Runtime's own list.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        batch_size: samples (or perturbed copies) per run; None takes what a bound on memory allows.
        progress: whether to show a progress bar; None shows it on a terminal.
        trust: whether to take it on trust that the prediction is the original's, instead of comparing on the first run.
    """

    providers: Providers = None
    threads: int | None = None
    batch_size: int | None = None
    progress: bool | None = None
    trust: bool = False


@dataclass(frozen=True)
class Question:
    """A batch to be explained.

    Attributes:
        feeds: the inputs, checked.
        count: the number of samples; 1 where nothing counts samples.
        target: the kind of target.
        chosen: for the kind "input", an index per sample, negative for the top one.
        cotangent: for the kind "seed", a vector in the shape of the explained output.
        given: what else is given for this batch, by kind ("baseline", "noise", …); None where it is not.
        proposals: those of a detector, for methods that compare detections.
    """

    feeds: dict[str, Array]
    count: int
    target: Target
    chosen: Array | None
    cotangent: Array | None
    given: Mapping[str, Any]
    proposals: Proposals | None = None


class Engine(Protocol):
    """Answers questions about one model with one method."""

    @property
    def axes(self) -> SampleAxes:
        """Which axes count samples."""

    @property
    def about(self) -> dict[str, Any]:
        """What explanations say of themselves."""

    @property
    def nonfinite(self) -> Nonfinite:
        """Which numbers that are not finite inputs may hold."""

    @property
    def overall(self) -> bool:
        """Whether it says something of all samples together, not of each."""

    @property
    def shares_baselines(self) -> bool:
        """Whether every sample is compared with all baselines that a batch is given, not each with its own."""

    @property
    def model(self) -> onnx.ModelProto:
        """The explained model that serves indices of every form.

        Raises:
            MethodError: the method needs forward passes only, so that there is none.
        """

    def explain(self, question: Question) -> Explanation:
        """Explain the predictions for a batch.

        Raises:
            InputError, TargetError, MethodError: what is wrong, expected against found.
        """


def extents_of_a_sample(axes: SampleAxes, feeds: Mapping[str, Array]) -> list[Dim]:
    """The extents of one sample of the explained output; symbols that the inputs have are numbers here."""
    known = {d: n for t in axes.inputs if t.name in feeds for d, n in zip(t.shape or (), feeds[t.name].shape, strict=False)}
    return [known.get(d, d) if isinstance(d, str) else d for i, d in enumerate(axes.score.shape or ()) if i != axes.axis]


def top_ones(ranked: Array, about: Mapping[str, Any], feeds: Mapping[str, Array]) -> Array:
    """The top prediction of each sample, counted over its elements: of a language model, the top one at the last position.

    Args:
        ranked: the prediction, with the samples first, [n, …].
        about: what the explanation says of itself.
        feeds: the inputs.
    """
    positions = about.get("positions")
    if positions:
        ranked = last_only(ranked, feeds.get(positions["mask"]))
    return np.asarray(ranked.reshape(len(ranked), -1).argmax(axis=1))


def count_samples(axes: SampleAxes, feeds: Mapping[str, Array]) -> int:
    """The number of samples; 1 where nothing counts them.

    Raises:
        InputError: there are none, or there may be several and nothing tells which axis counts them.
    """
    several = [n for n, places in axes.open.items() if any(feeds[n].ndim > a and feeds[n].shape[a] > 1 for a in places)]
    if several:
        raise InputError(axes.question())
    if not axes.batched:
        return 1
    first, axis = next((a, axis) for n, a in feeds.items() if (axis := axes.of_input(n)) is not None)
    if first.ndim <= axis or first.shape[axis] == 0:
        raise InputError(f"there are no samples to explain: axis {axis} of the input is empty")
    return int(first.shape[axis])
