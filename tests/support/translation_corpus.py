"""Models for translation validation: ONNX's own cases in every operator set from 7 on, fixtures, ONNX Runtime's operators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from onnxplain.ir.edit import graphs_in
from tests.support.contrib_cases import CALLS
from tests.support.contrib_quantized_cases import FLOAT_FROM_INTEGERS, QUANTIZED

__all__ = ["Case", "corpus", "fixtures", "onnx_cases", "runtime_cases"]

OLDEST, NEWEST = 7, 26
"""The operator sets that ONNX Runtime and the standard have in common, from the first with today's broadcasting on."""

RENAMED = {("Pad", "constant_value"): "value", ("Upsample", "scales"): "scales", ("Dropout", "training_mode"): ""}
"""Inputs that were attributes of another name once, or none."""


@dataclass(frozen=True)
class Case:
    """A model with inputs; `tolerance` where its kernels round more than the operators that it is written in, else 0."""

    name: str
    model: onnx.ModelProto = field(repr=False)
    feeds: Mapping[str, Any] = field(repr=False)
    tolerance: float = 0.0


def corpus() -> Iterator[Case]:
    """All of them."""
    yield from fixtures()
    yield from runtime_cases()
    yield from onnx_cases()


# -- ONNX's own cases ------------------------------------------------------------------------------------------------------


def onnx_cases() -> Iterator[Case]:
    """ONNX's own cases of one operator, as they come and as they were written in every version of the operator."""
    for test in _tests():
        model = test.model or onnx.load(f"{test.model_dir}/model.onnx")
        feeds = _feeds(test, model)
        name = test.name.removeprefix("test_")
        if feeds is None:
            continue
        came = next((o.version for o in model.opset_import if o.domain == ""), 0)
        if OLDEST <= came <= NEWEST or not came:
            yield Case(name, model, feeds)
        for opset in _versions(model, came):
            respelt = respelled(model, came, opset, feeds)
            if respelt is not None:
                yield Case(
                    f"{name}@{opset}", respelt, {k: v for k, v in feeds.items() if k in {i.name for i in respelt.graph.input}}
                )


@lru_cache(maxsize=1)
def _tests() -> list[Any]:
    with np.errstate(all="ignore"):
        kinds = ("node", "simple", "pytorch-converted", "pytorch-operator")
        return [test for kind in kinds for test in load_model_tests(kind=kind)]


def _feeds(test: Any, model: onnx.ModelProto) -> dict[str, Any] | None:
    if test.data_sets:
        arrays = list(test.data_sets[0][0])
    else:
        folder = Path(test.model_dir) / "test_data_set_0"
        arrays = [onnx.load_tensor(str(p)) for p in sorted(folder.glob("input_*.pb"))]
    weights = {t.name for t in model.graph.initializer}
    names = [v.name for v in model.graph.input if v.name not in weights]
    plain = (numpy_helper.to_array(a) if isinstance(a, onnx.TensorProto) else a for a in arrays)
    made = {n: np.asarray(a) if isinstance(a, np.generic) else a for n, a in zip(names, plain, strict=False)}
    return made if len(made) == len(names) else None


def _versions(model: onnx.ModelProto, came: int) -> list[int]:
    """The operator sets in which an operator of the model changed."""
    found: set[int] = set()
    for graph in graphs_in(model.graph):
        for node in graph.node:
            if not node.domain:
                found.update(_history(node.op_type))
    return sorted({max(v, OLDEST) for v in found if v <= NEWEST} - {came})


@lru_cache(maxsize=1024)
def _history(op: str) -> tuple[int, ...]:
    return tuple(s.since_version for s in onnx.defs.get_all_schemas_with_history() if s.name == op and not s.domain)


def respelled(model: onnx.ModelProto, came: int, opset: int, feeds: Mapping[str, Any]) -> onnx.ModelProto | None:
    """A model in the spelling of another operator set: what are inputs there as inputs, what were attributes as attributes.

    It need not compute the same: it is a model of its own. None where there is no such spelling.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    values = {**{t.name: numpy_helper.to_array(t) for t in model.graph.initializer}, **feeds}
    for graph in graphs_in(made.graph):
        for node in graph.node:
            if not node.domain and not _respell(node, came, opset, values):
                return None
    del made.opset_import[:]
    made.opset_import.extend([helper.make_opsetid("", opset), *(o for o in model.opset_import if o.domain)])
    made.ir_version = min(10, max(3, helper.find_min_ir_version_for(list(made.opset_import), ignore_unknown=True)))
    read = {name for g in graphs_in(made.graph) for n in g.node for name in n.input}
    kept = [v for v in made.graph.input if v.name in read or v.name in {o.name for o in made.graph.output}]
    del made.graph.input[:]
    made.graph.input.extend(kept)
    del made.graph.value_info[:]
    for output in made.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    return made


def _respell(node: onnx.NodeProto, came: int, opset: int, values: Mapping[str, Any]) -> bool:
    try:
        old, new = (onnx.defs.get_schema(node.op_type, v, "") for v in (opset, came))
    except onnx.defs.SchemaError:
        return False
    names = [p.name for p in old.inputs]
    variadic = bool(old.inputs) and old.inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    given = dict(zip([p.name for p in new.inputs], node.input, strict=False))
    if not variadic:
        for name, tensor in given.items():
            if name in names or not tensor:
                continue
            attribute = RENAMED.get((node.op_type, name), name)
            if attribute and (attribute not in old.attributes or tensor not in values):
                return False
            if attribute:
                node.attribute.append(_attribute(attribute, values[tensor], old.attributes[attribute].type))
        if len(node.output) > len(old.outputs):
            return False
        kept = [given.get(name, "") for name in names]
        while kept and not kept[-1]:
            kept.pop()
        node.input[:] = kept
    for attribute in list(node.attribute):
        if attribute.name in old.attributes:
            continue
        node.attribute.remove(attribute)
        schema = new.attributes.get(attribute.name)
        if schema is None or helper.get_attribute_value(schema.default_value) != helper.get_attribute_value(attribute):
            return False
    required = {a.name for a in old.attributes.values() if a.required}
    return required <= {a.name for a in node.attribute}


def _attribute(name: str, value: Any, kind: Any) -> onnx.AttributeProto:
    array = np.asarray(value).astype(np.float32 if kind.name.startswith("FLOAT") else np.int64)
    plain: Any = array.ravel().tolist() if kind.name.endswith("S") else array.ravel()[0].item()
    return helper.make_attribute(name, plain, attr_type=kind.value)


# -- fixtures --------------------------------------------------------------------------------------------------------------

FOLDER = Path(__file__).resolve().parents[2] / "fixtures"


def fixtures() -> Iterator[Case]:
    """The trained and exported models of the repository, on the samples kept beside them."""
    for path in sorted(FOLDER.glob("*/*.onnx")):
        model = onnx.load(path)
        feeds = _samples(model, path.parent)
        if feeds is not None:
            yield Case(f"fixture {path.parent.name}/{path.stem}", model, feeds)


def _samples(model: onnx.ModelProto, folder: Path) -> dict[str, Any] | None:
    weights = {t.name for t in model.graph.initializer}
    names = [v.name for v in model.graph.input if v.name not in weights]
    stored = dict(np.load(folder / "data.npz", allow_pickle=False)) if (folder / "data.npz").exists() else {}
    if not set(names) <= set(stored):
        return None
    kinds = {v.name: helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type) for v in model.graph.input}
    return {n: _in_kind(stored[n][:2], kinds[n]) for n in names}


def _in_kind(stored: np.ndarray[Any, Any], kind: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Samples in the type of an input; pictures that are kept in bytes are shares of white."""
    return stored.astype(kind) / kind.type(255) if (stored.dtype, kind.kind) == (np.uint8, "f") else stored


# -- ONNX Runtime's own operators ------------------------------------------------------------------------------------------


def runtime_cases() -> Iterator[Case]:
    """One node of each operator of ONNX Runtime's own."""
    for call in [*CALLS, *QUANTIZED, *FLOAT_FROM_INTEGERS]:
        if call.id == "QLinearAveragePool-last":  # its kernel sums in another order: one step of the output's scale
            continue
        yield Case(f"ms {call.id}", call.model(), call.feeds, call.tolerance)
