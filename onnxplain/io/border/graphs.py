"""Graphs that hold together: names made once and before they are read, nodes with the inputs, attributes and bodies they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx
from onnx import AttributeProto, GraphProto, NodeProto

from onnxplain.errors import ModelError
from onnxplain.io.border.attributes import attribute_problem
from onnxplain.ir.edit import subgraphs
from onnxplain.ir.schema import signature

__all__ = ["check_graphs"]

STANDARD = ("", "ai.onnx")

DEPTH = 32
"""How deep bodies may be nested."""


def check_graphs(model: onnx.ModelProto, name: str) -> None:
    """Check the graph of a model, the bodies in it, and the nodes of its functions.

    Raises:
        ModelError: what is wrong, and at which node.
    """
    functions = {(f.domain, f.name) for f in model.functions}
    versions = {o.domain: o.version for o in model.opset_import}
    problem = _graph_problem(model.graph, frozenset(), versions, functions, 0)
    for function in model.functions:
        own = {**versions, **{o.domain: o.version for o in function.opset_import}}
        problem = problem or _nodes_problem(function.node, own, functions, 0) or _twice(_made(function.node, function.input))
        problem = problem and (problem if "function" in problem else f"in the function '{function.name}': {problem}")
    if problem:
        raise ModelError(f"{name} is damaged or cut off: {problem}; export it again")


def _graph_problem(
    graph: GraphProto, outer: frozenset[str], versions: Mapping[str, int], functions: set[tuple[str, str]], depth: int
) -> str:
    weights = [*(t.name for t in graph.initializer), *(s.values.name for s in graph.sparse_initializer)]
    inputs = [v.name for v in graph.input]
    names = [*weights, *(n for n in inputs if n not in set(weights)), *(o for n in graph.node for o in n.output if o)]
    known = outer | set(names)
    twice = _twice(names)
    lost = next((i for n in graph.node for i in n.input if i and i not in known), None)
    lost = lost or next((o.name for o in graph.output if o.name not in known), None)
    if twice or lost is not None:
        return twice or f"'{lost}' is used but nothing makes it"
    if depth == 0 and not graph.output:
        return "it has no outputs"
    if depth == 0 and not all(inputs):
        return "an input has no name"
    problem = _nodes_problem(graph.node, versions, functions, depth)
    for node in graph.node if not problem else ():
        for body in subgraphs(node):
            if depth >= DEPTH:
                return f"bodies are nested more than {DEPTH} deep"
            problem = problem or _graph_problem(body, frozenset(known), versions, functions, depth + 1)
    return problem


def _made(nodes: Iterable[NodeProto], inputs: Iterable[str]) -> list[str]:
    return [*inputs, *(o for n in nodes for o in n.output if o)]


def _twice(names: Iterable[str]) -> str:
    """A name that is made twice, in words."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return f"'{name}' is made twice"
        seen.add(name)
    return ""


def _nodes_problem(nodes: Iterable[NodeProto], versions: Mapping[str, int], functions: set[tuple[str, str]], depth: int) -> str:
    for node in nodes:
        problem = _node_problem(node, versions, functions)
        if problem:
            return f"node {node.op_type} '{node.name or next(iter(node.output), '')}' {problem}"
    return ""


def _node_problem(node: NodeProto, versions: Mapping[str, int], functions: set[tuple[str, str]]) -> str:
    if not node.op_type:
        return "names no operator"
    names = [a.name for a in node.attribute]
    if len(set(names)) < len(names):
        return f"has the attribute '{next(n for n in names if names.count(n) > 1)}' twice"
    domain = "" if node.domain in STANDARD else node.domain
    known = None
    if (node.domain, node.op_type) not in functions:
        version = versions.get(domain, versions.get("ai.onnx")) if not domain else versions.get(domain)
        known = signature(node.op_type, domain, version) if version is not None and 0 < version < 2**31 else None
    for attribute in node.attribute:
        problem = attribute_problem(node.op_type if not domain else "", attribute, known)
        if problem:
            return problem
    if known is None:
        return ""
    missing = known.required - set(names)
    if missing:
        return f"lacks its attribute '{min(missing)}'"
    least, most = known.inputs
    if not least <= len(node.input) <= most:
        return f"has {len(node.input)} inputs; {least if least == most else f'{least} to {most}'} are expected"
    if not known.outputs[0] <= len(node.output) <= known.outputs[1] or not any(node.output):
        return f"has {len([o for o in node.output if o])} outputs"
    optional = known.optional_inputs
    if not known.variadic_inputs and any(not n and i not in optional for i, n in enumerate(node.input)):
        return "leaves out an input that it needs"
    return _body_problem(node)


def _body_problem(node: NodeProto) -> str:
    """Whether bodies have as many inputs and outputs as the node."""
    bodies = {a.name: a.g for a in node.attribute if a.type == AttributeProto.GRAPH}
    if node.op_type == "If":
        wanted = len(node.output)
        return "" if all(len(b.output) == wanted for b in bodies.values()) else f"has {wanted} outputs, its branches others"
    if node.op_type == "Loop":
        states, body = len(node.input) - 2, bodies["body"]
        fits = len(body.input) == states + 2 and len(body.output) == len(node.output) + 1 and len(node.output) >= states
        return "" if fits else f"carries {max(states, 0)} states, its body others"
    if node.op_type == "Scan" and "scan_input_directions" not in bodies:
        body, first = bodies["body"], len(node.input) - len(bodies["body"].input)
        fits = first in (0, 1) and len(body.output) == len(node.output)
        return "" if fits else f"has {len(node.input)} inputs and {len(node.output)} outputs, its body others"
    return ""
