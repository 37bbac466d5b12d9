"""Graphs under construction, and what makes two emitted operators the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxplain.ir.emitted import Emitted
from onnxplain.ir.tensor import Tensor

__all__ = ["GraphScope", "identity_of"]


@dataclass
class GraphScope:
    """One graph under construction: the top level, or a subgraph within it, which may keep everything to itself."""

    nodes: list[Emitted] = field(default_factory=list)
    table: dict[Any, tuple[Tensor, ...]] = field(default_factory=dict)
    closed: bool = False
    owned: dict[Tensor, Tensor] = field(default_factory=dict)


def identity_of(op: str, domain: str, inputs: Sequence[Tensor | None], attributes: Mapping[str, Any]) -> Any:
    names = [None if t is None else t.name for t in inputs]
    while names and names[-1] is None:
        names.pop()
    return op, domain, tuple(names), tuple((k, _frozen(attributes[k])) for k in sorted(attributes))


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(v) for v in value)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return value if isinstance(value, int | float | str | bytes | bool) else id(value)
