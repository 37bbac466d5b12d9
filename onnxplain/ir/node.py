"""Call: one operator application. It knows no graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from onnxplain.errors import RuleError
from onnxplain.ir.tensor import Tensor

__all__ = ["Call", "Subgraph"]


@dataclass(frozen=True, eq=False)
class Call:
    """One operator application, with the defaults of the standard filled in.

    `inputs` and `outputs` hold one entry per parameter of the operator, None where an optional one is left out, so that
    a rule can unpack them: `x, w, bias = call.inputs`. `captures` are the outer tensors that a subgraph (If, Loop, Scan)
    reads. `live` says for each input, then for each capture, whether a message is asked for. `parts` are the model's calls
    that a compound call (domain `onnxplain`) stands for: a linear map with its bias, an activation written in several operators.
    """

    op: str
    domain: str
    version: int
    name: str
    scope: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor | None, ...]
    attributes: Mapping[str, Any]
    captures: tuple[Tensor, ...] = ()
    live: tuple[bool, ...] = ()
    parts: tuple[Call, ...] = ()

    def __getitem__(self, attribute: str) -> Any:
        """The value of an attribute; an error names the node where it is missing."""
        try:
            return self.attributes[attribute]
        except KeyError:
            raise RuleError(f"{self}: attribute '{attribute}' is missing") from None

    def get(self, attribute: str, default: Any = None) -> Any:
        """The value of an attribute that may be absent."""
        return self.attributes.get(attribute, default)

    @property
    def operator(self) -> str:
        """The operator with its domain: `Conv`, `com.microsoft.FastGelu`."""
        return f"{self.domain}.{self.op}" if self.domain else self.op

    @property
    def x(self) -> Tensor:
        """The first input."""
        return self.input(0)

    @property
    def y(self) -> Tensor:
        """The first output."""
        return self.output(0)

    def input(self, index: int) -> Tensor:
        """An input that must be present."""
        tensor = self.inputs[index] if index < len(self.inputs) else None
        if tensor is None:
            raise RuleError(f"{self}: input {index} is missing")
        return tensor

    def output(self, index: int) -> Tensor:
        """An output that must be present."""
        tensor = self.outputs[index] if index < len(self.outputs) else None
        if tensor is None:
            raise RuleError(f"{self}: output {index} is missing")
        return tensor

    @property
    def bodies(self) -> Mapping[str, Subgraph]:
        """The subgraphs among the attributes: the branches of If, the body of Loop and Scan."""
        return {name: value for name, value in self.attributes.items() if isinstance(value, Subgraph)}

    @property
    def reads(self) -> tuple[Tensor | None, ...]:
        """All tensors the call depends on: its inputs, then its captures."""
        return self.inputs + self.captures

    def wants(self, index: int) -> bool:
        """Whether a message for input `index` is asked for."""
        return index < len(self.live) and self.live[index]

    def reading(self, values: Mapping[Tensor, Tensor]) -> Call:
        """The same call reading other tensors, in its subgraphs too."""
        return replace(
            self,
            inputs=tuple(t if t is None else values.get(t, t) for t in self.inputs),
            captures=tuple(values.get(t, t) for t in self.captures),
            attributes={k: v.reading(values) if isinstance(v, Subgraph) else v for k, v in self.attributes.items()},
            parts=tuple(part.reading(values) for part in self.parts),
        )

    def __str__(self) -> str:
        return f"{self.operator} '{self.name}'"


@dataclass(frozen=True, eq=False)
class Subgraph:
    """A branch or loop body: calls in topological order between its own inputs and outputs. Constants are outer tensors."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    calls: tuple[Call, ...]

    def reading(self, values: Mapping[Tensor, Tensor]) -> Subgraph:
        """The same subgraph reading other outer tensors."""
        return Subgraph(
            self.inputs, tuple(values.get(t, t) for t in self.outputs), tuple(call.reading(values) for call in self.calls)
        )
