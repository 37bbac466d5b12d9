"""Addresses: how users say which inner tensor they mean - by name, by node, by operator and number, by module scope."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase

import onnx

from onnxplain.errors import LayerError
from onnxplain.ir.graph import scope_of

__all__ = ["addresses", "resolve", "resolved"]

NUMBERED = re.compile(r"(?P<operator>[A-Za-z_][\w.]*):(?P<number>-?\d+)")
"""Conv:3 is the fourth convolution of the graph in the order it runs, Conv:-1 the last."""


def resolved(model: onnx.ModelProto, wanted: Sequence[str] | None) -> list[str]:
    """The tensor that each address stands for; see `resolve`."""
    return [resolve(model, address) for address in wanted or ()]


def resolve(model: onnx.ModelProto, address: str) -> str:
    """The name of the tensor that an address stands for; the address itself where it stands for none.

    An address is the name of a tensor, the name of a node (its first output), an operator with its number in the order the
    graph runs ("Conv:0", "Conv:-1"), or a module scope or pattern on scopes (the first output of the last node in it). The
    first of these that fits counts.

    Raises:
        LayerError: the model has the operator, but not so many of it.
    """
    nodes = model.graph.node
    tensors = {o for n in nodes for o in n.output}
    tensors |= {v.name for v in model.graph.input} | {t.name for t in model.graph.initializer}
    if address in tensors:
        return address
    named = [n for n in nodes if n.name == address]
    if named:
        return str(named[-1].output[0])
    numbered = NUMBERED.fullmatch(address)
    if numbered is not None:
        same = [n for n in nodes if numbered["operator"] in (n.op_type, _operator(n))]
        number = int(numbered["number"])
        if same and not -len(same) <= number < len(same):
            operator = numbered["operator"]
            raise LayerError(
                f"no '{address}': the model has {len(same)} {operator}, {operator}:0 to {operator}:{len(same) - 1}, "
                f"and counted from the end {operator}:-1 to {operator}:{-len(same)}"
            )
        if same:
            return str(same[number].output[0])
    scoped = [n for n in nodes if (scope := scope_of(n)) and (fnmatchcase(scope, address) or scope.startswith(f"{address}."))]
    return str(scoped[-1].output[0]) if scoped else address


def addresses(model: onnx.ModelProto) -> dict[str, str]:
    """The operator and number of every node, by the name of its first output."""
    count: Counter[str] = Counter()
    found = {}
    for node in model.graph.node:
        operator = _operator(node)
        found[next((o for o in node.output if o), "")] = f"{operator}:{count[operator]}"
        count[operator] += 1
    return found


def _operator(node: onnx.NodeProto) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else str(node.op_type)
