"""BlackBox: what an Explainer runs when its method needs forward passes only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from onnxplain._version import __version__
from onnxplain.analysis.target import Target, TargetLike, at_run_time
from onnxplain.errors import InputError, MethodError
from onnxplain.io.metadata import CONTRACT
from onnxplain.io.reader import Source
from onnxplain.ir.registry import Registry
from onnxplain.method.blackbox.task import Found, Task
from onnxplain.method.registry import Method
from onnxplain.results.explanation import Explanation
from onnxplain.runtime.inputs import check_inputs
from onnxplain.runtime.readout import picked
from onnxplain.runtime.scorer import Array, Forward
from onnxplain.runtime.session import Providers

__all__ = ["BlackBox"]


class BlackBox:
    """Explains predictions of a prepared model by forward passes.

    Args: as of `onnxplain.Explainer`.
    """

    def __init__(
        self, source: Source, method: Method, options: dict[str, Any], *, registry: Registry, providers: Providers,
        threads: int | None, batch_size: int | None, progress: bool | None, labels: Sequence[str], output: str | None,
        inputs: Sequence[str] | None, layer: Sequence[str] | None, baseline: Any, score: str,
    ) -> None:  # fmt: skip
        if layer:
            raise MethodError(
                f"method '{method.name}' perturbs the model's inputs; leave layer out or choose a method that differentiates"
            )
        if baseline is not None and not method.needs_baseline:
            raise MethodError(f"method '{method.name}' compares with no baseline; leave it out or choose another method")
        self.method, self.source, self.labels = method, source, list(labels)
        self.options = method.checked(options)
        self.forward = Forward(source, output, score, providers, threads)
        self.names = self.forward.explained(inputs, registry)
        self._baseline, self._batch_size, self._progress = baseline, batch_size, progress
        self.about = self._describe()

    @property
    def overall(self) -> bool:
        """Whether it says something of all samples together, not of each."""
        return self.method.name == "partial-dependence" or bool(self.options.get("overall"))

    def __call__(
        self, x: Any, target: TargetLike = None, *, baseline: Any = None, seed: Array | None = None, **run_time: Any
    ) -> Explanation:
        """As `onnxplain.Explainer.__call__`."""
        if run_time:
            raise MethodError(f"method '{self.method.name}' expects no '{next(iter(run_time))}' at run time")
        if baseline is not None and (self._baseline is not None or not self.method.needs_baseline):
            fixed = (
                "the Explainer was given its baseline"
                if self._baseline is not None
                else f"'{self.method.name}' compares with none"
            )
            raise MethodError(f"no baseline can be given here: {fixed}")
        feeds = check_inputs(x, self.forward.inputs, finite=False)
        lifted = feeds if self.forward.batched else {k: v[None] for k, v in feeds.items()}
        count = self._count(lifted)
        given = self._baseline if baseline is None else baseline
        if not self.forward.batched:
            given = _lifted(given, {n: lifted[n].ndim for n in self.names})
        shape = self.forward.score.tensor.shape or ()
        kind, chosen = at_run_time(target, seed, count, len(shape) - int(self.forward.batched))
        task = self._task(lifted, kind, chosen, seed, given)
        found = self.method.run(task, **self.options)
        if self.forward.batched and not found.overall and chosen is not None:
            chosen = np.where(chosen < 0, task.prediction.ranked.reshape(count, -1).argmax(axis=1), chosen)
        return self._explanation(found, feeds, task, kind, chosen, count, given)

    def _task(self, feeds: dict[str, Array], kind: Target, chosen: Array | None, seed: Array | None, baseline: Any) -> Task:
        size = self.forward.fixed or self._batch_size
        rows = size or max(1, min(len(feeds[self.names[0]]), 64))
        prediction = self.forward.predict(feeds, rows)
        if seed is not None and not self.forward.batched:
            seed = np.asarray(seed)[None]
        read = picked(kind, prediction.scores, prediction.ranked, chosen, seed)
        explained = {n: feeds[n] for n in self.names}
        fixed = {n: v for n, v in feeds.items() if n not in explained}
        title = f"{self.method.name} on {len(feeds[self.names[0]])} samples"
        return Task(
            self.forward, explained, fixed, prediction, read, read.targets, baseline, self._batch_size, title, self._progress
        )

    def _count(self, feeds: Mapping[str, Array]) -> int:
        first = feeds[self.names[0]]
        if not len(first):
            raise InputError("there are no samples to explain: the first axis is empty")
        return len(first)

    def _explanation(
        self, found: Found, feeds: dict[str, Array], task: Task, kind: Target, chosen: Array | None, count: int, baseline: Any
    ) -> Explanation:
        def cut(value: Array) -> Array:
            if kind.kind != "all" or value.shape[1] != task.targets:  # what holds for all targets alike has one
                value = value[:, 0]
            return value if self.forward.batched else value[0]

        about = self.about | {"target": str(kind), "baseline": _told(baseline, self.method)} | found.notes
        attributions = {n: cut(v) for n, v in found.attributions.items()}
        facts = {n: cut(v) for n, v in found.facts.items()}
        gap = None if found.gap is None else np.atleast_1d(cut(found.gap))
        if found.overall:
            about |= {"target": "all samples", "mean_of": self._mean_of(kind, chosen, task)}
            return Explanation(attributions, {}, {}, None, about, self.labels, gap, facts)
        outputs = task.prediction.outputs if self.forward.batched else {k: v[0] for k, v in task.prediction.outputs.items()}
        return Explanation(attributions, feeds, outputs, chosen, about, self.labels, gap, facts)

    @staticmethod
    def _mean_of(kind: Target, chosen: Array | None, task: Task) -> str:
        """Which targets the scores of all samples together are of."""
        if kind.kind == "all" or chosen is None:
            return str(kind)
        ranked = task.prediction.ranked.reshape(task.count, -1)
        own = np.unique(np.where(chosen < 0, ranked.argmax(axis=1), chosen))
        return str(own[0]) if len(own) == 1 else "each sample's own"

    def _describe(self) -> dict[str, Any]:
        """What an explained model would say of itself."""
        scored = self.forward.score
        plain = {k: v if isinstance(v, str | int | float | None) else "given" for k, v in self.options.items()}
        return {
            "contract": CONTRACT, "version": __version__, "method": self.method.name,
            "method_info": self.method.info, "options": plain,
            "axioms": list(self.method.axioms), "target": "input", "output": scored.output,
            "score": {
                "tensor": scored.tensor.name, "kind": scored.kind, "activation": scored.activation,
                "shape": None if scored.tensor.shape is None else list(scored.tensor.shape),
            },
            "batched": self.forward.batched, "baseline": None,
            "attributions": {f"{n}_attribution": {"explains": n, "tensor": n, "kind": "input"} for n in self.names},
            "run_time_inputs": {}, "source_sha256": self.source.sha256, "passes": list(self.source.passes or ()), "reports": {},
        }  # fmt: skip


def _told(baseline: Any, method: Method) -> Any:
    if not method.needs_baseline:
        return None
    return baseline if isinstance(baseline, int | float | str) else "given" if baseline is not None else None


def _lifted(baseline: Any, ranks: Mapping[str, int]) -> Any:
    """A baseline for a model without samples, with an axis for them where it has all others."""
    if isinstance(baseline, Mapping):
        return {n: _lifted(v, {n: ranks[n]}) if n in ranks else v for n, v in baseline.items()}
    array = np.asarray(baseline)
    return array[None] if array.ndim and array.ndim == min(ranks.values()) - 1 else baseline
