"""What relevance costs, counted in operators: products that stay apart, denominators, and maps computed in parts."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.io.metadata import read_metadata
from onnxplain.passes.parts import sum_parts
from tests.explain.test_size import at_run_time
from tests.support.models import model, node, run

CHANNELS = 4


def weight(outward: int, inward: int, kernel: int, seed: int) -> np.ndarray[Any, Any]:
    g = np.random.default_rng(seed)
    return (g.standard_normal((outward, inward, kernel, kernel)) / np.sqrt(inward * kernel**2)).astype(np.float32)


def chain(length: int, *, bias: bool = True) -> onnx.ModelProto:
    """Convolutions and rectifiers, then a mean over the image and a dense layer; the input is rectified, too."""
    g = np.random.default_rng(0)
    nodes, weights, last = [node("Relu", "x", "r0")], {"out": g.standard_normal((CHANNELS, 3)).astype(np.float32)}, "r0"
    for i in range(length):
        weights[f"w{i}"] = weight(CHANNELS, CHANNELS, 3, i)
        if bias:
            weights[f"b{i}"] = g.standard_normal(CHANNELS).astype(np.float32)
        nodes += [node("Conv", f"{last} w{i}" + f" b{i}" * bias, f"c{i}", pads=[1, 1, 1, 1]), node("Relu", f"c{i}", f"r{i + 1}")]
        last = f"r{i + 1}"
    nodes += [node("GlobalAveragePool", last, "m"), node("Flatten", "m", "f"), node("MatMul", "f out", "y")]
    return model(nodes, {"x": ["n", CHANNELS, 6, 6]}, {"y": ["n", 3]}, weights)


def residual() -> onnx.ModelProto:
    """A sum of a convolution and what it reads."""
    nodes = [
        node("Relu", "x", "r0"),
        node("Conv", "r0 w0", "c0", pads=[1, 1, 1, 1]),
        node("Add", "c0 r0", "a"),
        node("Relu", "a", "r1"),
        node("GlobalAveragePool", "r1", "m"),
        node("Flatten", "m", "f"),
        node("MatMul", "f out", "y"),
    ]
    weights = {"w0": weight(CHANNELS, CHANNELS, 3, 0), "out": np.random.default_rng(1).standard_normal((CHANNELS, 3))}
    return model(nodes, {"x": ["n", CHANNELS, 6, 6]}, {"y": ["n", 3]}, {k: np.asarray(v, np.float32) for k, v in weights.items()})


def counted(made: onnx.ModelProto) -> Counter[str]:
    return Counter(n.op_type for n in made.graph.node)


def grown(method: str, make: Any = chain, **options: Any) -> Counter[str]:
    """The operators that one more block of a network adds to its explained model, without those on weights alone."""
    small, large = (rewrite(make(n), method, target=0, **options) for n in (2, 3))
    more = counted(large)
    more.subtract(counted(small))
    del more["Relu"], more["Min"]  # on weights, and the network's own
    return +more


def test_a_rectified_layer_under_epsilon_costs_a_convolution_and_three_passes() -> None:
    """R / (z + ε sign z) of R = relu(z) · m is m · y / (y + ε): one sum, one quotient, one product."""
    more = grown("lrp-epsilon")
    assert more.pop("Conv") == 1 + (1 if "ConvTranspose" not in more else 0)
    assert more.pop("ConvTranspose", 1) == 1
    assert {k: v for k, v in more.items() if k in ("Add", "Div", "Mul", "Where", "Less")} == {"Add": 1, "Div": 1, "Mul": 1}


@pytest.mark.parametrize("bias", [True, False])
def test_alpha_beta_computes_a_convolution_in_two_parts_and_no_third_time(bias: bool) -> None:
    more = grown("lrp-alpha2-beta1", lambda n: chain(n, bias=bias))
    assert more["Conv"] + more["ConvTranspose"] == 4  # two parts, two messages
    assert not more["Where"]
    assert not more["Less"]


def test_the_sum_of_parts_predicts_the_same() -> None:
    x = np.random.default_rng(3).standard_normal((2, CHANNELS, 6, 6)).astype(np.float32)
    for make in (lambda: chain(3), lambda: chain(3, bias=False), residual):
        explained = rewrite(make(), "lrp-alpha2-beta1", target=0)
        assert "sum-parts" in (read_metadata(explained) or {})["passes"]  # the file says that it rounds otherwise
        made = run(explained, {"x": x})
        np.testing.assert_allclose(made["y"], run(make(), {"x": x})["y"], rtol=1e-5, atol=1e-6)


def test_sums_of_shares_of_one_tensor_multiply_it_once() -> None:
    """r0 gets relevance through the convolution and past it: R = r0 · (m₁ + m₂)."""
    made = rewrite(residual(), "lrp-epsilon", target=0)
    readers = [n for n in made.graph.node if n.op_type == "Mul" and "r0" in n.input]
    assert len(readers) == 1


def test_epsilon_of_a_denominator_of_known_sign_goes_into_a_bias() -> None:
    """Where z⁺ takes the weights apart, its denominator is a convolution's output as it is."""
    made = rewrite(chain(2), "lrp-epsilon-plus", target=0)
    makers = {o: n.op_type for n in made.graph.node for o in n.output}
    images = [n for n in made.graph.node if n.op_type == "Div" and n.name.startswith(("c0/", "c1/"))]
    assert [makers[n.input[1]] for n in images] == ["Conv", "Conv"]


def parts(up: float, down: float, *, strides: int = 1) -> onnx.ModelProto:
    """A convolution, its positive part with a number added to the bias, and its negative part with another."""
    nodes = [
        node("Conv", "x w b", "y"),
        node("Relu", "w", "wp"),
        node("Relu", "b", "bp"),
        node("Add", "bp up", "bup"),
        node("Conv", "x wp bup", "yp"),
        node("Min", "w zero", "wn"),
        node("Min", "b zero", "bn"),
        node("Add", "bn down", "bdown"),
        node("Conv", "x wn bdown", "yn", **({} if strides == 1 else {"strides": [strides, strides]})),
    ]
    weights = {"w": weight(4, 3, 1, 0), "b": weight(4, 1, 1, 1).ravel(), "zero": np.float32(0)}
    weights |= {"up": np.full(4, up, np.float32), "down": np.full(4, down, np.float32)}
    return model(nodes, {"x": ["n", 3, 4, 4]}, {name: ["n", 4, "h", "w"] for name in ("y", "yp", "yn")}, weights)


def test_parts_are_summed_only_where_they_add_up() -> None:
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)
    made = parts(1e-3, -1e-3)
    assert sum_parts(made)  # whose parts are computed at run time
    onnx.checker.check_model(made)
    assert counted(made)["Conv"] == 2
    np.testing.assert_allclose(run(made, {"x": x})["y"], run(parts(1e-3, -1e-3), {"x": x})["y"], atol=1e-6)
    assert not sum_parts(parts(1e-3, 1e-3))
    assert not sum_parts(parts(1e-3, -1e-3, strides=2))


def test_all_operators_at_run_time() -> None:
    """The forward and the relevance, relative to a forward of two operators a layer."""
    bound = {"lrp-epsilon": 4, "lrp-epsilon-plus": 4, "lrp-alpha2-beta1": 6}
    for method, most in bound.items():
        assert at_run_time(rewrite(chain(8), method, target=0)) < most * at_run_time(chain(8))
