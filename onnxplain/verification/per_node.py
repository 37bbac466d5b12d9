"""Every node of a model alone, at the values it really gets, against finite differences in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx

from onnxplain.analysis.liveness import liveness
from onnxplain.errors import OnnxplainError, RuleError
from onnxplain.explain.write import Rewritten
from onnxplain.io.reader import Source
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.own_kernels import as_shown
from onnxplain.ir.registry import Registry
from onnxplain.ir.tensor import Tensor
from onnxplain.runtime.progress import track
from onnxplain.runtime.session import Providers, Session
from onnxplain.verification.findings import Finding, sizes_of
from onnxplain.verification.finite_differences import Comparison, compare

__all__ = ["check_nodes"]


def check_nodes(
    graph: Graph, rewritten: Rewritten, source: Source, feeds: Mapping[str, Any], registry: Registry,
    providers: Providers, progress: bool | None,
) -> tuple[Finding, str]:  # fmt: skip
    """Every node on the way alone, in float64, at the values it really gets; the first wrong one from the output on."""
    sources = [graph.tensor(e["tensor"]) for e in rewritten.about["attributions"].values()]
    target = graph.tensor(rewritten.about["score"]["tensor"])
    live = liveness(graph.nodes, sources, [target], registry.role)
    needed = {t.name: t for c in live.nodes for t in c.reads if t is not None}
    values = _values(graph, source, feeds, needed, providers)
    unchecked: list[str] = []
    good = 0
    for node in track(list(reversed(live.nodes)), "checking nodes", progress):
        try:
            result = _check_node(node, graph, values, registry)
        except (OnnxplainError, NotImplementedError, RuntimeError, TypeError, ValueError, KeyError) as error:
            unchecked.append(f"{node}: {str(error).splitlines()[0][:120] if str(error) else type(error).__name__}")
            continue
        if result is None or not result.smooth:
            unchecked.append(f"{node}: on a kink of its operator")
        elif not result.ok:
            where = f"{node}{f' in {node.scope}' if node.scope else ''}"
            detail = f"{where}: finite differences give {result.numeric:.6g}, its rule {result.analytic:.6g}"
            return Finding("gradient of each node", False, f"first wrong node from the output on: {detail}"), node.name
        else:
            good += 1
    rest = f"; {len(unchecked)} could not be checked ({unchecked[0]})" if unchecked else ""
    return Finding("gradient of each node", True if good else None, f"{good} of {len(live.nodes)} nodes agree{rest}"), ""


def _values(
    graph: Graph, source: Source, feeds: Mapping[str, Any], needed: Mapping[str, Tensor], providers: Providers
) -> dict[str, np.ndarray[Any, Any]]:
    """The values that the named tensors take at this input."""
    model = source.copy().model
    own = {o.name for o in model.graph.output}
    inner = [n for n, t in needed.items() if graph.producer(t) is not None and n not in own]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(n) for n in inner)
    session = Session(model, providers, folder=source.folder)
    made = session.run(feeds)
    constants = {t.name: t for t in source.model.graph.initializer if t.name in needed}
    folder = str(source.folder) if source.folder is not None else ""
    return {**feeds, **made, **{n: onnx.numpy_helper.to_array(t, base_dir=folder) for n, t in constants.items()}}


def _check_node(
    model_node: Node, graph: Graph, values: Mapping[str, np.ndarray[Any, Any]], registry: Registry
) -> Comparison | None:
    """One node as a model of its own, slightly moved where it sits on a kink."""
    if not model_node.y.is_float or not all(
        t.is_float for i, t in enumerate(model_node.reads) if t is not None and model_node.needs_input_grad(i)
    ):
        raise RuleError("it rounds, or reads what was rounded")
    node = next(n for n in as_shown(graph.model.graph.node) if n.name == model_node.name)
    reads = {t.name: t for t in model_node.reads if t is not None}
    sources = [t.name for i, t in enumerate(model_node.reads) if t is not None and model_node.needs_input_grad(i)]
    infos = [_info(n, values[n]) for n in reads]
    outputs = [y for y in model_node.outputs if y is not None and y.is_float]
    made = [
        onnx.helper.make_tensor_value_info(y.name, onnx.helper.np_dtype_to_tensor_dtype(y.dtype), None)
        for y in outputs
        if y.dtype
    ]
    alone = onnx.helper.make_model(
        onnx.helper.make_graph([node], "call", infos, made),
        opset_imports=list(graph.model.opset_import),
        ir_version=graph.model.ir_version,
    )
    generator = np.random.default_rng(0)
    result: Comparison | None = None
    for nudge in (0.0, 1e-3, 1e-2):
        point = {
            n: v + nudge * sizes_of(v) * generator.standard_normal(v.shape) if n in sources else v
            for n, v in values.items()
            if n in reads
        }
        result = compare(alone, point, list(dict.fromkeys(sources)), step=1e-7, tolerance=1e-4, registry=registry)
        if result.smooth:
            break
    return result


def _info(name: str, value: np.ndarray[Any, Any]) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
