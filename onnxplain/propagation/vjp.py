"""Vector-Jacobian products of a model: a backward pass and nothing else. Checks and tests are built on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import onnx

from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.passes.lowering import lowered
from onnxplain.propagation.backward import backpropagate
from onnxplain.propagation.composite import GRADIENT, Composite, RuleSelector

__all__ = ["vjp"]


def vjp(
    model: onnx.ModelProto,
    sources: Iterable[str],
    targets: Sequence[str],
    *,
    composite: Composite = GRADIENT,
    registry: Registry | None = None,
) -> onnx.ModelProto:
    """A prepared model with an input `<target>_seed` per target and an output `<source>_gradient` per source.

    The gradient of a source the targets do not depend on is zero. The model is changed in place and returned.
    """
    registry = registry or load_registry()
    graph = Graph(model)
    b = Builder(graph)
    ends = [graph.tensor(t) for t in targets]
    starts = [graph.tensor(s) for s in sources]
    target_messages = {end: replace(end, name=graph.fresh(f"{end.name}_seed")) for end in ends}
    messages = backpropagate(b, graph.nodes, starts, target_messages, RuleSelector(composite, registry))
    results: list[Tensor] = []
    for start in starts:
        message = messages.get(start) or b.zeros_like(start)
        results.append(b.rename(message, f"{start.name}_gradient"))
    return graph.finish(lowered(b, registry.traits), b.constants, results, inputs=list(target_messages.values()))
