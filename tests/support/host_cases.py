"""What every host is tested with: explained models, inputs for them, and what ONNX Runtime in Python says.

Methods come from the list of methods, so that a new one is tested in every host without a word here: each on the digits, and
the first of each family on a table and on transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import plan, rewrite
from onnxplain.errors import LayerError, MethodError, RuleError, UnsupportedOperatorError
from onnxplain.io.metadata import read_metadata
from onnxplain.method.registry import Method, all_methods
from tests.support.paths import FIXTURES
from tests.support.random_trees import Plan, draw, older

FAMILIES_ON = ("cancer", "bert", "vit")
"""Fixtures that every family is tested on, beside the digits: a table, tokens, patches."""

SOME_ON = ("cancer_sklearn", "lstm", "fixed_of_digits", "float16_of_digits", "qdq_of_digits")
"""Fixtures and models made from them that a walk, a loop and a replay are tested on: outputs that are no tensors, a sequence,
a fixed batch, half precision, eight bits."""

SOME = ("gradient", "integrated-gradients", "lrp-epsilon")

AT_POINTS = ("integrated-gradients", "path-integrated-gradients", "smoothgrad", "expected-gradients", "deeplift-shap")
"""Methods that lay out points, for inputs of no elements."""

BASIC = ("gradient", "saliency", "sensitivity", "input-x-gradient", "taylor")
"""Methods that no model here may refuse."""


@dataclass(frozen=True)
class Case:
    """One explained model with inputs."""

    source: str
    method: str
    settings: tuple[tuple[str, Any], ...] = field(default=(), hash=False)
    note: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.source, self.method, self.note)))


TABLES_FOR = {"linear-shap": "linear_of_cancer_sklearn", "tree-shap": "trees_of_cancer_sklearn"}
"""Methods that serve one kind of model of tables only, and a model of that kind."""


def graph_methods() -> dict[str, Method]:
    """The methods that a file can hold, but for those of `TABLES_FOR` and those of tokens."""
    assert set(TABLES_FOR) == {name for name, m in all_methods().items() if m.attributes_to == "column"}
    return {name: m for name, m in all_methods().items() if not m.forward_only and m.attributes_to not in ("column", "token")}


def families() -> list[str]:
    """The first method of each family: of each file that defines methods."""
    firsts: dict[str, str] = {}
    for m in graph_methods().values():
        firsts.setdefault(m.run.__module__, m.name)
    return list(firsts.values())


def cases() -> list[Case]:
    """Every method on the digits, the families on the other models, and every form of run-time input."""
    run_time = (("target", "input"),)
    found = [Case("digits", m, run_time) for m in graph_methods()]
    found += [Case(s, m, run_time) for m, s in TABLES_FOR.items()]
    found += [Case(s, m, run_time) for s in FAMILIES_ON for m in families()]
    found += [Case(s, m, run_time) for s in SOME_ON for m in SOME]
    found += [Case("past_of_cancer", m, run_time) for m in AT_POINTS]
    forms: dict[str, dict[str, Any]] = {
        "top": {},
        "index": {"target": 3},
        "contrast": {"target": {3: 1, 5: -1}},
        "all": {"target": "all"},
        "seed": {"target": "cotangent"},
        "layer": {"target": "input", "layer": "max_pool2d"},
        "probability": {"target": "input", "score": "probability"},
        "only": {"target": "input", "only_attribution": True},
        "mask": {"target": "input", "mask": {"max_pool2d": "input"}},
    }
    found += [Case("digits", "gradient", tuple(s.items()), note) for note, s in forms.items()]
    found.append(Case(TABLES_FOR["tree-shap"], "tree-shap", (*run_time, ("pairs", "all")), "interactions"))
    found.append(Case("digits", "smoothgrad", (*run_time, ("noise", "input"), ("samples", 3)), "noise"))
    return found


def settings_of(case: Case) -> dict[str, Any]:
    """The settings of a case, with what its method cannot do without."""
    settings, method = dict(case.settings), all_methods()[case.method]
    if method.needs_baseline:
        settings["baseline"] = "input"
    if case.method in TABLES_FOR:
        settings["background"] = rows(case.source)
    if method.attributes_to in ("layer", "input") and not method.auto_layer:
        settings["layer"] = middle(case.source)
    return settings


@cache
def rewritten(case: Case) -> onnx.ModelProto:
    """The explained model.

    A method that refuses the model skips the test with its reason, except for the basic ones.
    """
    try:
        return rewrite(source(case.source), case.method, **settings_of(case))
    except (LayerError, MethodError, RuleError, UnsupportedOperatorError) as error:
        if case.method in BASIC:
            raise
        pytest.skip(f"{case.method} refuses {case.source}: {error}")


@cache
def made(case: Case) -> tuple[onnx.ModelProto, dict[str, np.ndarray], dict[str, Any]]:
    """The explained model, two samples with what is chosen at run time, and all outputs as Python has them."""
    model, given = rewritten(case), feeds(case.source)
    return model, {**given, **chosen(model, given)}, run(model, {**given, **chosen(model, given)})


def middle(name: str) -> str:
    """A tensor half way between input and score, for methods that need a layer."""
    way = [row for row in plan(source(name)).rows if row.status == "rule"]
    return way[len(way) // 2].output


def run(model: onnx.ModelProto, given: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """All outputs in Python, on the CPU, with nothing but defaults: as a host does that only loads the file."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, dict(given)), strict=True))


def rows(name: str) -> dict[str, np.ndarray]:
    """The samples of a fixture but for the first two: what those are compared with."""
    with np.load(FIXTURES / name.partition("_of_")[2] / "data.npz") as data:
        return {k: v[2:] for k, v in data.items() if k != "label"}


def feeds(name: str) -> dict[str, np.ndarray]:
    """The first two samples of a fixture, in the types of the model made from it."""
    with np.load(FIXTURES / name.partition("_of_")[2] / "data.npz" if "_of_" in name else FIXTURES / name / "data.npz") as data:
        arrays = {k: np.ascontiguousarray(v[:2]) for k, v in data.items() if k != "label"}
    if name.startswith("past"):
        arrays["past"] = np.zeros((2, 0), np.float32)
    return {k: v.astype(np.float16) for k, v in arrays.items()} if name.startswith("float16") else arrays


def chosen(model: onnx.ModelProto, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays for the inputs that were left to run time: index 1 and the top one, and seeded random numbers."""
    about = read_metadata(model)
    assert about is not None
    random = np.random.default_rng(0)
    symbols: dict[str, int] = {}
    for info in model.graph.input:
        if info.name in given:
            symbols |= {d.dim_param: n for d, n in zip(info.type.tensor_type.shape.dim, given[info.name].shape, strict=True)}
    extra: dict[str, np.ndarray] = {}
    for info in model.graph.input:
        if info.name == about["run_time_inputs"].get("target"):
            extra[info.name] = np.array([1, -1])
        elif info.name not in given:
            tensor = info.type.tensor_type
            shape = [d.dim_value or symbols.setdefault(d.dim_param, 3) for d in tensor.shape.dim]
            extra[info.name] = (random.random(shape) / 4).astype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return extra


def same(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Fail unless every output that is a tensor of numbers is the same to the bit."""
    numbers = {k: v for k, v in expected.items() if isinstance(v, np.ndarray) and v.dtype.kind in "fiub"}
    assert numbers
    for name, array in numbers.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes(), (name, np.abs(found[name] - array).max())


# -- models made from fixtures ------------------------------------------------------------------------------------------


@cache
def source(name: str) -> onnx.ModelProto:
    """A fixture's model, or one made from it: FORM_of_FIXTURE."""
    form, _, fixture = name.rpartition("_of_")
    model = onnx.load(FIXTURES / fixture / "model.onnx")
    return MADE[name](model) if form else model


def _fixed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with a batch of two, and no symbol left."""
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.shape.dim[0].dim_value = 2
    del model.graph.value_info[:]
    return model


def _float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same in half precision."""
    for info in (*model.graph.input, *model.graph.output):
        info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            half = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    del model.graph.value_info[:]
    return model


def _qdq(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same quantized to eight bits by ONNX Runtime, in its QDQ form."""
    from tempfile import TemporaryDirectory

    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Samples(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            with np.load(FIXTURES / "digits" / "data.npz") as data:
                self.rest: Iterator[dict[str, np.ndarray]] = iter([{"image": data["image"]}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rest, None)

    with TemporaryDirectory() as folder:
        before, after = Path(folder, "float.onnx"), Path(folder, "qdq.onnx")
        onnx.save(model, before)
        quantize_static(before, after, Samples(), quant_format=QuantFormat.QDQ)
        return onnx.load(after)


def _past(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with a second input, of any number of columns and none in these tests, whose squares are added to every feature."""
    (x,) = model.graph.input
    for node in model.graph.node:
        node.input[:] = ["moved" if name == x.name else name for name in node.input]
    model.graph.input.append(onnx.helper.make_tensor_value_info("past", onnx.TensorProto.FLOAT, ["batch", "columns"]))
    for made in (
        onnx.helper.make_node("Mul", ["past", "past"], ["squares"]),
        onnx.helper.make_node("ReduceSum", ["squares", "rows"], ["sums"]),
        onnx.helper.make_node("Add", [x.name, "sums"], ["moved"]),
    )[::-1]:
        model.graph.node.insert(0, made)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "rows"))
    return model


def _linear(model: onnx.ModelProto) -> onnx.ModelProto:
    """What comes before the first activation."""
    end = next(n for n in model.graph.node if n.op_type == "Add").output[0]
    known = onnx.shape_inference.infer_shapes(model)
    return onnx.utils.Extractor(known).extract_model([i.name for i in model.graph.input], [end])


def _trees(model: onnx.ModelProto) -> onnx.ModelProto:
    """Random trees on the same table."""
    (x,) = model.graph.input
    random = np.random.default_rng(0)
    plan = Plan(features=x.type.tensor_type.shape.dim[1].dim_value, trees=5, depth=4, outputs=2, values=(0.1, 1.0, 15.0, 90.0))
    made = older(draw(random, plan), plan, random)
    made.graph.node[0].input[0] = made.graph.input[0].name = x.name
    for info in (*made.graph.input, *made.graph.output):
        info.type.tensor_type.shape.dim[0].dim_param = "batch"
    return made


MADE: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "fixed_of_digits": _fixed,
    "float16_of_digits": _float16,
    "qdq_of_digits": _qdq,
    "past_of_cancer": _past,
    "linear_of_cancer_sklearn": _linear,
    "trees_of_cancer_sklearn": _trees,
}
"""Models made from fixtures."""
