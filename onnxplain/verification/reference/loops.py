"""Loop, Scan and SequenceInsert for onnx's reference evaluator, which stacks scan outputs along the wrong axis, cannot leave
the condition of a Loop out, knows neither axes nor directions of a Scan, and inserts at the front what belongs at the end
(onnx 1.23)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from onnx.reference.op_run import OpRun
from onnx.reference.ops import op_loop

__all__ = ["Loop", "Scan", "SequenceInsert"]

Array: TypeAlias = "np.ndarray[Any, Any]"


class Loop(op_loop.Loop):
    """Loop as the standard has it."""

    body: Any  # set by the evaluator from the attribute
    _run_body: Any

    def _run(
        self,
        trips: Array | None,
        condition: Array | None,
        *states: Any,
        context: Mapping[str, Any] | None = None,
        body: Any = None,
        attributes: Any = None,
        bindings: Any = None,
    ) -> tuple[Any, ...]:
        names, count = self.body.input_names, len(states)
        kept: list[list[Any]] = [[] for _ in self.body.output_names[1 + count :]]
        step, going = 0, condition is None or bool(np.all(condition))
        while going and (trips is None or step < int(np.squeeze(trips))):
            given = {**(context or {}), **dict(zip(names, [np.array(step, np.int64), np.array(going), *states], strict=True))}
            outputs = self._run_body(given, attributes=attributes, bindings=bindings)
            going, states = bool(np.all(outputs[0])), tuple(outputs[1 : 1 + count])
            for stack, value in zip(kept, outputs[1 + count :], strict=True):
                stack.append(value)
            step += 1
        scans = [np.stack(stack) if stack else np.zeros((0,), np.float64) for stack in kept]
        return self._check_and_fix_outputs((*states, *scans))


class Scan(OpRun):
    """Scan as the standard has it from operator set 9 on."""

    body: Any
    _run_body: Any

    def need_context(self) -> bool:
        """Its body reads outer tensors."""
        return True

    def _run(
        self,
        *args: Array,
        context: Mapping[str, Any] | None = None,
        body: Any = None,
        num_scan_inputs: int = 0,
        scan_input_axes: list[int] | None = None,
        scan_input_directions: list[int] | None = None,
        scan_output_axes: list[int] | None = None,
        scan_output_directions: list[int] | None = None,
        attributes: Any = None,
        bindings: Any = None,
    ) -> tuple[Any, ...]:
        count = len(args) - num_scan_inputs
        states, sequences = args[:count], args[count:]
        axes, directions = scan_input_axes or [0] * num_scan_inputs, scan_input_directions or [0] * num_scan_inputs
        slices = [np.moveaxis(x, axis, 0)[:: -1 if d else 1] for x, axis, d in zip(sequences, axes, directions, strict=True)]
        kept: list[list[Array]] = [[] for _ in self.body.output_names[count:]]
        for step in range(len(slices[0])):
            given = {**(context or {}), **dict(zip(self.body.input_names, [*states, *(s[step] for s in slices)], strict=True))}
            outputs = self._run_body(given, bindings=bindings)
            states = tuple(outputs[:count])
            for stack, value in zip(kept, outputs[count:], strict=True):
                stack.append(value)
        scans = []
        for i, stack in enumerate(kept):
            if not stack:
                raise RuntimeError("a Scan of no steps says nothing about the shape of its outputs")
            ordered = stack[::-1] if (scan_output_directions or [])[i : i + 1] == [1] else stack
            scans.append(np.stack(ordered, axis=(scan_output_axes or [0] * len(kept))[i]))
        return self._check_and_fix_outputs((*states, *scans))


class SequenceInsert(OpRun):
    """Insertion at any place, the end and an empty sequence included."""

    def _run(self, sequence: Any, tensor: Array, position: Array | None = None) -> tuple[list[Array]]:
        made = list(sequence)
        at = len(made) if position is None else int(np.squeeze(position))
        made.insert(at if at >= 0 else at + len(made), tensor)
        return (made,)
