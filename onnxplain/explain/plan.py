"""plan: which rule serves which node of a model, and what is missing, before anything is run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onnxplain.analysis.explained import Explained
from onnxplain.analysis.liveness import Live, liveness
from onnxplain.analysis.sample_axis import AUTO, SampleAxes, SampleAxisLike
from onnxplain.analysis.score import Score
from onnxplain.analysis.tensor_names import addresses
from onnxplain.builder.builder import Builder
from onnxplain.errors import MethodError
from onnxplain.explain.prepare import prepare_source
from onnxplain.explain.request import Request
from onnxplain.explain.select import select
from onnxplain.io.reader import ModelLike, read
from onnxplain.ir.graph import Graph, named_dims
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.ir.tensor import Tensor
from onnxplain.method.registry import Method
from onnxplain.passes import prepared
from onnxplain.propagation.backward import live_nodes, missing_operators, with_layer_positions
from onnxplain.propagation.composite import RuleSelector, SelectedRule, effective_role
from onnxplain.propagation.rule import rule_name
from onnxplain.results.left_out import left_out_in_words
from onnxplain.results.notebook import html_table
from onnxplain.runtime.guarded import guarded

__all__ = ["Plan", "PlanRow", "plan"]


@dataclass(frozen=True)
class PlanRow:
    """One node of a plan.

    Attributes:
        node: the node's name.
        operator: the operator, with its domain where that is not the standard's.
        address: the name to give as `layer=` or `output=`, for example "Conv:0".
        scope: the module scope the exporter left in the file, "" for none.
        output: the name of the tensor it makes.
        shape: the extents of that tensor, in words.
        role: the role of the operator, a key of `onnxplain.ir.registry.ROLES`.
        rule: the name of the rule that serves the node.
        reason: why that rule was chosen.
        status: "rule", "missing" (no rule serves it), "part" (another row stands for this node and others together) or
            "off the way" (no message passes the node).
    """

    node: str
    operator: str
    address: str
    scope: str
    output: str
    shape: str
    role: str
    rule: str
    reason: str
    status: str


@dataclass(frozen=True, repr=False)
class Plan:
    """The nodes of a model in the order in which they run, with what a method does at each.

    Attributes:
        method: the method's name.
        score: the tensor that is explained, and how it was found.
        explained: the tensors that get an attribution.
        passes: names of the graph passes that were applied.
        rows: one row per node.
        problem: why the model cannot be explained so, "" where it can.
        unused: conditions of the user's own composite that no node met.
        layers: inner tensors that the method looks at besides those it explains.
        left_out: the inputs that get no attribution, with the reason.
        axes: which axes count samples, and how that was found.
        lost: explained tensors whose relevance is zero for every input, a line for each, with the node whose rule hands none on.

    Example:
        >>> from onnxplain import plan
        >>> found = plan("fixtures/digits/model.onnx", "lrp-epsilon")
        >>> [row.operator for row in found.rows if row.rule == "epsilon"]
        ['Conv', 'Conv', 'Gemm']
    """

    method: str
    score: Score
    explained: tuple[Explained, ...]
    passes: tuple[str, ...]
    rows: tuple[PlanRow, ...]
    problem: str
    unused: tuple[str, ...] = ()
    layers: tuple[Explained, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    axes: SampleAxes | None = None
    lost: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[PlanRow, ...]:
        """The rows of nodes that no rule serves."""
        return tuple(row for row in self.rows if row.status == "missing")

    def __repr__(self) -> str:
        passed = sum(row.status != "off the way" for row in self.rows)
        missing = f", no rule for {', '.join(sorted({row.operator for row in self.missing}))}" if self.missing else ""
        problem = f", {self.problem}" if self.problem and not self.missing else ""
        return f"Plan({self.method}, {len(self.rows)} nodes, {passed} on the way{missing}{problem})"

    def _repr_html_(self) -> str:
        """What a notebook shows: the nodes that messages pass, with their rules."""
        rows = [
            (row.node, row.address, row.output, row.shape, row.rule or row.status, row.reason)
            for row in self.rows
            if row.status != "off the way"
        ]
        notes = [f"not explained: {line}" for line in left_out_in_words(self.left_out)]
        notes += [*self.lost, *([self.problem] if self.problem else [])]
        return html_table(repr(self), ("node", "address", "makes", "shape", "rule", "why"), rows, notes)


def _unserved(method: Method, graph: Graph, score: Score, registry: Registry) -> str:
    """Why a method that explains columns cannot serve a score, "" where it can."""
    try:
        if method.serves is not None:
            method.serves(graph, score.tensor, registry.traits)
    except MethodError as error:
        return str(error)
    return ""


@guarded
def plan(
    model: ModelLike,
    method: str = "gradient",
    *,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    layer: str | Sequence[str] | None = None,
    score: str = "logit",
    sample_axis: SampleAxisLike = AUTO,
    rules: str | Path | Iterable[str | Path] | None = None,
    **options: Any,
) -> Plan:
    """Say which rule serves which node of a model, and which nodes have none. Nothing is run.

    Args:
        model: as in `onnxplain.rewrite`.
        method: as in `onnxplain.rewrite`.
        output: as in `onnxplain.rewrite`.
        inputs: as in `onnxplain.rewrite`.
        layer: as in `onnxplain.rewrite`.
        score: as in `onnxplain.rewrite`.
        sample_axis: as in `onnxplain.rewrite`.
        rules: as in `onnxplain.rewrite`.
        **options: the method's own options.

    Returns:
        The plan. A missing rule is no error here: its row has the status "missing".

    Raises:
        OnnxplainError: the model cannot be read, or method, output, input or layer do not exist.

    Example:
        >>> from onnxplain import plan
        >>> first = plan("fixtures/digits/model.onnx", "lrp-epsilon-plus").rows[0]
        >>> first.node, first.operator, first.rule
        ('node_conv2d', 'Conv', 'z-plus')
    """
    registry = load_registry(rules)
    request = Request.for_graph(
        method, options=options, registry=registry, output=output, inputs=inputs, layer=layer, score=score,
        sample_axis=sample_axis,
    )  # fmt: skip
    composite = request.method.rules(request.options)
    source = prepared(read(model), registry)
    called = addresses(source.model)
    ready = prepare_source(source, request)
    selection = select(ready)
    graph, scored = selection.graph, selection.score
    attributes_to, _ = request.method.attribution_site(request.options)
    explained, layers = selection.explained, selection.layers
    sources = tuple(e.tensor for e in (layers if attributes_to in ("layer", "map") else explained))
    choose = RuleSelector(composite, registry)
    b, targets = Builder(graph), (scored.tensor,)
    live = live_nodes(b, graph.nodes, sources, targets, choose)
    choose = with_layer_positions(b, graph.nodes, selection.origins or sources, sources, targets, live, choose)
    served = {node.name: (node, choose(node)) for node in live.nodes}
    whole = {part.name: node for node in live.nodes for part in node.parts[:-1]}
    approximated = graph.approximated()

    def reason(node: Node, chosen: SelectedRule | None) -> str:
        said = chosen.reason if chosen is not None else f"in {whole[node.name].name}" if node.name in whole else ""
        kernel = approximated.get(node.y.name)
        told = "" if kernel is None else f"approximates {kernel}, which makes its output"
        return "; ".join(filter(None, (said, told)))

    def row(node: Node) -> PlanRow:
        seen, chosen = served.get(node.name, (node, None))
        if node.name in served:
            status = "missing" if chosen is None else "rule"
        else:
            status = "part" if node.name in whole else "off the way"
        return PlanRow(
            node=node.name,
            operator=node.operator if seen is node or not seen.parts else f"{node.operator} ({seen.op})",
            address=called.get(node.y.name, ""),
            scope=node.scope,
            output=node.y.name,
            shape=named_dims(node.y),
            role=effective_role(seen, registry.find(seen)),
            rule=rule_name(chosen.rule) if chosen is not None else "",
            reason=reason(node, chosen),
            status=status,
        )

    missing = [node for node, chosen in served.values() if chosen is None]
    problem = (
        missing_operators(missing, live.nodes, [scored.tensor]) if missing else _unserved(request.method, graph, scored, registry)
    )
    used = {id(chosen.where) for _, chosen in served.values() if chosen is not None}
    own = choose.composite.entries[: choose.composite.own]
    unused = tuple(str(where) for where, _ in own if id(where) not in used)
    rows, passes = tuple(row(c) for c in graph.nodes), ready.source.passes or ()
    lost = tuple(_lost(graph.nodes, live, sources, targets, choose))
    return Plan(
        method, scored, explained, passes, rows, problem, unused, layers, selection.left_out, selection.axes, lost
    )  # fmt: skip


def _lost(
    nodes: Sequence[Node], live: Live, sources: Sequence[Tensor], targets: Sequence[Tensor], choose: RuleSelector
) -> Iterator[str]:
    """The sources that the score depends on and no message reaches, with the last node on the way to each."""
    for source in sources:
        ahead = liveness(nodes, [source], targets, choose.registry.role).tensors
        if source.name not in ahead or source.name in live.tensors:
            continue
        beyond = ahead - live.tensors
        ends = next((n for n in reversed(live.nodes) if any(t is not None and t.name in beyond for t in n.reads)), None)
        chosen = None if ends is None else choose(ends)
        why = "" if chosen is None else f": {ends} hands none on to it (rule '{rule_name(chosen.rule)}')"
        yield f"'{source.name}' gets no relevance, whatever the input{why}"
