"""One function, one explanation: what exporters, converters and optimizers write differently is explained alike.

Every layer stands in a small net between two linear maps. All of its spellings have to get the attributions of the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.transformers.float16 import convert_float_to_float16

from onnxplain import Explainer
from tests.support.linear_cases import Array, random
from tests.support.models import run
from tests.support.spellings.attention import ATTENTION, WIDTH
from tests.support.spellings.channel_norms import CHANNEL_NORMS, CHANNELS
from tests.support.spellings.functions import ACTIVATIONS
from tests.support.spellings.kinds import TOKENS, Spelling, Spellings
from tests.support.spellings.sample_norms import STATISTICS
from tests.support.spellings.scores import SOFTMAX
from tests.support.spellings.stored_norms import MAPS, normed
from tests.support.writer import Writer

METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "gradient": ("gradient", {}),
    "lrp-epsilon": ("lrp-epsilon", {}),
    "lrp-zplus": ("lrp-zplus", {}),
    "lrp-zplus, sums above zero": ("lrp-zplus", {"sums": "positive"}),
    "lrp-gamma": ("lrp-gamma", {}),
    "lrp-alpha2-beta1": ("lrp-alpha2-beta1", {}),
    "lrp-epsilon-plus": ("lrp-epsilon-plus", {}),
    "attnlrp": ("attnlrp", {}),
    "deeplift": ("deeplift", {}),
    "deeplift, RevealCancel": ("deeplift", {"rule": "reveal-cancel"}),
}

FAST = ("lrp-zplus", "deeplift")
"""In the normal suite; the others are in the slow one."""


def methods(*fast: str) -> list[Any]:
    return [pytest.param(m, marks=() if m in fast else pytest.mark.slow) for m in METHODS]


def assert_alike(nets: Mapping[str, onnx.ModelProto], method: str, extents: tuple[int, ...], tolerance: float = 1e-5) -> None:
    """All nets predict what ONNX Runtime makes of the original files, and are explained like the first."""
    name, options = METHODS[method]
    x, baseline = (random(3, *extents, seed=seed).astype(np.float32) for seed in (5, 6))
    more = {"baseline": 0.7 * baseline} if name == "deeplift" else {}
    wanted: Array | None = None
    far = []
    for how, net in nets.items():
        found = Explainer(net, name, progress=False, sample_axis={"x": 0, "y": 0}, **options, **more)(x, 1)
        plain = run(net, {"x": x})["y"]
        np.testing.assert_allclose(found.outputs["y"], plain, rtol=0, atol=1e-5 * np.abs(plain).max(), err_msg=how)
        wanted = found.attribution if wanted is None else wanted
        assert np.abs(wanted).max() > 0
        apart = np.abs(found.attribution - wanted).max() / np.abs(wanted).max()
        if not apart <= tolerance:
            far.append(f"{how}: {apart:.1e}")
    assert not far, f"{method}: explained otherwise than '{next(iter(nets))}': {', '.join(far)}"


def between(spelt: Spelling, before: Array, after: Array, tokens: int = 0) -> onnx.ModelProto:
    """A linear map without a bias, a layer, and one that makes three scores."""
    w = Writer()
    made = spelt(w, w.MatMul("x", before) if before.size else "x")
    if tokens:
        made = w.Reshape(made, np.array([-1, after.shape[0]]))
    extents = (tokens, before.shape[0]) if tokens else (before.shape[0],)
    return w.model(w.MatMul(made, after), {"x": ("n", *extents)})


@pytest.mark.parametrize("method", methods(*FAST))
@pytest.mark.parametrize("layer", ACTIVATIONS)
def test_functions_of_each_element(layer: str, method: str) -> None:
    def net(spelt: Spelling) -> onnx.ModelProto:
        w = Writer()
        return w.model(w.MatMul(spelt(w, w.MatMul("x", 0.4 * random(5, 7, seed=1))), random(7, 3, seed=3)), {"x": ("n", 5)})

    assert_alike({how: net(spelt) for how, spelt in ACTIVATIONS[layer].items()}, method, (5,))


@pytest.mark.parametrize("method", methods("lrp-zplus"))
@pytest.mark.parametrize("behind", [True, False], ids=["behind", "before"])
@pytest.mark.parametrize("name", MAPS)
def test_norms_with_stored_statistics(name: str, behind: bool, method: str) -> None:
    extents = MAPS[name][0]

    def net(spelt: Spelling) -> onnx.ModelProto:
        sized = Writer()
        flat = sized.model(sized.Flatten(spelt(sized, "x")), {"x": (1, *extents)})
        size = run(flat, {"x": np.zeros((1, *extents), np.float32)})["y"].shape[1]
        w = Writer()
        return w.model(w.MatMul(w.Reshape(spelt(w, "x"), np.array([-1, size])), random(size, 3, seed=9)), {"x": ("n", *extents)})

    assert_alike({how: net(spelt) for how, spelt in normed(name, behind=behind).items()}, method, extents)


ALONG: Mapping[str, Spellings] = {**SOFTMAX, **STATISTICS, "attention": ATTENTION}


@pytest.mark.parametrize("method", methods("attnlrp", "deeplift"))
@pytest.mark.parametrize("layer", ALONG)
def test_softmax_sample_norms_and_attention(layer: str, method: str) -> None:
    wide = WIDTH if layer == "attention" else 7
    nets = {
        how: between(spelt, random(5, 7, seed=1), random(TOKENS[0] * wide, 3, seed=9), TOKENS[0])
        for how, spelt in ALONG[layer].items()
    }
    assert_alike(nets, method, (TOKENS[0], 5), 1e-4 if layer == "L2 norm" else 1e-5)


def as_function(net: onnx.ModelProto) -> onnx.ModelProto:
    """The same with all between the first map and the last three nodes as a call of a local function."""
    first, *inside = net.graph.node[:-3]
    made = {name for n in inside for name in n.output}
    reads = list(dict.fromkeys(name for n in inside for name in n.input if name not in made))
    (result,) = inside[-1].output
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("my", 1)]
    call = onnx.helper.make_node("Layer", reads, [result], "call", domain="my")
    nodes = [first, call, *net.graph.node[-3:]]
    wrapped = onnx.ModelProto()
    wrapped.CopyFrom(net)
    del wrapped.graph.node[:]
    wrapped.graph.node.extend(nodes)
    wrapped.functions.append(onnx.helper.make_function("my", "Layer", reads, [result], inside, opsets[:1]))
    del wrapped.opset_import[:]
    wrapped.opset_import.extend(opsets)
    return wrapped


@pytest.mark.parametrize("method", methods("attnlrp", "deeplift"))
@pytest.mark.parametrize(
    ("layer", "how"), [("attention", "PyTorch, legacy"), ("attention", "packed"), ("layer norm", "TensorFlow")]
)
def test_layers_as_local_functions(layer: str, how: str, method: str) -> None:
    wide = WIDTH if layer == "attention" else 7
    plain = between(ALONG[layer][how], random(5, 7, seed=1), random(TOKENS[0] * wide, 3, seed=9), TOKENS[0])
    assert_alike({how: plain, "as a function": as_function(plain)}, method, (TOKENS[0], 5))


@pytest.mark.parametrize("method", methods("lrp-epsilon-plus", "deeplift"))
@pytest.mark.parametrize("layer", CHANNEL_NORMS)
def test_norms_over_places(layer: str, method: str) -> None:
    """Behind a convolution, which makes the channels."""

    def net(spelt: Spelling) -> onnx.ModelProto:
        w = Writer()
        made = spelt(w, w.Conv("x", random(CHANNELS[0], 2, 3, seed=1), pads=[1, 1]))
        flat = w.Reshape(made, np.array([-1, CHANNELS[0] * CHANNELS[1]]))
        return w.model(w.MatMul(flat, random(CHANNELS[0] * CHANNELS[1], 3, seed=9)), {"x": ("n", 2, CHANNELS[1])})

    assert_alike({how: net(spelt) for how, spelt in CHANNEL_NORMS[layer].items()}, method, (2, CHANNELS[1]), 3e-5)


@pytest.mark.parametrize(("layer", "how"), [("ReLU", "a mask by Sign"), ("hard tanh", "nested Where"), ("symlog", "Sign")])
def test_steps_in_half_precision(layer: str, how: str) -> None:
    """Walked in float32, a comparison is made again beside what it decides on: DeepLIFT's sum stays complete."""
    w = Writer()
    z = w.MatMul("x", 0.4 * random(5, 7, seed=1))
    made = w.model(w.MatMul(ACTIVATIONS[layer][how](w, z), random(7, 3, seed=3)), {"x": ("n", 5)})
    x, baseline = (random(3, 5, seed=seed).astype(np.float32) for seed in (5, 6))
    nets = made, convert_float_to_float16(made, keep_io_types=True)
    plain, half = (Explainer(net, "deeplift", baseline=baseline, progress=False)(x, 1) for net in nets)
    np.testing.assert_allclose(half.attribution, plain.attribution, rtol=0, atol=5e-3 * np.abs(plain.attribution).max())
    assert half.delta is not None
    assert np.abs(half.delta).max() < 1e-4
