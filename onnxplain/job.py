"""Job: what a method works with - the explained tensors, the seed, walks, replays and baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from onnxplain.backward import backward
from onnxplain.builder import Builder
from onnxplain.call import Call
from onnxplain.composite import GRADIENT, Composite
from onnxplain.errors import InputError, MethodError
from onnxplain.graph import Graph, named_dims
from onnxplain.liveness import liveness
from onnxplain.registry import Registry
from onnxplain.sources import Explained
from onnxplain.tensor import Tensor
from onnxplain.vjp import choice

__all__ = ["Baseline", "Job"]

Baseline: TypeAlias = "None | str | float | np.ndarray[Any, Any] | Mapping[str, Any]"
"""A reference input: a number, an array that broadcasts to the input, "input" for one given at run time, or one of these
per input name."""


@dataclass
class Job:
    """One explanation to be written into a graph.

    `explained` are the tensors that get an attribution, `target` the explained tensor with its `seed`. A method returns
    one attribution per explained tensor.
    """

    graph: Graph
    b: Builder
    registry: Registry
    explained: tuple[Explained, ...]
    target: Tensor
    seed: Tensor
    ranked: Tensor
    batched: bool
    baseline: Baseline = None
    extra_inputs: dict[str, Tensor] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[Tensor, ...]:
        """The explained tensors."""
        return tuple(e.tensor for e in self.explained)

    def gradient(self, composite: Composite = GRADIENT, *, at: Mapping[Tensor, Tensor] | None = None) -> dict[Tensor, Tensor]:
        """Messages at the explained tensors: the seed carried backward by a composite's rules.

        With `at`, at another point: the model is replayed with those tensors in place of the explained ones.
        """
        calls: Sequence[Call] = self.graph.calls
        target = self.target
        place = {s: s for s in self.sources}
        if at is not None:
            calls, values = self.replay(at)
            target = values.get(target, target)
            place = {s: at.get(s, s) for s in self.sources}
        live = liveness(calls, place.values(), [target], self.registry.role)
        messages = backward(self.b, live, {target: self.seed}, choice(composite, self.registry))
        return {s: messages[p] if p in messages else self.b.zeros_like(s) for s, p in place.items()}

    def replay(self, at: Mapping[Tensor, Tensor]) -> tuple[list[Call], dict[Tensor, Tensor]]:
        """The calls that depend on the given tensors, applied to others of the same shapes, and the tensors they make."""
        with self.b.scope("onnxplain/replay"):
            return self.b.replay_all(self.graph.calls, at, everything=False)

    def reference(self, explained: Explained) -> Tensor:
        """The baseline of an explained tensor, in its shape and type.

        Raises:
            MethodError: no baseline was given.
            InputError: the baseline does not broadcast to the tensor.
        """
        value = self.baseline
        if isinstance(value, Mapping):
            unknown = set(value) - {e.name for e in self.explained}
            if unknown:
                raise InputError(f"baseline for '{sorted(unknown)[0]}', which is not explained; explained: {self._names()}")
            value = value.get(explained.name)
        x = explained.tensor
        if value is None:
            raise MethodError(f"this method needs a baseline for '{explained.name}': a number, an array, or 'input' for run time")
        if isinstance(value, str):
            if value != "input":
                raise MethodError(f"baseline '{value}' is unknown; give a number, an array, or 'input' for run time")
            return self._run_time_baseline(explained)
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise InputError(f"the baseline of '{explained.name}' holds {array.dtype}, expected numbers")
        fits = x.shape is None or (
            array.ndim <= x.rank
            and all(n == 1 or n == d or not isinstance(d, int) for n, d in zip(array.shape[::-1], x.shape[::-1], strict=False))
        )
        if not fits:
            raise InputError(
                f"the baseline of shape {list(array.shape)} does not broadcast to '{explained.name}' {named_dims(x)}"
            )
        constant = self.b.const(array, x.dtype)
        return replace(self.b.Expand(constant, self.b.shape(x)), shape=x.shape, dtype=x.dtype)

    def _run_time_baseline(self, explained: Explained) -> Tensor:
        name = "baseline" if len(self.explained) == 1 else f"{explained.name}_baseline"
        if explained.name not in self.extra_inputs:
            self.extra_inputs[explained.name] = replace(explained.tensor, name=self.graph.fresh(name))
        return self.b.given(self.extra_inputs[explained.name], explained.tensor)

    def _names(self) -> str:
        return ", ".join(f"'{e.name}'" for e in self.explained)
