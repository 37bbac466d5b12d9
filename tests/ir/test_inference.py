"""Inferred types and shapes against what ONNX's own cases declare, onnx's inference, and what ONNX Runtime really returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx.backend.test.loader import load_model_tests

from onnxplain import OnnxplainError, rewrite
from onnxplain.builder.emitter import Emitter
from onnxplain.errors import RuleError
from onnxplain.ir.graph import Graph
from onnxplain.ir.inference import Applied, infer
from onnxplain.ir.inference.contents import contents
from onnxplain.ir.inference.dims import quotient_of
from onnxplain.ir.inference.shapes import RULES
from onnxplain.ir.schema import signature
from onnxplain.ir.tensor import Dim, Tensor
from onnxplain.runtime.random_inputs import random_inputs
from tests.support.models import model, run

OPSET = 21
FLOAT = np.dtype(np.float32)


def inferred(
    op: str,
    inputs: Sequence[Tensor | None],
    values: dict[str, np.ndarray],
    *,
    opset: int = OPSET,
    outputs: int = 1,
    **attributes: Any,
) -> list[Tensor]:
    """What is inferred of one node whose inputs of these names are constants."""

    def whole(t: Tensor) -> list[int] | None:
        v = values.get(t.name)
        return None if v is None or v.dtype.kind not in "iu" or v.ndim > 1 else v.ravel().tolist()

    def value(t: Tensor | None) -> np.ndarray | None:
        return None if t is None else values.get(t.name)

    return infer(
        Applied(
            op,
            "",
            opset,
            signature(op, "", opset),
            inputs,
            attributes,
            outputs,
            lambda t: contents(t, lambda t: None, whole),
            value,
        )
    )


# -- ONNX's own cases -----------------------------------------------------------------------------------------------------


def single_nodes() -> Iterator[tuple[str, onnx.ModelProto, list[Any]]]:
    """Every backend case of one operator of the standard's domain with tensors alone."""
    with np.errstate(all="ignore"):
        for case in load_model_tests(kind="node"):
            model = case.model or onnx.load(f"{case.model_dir}/model.onnx")
            graph = model.graph
            plain = all(v.type.HasField("tensor_type") for v in (*graph.input, *graph.output))
            node = graph.node[0]
            bodies = any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute)
            if len(graph.node) == 1 and not node.domain and plain and not bodies and case.data_sets:
                yield case.name, model, list(case.data_sets[0][0])


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    made = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    made = {k: onnx.numpy_helper.to_array(v) if isinstance(v, onnx.TensorProto) else v for k, v in made.items()}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in made.items()}


def declared(value: onnx.ValueInfoProto) -> tuple[np.dtype, tuple[int, ...]]:
    kind = value.type.tensor_type
    return np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)), tuple(d.dim_value for d in kind.shape.dim)


def check_case(name: str, case: onnx.ModelProto, arrays: Sequence[np.ndarray], *, symbolic: bool, constants: bool) -> bool:
    """Nothing stated of a case's outputs is wrong. Returns whether all is known."""
    node, complete = case.graph.node[0], True
    values = dict(zip((v.name for v in case.graph.input), arrays, strict=True))
    values = {k: v for k, v in values.items() if constants and v.size <= 64 and v.ndim <= 1}
    meaning: dict[Dim, int] = {}
    inputs: dict[str, Tensor] = {}
    for v in case.graph.input:
        dtype, shape = declared(v)
        dims: tuple[Dim, ...] = shape
        if symbolic and not (v.name in values and dtype.kind in "iu"):
            dims = tuple(f"{v.name}_{i}" for i in range(len(shape)))
            meaning.update(zip(dims, shape, strict=True))
        inputs[v.name] = Tensor(v.name, dtype, dims)
    given = [inputs.get(n) for n in node.input]
    opset = case.opset_import[0].version
    found = inferred(node.op_type, given, values, opset=opset, outputs=len(node.output), **attributes_of(node))
    outputs = {v.name: declared(v) for v in case.graph.output}
    for tensor, output in zip(found, node.output, strict=True):
        if not output:
            continue
        dtype, shape = outputs[output]
        said = f"{name}, {output}, {symbolic=}, {constants=}: {tensor.dtype} {tensor.shape}, really {dtype} {shape}"
        assert tensor.dtype in (None, dtype), said
        real = (None,) * len(shape) if tensor.shape is None else tuple(meaning.get(d, d) for d in tensor.shape)
        assert len(real) == len(shape), said
        assert all(d in (None, e) for d, e in zip(real, shape, strict=True)), said
        complete = complete and None not in real
    return complete


def test_shapes_of_onnx_cases() -> None:
    """With extents that are numbers or each a symbol of its own, with small inputs that are constants or not: nothing is stated that
    is not so. With numbers and constants everything is known of the operators that have a rule, but for a few."""
    cases = [c for c in single_nodes() if c[1].opset_import[0].version >= 13]  # older ones are raised before anything is emitted
    incomplete = set()
    for name, case, arrays in cases:
        arrays = [np.asarray(a) for a in arrays]
        for symbolic in (False, True):
            for constants in (False, True):
                complete = check_case(name, case, arrays, symbolic=symbolic, constants=constants)
                if constants and not symbolic and not complete:
                    incomplete.add(case.graph.node[0].op_type)
    assert len(cases) > 800
    # The values decide of NonZero and OneHot, floats of Range, an ellipsis of Einsum, the aspect ratio of Resize.
    assert incomplete & RULES.keys() == {"NonZero", "OneHot", "Range", "Einsum", "Resize"}


# -- onnx's inference -----------------------------------------------------------------------------------------------------


def by_onnx(
    op: str, shapes: Sequence[Sequence[Dim]], values: dict[int, Any], outputs: int, **attributes: Any
) -> list[tuple[Any, ...]]:
    """The shapes that onnx infers for float inputs of these shapes, followed by constants."""
    names = [f"in{i}" for i in range(len(shapes))] + [f"value{i}" for i in values]
    node = helper.make_node(op, names, [f"out{i}" for i in range(outputs)], **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(f"in{i}", 1, s) for i, s in enumerate(shapes)],
        [helper.make_empty_tensor_value_info(f"out{i}") for i in range(outputs)],
        [onnx.numpy_helper.from_array(np.array(v, np.int64), f"value{i}") for i, v in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    made = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    found = [o.type.tensor_type.shape.dim for o in made.graph.output]
    return [tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in dims) for dims in found]


def agree(
    op: str, shapes: Sequence[Sequence[Dim]], values: dict[int, Any] | None = None, outputs: int = 1, **attributes: Any
) -> None:
    """Ours says all that onnx says, and nothing else of what it knows. Symbols that it makes up (`unk__`) are unknown."""
    values = values or {}
    inputs = [Tensor(f"in{i}", FLOAT, tuple(s)) for i, s in enumerate(shapes)]
    constants = {f"value{i}": np.array(v, np.int64) for i, v in values.items()}
    inputs += [Tensor(k, v.dtype, v.shape) for k, v in constants.items()]
    theirs = by_onnx(op, shapes, values, outputs, **attributes)
    for ours, onnxs in zip(inferred(op, inputs, constants, outputs=outputs, **attributes), theirs, strict=True):
        wanted = tuple(None if isinstance(d, str) and d.startswith("unk__") else d for d in onnxs)
        assert ours.shape is not None
        assert len(ours.shape) == len(wanted)
        for mine, other in zip(ours.shape, wanted, strict=True):
            assert mine == other or other is None, (op, shapes, values, attributes, ours.shape, wanted)


extents = st.one_of(st.integers(1, 9), st.sampled_from(["n", "m"]))
FEW = settings(max_examples=150, deadline=None)


@FEW
@given(st.lists(extents, min_size=0, max_size=4), st.data())
def test_broadcasting(shape: list[Dim], data: st.DataObject) -> None:
    """The second operand has the extents of the first, with some of them 1 and some at the front left out."""
    other = [data.draw(st.sampled_from([d, 1])) for d in shape][data.draw(st.integers(0, len(shape))) :]
    agree("Add", [shape, other])
    agree("Mul", [other, shape])
    agree("Expand", [other], {0: [d if isinstance(d, int) else 1 for d in shape]})


@FEW
@given(st.lists(extents, min_size=1, max_size=4), st.data())
def test_moves(shape: list[Dim], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    number, low, high = (data.draw(st.integers(a, b)) for a, b in ((-12, 12), (0, 3), (0, 3)))
    step = data.draw(st.sampled_from([1, 2, -1, -3]))
    agree("Transpose", [shape], perm=data.draw(st.permutations(range(len(shape)))))
    agree("Unsqueeze", [shape], {0: [axis]})
    agree(
        "Slice", [shape], {0: [number], 1: [data.draw(st.sampled_from([number + 3, 2**63 - 1, -(2**31)]))], 2: [axis], 3: [step]}
    )
    pads = [0] * (2 * len(shape))
    pads[axis % len(shape)], pads[axis % len(shape) + len(shape)] = low, high
    agree("Pad", [shape], {0: pads})
    agree("Concat", [shape, shape], axis=axis)
    agree("Tile", [shape], {0: [1, low, 1, high][: len(shape)] + [1] * (len(shape) - 4)})
    agree("Flatten", [shape], axis=axis)
    agree("ReduceSum", [shape], {0: [axis]}, keepdims=low % 2)
    agree("ArgMax", [shape], axis=axis, keepdims=low % 2)
    agree("Gather", [shape], {0: [[0, 0], [0, 0]]}, axis=axis)
    if isinstance(shape[axis], int):
        agree("Split", [shape], outputs=2, axis=axis, num_outputs=2)
    agree("Reshape", [shape], {0: [0, -1] if len(shape) > 1 else [-1]})
    agree("Squeeze", [[*shape, 1]], {0: [-1]})


@FEW
@given(st.lists(st.integers(1, 4), max_size=2), extents, extents, extents)
def test_products(batch: list[int], rows: Dim, inner: Dim, columns: Dim) -> None:
    agree("MatMul", [[*batch, rows, inner], [*batch, inner, columns]])
    agree("MatMul", [[inner], [*batch, inner, columns]])
    agree("MatMul", [[*batch, rows, inner], [inner]])
    agree("Gemm", [[inner, rows], [columns, inner]], transA=1, transB=1)
    agree("Einsum", [[rows, inner], [inner, columns]], equation="ij,jk->ki")


@FEW
@given(
    st.integers(5, 40),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 1),
)
def test_windows(extent: int, kernel: int, stride: int, dilation: int, before: int, after: int, ceil: int) -> None:
    """A window that slides over one axis: convolutions as onnx infers them, pools as ONNX Runtime makes them."""
    span = (kernel - 1) * dilation + 1
    if span > extent or before >= kernel or after >= kernel:
        return
    common = {"strides": [stride], "dilations": [dilation], "pads": [before, after]}
    agree("Conv", [["n", 3, extent], [7, 3, kernel]], **common)
    pool = {"kernel_shape": [kernel], "ceil_mode": ceil, **common}
    node = helper.make_node("MaxPool", ["x"], ["y"], **pool)
    real = run(model([node], {"x": [2, 3, extent]}, {"y": None}), {"x": np.zeros((2, 3, extent), np.float32)})["y"].shape
    for op in ("MaxPool", "AveragePool"):  # onnx counts windows that start behind the image
        (found,) = inferred(op, [Tensor("x", FLOAT, (2, 3, extent))], {}, **pool)
        assert found.shape == real
    agree("Conv", [["n", 3, extent], [7, 3, kernel]], strides=[stride], auto_pad="SAME_UPPER")


def test_minus_one_is_solved_only_where_it_is_certain() -> None:
    assert quotient_of(["n", 4, 6], ["n", 3]) == 8
    assert quotient_of(["n", 4], [4]) == "n"
    assert quotient_of(["n", 4], [8]) is None  # n / 2
    assert quotient_of(["n", 4], ["m"]) is None
    assert quotient_of(["n", "m"], [1]) is None
    assert quotient_of(["n", None, 4], ["n", 4]) is None
    assert quotient_of([None, 2], [2]) is None


# -- ONNX Runtime ---------------------------------------------------------------------------------------------------------

METHODS: Sequence[tuple[str, dict[str, Any]]] = (
    ("gradient", {}),
    ("lrp-epsilon-plus", {}),
    ("deeplift", {"baseline": "input", "target": "all"}),
    ("attnlrp", {}),
    ("integrated-gradients", {"baseline": 0, "steps": 8}),
    ("gradient", {"batch_size": 2}),
)
FIXTURES = sorted(Path("fixtures").rglob("*.onnx"))


@pytest.mark.parametrize("path", FIXTURES, ids=lambda p: str(p.relative_to("fixtures").with_suffix("")))
def test_shapes_at_run_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is known of the tensors emitted for a fixture is so when ONNX Runtime runs the file; a symbol is one number."""
    number = FIXTURES.index(path)
    emitted: dict[str, Tensor] = {}
    record = Emitter._record

    def recording(self: Emitter, *args: Any, **more: Any) -> tuple[Tensor, ...]:
        made = record(self, *args, **more)
        emitted.update((t.name, t) for t in made)
        return made

    monkeypatch.setattr(Emitter, "_record", recording)
    checked, refused = 0, 0
    for method, options in (METHODS[number % 6], METHODS[(number + 1) % 6], METHODS[0]):
        emitted.clear()
        try:
            made = rewrite(path, method, **options)
        except OnnxplainError:  # that this model has no such explanation is for other tests
            refused += 1
            continue
        ends = {o.name for o in made.graph.output}
        seen = [t for n in made.graph.node for o in n.output if (t := emitted.get(o)) and o not in ends and not t.is_sequence]
        inputs = random_inputs(Graph(onnx.ModelProto.FromString(made.SerializeToString())), 3)
        made.graph.output.extend(helper.make_empty_tensor_value_info(t.name) for t in seen)
        quiet = ort.SessionOptions()
        quiet.log_severity_level = 4
        quiet.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(made.SerializeToString(), quiet, providers=["CPUExecutionProvider"])
        values = dict(zip((o.name for o in session.get_outputs()), session.run(None, inputs), strict=True))
        meaning: dict[str, int] = {}
        for v in made.graph.input:
            pairs = zip(v.type.tensor_type.shape.dim, inputs[v.name].shape, strict=True) if v.name in inputs else ()
            meaning.update((d.dim_param, e) for d, e in pairs if d.dim_param)
        for t in seen:
            value = np.asarray(values[t.name])
            assert t.dtype in (None, value.dtype), f"{t} is {value.dtype}"
            if t.shape is not None:
                real = tuple(
                    meaning.setdefault(d, e) if isinstance(d, str) else d for d, e in zip(t.shape, value.shape, strict=True)
                )
                assert all(d in (None, e) for d, e in zip(real, value.shape, strict=True)), f"{t} is {value.shape}"
                checked += 1
    assert checked or refused


def test_what_cannot_be_is_refused() -> None:
    x = Tensor("x", FLOAT, ("n", 3))
    with pytest.raises(RuleError, match=r"Transpose does not fit inputs of shape \[n, 3\] with perm=\[0, 2, 1\]"):
        inferred("Transpose", [x], {}, perm=[0, 2, 1])
