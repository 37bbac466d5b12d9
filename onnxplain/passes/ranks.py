"""Ranks that the standard's inference loses, proven from what surrounds a tensor.

Behind an If whose branches differ (a squeeze that exporters guard), behind axes known at run time only, or behind an operator
that inference does not know, a tensor has no shape. Its rank is often plain all the same: a convolution's input has the rank
of its weights, an activation's that of its output. Such ranks go to and fro along the nodes until no more are proven.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, TypeAlias

import onnx
from onnx.helper import get_attribute_value

from onnxplain.ir.edit import subgraphs
from onnxplain.ir.ops import traits_of
from onnxplain.ir.registry import Registry, load_registry

__all__ = ["prove_inner_ranks", "proven_ranks"]

DEPTH = 3
"""How deep branches within branches are looked into: every level takes four times as long as the one around it."""

Ranks: TypeAlias = "MutableMapping[str, int]"


def proven_ranks(
    model: onnx.ModelProto, infos: Mapping[str, onnx.ValueInfoProto], registry: Registry | None = None
) -> dict[str, int]:
    """The ranks of tensors of the main graph that have none in `infos`, by name.

    Args:
        model: the model, left as it is.
        infos: what inference knows, by name.
        registry: the roles of operators: those of activations, norms and softmax keep the rank.
    """
    known: dict[str, int] = {t.name: len(t.dims) for t in model.graph.initializer}
    values = (*model.graph.input, *infos.values())
    known |= _stated(values)
    found: dict[str, int] = {}
    ranks: Ranks = ChainMap(found, known)
    sizes = {t.name: t.dims[0] for t in model.graph.initializer if len(t.dims) == 1}
    rows = ((v.name, v.type.tensor_type.shape.dim) for v in values)
    sizes |= {name: dims[0].dim_value for name, dims in rows if len(dims) == 1}  # 0: not known
    walk = _Walk(registry or load_registry(), {o.domain: o.version for o in model.opset_import}, sizes)
    while walk.once(model.graph, ranks):
        pass
    made = {o for n in model.graph.node for o in n.output}
    return {name: rank for name, rank in found.items() if name in made and name not in known}


def prove_inner_ranks(model: onnx.ModelProto, infos: Mapping[str, onnx.ValueInfoProto], registry: Registry | None = None) -> bool:
    """State the ranks that are proven within subgraphs, where they say the types of tensors; whether any was not known.

    Args:
        model: the model, whose subgraphs are changed in place.
        infos: what inference knows of the main graph, by name.
        registry: the roles of operators.
    """
    outer: dict[str, int] = {t.name: len(t.dims) for t in model.graph.initializer}
    outer |= _stated((*model.graph.input, *infos.values()))
    sizes = {t.name: t.dims[0] for t in model.graph.initializer if len(t.dims) == 1}
    walk = _Walk(registry or load_registry(), {o.domain: o.version for o in model.opset_import}, sizes)
    found = [walk.within(graph, outer) for node in model.graph.node for graph in subgraphs(node)]
    return any(found)


def _stated(infos: Iterable[onnx.ValueInfoProto]) -> dict[str, int]:
    """The ranks of those whose shapes are stated."""
    return {v.name: len(v.type.tensor_type.shape.dim) for v in infos if v.type.tensor_type.HasField("shape")}


class _Walk:
    """Goes through all nodes, forward and backward, and notes the ranks that they prove."""

    def __init__(self, registry: Registry, versions: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        self.registry, self.versions, self.sizes, self.depth = registry, versions, sizes, 0

    def once(self, graph: onnx.GraphProto, ranks: Ranks) -> bool:
        """Whether anything new was proven."""
        before = len(ranks)
        for node in (*graph.node, *reversed(graph.node)):
            for name, rank in self._proofs(node, ranks):
                if name and rank is not None and rank >= 0 and name not in ranks:
                    ranks[name] = rank
        return len(ranks) > before

    def within(self, graph: onnx.GraphProto, outer: Mapping[str, int]) -> bool:
        """State what is proven in a subgraph and those nested in it, given the ranks of tensors around; whether it is new."""
        infos = (*graph.input, *graph.value_info, *graph.output)
        known = {t.name: len(t.dims) for t in graph.initializer} | _stated(infos)
        self.sizes = {**self.sizes, **{t.name: t.dims[0] for t in graph.initializer if len(t.dims) == 1}}
        table: Ranks = ChainMap({}, known, dict(outer))
        while self.once(graph, table):
            pass
        open_ones = [v for v in infos if v.name in table and v.type.tensor_type.elem_type and v.name not in known]
        for info in open_ones:
            info.type.tensor_type.shape.SetInParent()
            for _ in range(table[info.name]):
                info.type.tensor_type.shape.dim.add()
        inner = [self.within(inner, table) for node in graph.node for inner in subgraphs(node)]
        return bool(open_ones) or any(inner)

    def _proofs(self, node: onnx.NodeProto, ranks: Ranks) -> Iterator[tuple[str, int | None]]:
        """Ranks that a node proves, from what is known of its inputs and outputs."""
        first = node.input[0] if node.input else ""
        settings = {a.name: a for a in node.attribute}
        if "then_branch" in settings and node.op_type == "If" and self.depth < DEPTH and any(o not in ranks for o in node.output):
            yield from self._of_branches(node, [settings["then_branch"].g, settings["else_branch"].g], ranks)
        if node.domain:
            if self._keeps(node):
                yield from _alike([first, node.output[0]], ranks)
            return
        facts = traits_of(node.op_type)
        yield from zip(node.input, facts.input_ranks, strict=False)
        yield node.output[0], facts.output_rank
        if facts.convolves and facts.multiplies:
            yield from _alike([first, node.input[1], node.output[0]], ranks)
        elif facts.keeps_rank:
            yield from _alike([first, *node.output], ranks)
        elif node.op_type == "Concat":
            yield from _alike([*node.input, node.output[0]], ranks)
        elif node.op_type in ("Squeeze", "Unsqueeze") or facts.reduces:  # operators: those with `axes`
            yield from self._with_axes(node, {k: get_attribute_value(a) for k, a in settings.items()}, ranks)
        elif node.op_type == "Gather":
            yield from _sums(node.output[0], first, node.input[1], -1, ranks)
        elif self._keeps(node):
            yield from _alike([first, node.output[0]], ranks)

    def _keeps(self, node: onnx.NodeProto) -> bool:
        """Whether the first output has the rank of the first input: a function of each element, a norm, a softmax."""
        spec = self.registry.entry(node.op_type, node.domain, self.versions.get(node.domain, 1))
        if spec is None:
            return False
        if spec.role == "elementwise":
            return not spec.broadcasts
        unary = spec.traits.elementwise == "first" and not spec.broadcasts
        return spec.role in ("norm", "softmax", "straight-through") or unary or spec.traits.keeps_rank

    def _with_axes(self, node: onnx.NodeProto, settings: Mapping[str, Any], ranks: Ranks) -> Iterator[tuple[str, int | None]]:
        """Operators that take axes away or put some in; how many there are is what counts."""
        x, y = node.input[0], node.output[0]
        if traits_of(node.op_type).reduces and settings.get("keepdims", 1) == 1:
            yield from _alike([x, y], ranks)
            return
        if node.op_type.startswith("Arg"):
            count: int | None = 1
        elif "axes" in settings:
            count = len(settings["axes"])
        else:
            count = self.sizes.get(node.input[1]) if len(node.input) > 1 else None
        if not count:  # none given: all, or none
            return
        difference = count if node.op_type == "Unsqueeze" else -count
        if x in ranks:
            yield y, ranks[x] + difference
        elif y in ranks:
            yield x, ranks[y] - difference

    def _of_branches(
        self, node: onnx.NodeProto, branches: list[onnx.GraphProto], ranks: Ranks
    ) -> Iterator[tuple[str, int | None]]:
        """What both branches return in the same rank. Where they differ, one is never taken, and what follows says which."""
        inner = []
        self.depth += 1
        for branch in branches:
            table: Ranks = ChainMap({}, dict(ranks))
            while self.once(branch, table):
                pass
            inner.append([table.get(o.name) for o in branch.output])
        self.depth -= 1
        for name, *found in zip(node.output, *inner, strict=True):
            if len(set(found)) == 1:
                yield name, found[0]


def _alike(names: list[str], ranks: Ranks) -> Iterator[tuple[str, int | None]]:
    """Tensors of one rank."""
    rank = next((ranks[n] for n in names if n in ranks), None)
    yield from ((name, rank) for name in names)


def _sums(total: str, a: str, b: str, more: int, ranks: Ranks) -> Iterator[tuple[str, int | None]]:
    """Tensors of which one has the rank of two others together, and some more."""
    if a in ranks and b in ranks:
        yield total, ranks[a] + ranks[b] + more
    elif total in ranks and a in ranks:
        yield b, ranks[total] - ranks[a] - more
    elif total in ranks and b in ranks:
        yield a, ranks[total] - ranks[b] - more
