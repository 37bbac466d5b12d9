"""What holds for relevance through whole networks: it is conserved, it is input × gradient where ε vanishes, it is finite,
and it does not depend on how an exporter wrote the function down.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onnxplain import Explainer, rewrite
from onnxplain.method.registry import all_methods, find_method
from onnxplain.verification.finite_differences import double, vector_jacobian_product
from onnxplain.verification.reference.evaluator import evaluate_reference
from tests.support.models import model, node, run
from tests.support.networks import cnn, mlp, transformer, unet
from tests.support.paths import FIXTURES

Array = np.ndarray[Any, Any]

LRP = sorted(n for n, m in all_methods().items() if m.run.__module__ == "onnxplain.method.lrp" and n != "lrp")
"""Every method that goes by relevance rules, but for the one that takes a composite of the user's."""

RELEVANCE = [n for n in LRP if n not in ("guided-backprop", "deconvnet")]
"""Those that divide: the others are gradients with other slopes at activations."""

CONSERVING = [n for n in LRP if "conservation" in all_methods()[n].axioms]


def relevance(made: onnx.ModelProto, x: Array, method: str, target: Any = None, **options: Any) -> tuple[Array, Array]:
    """The attribution of `x` and the outputs, in float64."""
    explained = double(rewrite(made, method, target=target, **options))
    names = [o.name for o in explained.graph.output]
    y, found = evaluate_reference(explained, {"x": x.astype(np.float64)}, [names[0], "x_attribution"])
    return np.asarray(found), np.asarray(y)


NETWORKS: dict[str, tuple[Callable[..., onnx.ModelProto], tuple[int, ...]]] = {
    "mlp": (mlp, (2, 24)),
    "cnn": (cnn, (2, 4, 10, 10)),
    "plain cnn": (partial(cnn, residual=False), (2, 4, 10, 10)),
    "unet": (unet, (2, 4, 8, 8)),
    "transformer": (transformer, (2, 5, 8)),
}


def sample(name: str, size: float = 1.0) -> Array:
    shape = NETWORKS[name][1]
    return np.random.default_rng(7).standard_normal(shape) * size


# -- conservation --------------------------------------------------------------------------------------------------------


def conserves(name: str, method: str) -> bool:
    """The Taylor expansion of a softmax has a constant term, so only constant attention conserves in a transformer."""
    return name != "transformer" or method == "cp-lrp"


@pytest.mark.parametrize(("name", "method"), [(n, m) for n in NETWORKS for m in CONSERVING if conserves(n, m)])
def test_without_biases_relevance_is_conserved(name: str, method: str) -> None:
    """Σ R = f(x) to 1e-5. Inputs are large, so that ε is small beside every sum."""
    made = NETWORKS[name][0](seed=3)
    found, y = relevance(made, sample(name, 1e4), method)
    np.testing.assert_allclose(found.reshape(2, -1).sum(1), y.max(1), rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "plain cnn", "unet"])
def test_excitation_backprop_is_a_probability(name: str) -> None:
    """P ≥ 0 where inputs are, and Σ P = 1."""
    found, _ = relevance(NETWORKS[name][0](seed=3), np.abs(sample(name, 1e4)), "excitation-backprop")
    assert (found >= 0).all()
    np.testing.assert_allclose(found.reshape(2, -1).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "plain cnn", "unet"])
@pytest.mark.parametrize("method", ["lrp-zplus", "deep-taylor"])
def test_what_counts_only_support_is_nowhere_negative(name: str, method: str) -> None:
    found, y = relevance(NETWORKS[name][0](seed=3), np.abs(sample(name)), method)
    assert (found[y.max(1) > 0] >= 0).all()


@pytest.mark.parametrize("name", ["mlp", "cnn", "unet"])
def test_biases_take_their_share_or_not(name: str) -> None:
    """Ignored or distributed, a bias keeps nothing: Σ R = f(x); absorbed, what it keeps is missing.

    Distributed to a channel that is zero everywhere, relevance has nothing to go on to, so that stays with dense layers.
    """
    made = NETWORKS[name][0](seed=3, biased=True)
    for bias in ("ignore", "distribute") if name == "mlp" else ("ignore",):
        for method in ("lrp-epsilon", "lrp-zplus", "lrp-gamma"):
            found, y = relevance(made, sample(name, 30.0), method, bias=bias)
            np.testing.assert_allclose(found.reshape(2, -1).sum(1), y.max(1), rtol=1e-4)
    found, y = relevance(made, sample(name), "lrp-epsilon", bias="absorb")
    assert np.abs(found.reshape(2, -1).sum(1) - y.max(1)).min() > 1e-3


def test_the_shares_of_a_map_add_up_over_targets() -> None:
    """Relevance of a contrast is the difference of the relevances."""
    made, x = mlp(seed=5), sample("mlp")
    one, two = (relevance(made, x, "lrp-epsilon", target=t)[0] for t in (0, 2))
    contrast, _ = relevance(made, x, "lrp-epsilon", target={0: 1.0, 2: -1.0})
    np.testing.assert_allclose(contrast, one - two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["mlp", "cnn", "plain cnn"])
@pytest.mark.parametrize("method", [m for m in RELEVANCE if m != "excitation-backprop"])
def test_what_is_left_out_is_zero(name: str, method: str) -> None:
    """A score leaves nothing at neurons that a rectifier shut, so rules leave branches out; an arbitrary seed may not."""
    made, x = NETWORKS[name][0](seed=4, biased=True), sample(name)
    found, y = relevance(made, x, method)
    score = np.where(y == y.max(1, keepdims=True), y, 0.0)
    output = made.graph.output[0].name
    whole = vector_jacobian_product(double(made), {"x": x}, {output: score}, ["x"], composite=find_method(method).rules())["x"]
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6 * np.abs(whole).max())


# -- ε → 0 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("name", ["mlp", "cnn", "unet"])
def test_without_epsilon_relevance_is_input_times_gradient(name: str, biased: bool) -> None:
    """In a ReLU network R_j = a_j ∂f/∂a_j at every neuron (Ancona et al. 2018, proposition 1; Montavon et al. 2019)."""
    made, x = NETWORKS[name][0](seed=1, biased=biased), sample(name)
    found, _ = relevance(made, x, "lrp-epsilon", epsilon=1e-13)
    slope, _ = relevance(made, x, "input-x-gradient")
    np.testing.assert_allclose(found, slope, rtol=0, atol=1e-6 * np.abs(slope).max())


@pytest.mark.parametrize("name", ["digits", "resnet", "densenet", "unet", "lrp_vgg", "lrp_relu_forms", "lrp_reused"])
@pytest.mark.parametrize("stem", ["model", "model_legacy"])
def test_without_epsilon_exported_networks_give_input_times_gradient(name: str, stem: str) -> None:
    """Through padding, pooling, batch normalization, concatenation and whatever exporters write around them."""
    path = FIXTURES / name / f"{stem}.onnx"
    feeds = {k: v.astype(np.float64) for k, v in samples(path, 1).items()}
    results = []
    for method, options in (("lrp-epsilon", {"epsilon": 1e-14}), ("input-x-gradient", {})):
        explained = double(rewrite(path, method, **options))
        (attribution,) = (o.name for o in explained.graph.output if o.name.endswith("_attribution"))
        results.append(np.asarray(evaluate_reference(explained, feeds, [attribution])[0]))
    np.testing.assert_allclose(results[0], results[1], rtol=0, atol=1e-6 * np.abs(results[1]).max())


# -- degenerate networks ---------------------------------------------------------------------------------------------------


SHAPES: dict[str, tuple[int, ...]] = {
    "x": (2, 1, 4, 4), "w1": (2, 1, 3, 3), "b1": (2,), "w2": (2, 2, 3, 3), "b2": (2,), "wg": (2, 2), "wd": (4, 3), "bd": (3,),
    "scale": (4,), "shift": (4,), "wq": (4, 4), "wk": (4, 4), "wv": (4, 4), "ba": (4,),
}  # fmt: skip


def degenerate() -> onnx.ModelProto:
    """A network whose weights are inputs of it: convolutions, pooling, a residual sum, a gate, attention, norms."""
    nodes = [
        node("Conv", "x w1 b1", "c1", pads=[1, 1, 1, 1]),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w2 b2", "c2", pads=[1, 1, 1, 1]),
        node("Add", "c2 r1", "sum"),
        node("GlobalAveragePool", "sum", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("MatMul", "flat wg", "g"),
        node("Sigmoid", "g", "gate"),
        node("Unsqueeze", "gate last", "gate4"),
        node("Mul", "sum gate4", "gated"),
        node("MaxPool", "gated", "m", kernel_shape=[2, 2], strides=[2, 2]),
        node("AveragePool", "gated", "a", kernel_shape=[2, 2], strides=[2, 2]),
        node("Sub", "m a", "d"),
        node("Reshape", "d tokens", "t"),
        node("LayerNormalization", "t scale shift", "n"),
        node("MatMul", "n wq", "q"), node("MatMul", "n wk", "k"), node("MatMul", "n wv", "v"),
        node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "q kt", "scores"), node("Softmax", "scores", "weights"), node("MatMul", "weights v", "mixed"),
        node("Add", "mixed ba", "biased"),
        node("Mul", "biased t", "product"),
        node("ReduceMean", "product axis", "mean", keepdims=0),
        node("Gemm", "mean wd bd", "y"),
    ]  # fmt: skip
    constants = {"last": np.array([2, 3]), "tokens": np.array([0, 2, 4]), "axis": np.array([1])}
    return model(nodes, SHAPES, {"y": (2, 3)}, constants)


@cache
def session(method: str) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    made = rewrite(degenerate(), method, inputs=["x"])
    return ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])


def pattern(name: str, shape: tuple[int, ...], size: float) -> Array:
    count = int(np.prod(shape))
    values = {
        "zeros": np.zeros(count),
        "constant": np.ones(count),
        "negative": -np.ones(count),
        "alternating": np.where(np.arange(count) % 2, -1.0, 1.0),
        "one": np.eye(1, count).ravel(),
        "random": np.random.default_rng(0).standard_normal(count),
    }[name]
    return (values * size).reshape(shape).astype(np.float32)


PATTERNS = st.sampled_from(["zeros", "constant", "negative", "alternating", "one", "random"])
WEIGHT_SIZES = st.sampled_from([1.0, 1e-3, 1e3, 1e-20])
BIAS_SIZES = st.sampled_from([1.0, 1e-20, 1e5])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    patterns=st.fixed_dictionaries(dict.fromkeys(SHAPES, PATTERNS)),
    sizes=st.fixed_dictionaries({n: BIAS_SIZES if n[0] == "b" or n == "shift" else WEIGHT_SIZES for n in SHAPES}),
    huge=st.sampled_from([1.0, 1e20]),
)
def test_degenerate_networks_give_finite_relevance(patterns: dict[str, str], sizes: dict[str, float], huge: float) -> None:
    """Dead layers, exact cancellation, constant inputs, huge biases: no NaN and no infinity from finite numbers."""
    feeds = {name: pattern(patterns[name], shape, sizes[name]) for name, shape in SHAPES.items()}
    feeds["bd"] *= np.float32(huge)
    for method in RELEVANCE:
        y, found = session(method).run(["y", "x_attribution"], feeds)
        assume(np.isfinite(y).all())
        assert np.isfinite(found).all(), method


# -- half precision --------------------------------------------------------------------------------------------------------


def halved(made: onnx.ModelProto) -> onnx.ModelProto:
    """The model in float16, but for the scales of a Resize, which are float32 in every model."""
    copy = onnx.ModelProto()
    copy.CopyFrom(made)
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name != "scales":
            array = onnx.numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    for value in (*copy.graph.input, *copy.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    return copy


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["lrp-gamma", "lrp-alpha2-beta1", "attnlrp", "cp-lrp"])
def test_half_precision_propagates_in_float32(name: str, method: str) -> None:
    """ε = 1e-9 is zero in float16, and shares of small sums overflow in it: neither happens. The file stays float16 outside."""
    made, x = NETWORKS[name][0](seed=2, biased=True), sample(name)
    half = rewrite(halved(made), method, target=0)
    (attribution,) = (o for o in half.graph.output if o.name == "x_attribution")
    assert attribution.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    expected = run(rewrite(made, method, target=0), {"x": x.astype(np.float32)})["x_attribution"]
    found = run(half, {"x": x.astype(np.float16)})["x_attribution"].astype(np.float32)
    assert np.linalg.norm(found - expected) <= 0.1 * np.linalg.norm(expected)  # the forward pass rounds, and maxima switch
    nothing = run(half, {"x": np.zeros_like(x, np.float16)})["x_attribution"]
    assert np.isfinite(nothing).all()


# -- the same function by two exporters ------------------------------------------------------------------------------------


def samples(path: Path, count: int) -> dict[str, Array]:
    names = {i.name for i in onnx.load(path).graph.input}
    with np.load(path.parent / "data.npz") as found:
        return {k: v[:count] for k, v in found.items() if k in names}


def difference(name: str, method: str, **options: Any) -> float:
    """Between what two exporters' files give, relative to the largest value."""
    results = []
    for stem in ("model", "model_legacy"):
        path = FIXTURES / name / f"{stem}.onnx"
        results.append(Explainer(path, method, **options)(samples(path, 2)).attributions)
    assert all(np.isfinite(v).all() for r in results for v in r.values())
    return max(float(np.abs(results[1][k] - v).max() / np.abs(v).max()) for k, v in results[0].items())


TWICE = sorted(p.parent.name for p in FIXTURES.glob("*/model_legacy.onnx"))


def moderate(name: str, method: str) -> dict[str, Any]:
    """MobileNet's sums nearly cancel, so that with ε = 1e-6 the rounding of folded weights alone moves relevance by 1e-4."""
    takes = {o.name for o in all_methods()[method].options}
    return {"epsilon": 1e-2} if name == "mobilenet" and "epsilon" in takes else {}


QUICK = [(n, m) for n in TWICE for m in ("lrp-epsilon-gamma-box", "deconvnet") if not n.startswith("lrp_")]
QUICK += [(n, m) for n in ("bert", "gpt2", "llama", "vit") for m in ("attnlrp", "cp-lrp")]


@pytest.mark.parametrize(("name", "method"), QUICK)
def test_two_exporters_give_the_same_relevance(name: str, method: str) -> None:
    assert difference(name, method, **moderate(name, method)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), [(n, m) for n in TWICE for m in LRP if (n, m) not in QUICK])
def test_two_exporters_give_the_same_relevance_by_every_method(name: str, method: str) -> None:
    assert difference(name, method, **moderate(name, method)) <= 1e-5
