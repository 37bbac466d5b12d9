"""DeepLIFT multipliers of a model given by hand, in float64 by onnx's reference evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes import prepare
from onnxplain.propagation.backward import backpropagate
from onnxplain.propagation.composite import RuleSelector
from onnxplain.propagation.deeplift.composites import deeplift_composite
from onnxplain.verification.finite_differences import double, run


@dataclass(frozen=True)
class Multipliers:
    """What changed between two points, and the multipliers of the inputs for one random weight per output element."""

    changes: Mapping[str, np.ndarray[Any, Any]]
    values: Mapping[str, np.ndarray[Any, Any]]
    change: float
    size: float

    @property
    def gap(self) -> float:
        """What the inputs' shares miss of the outputs' change, relative to the size of the terms summed."""
        shared = sum(float((self.values[n] * self.changes[n]).sum()) for n in self.values)
        terms = sum(float(np.abs(self.values[n] * self.changes[n]).sum()) for n in self.values)
        return abs(shared - self.change) / max(self.size, terms, 1e-300)


def explained(model: onnx.ModelProto, sources: Sequence[str], targets: Sequence[str], rule: str = "rescale") -> onnx.ModelProto:
    """A model with an input `<source>_baseline` per source, `<target>_seed` per target, and outputs `<source>_multiplier` and
    `<target>_baseline`."""
    made = double(model)
    prepare(made)
    graph, registry = Graph(made), load_registry()
    b = Builder(graph)
    starts, ends = ([graph.tensor(n) for n in names] for names in (sources, targets))
    there = {s: replace(s, name=graph.fresh(f"{s.name}_baseline")) for s in starts}
    _, became = b.replay_all(graph.nodes, there, everything=False)
    changed = set(starts)
    for node in graph.nodes:
        if node.op not in ("Shape", "Size", "ConstantOfShape", "EyeLike") and any(
            t in changed for t in node.reads if t is not None
        ):
            changed.update(t for t in node.outputs if t is not None)
    target_messages = {end: replace(end, name=graph.fresh(f"{end.name}_seed")) for end in ends}
    choose = RuleSelector(deeplift_composite(rule), registry, references={t: became[t] for t in changed if t in became})
    found = backpropagate(b, graph.nodes, starts, target_messages, choose)
    results: list[Tensor] = [b.rename(found.get(s) or b.zeros_like(s), f"{s.name}_multiplier") for s in starts]
    results += [b.rename(became.get(e, e), f"{e.name}_baseline") for e in ends]
    return graph.finish(b.nodes, b.constants, results, inputs=[*there.values(), *target_messages.values()])


def multipliers(
    model: onnx.ModelProto, inputs: Mapping[str, Any], baselines: Mapping[str, Any], targets: Sequence[str],
    rule: str = "rescale", seeds: Mapping[str, Any] | None = None,
) -> Multipliers:  # fmt: skip
    """Multipliers of the inputs that have a baseline."""
    names = list(baselines)
    made = explained(model, names, targets, rule)
    plain = double(model)
    here = dict(zip(targets, run(plain, inputs, targets), strict=True))
    generator = np.random.default_rng(0)
    seeds = seeds or {t: generator.standard_normal(np.shape(here[t])) for t in targets}
    given = {**inputs, **{f"{n}_baseline": v for n, v in baselines.items()}, **{f"{t}_seed": u for t, u in seeds.items()}}
    outputs = run(made, given, [*(f"{n}_multiplier" for n in names), *(f"{t}_baseline" for t in targets)])
    values = dict(zip(names, outputs[: len(names)], strict=True))
    there = dict(zip(targets, outputs[len(names) :], strict=True))
    steps = {n: np.asarray(inputs[n], np.float64) - np.asarray(baselines[n], np.float64) for n in names}
    change = sum(float((seeds[t] * (here[t] - there[t])).sum()) for t in targets)
    size = sum(float(np.abs(seeds[t] * (here[t] - there[t])).sum()) for t in targets)
    return Multipliers(steps, values, change, size)
