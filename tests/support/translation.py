"""Translation validation: a model before and after each pass, in ONNX Runtime, at the same level of optimization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper

from onnxplain.errors import OnnxplainError
from onnxplain.ir.edit import graphs_in
from onnxplain.ir.ops import traits_of
from onnxplain.ir.registry import load_registry
from onnxplain.passes import PREPARATION
from onnxplain.passes.contrib import expand_operators
from onnxplain.passes.fold_norm import fold_batch_norm
from onnxplain.passes.integer_products import float_products
from onnxplain.passes.parts import sum_parts
from onnxplain.passes.shapes import infer_shapes

__all__ = ["PASSES", "Difference", "Pass", "Untestable", "copied", "run", "validate"]

Array: TypeAlias = "np.ndarray[Any, Any]"
Values: TypeAlias = "Sequence[Any]"

LEVELS = {
    "plain": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "optimized": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Untestable(Exception):
    """ONNX Runtime does not run the model as it comes, or draws numbers in it."""


@dataclass(frozen=True)
class Pass:
    """A pass.

    `rounds` where it computes the same in another order; all others must keep every bit. `until` names the pass before which what it
    leaves is no file.
    """

    run: Callable[[onnx.ModelProto], bool]
    rounds: bool = False
    until: str = ""


def _expand(model: onnx.ModelProto) -> bool:
    registry = load_registry()
    changed = expand_operators(model, registry, [e.operator for e in registry.on_demand.values()])
    if changed:
        infer_shapes(model)
    return changed


ROUNDING = ("normalize-opset", "expand-contrib", "expand-functions", "merge-sigmoids")

UNTIL = {"claim-contrib": "expand-contrib"}
"""ONNX Runtime does not know its operators in the domain that they get."""

PASSES: dict[str, Pass] = {name: Pass(run, name in ROUNDING, UNTIL.get(name, "")) for name, run in PREPARATION.items()} | {
    "float-products": Pass(float_products, rounds=True),
    "expand-operators": Pass(_expand, rounds=True),
    "fold-batch-norm": Pass(fold_batch_norm, rounds=True),
    "sum-parts": Pass(sum_parts, rounds=True),
}
"""Every pass from a model to a model with the same outputs, in the order in which they run."""


@dataclass(frozen=True)
class Difference:
    """What a pass changed that it should have kept."""

    after: str
    level: str
    what: str

    def __str__(self) -> str:
        return f"after {self.after} ({self.level}): {self.what}"


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made


def run(model: onnx.ModelProto, feeds: Mapping[str, Any], level: str = "plain") -> list[Any]:
    """The outputs of a model on the CPU, in order."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(feeds)))


def validate(
    model: onnx.ModelProto,
    feeds: Mapping[str, Any],
    passes: Mapping[str, Pass] = PASSES,
    *,
    level: str = "plain",
    tolerance: float = 0.0,
) -> tuple[list[str], Difference | None]:
    """Run passes one after another, and the model after each that changed it.

    Args:
        model: left as it is.
        feeds: its inputs.
        passes: in the order in which they run.
        level: of ONNX Runtime's optimization.
        tolerance: relative to the largest number of an output, for a model whose own kernels round more than its parts; the derived one where 0.

    Returns:
        The passes that changed something, and the first difference.

    Raises:
        Untestable: ONNX Runtime does not run the model as it comes.
    """
    if is_random(model):
        raise Untestable("it draws numbers at random")
    try:
        before = run(model, feeds, level)
    except Exception as error:
        raise Untestable(str(error)) from error
    work, last, changed, until = copied(model), model, [], ""
    for name, each in passes.items():
        last = last if until else copied(work)
        try:
            if not each.run(work):
                continue
        except OnnxplainError:  # refused, with the reason
            break
        changed.append(name)
        until = each.until or ("" if name == until else until)
        if until:
            continue
        try:
            after = run(work, feeds, level)
        except Exception as error:
            return changed, Difference(name, level, f"it does not run any more: {str(error).strip().splitlines()[-1][:300]}")
        rounds = each.rounds or level != "plain" or _has_half(last)
        false = false_claims(work, feeds) if name == "infer-shapes" and level == "plain" else ""
        if false:
            return changed, Difference(name, level, f"it claims that {false}")
        problem = compared(before, after, tolerance if rounds else 0.0)
        if problem and rounds and not tolerance:
            problem = compared(before, after, allowed=spread(last, feeds, level))
        if problem:
            return changed, Difference(name, level, problem)
        before = after
    return changed, None


def false_claims(model: onnx.ModelProto, feeds: Mapping[str, Any]) -> str:
    """What a model claims of its tensors that one run does not bear out, in words; "" where all of it is true."""
    work = copied(model)
    known = {o.name for o in work.graph.output}
    makers = {o for n in work.graph.node for o in n.output}
    claims = [v for v in (*work.graph.value_info, *work.graph.output) if v.name in makers and v.type.HasField("tensor_type")]
    work.graph.output.extend(v for v in claims if v.name not in known)
    values = dict(zip([o.name for o in work.graph.output], run(work, feeds), strict=True)) | dict(feeds)
    extents: dict[str, int] = {}
    for claim in (*work.graph.input, *claims):
        value, kind = values.get(claim.name), claim.type.tensor_type
        if not isinstance(value, np.ndarray):
            continue
        if kind.elem_type and value.dtype != np.uint8 and value.dtype != onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type):
            return f"'{claim.name}' is {value.dtype}, not {onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)}"
        said = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in kind.shape.dim]
        if kind.HasField("shape") and len(said) != value.ndim:
            return f"'{claim.name}' has the shape {value.shape}, not {said}"
        for extent, dim in zip(value.shape, said, strict=False):
            if extent != (extents.setdefault(dim, extent) if isinstance(dim, str) and dim else extent if dim == "" else dim):
                return f"'{claim.name}' has the shape {value.shape}, not {said}, where {extents}"
    return ""


def _has_half(model: onnx.ModelProto) -> bool:
    """Whether a model has numbers of half precision: ONNX Runtime's CPU provider computes chains of them in single precision, and
    rounds where a chain ends."""
    infos = (*model.graph.input, *model.graph.output, *model.graph.value_info)
    kinds = {v.type.tensor_type.elem_type for v in infos} | {t.data_type for t in model.graph.initializer}
    return bool(kinds & {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16})


def compared(before: Values, after: Values, tolerance: float = 0.0, allowed: Sequence[Any] | None = None) -> str:
    """How outputs differ, in words; "" where they do not.

    Args:
        before: the outputs of one model.
        after: those of the other.
        tolerance: by how much floating-point numbers may differ, relative to the largest of their tensor.
        allowed: for each output, by how much its numbers may differ.
    """
    for i, (one, other) in enumerate(zip(before, after, strict=True)):
        limit = None if allowed is None else allowed[i]
        problem = _differs(one, other, tolerance, limit)
        if problem:
            return f"output {i}: {problem}"
    return ""


def _differs(one: Any, other: Any, tolerance: float, limit: Any) -> str:
    if isinstance(one, list):
        if not isinstance(other, list) or len(one) != len(other):
            return "another sequence"
        limits = limit if isinstance(limit, list) else [limit] * len(one)
        return next(filter(None, (_differs(x, y, tolerance, u) for x, y, u in zip(one, other, limits, strict=True))), "")
    if isinstance(one, dict):
        return _differs(list(one.values()), list(other.values()), tolerance, limit) if [*one] == [*other] else "other keys"
    if one is None or other is None:
        return "" if one is other else "there or not"
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return f"{one.dtype}{list(one.shape)} became {other.dtype}{list(other.shape)}"
    if one.dtype.kind not in "fV" or (not tolerance and limit is None) or not one.size:
        same = (
            one == other
            if one.dtype.kind in "OSUb" or one.dtype.kind != "f"
            else (one == other) | (np.isnan(one) & np.isnan(other))
        )
        return "" if np.all(same) else f"{np.count_nonzero(~same)} of {one.size} elements are others"
    with np.errstate(all="ignore"):
        a, b = one.astype(np.float64), other.astype(np.float64)
        wild = ~np.isfinite(a)
        if not np.array_equal(a[wild], b[wild], equal_nan=True) or not np.isfinite(b[~wild]).all():
            return "infinite or no numbers elsewhere"
        scale = np.abs(a[~wild]).max(initial=0)
        apart = np.abs(a - b)[~wild].max(initial=0)
    limit = (limit or 0.0) + max(tolerance, 4 * float(np.finfo(one.dtype).eps)) * scale
    return "" if apart <= limit else f"off by {apart:.3g}, allowed {limit:.3g}, where the largest is {scale:.3g}"


def spread(model: onnx.ModelProto, feeds: Mapping[str, Any], level: str) -> list[Any]:
    """By how much the outputs of a model move where its inputs and weights are moved by some units in their last place: what
    rounding in another order may do."""
    plain = run(model, feeds, level)
    moved: list[list[Any]] = []
    for seed in range(4):
        for weights in (True, False):
            try:
                moved.append(run(*_shaken(model, feeds, np.random.default_rng(seed), weights=weights), level))
                break
            except Exception:  # a number that steers an operator was moved too, such as the scales of a Resize
                continue
    return [_apart(one, [others[i] for others in moved]) for i, one in enumerate(plain)]


def _shaken(
    model: onnx.ModelProto, feeds: Mapping[str, Any], generator: np.random.Generator, *, weights: bool
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model and its inputs with all numbers moved by some units in their last place."""
    work = copied(model)
    for tensor in (t for g in graphs_in(work.graph) for t in g.initializer if weights and not t.external_data):
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f":
            tensor.CopyFrom(numpy_helper.from_array(_moved(array, generator), tensor.name))
    return work, {k: _moved(np.asarray(v), generator) if _is_float(v) else v for k, v in feeds.items()}


def _is_float(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic) and np.asarray(value).dtype.kind == "f"


def _moved(array: Array, generator: np.random.Generator) -> Array:
    step = 16 * float(np.finfo(array.dtype).eps)
    with np.errstate(all="ignore"):
        return (array * (1 + step * generator.choice([-1, 1], array.shape))).astype(array.dtype)


def _apart(one: Any, others: Sequence[Any]) -> Any:
    if isinstance(one, list):
        return [_apart(x, [o[i] for o in others]) for i, x in enumerate(one)]
    if not _is_float(one):
        return 0.0
    with np.errstate(all="ignore"):
        apart = [
            2 * np.abs(np.asarray(o, np.float64) - np.asarray(one, np.float64)) for o in others if np.shape(o) == np.shape(one)
        ]
        return max((float(a[np.isfinite(a)].max(initial=0)) for a in apart), default=0.0)


def is_random(model: onnx.ModelProto) -> bool:
    """Whether a model draws numbers; ONNX Runtime draws others where its nodes have other places."""
    nodes = [n for g in graphs_in(model.graph) for n in g.node] + [n for f in model.functions for n in f.node]
    return any(n.op_type == "Dropout" and len(n.input) > 2 for n in nodes) or any(
        traits_of(n.op_type, n.domain).random for n in nodes
    )
