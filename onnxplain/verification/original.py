"""The original model as a function of its inputs: what gradients are held against has gone through none of our passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx

from onnxplain.errors import InputError, ModelError
from onnxplain.io.reader import Source, external_tensors
from onnxplain.ir.edit import alive, set_nodes
from onnxplain.runtime.session import Providers, Session
from onnxplain.verification.finite_differences import double
from onnxplain.verification.reference.evaluator import Evaluator

__all__ = ["Original", "original_at"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Arrays: TypeAlias = "Mapping[str, Array]"

SAME = 1e-3
"""Difference over the largest value up to which two ways to compute a tensor in float32 and float64 are taken for the same."""


@dataclass(frozen=True)
class Original:
    """A tensor of the original model as a function of the inputs.

    Attributes:
        tensor: its name.
        precision: "float64" by onnx's reference evaluator, or "float32" by ONNX Runtime.
        value: the function.
    """

    tensor: str
    precision: str
    value: Callable[[Arrays], Array]


def original_at(
    source: Source, tensor: str, like: Array | None, feeds: Arrays, providers: Providers, *, exact: bool
) -> Original | None:
    """A tensor of the original model as a function; None where the original has no such tensor.

    Args:
        source: the model as it was read, not prepared.
        tensor: an output or an inner tensor.
        like: its value at `feeds` as the explained model has it. An inner tensor of the original with another value is not the
            one that is meant: a pass gave its name away. The name of an output stays. None where names mean the same.
        feeds: the inputs.
        providers: where to run.
        exact: whether to compute in float64, where onnx's reference evaluator can, and agrees with ONNX Runtime.
    """
    model = source.copy().model
    graph = model.graph
    needed = alive(list(graph.node), [tensor])
    if not any(tensor in node.output for node in needed):
        return None
    set_nodes(graph, needed)
    own = [o for o in graph.output if o.name == tensor]
    del graph.output[:]
    graph.output.extend(own or [onnx.helper.make_empty_tensor_value_info(tensor)])
    try:
        session = Session(model, providers, folder=source.folder)
        names = list(session.inputs)
        here = np.asarray(session.run({n: feeds[n] for n in names}, [tensor])[tensor], np.float64)
    except (ModelError, InputError):
        return None
    if not own and like is not None and not _same(here, like):
        return None
    evaluator = _evaluator(model, feeds, names, tensor, here) if exact else None
    if evaluator is None:
        return Original(
            tensor, "float32", lambda given: np.asarray(session.run({n: given[n] for n in names}, [tensor])[tensor], np.float64)
        )
    return Original(
        tensor, "float64", lambda given: np.asarray(evaluator.run({n: given[n] for n in names}, [tensor])[0], np.float64)
    )


def _evaluator(model: onnx.ModelProto, feeds: Arrays, names: list[str], tensor: str, here: Array) -> Evaluator | None:
    """The model in float64, where the reference evaluator computes what ONNX Runtime does; it knows old forms by halves."""
    if not all(n.domain in ("", "ai.onnx.ml") for n in model.graph.node) or any(external_tensors(model)):
        return None
    try:
        evaluator = Evaluator(double(model))
        value = np.asarray(evaluator.run({n: feeds[n] for n in names}, [tensor])[0], np.float64)
    except Exception:  # it lacks forms of operators that ONNX Runtime has
        return None
    return evaluator if _same(here, value) else None


def _same(mine: Array, theirs: Any) -> bool:
    theirs = np.asarray(theirs, np.float64)
    if mine.shape != theirs.shape:
        return False
    finite = np.isfinite(mine)
    size = float(np.abs(mine[finite]).max(initial=0))
    return bool(np.array_equal(finite, np.isfinite(theirs)) and (np.abs(mine - theirs)[finite] <= SAME * max(size, 1e-30)).all())
