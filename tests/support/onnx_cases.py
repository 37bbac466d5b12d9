"""Test points for gradient rules: ONNX's own backend cases and our own table, each in several forms.

Forms: `static` as the case comes, `constant` with its small integer inputs (axes, shapes, indices) as initializers, and
`symbolic` with these as initializers too and every other extent a symbol of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.backend.test.loader import load_model_tests

from tests.support import own_cases

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
FORMS = ("static", "constant", "symbolic")

NOT_VARIED = {
    ("Dropout", 1): "the ratio of a random mask",
    ("Resize", 1): "the region to cut out: refused",
    ("Resize", 2): "scales: the standard calls them not differentiable",
    ("Upsample", 1): "scales: the standard calls them not differentiable",
    ("QuantizeLinear", 1): "the scale of a rounding",
    ("OneHot", 0): "indices",
    ("OneHot", 1): "a count",
    ("NonMaxSuppression", 3): "a threshold",
    ("NonMaxSuppression", 4): "a threshold",
}
"""Floating-point inputs that are parameters: nobody asks for their gradient."""


@dataclass(frozen=True)
class Case:
    """A model and a point. `varied` are the inputs the gradient is taken of; `form` one of FORMS."""

    name: str
    model: onnx.ModelProto = field(repr=False, compare=False)
    inputs: Mapping[str, Any] = field(repr=False, compare=False)
    varied: tuple[str, ...] = field(compare=False)
    targets: tuple[str, ...] = field(compare=False)
    form: str = "static"

    @property
    def id(self) -> str:
        """What `pytest -k` looks at: the operator, the case, the form."""
        return f"{self.name}-{self.form}"

    @property
    def precision(self) -> set[int]:
        """The element types of the varied inputs."""
        return {v.type.tensor_type.elem_type for v in self.model.graph.input if v.name in self.varied}


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """Every case with a floating-point input and output, in every form it has."""
    return tuple(_in_form(case, form) for case in _all() for form in FORMS if form != "constant" or _small(case))


def _all() -> Iterator[Case]:
    with np.errstate(all="ignore"):
        tests = [*load_model_tests(kind="node"), *load_model_tests(kind="simple")]
    for test in sorted(tests, key=lambda t: str(t.name)):
        model = test.model or onnx.load(f"{test.model_dir}/model.onnx")
        arrays = test.data_sets[0][0] if test.data_sets else _stored(Path(test.model_dir), model)
        yield from _case(test.name.removeprefix("test_"), model, list(arrays))
    for own in own_cases.CASES:
        yield from _case(f"own_{own.name}", own.model(), own.arrays(), own.exact)


def _stored(folder: Path, model: onnx.ModelProto) -> Iterator[Any]:
    """The inputs of a case kept as files; None for what is no tensor."""
    for i, value in enumerate(model.graph.input):
        path = folder / "test_data_set_0" / f"input_{i}.pb"
        if path.exists():  # weights listed as inputs have none
            yield onnx.load_tensor(str(path)) if value.type.HasField("tensor_type") else None


def _case(name: str, model: onnx.ModelProto, arrays: list[Any], exact: bool = False) -> Iterator[Case]:
    operators = [n.op_type for n in model.graph.node]
    label = "_".join(dict.fromkeys(operators)) if len(operators) < 3 else "graph"
    values = {v.name: _array(a) for v, a in zip(model.graph.input, arrays, strict=False)}
    fixed = {name for n in model.graph.node for i, name in enumerate(n.input) if (n.op_type, i) in NOT_VARIED and not n.domain}
    varied = [v.name for v in model.graph.input if _is_float(v) and v.name in values and v.name not in fixed]
    targets = [v.name for v in model.graph.output if _is_float(v)]
    if varied and targets:
        shift = 0.0 if exact else 0.006
        point = {k: _nudged(v, f"{name}/{k}", shift) if k in varied else v for k, v in values.items()}
        yield Case(f"{label}-{name}", model, point, tuple(varied), tuple(targets))


def _array(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and value.type.tensor_type.elem_type in FLOATS


def _nudged(value: Any, name: str, size: float) -> np.ndarray[Any, Any]:
    """The array moved a little off the points where functions have kinks; the same way each time."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    array = np.asarray(value).astype(np.float64)
    shift = size * generator.uniform(0.7, 1.3, array.shape) * generator.choice([-1, 1], array.shape)
    return (array + shift).astype(np.float32).astype(np.float64)


# -- forms -------------------------------------------------------------------------------------------------------------


def _small(case: Case) -> list[str]:
    """Inputs that steer the operator: integer and boolean ones of rank 0 or 1, and parameters."""
    return [
        k
        for k, v in case.inputs.items()
        if k not in case.varied and isinstance(v, np.ndarray | np.generic) and np.ndim(v) < 2 and v.dtype.kind in "iubf"
    ]


def _in_form(case: Case, form: str) -> Case:
    if form == "static":
        return case
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    graph = model.graph
    small = _small(case)
    kinds = {v.name: v.type.tensor_type.elem_type for v in graph.input}
    for name in small:
        tensor = onnx.numpy_helper.from_array(np.asarray(case.inputs[name]), name)
        if tensor.data_type == kinds[name]:
            graph.initializer.append(tensor)
    held = {t.name for t in graph.initializer}
    kept = [v for v in graph.input if v.name not in held]
    del graph.input[:]
    graph.input.extend(kept)
    if form == "symbolic":
        _make_symbolic(graph)
    inputs = {k: v for k, v in case.inputs.items() if k not in held}
    return Case(case.name, model, inputs, case.varied, case.targets, form)


def _make_symbolic(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for value in graph.input:
        if value.type.HasField("tensor_type"):
            for axis, dim in enumerate(value.type.tensor_type.shape.dim):
                dim.dim_param = f"{value.name}_{axis}"
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
