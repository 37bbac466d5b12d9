"""Groupings found in the dataflow: what exporters leave of activations, softmax, norms, gates and linear maps, and what only
looks like them. Names of nodes and modules play no part: every tensor here is called t0, t1, ….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.registry import load_registry
from onnxplain.method.registry import find_method
from onnxplain.passes import prepare
from onnxplain.propagation.backward import live_nodes
from onnxplain.propagation.composite import Composite, RuleSelector
from onnxplain.verification.finite_differences import double, run, vector_jacobian_product
from tests.support.linear_cases import Array, random
from tests.support.writer import Writer

EPSILON_LRP = find_method("lrp-epsilon").rules({"epsilon": 1e-12})
ATTNLRP = find_method("attnlrp").rules({"epsilon": 1e-12})


def written(write: Any, shapes: Mapping[str, Sequence[int]] | None = None) -> onnx.ModelProto:
    w = Writer()
    shapes = shapes or {"x": (2, 3, 4)}
    return w.model(write(w, *shapes), shapes)


def live_calls(made: onnx.ModelProto, composite: Composite, target: str = "y", sources: Sequence[str] = ()) -> Sequence[Node]:
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    prepare(copy)
    graph = Graph(copy)
    starts = [graph.tensor(n) for n in sources or [i.name for i in made.graph.input]]
    return live_nodes(
        Builder(graph), graph.nodes, starts, (graph.tensor(target),), RuleSelector(composite, load_registry())
    ).nodes


def kinds(made: onnx.ModelProto, **options: Any) -> list[str]:
    """The operators that relevance goes through, but for the last Identity; compounds in brackets."""
    nodes = live_calls(made, EPSILON_LRP, **options)
    return [f"[{c.op}]" if c.parts else c.op for c in nodes if c.op != "Identity"]


def relevance(made: onnx.ModelProto, inputs: Mapping[str, Array], composite: Composite) -> dict[str, Array]:
    exact = double(made)
    (y,) = run(exact, inputs, ["y"])
    seeds = {"y": np.random.default_rng(1).standard_normal(np.shape(y))}
    return vector_jacobian_product(exact, inputs, seeds, list(inputs), composite=composite)


def same(first: onnx.ModelProto, second: onnx.ModelProto, composite: Composite, tolerance: float = 1e-6, **inputs: Array) -> None:
    """Two graphs of one function: the same numbers forward, the same relevance back."""
    results = [run(double(m), inputs, ["y"])[0] for m in (first, second)]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
    one, two = (relevance(m, inputs, composite) for m in (first, second))
    for name in inputs:
        np.testing.assert_allclose(one[name], two[name], rtol=0, atol=tolerance * np.abs(two[name]).max())


# -- activations ---------------------------------------------------------------------------------------------------------


def gelu_tanh_cube(w: Writer, x: str) -> str:
    return w.Mul(x, w.Mul(x, x))


ACTIVATIONS: dict[str, Any] = {
    "GELU, TorchScript": lambda w, x: w.Mul(w.Mul(x, w.Add(w.Erf(w.Div(x, 1.41421356)), 1.0)), 0.5),
    "GELU, dynamo": lambda w, x: w.Mul(w.Mul(x, 0.5), w.Add(w.Erf(w.Mul(x, 0.70710678)), 1.0)),
    "GELU, JAX": lambda w, x: w.Div(w.Mul(x, w.Add(w.Erf(w.Div(x, 1.41421356)), 1.0)), 2.0),
    "GELU tanh, Pow": lambda w, x: w.Mul(
        w.Mul(0.5, x), w.Add(1.0, w.Tanh(w.Mul(w.Add(x, w.Mul(w.Pow(x, 3.0), 0.044715)), 0.79788456)))
    ),
    "GELU tanh, products": lambda w, x: w.Mul(
        x, w.Mul(w.Add(w.Tanh(w.Mul(w.Add(x, w.Mul(0.044715, gelu_tanh_cube(w, x))), 0.79788456)), 1.0), 0.5)
    ),
    "quick GELU": lambda w, x: w.Mul(x, w.Sigmoid(w.Mul(x, 1.702))),
    "SiLU": lambda w, x: w.Mul(x, w.Sigmoid(x)),
    "SiLU, gate first": lambda w, x: w.Mul(w.Sigmoid(x), x),
    "SiLU, quotient": lambda w, x: w.Div(x, w.Add(w.Exp(w.Neg(x)), 1.0)),
    "hard-swish, Clip": lambda w, x: w.Div(w.Mul(x, w.Clip(w.Add(x, 3.0), 0.0, 6.0)), 6.0),
    "hard-swish, divided first": lambda w, x: w.Mul(x, w.Div(w.Clip(w.Add(x, 3.0), 0.0, 6.0), 6.0)),
    "hard-swish, HardSigmoid": lambda w, x: w.Mul(x, w.HardSigmoid(x, alpha=1 / 6)),
    "Mish": lambda w, x: w.Mul(x, w.Tanh(w.Softplus(x))),
    "Mish, all in parts": lambda w, x: w.Mul(x, w.Tanh(w.Log(w.Add(w.Exp(x), 1.0)))),
    "leaky ReLU, Max": lambda w, x: w.Max(x, w.Mul(x, 0.1)),
    "ReLU, halves": lambda w, x: w.Mul(w.Add(x, w.Abs(x)), 0.5),
    "ELU, Where": lambda w, x: w.Where(w.Greater(x, 0.0), x, w.Sub(w.Exp(w.Where(w.Greater(x, 0.0), 0.0, x)), 1.0)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_in_parts_are_one_call(name: str) -> None:
    made = written(ACTIVATIONS[name])
    assert kinds(made) == ["[Activation]"]
    x = random(2, 3, 4)
    found = relevance(made, {"x": x}, EPSILON_LRP)["x"]
    np.testing.assert_array_equal(found, np.random.default_rng(1).standard_normal(x.shape))  # passed on as it is


def test_functions_that_bend_nowhere_are_no_activations() -> None:
    """x², x + c: deconvnet and guided backprop leave them alone."""
    assert kinds(written(lambda w, x: w.Mul(x, x))) == ["[Function]"]
    assert kinds(written(lambda w, x: w.Add(x, 1.0))) == ["[Shift]"]
    assert kinds(written(lambda w, x: w.Sub(1.0, x))) == ["[Shift]"]
    made, x = written(lambda w, x: w.Add(w.Mul(x, x), 1.0)), random(2, 3, 4)
    slope = relevance(made, {"x": x}, Composite("gradient"))["x"]
    for method in ("deconvnet", "guided-backprop"):
        np.testing.assert_allclose(relevance(made, {"x": x}, find_method(method).rules())["x"], slope)


NO_ACTIVATIONS: dict[str, tuple[Any, list[str]]] = {
    "a residual through a linear layer": (lambda w, x: w.Add(x, w.MatMul(x, np.eye(4))), ["MatMul", "Add"]),
    "a residual through a mean": (lambda w, x: w.Sub(x, w.ReduceMean(x, np.array([-1]))), ["ReduceMean", "Sub"]),
    "a gate by another layer": (lambda w, x: w.Mul(x, w.Sigmoid(w.MatMul(x, np.eye(4)))), ["[Gate]"]),
    "a chain": (lambda w, x: w.Tanh(w.Sigmoid(x)), ["Sigmoid", "Tanh"]),
    "a product with what was moved": (
        lambda w, x: w.Mul(x, w.Transpose(w.Sigmoid(w.Transpose(x, perm=[0, 2, 1])), perm=[0, 2, 1])),
        ["[Gate]"],
    ),
    "a scale per channel": (lambda w, x: w.Mul(x, random(4)), ["Mul"]),
    "a factor behind another reader": (
        lambda w, x: w.Add(w.Mul(s := w.Mul(x, w.Sigmoid(x)), 0.5), w.MatMul(s, np.eye(4))),
        ["[Activation]", "Mul", "MatMul", "Add"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_ACTIVATIONS)
def test_what_only_looks_like_an_activation(name: str) -> None:
    write, expected = NO_ACTIVATIONS[name]
    assert kinds(written(write)) == expected


def test_a_tensor_that_is_read_elsewhere_stays() -> None:
    """The inner sigmoid goes into a linear layer too: nothing may hide it."""
    made = written(lambda w, x: w.Add(w.Mul(x, s := w.Sigmoid(x)), w.MatMul(s, np.eye(4))))
    assert kinds(made) == ["Sigmoid", "MatMul", "[Gate]", "Add"] or kinds(made) == ["Sigmoid", "[Gate]", "MatMul", "Add"]


def test_a_tensor_that_is_explained_stays() -> None:
    w = Writer()
    inner = w.MatMul("x", random(4, 4))
    shifted = w.Add(inner, random(4))
    made = w.model(w.Mul(shifted, w.Sigmoid(shifted)), {"x": (2, 3, 4)})
    assert kinds(made) == ["[Linear]", "[Activation]"]
    assert kinds(made, sources=["x", inner]) == ["MatMul", "Add", "[Activation]"]
    assert kinds(made, sources=["x", "t2"]) == ["[Linear]", "[Gate]"]
    assert kinds(made, target="t2") == ["[Linear]", "Sigmoid"]


# -- linear maps ---------------------------------------------------------------------------------------------------------


LINEAR: dict[str, tuple[Any, Sequence[int], list[str]]] = {
    "MatMul, Add": (lambda w, x: w.Add(w.MatMul(x, random(4, 5)), random(5)), (2, 3, 4), ["[Linear]"]),
    "Add first": (lambda w, x: w.Add(random(5), w.MatMul(x, random(4, 5))), (2, 3, 4), ["[Linear]"]),
    "weight on the left": (lambda w, x: w.Add(w.MatMul(random(5, 3), x), random(5, 1)), (2, 3, 4), ["[Linear]"]),
    "Conv, Add": (lambda w, x: w.Add(w.Conv(x, random(4, 3, 2)), random(4, 1)), (2, 3, 4), ["[Linear]"]),
    "ConvTranspose, Add": (lambda w, x: w.Add(w.ConvTranspose(x, random(3, 4, 2)), random(1, 4, 1)), (2, 3, 4), ["[Linear]"]),
    "Gemm, Add": (lambda w, x: w.Add(w.Gemm(x, random(4, 5)), random(5)), (3, 4), ["[Linear]"]),
    "Einsum, Add": (lambda w, x: w.Add(w.Einsum(x, random(4, 5), equation="bij,jk->bik"), random(5)), (2, 3, 4), ["[Linear]"]),
    "a number": (lambda w, x: w.Add(w.MatMul(x, random(4, 5)), 0.5), (2, 3, 4), ["MatMul", "[Shift]"]),
    "the bias of one unit": (lambda w, x: w.Add(w.MatMul(x, random(4, 1)), 0.5), (2, 3, 4), ["[Linear]"]),
    "a bias that stretches": (lambda w, x: w.Add(w.MatMul(x, random(4, 1)), random(5)), (3, 4), ["MatMul", "Add"]),
    "a bias with more axes": (lambda w, x: w.Add(w.MatMul(x, random(4, 5)), random(2, 1, 5)), (3, 4), ["MatMul", "Add"]),
    "a second bias": (lambda w, x: w.Add(w.Gemm(x, random(4, 5), random(5)), random(5)), (3, 4), ["Gemm", "Add"]),
    "two live operands": (lambda w, x: w.Add(w.MatMul(x, w.Transpose(x, perm=[1, 0])), random(3)), (3, 4), ["Transpose", "MatMul", "Add"]),
    "a residual": (lambda w, x: w.Add(w.MatMul(x, random(4, 4)), x), (3, 4), ["MatMul", "Add"]),
    "a product read elsewhere": (
        lambda w, x: w.Concat(w.Add(p := w.MatMul(x, random(4, 4)), random(4)), p, axis=0), (3, 4), ["MatMul", "Add", "Concat"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LINEAR)
def test_linear_maps_with_their_bias(name: str) -> None:
    write, shape, expected = LINEAR[name]
    assert sorted(kinds(written(write, {"x": shape}))) == sorted(expected)


def test_a_skip_connection_is_no_bias() -> None:
    """Explaining a tensor inside a residual block, the skip carries no relevance: another summand, but no weight of the layer."""
    w = Writer()
    inner = w.Tanh("x")
    made = w.model(w.Add(w.MatMul(inner, random(4, 4)), w.Neg("x")), {"x": (2, 3, 4)})
    assert kinds(made, sources=[inner]) == ["MatMul", "Add"]


def test_a_bias_may_be_made_of_constants() -> None:
    made = written(lambda w, x: w.Add(w.MatMul(x, random(4, 5)), w.Cast(w.Transpose(random(5, 1).astype(np.float16)), to=1)))
    assert kinds(made) == ["[Linear]"]


# -- softmax -------------------------------------------------------------------------------------------------------------


def softmax_parts(w: Writer, x: str, axis: int = -1, shift: bool = True) -> str:
    e = w.Exp(w.Sub(x, w.ReduceMax(x, np.array([axis]))) if shift else x)
    return w.Div(e, w.ReduceSum(e, np.array([axis])))


@pytest.mark.parametrize("shift", [True, False])
@pytest.mark.parametrize("axis", [-1, 1, 2])
def test_softmax_in_parts(shift: bool, axis: int) -> None:
    made = written(lambda w, x: softmax_parts(w, x, axis, shift))
    assert kinds(made) == ["[Softmax]"]
    same(made, written(lambda w, x: w.Softmax(x, axis=axis)), ATTNLRP, x=random(2, 3, 4))


@pytest.mark.parametrize(
    "write",
    [
        lambda w, x: w.Div(e := w.Exp(x), w.ReduceSum(e, np.array([1, 2]))),  # over two axes
        lambda w, x: w.Div(e := w.Exp(x), w.ReduceMean(e, np.array([2]))),
        lambda w, x: w.Div(w.Exp(x), w.ReduceSum(w.Exp(w.Mul(x, 2.0)), np.array([2]))),
        lambda w, x: w.Div(e := w.Exp(w.Sub(x, w.ReduceMax(x, np.array([1])))), w.ReduceSum(e, np.array([2]))),
    ],
)
def test_what_only_looks_like_a_softmax(write: Any) -> None:
    found = kinds(written(write))
    assert found.count("[Softmax]") == (1 if "ReduceMax" in found else 0)


# -- norms ---------------------------------------------------------------------------------------------------------------

SCALE, SHIFT = random(4, seed=1).astype(np.float32), random(4, seed=2).astype(np.float32)
LAST = np.array([-1])


def deviation(w: Writer, centred: str, squares: str = "Pow") -> str:
    square = w.Pow(centred, 2.0) if squares == "Pow" else w.Mul(centred, centred)
    return w.Sqrt(w.Add(w.ReduceMean(square, LAST), 1e-5))


def layer_norm_torchscript(w: Writer, x: str) -> str:
    centred = w.Sub(x, w.ReduceMean(x, LAST))
    return w.Add(w.Mul(w.Div(centred, deviation(w, centred)), SCALE), SHIFT)


def layer_norm_tf(w: Writer, x: str) -> str:
    """tf.nn.batch_normalization on moments: x · (rsqrt(v + ε) · γ) + (β − m · rsqrt(v + ε) · γ)"""
    mean = w.ReduceMean(x, LAST)
    difference = w.Sub(x, mean)
    r = w.Mul(w.Reciprocal(deviation(w, difference, "Mul")), SCALE)
    return w.Add(w.Mul(x, r), w.Sub(SHIFT, w.Mul(mean, r)))


def layer_norm_tf_swapped(w: Writer, x: str) -> str:
    mean = w.ReduceMean(x, LAST)
    r = w.Mul(w.Reciprocal(deviation(w, w.Sub(x, mean), "Mul")), SCALE)
    return w.Add(w.Mul(r, x), w.Sub(SHIFT, w.Mul(r, mean)))


def layer_norm_jax(w: Writer, x: str) -> str:
    """flax: E[x²] − E[x]², not below zero"""
    mean, squares = w.ReduceMean(x, LAST), w.ReduceMean(w.Mul(x, x), LAST)
    variance = w.Max(w.Sub(squares, w.Mul(mean, mean)), 0.0)
    r = w.Mul(w.Reciprocal(w.Sqrt(w.Add(variance, 1e-5))), SCALE)
    return w.Add(w.Mul(w.Sub(x, mean), r), SHIFT)


def layer_norm_power(w: Writer, x: str) -> str:
    centred = w.Sub(x, w.ReduceMean(x, LAST))
    r = w.Pow(w.Add(w.ReduceMean(w.Mul(centred, centred), LAST), 1e-5), -0.5)
    return w.Add(w.Mul(SCALE, w.Mul(centred, r)), SHIFT)


def layer_norm_sums(w: Writer, x: str) -> str:
    """Means as sums over a count."""
    centred = w.Sub(x, w.Div(w.ReduceSum(x, LAST), 4.0))
    variance = w.Div(w.ReduceSumSquare(centred, LAST), 4.0)
    return w.Add(w.Mul(w.Div(centred, w.Sqrt(w.Add(variance, 1e-5))), SCALE), SHIFT)


def rms(w: Writer, x: str) -> str:
    return w.Sqrt(w.Add(w.ReduceMean(w.Pow(x, 2.0), LAST), 1e-5))


NORMS: dict[str, tuple[Any, Any]] = {
    **{
        f.__name__: (f, lambda w, x: w.LayerNormalization(x, SCALE, SHIFT, epsilon=1e-5))
        for f in (layer_norm_torchscript, layer_norm_tf, layer_norm_tf_swapped, layer_norm_jax, layer_norm_power, layer_norm_sums)
    },
    "RMS norm, TorchScript": (lambda w, x: w.Mul(SCALE, w.Mul(x, w.Div(1.0, rms(w, x)))), None),
    "RMS norm, dynamo": (lambda w, x: w.Mul(w.Mul(x, w.Reciprocal(rms(w, x))), SCALE), None),
    "RMS norm, quotient": (lambda w, x: w.Mul(w.Div(x, rms(w, x)), SCALE), None),
    "RMS norm, power": (
        lambda w, x: w.Mul(w.Mul(x, w.Pow(w.Add(w.ReduceMean(w.Mul(x, x), LAST), 1e-5), -0.5)), SCALE), None),
    "L2, PyTorch": (
        lambda w, x: w.Div(x, w.Expand(w.Clip(w.ReduceL2(x, LAST), 1e-12), np.array([2, 3, 4]))),
        lambda w, x: w.LpNormalization(x, axis=-1)),
    "L2, TF": (
        lambda w, x: w.Mul(x, w.Reciprocal(w.Sqrt(w.Max(w.ReduceSum(w.Mul(x, x), LAST), 1e-12)))),
        lambda w, x: w.LpNormalization(x, axis=-1)),
    "L2, root of a sum": (
        lambda w, x: w.Div(x, w.Sqrt(w.ReduceSum(w.Pow(x, 2.0), LAST))), lambda w, x: w.LpNormalization(x, axis=-1)),
    "L1": (lambda w, x: w.Div(x, w.ReduceSum(w.Abs(x), LAST)), lambda w, x: w.LpNormalization(x, axis=-1, p=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS)
def test_norms_in_parts_give_the_relevance_of_the_whole(name: str) -> None:
    """Division by a statistic is a constant to relevance, however it is written: nothing goes through the statistic."""
    parts, whole = NORMS[name]
    made, x = written(parts), random(2, 3, 4, seed=9)
    assert kinds(made) == ["[Norm]"] if name.startswith("layer_norm") else "[Normalize]" in kinds(made)
    if whole is None:  # x / constant · scale: what arrives is passed on
        expected = np.random.default_rng(1).standard_normal(x.shape)
        np.testing.assert_allclose(relevance(made, {"x": x}, ATTNLRP)["x"], expected, rtol=1e-6)
    else:
        same(made, written(whole), ATTNLRP, 1e-5, x=x)


@pytest.mark.parametrize(
    "write",
    [
        lambda w, x: w.Mul(x, w.ReduceMean(x, LAST)),  # no division
        lambda w, x: w.Add(w.Mul(w.Sub(x, w.ReduceMean(x, LAST)), w.ReduceMax(x, LAST)), SHIFT),
        lambda w, x: w.Mul(x, w.ReduceMax(x, LAST)),
        lambda w, x: w.Mul(
            x, w.Reciprocal(w.Sqrt(w.MatMul(w.ReduceMean(w.Mul(x, x), LAST), np.ones((1, 1)))))
        ),  # a layer in between
    ],
)
def test_what_only_looks_like_a_norm(write: Any) -> None:
    assert not {"[Normalize]", "[Norm]"} & set(kinds(written(write)))


# -- gates and attention -------------------------------------------------------------------------------------------------


def excitation(w: Writer, x: str, squash: Any) -> str:
    """Squeeze-and-excitation as PyTorch writes it: pooled, two 1×1 convolutions, squashed, multiplied."""
    squeezed = w.Relu(w.Conv(w.GlobalAveragePool(x), random(2, 3, 1, 1), random(2)))
    return w.Mul(squash(w, w.Conv(squeezed, random(3, 2, 1, 1), random(3))), x)


def excitation_tf(w: Writer, x: str) -> str:
    """Dense layers and reshapes, the signal first."""
    squeezed = w.Relu(w.MatMul(w.ReduceMean(x, np.array([2, 3]), keepdims=0), random(3, 2)))
    gate = w.Sigmoid(w.MatMul(squeezed, random(2, 3)))
    return w.Mul(x, w.Unsqueeze(gate, np.array([2, 3])))


GATES: dict[str, Any] = {
    "sigmoid": lambda w, x: excitation(w, x, lambda w, z: w.Sigmoid(z)),
    "hard sigmoid": lambda w, x: excitation(w, x, lambda w, z: w.HardSigmoid(z, alpha=1 / 6)),
    "hard sigmoid, over six": lambda w, x: excitation(w, x, lambda w, z: w.Div(w.Clip(w.Add(z, 3.0), 0.0, 6.0), 6.0)),
    "hard sigmoid, times a sixth": lambda w, x: excitation(w, x, lambda w, z: w.Mul(w.Clip(w.Add(3.0, z), 0.0, 6.0), 1 / 6)),
    "clipped to one": lambda w, x: excitation(w, x, lambda w, z: w.Clip(w.Add(w.Mul(z, 0.2), 0.5), 0.0, 1.0)),
    "dense layers": excitation_tf,
}


@pytest.mark.parametrize("name", GATES)
def test_gates_are_found_and_take_nothing(name: str) -> None:
    made, x = written(GATES[name], {"x": (2, 3, 4, 4)}), random(2, 3, 4, 4)
    assert "[Gate]" in kinds(made)
    found = relevance(made, {"x": x}, EPSILON_LRP)["x"]
    np.testing.assert_array_equal(found, np.random.default_rng(1).standard_normal(x.shape))


def test_an_unbounded_factor_is_no_gate() -> None:
    assert "[Gate]" not in kinds(written(lambda w, x: excitation(w, x, lambda w, z: w.Clip(z, 0.0, 6.0)), {"x": (2, 3, 4, 4)}))
    assert "[Gate]" not in kinds(written(lambda w, x: excitation(w, x, lambda w, z: w.Tanh(z)), {"x": (2, 3, 4, 4)}))
    two = written(lambda w, x: w.Mul(w.Sigmoid(w.MatMul(x, np.eye(4))), w.Sigmoid(w.MatMul(x, -np.eye(4)))))
    assert "[Gate]" not in kinds(two)  # which of two gates would be the signal?


def attention(w: Writer, q: str, k: str, v: str, softmax: Any, mix: Any = None) -> str:
    scores = w.Mul(w.MatMul(q, w.Transpose(k, perm=[0, 2, 1])), 0.5)
    weights = softmax(w, scores)
    return mix(w, weights, v) if mix else w.MatMul(weights, v)


MASK = np.where(np.tril(np.ones((3, 3))) > 0, 0, -np.inf)
ATTENTION: dict[str, Any] = {
    "softmax": lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Softmax(s, axis=-1)),
    "softmax in parts": lambda w, *qkv: attention(w, *qkv, softmax_parts),
    "masked by a sum": lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Softmax(w.Add(s, MASK))),
    "masked by a choice": lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Softmax(w.Where(MASK == 0, s, -1e9))),
    "NaN taken out": lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Where(w.IsNaN(p := w.Softmax(s)), 0.0, p)),
    "dropped out": lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Dropout(w.Softmax(s))),
    "values on the left": lambda w, *qkv: attention(
        w, *qkv, lambda w, s: w.Softmax(s), lambda w, p, v: w.MatMul(w.Transpose(v, perm=[0, 2, 1]), w.Transpose(p, perm=[0, 2, 1]))),
    "Einsum": lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Softmax(s), lambda w, p, v: w.Einsum(p, v, equation="bqk,bkd->bqd")),
}  # fmt: skip
QKV = {name: random(2, 3, 4, seed=i) for i, name in enumerate("qkv")}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_found(name: str) -> None:
    made = written(ATTENTION[name], dict.fromkeys("qkv", (2, 3, 4)))
    assert "[Attend]" in kinds(made)
    found = relevance(made, QKV, find_method("cp-lrp").rules())
    assert not found["q"].any()
    assert not found["k"].any()
    assert found["v"].any()
    both = relevance(made, QKV, ATTNLRP)
    assert all(np.isfinite(both[n]).all() and both[n].any() for n in "qkv")


def test_products_of_live_tensors_without_a_softmax_are_no_attention() -> None:
    made = written(lambda w, *qkv: attention(w, *qkv, lambda w, s: w.Relu(s)), dict.fromkeys("qkv", (2, 3, 4)))
    assert "[Attend]" not in kinds(made)


def rotary(w: Writer, x: str) -> str:
    """x · cos + (−x₂, x₁) · sin, as transformers writes it."""
    angles = np.outer(np.arange(3), [1.0, 0.1, 1.0, 0.1])
    low, high = w.Slice(x, [0], [2], [2]), w.Slice(x, [2], [4], [2])
    return w.Add(w.Mul(x, np.cos(angles)), w.Mul(w.Concat(w.Neg(high), low, axis=-1), np.sin(angles)))


def test_rotary_embedding_is_a_linear_map() -> None:
    """A rotation: each element gets x_i w_ij / y_j · R_j, as through the matrix of the rotation."""
    made, x = written(rotary), random(2, 3, 4)
    exact = double(made)
    (y,) = run(exact, {"x": x}, ["y"])
    arriving = np.random.default_rng(1).standard_normal(y.shape)
    columns = [run(exact, {"x": unit.reshape(x.shape)}, ["y"])[0] for unit in np.eye(x.size)]
    expected = np.array([np.sum(x.ravel()[i] * column / y * arriving) for i, column in enumerate(columns)])
    np.testing.assert_allclose(relevance(made, {"x": x}, EPSILON_LRP)["x"].ravel(), expected, rtol=1e-6)


# -- grouping changes no number ------------------------------------------------------------------------------------------

GROUPED: dict[str, tuple[Any, dict[str, Array]]] = {
    **{name: (write, {"x": random(2, 3, 4)}) for name, write in ACTIVATIONS.items()},
    **{name: (parts, {"x": random(2, 3, 4)}) for name, (parts, _) in NORMS.items()},
    **{f"gate: {name}": (write, {"x": random(2, 3, 4, 4)}) for name, write in GATES.items()},
    **{f"attention: {name}": (write, QKV) for name, write in ATTENTION.items()},
    **{f"linear: {name}": (write, {"x": random(*shape)}) for name, (write, shape, _) in LINEAR.items()},
}


@pytest.mark.parametrize("name", GROUPED)
def test_groups_have_the_gradient_of_their_parts(name: str) -> None:
    """Canonized, with gradient rules only: the gradient itself."""
    write, inputs = GROUPED[name]
    made = written(write, {n: x.shape for n, x in inputs.items()})
    plain, canonized = (relevance(made, inputs, Composite("gradients", canonize=c, norms=c)) for c in (False, True))
    for source in inputs:
        np.testing.assert_allclose(canonized[source], plain[source], rtol=1e-9, atol=1e-12)
