"""Translation validation of what is done to emitted nodes: lowering, and the loop over a few samples at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from onnxplain import rewrite
from onnxplain.explain import write as writing
from onnxplain.passes import lowering
from onnxplain.passes.lowering import scope
from tests.support.models import model, node
from tests.support.translation import compared, run, spread
from tests.support.translation_corpus import Case, fixtures

BLOCK = 16
"""Channels of a block; images of so many are lowered."""

LOWERINGS = dict(lowering.LOWERINGS)
"""As they are, before tests count them."""

FIRED: Counter[str] = Counter()
"""The forms that took the place of something, over all tests."""


@pytest.fixture(scope="module", autouse=True)
def counted() -> Iterator[None]:
    """Count which forms fit."""

    def counting(form: Any) -> Any:
        def tried(s: Any, emitted: Any) -> Any:
            made = form(s, emitted)
            FIRED[form.__name__] += made is not None
            return made

        return tried

    def pooled(b: Any, nodes: Any, *rest: Any) -> Any:
        made = kept_pooled(b, nodes, *rest)
        FIRED["pooled"] += made != list(nodes)
        return made

    kept, kept_pooled = lowering.LOWERINGS, scope.pooled
    lowering.LOWERINGS = {op: tuple(counting(form) for form in forms) for op, forms in kept.items()}
    scope.pooled = pooled
    yield
    lowering.LOWERINGS, scope.pooled = kept, kept_pooled


def step(draw: st.DrawFn, x: str, y: str, weights: dict[str, Any], channels: int) -> list[onnx.NodeProto]:
    """Nodes from an image to an image of the same extents."""

    def weight(*shape: int) -> str:
        weights[f"w{len(weights)}"] = np.random.default_rng(len(weights)).normal(size=shape).astype(np.float32) / 4
        return f"w{len(weights) - 1}"

    def constant(value: float) -> str:
        weights[f"w{len(weights)}"] = np.array(value, np.float32)
        return f"w{len(weights) - 1}"

    kind = draw(
        st.sampled_from(["conv", "relu", "clip", "hard swish", "leaky", "gate", "residual", "pool", "scale", "hard sigmoid"])
    )
    if kind == "conv":
        return [node("Conv", f"{x} {weight(channels, channels, 3, 3)}", y, pads=[1, 1, 1, 1])]
    if kind == "residual":
        return [
            node("Conv", f"{x} {weight(channels, channels, 1, 1)}", f"{y}c"),
            node("Relu", f"{y}c", f"{y}r"),
            node("Add", f"{y}r {x}", y),
        ]
    if kind == "gate":
        return [
            node("GlobalAveragePool", x, f"{y}m"), node("Conv", f"{y}m {weight(channels, channels, 1, 1)}", f"{y}c"),
            node("Sigmoid", f"{y}c", f"{y}g"), node("Mul", f"{x} {y}g", y),
        ]  # fmt: skip
    if kind == "pool":
        op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
        return [helper.make_node(op, [x], [y], y, kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
    if kind == "clip":
        return [
            node("Clip", f"{x} {constant(draw(st.sampled_from([0.0, -0.5])))} {constant(draw(st.sampled_from([0.5, 6.0])))}", y)
        ]
    if kind == "scale":
        return [node(draw(st.sampled_from(["Mul", "Div"])), f"{x} {constant(draw(st.sampled_from([2.0, 0.3, -1.5])))}", y)]
    op = {"relu": "Relu", "hard swish": "HardSwish", "leaky": "LeakyRelu", "hard sigmoid": "HardSigmoid"}[kind]
    return [node(op, x, y)]


@st.composite
def networks(draw: st.DrawFn) -> Case:
    """Convolutions over images in blocks, with activations, gates, pools and residual sums between."""
    channels = draw(st.sampled_from([BLOCK, 2 * BLOCK, 12]))
    weights: dict[str, Any] = {"stem": np.random.default_rng(9).normal(size=(channels, 3, 3, 3)).astype(np.float32) / 3}
    nodes, at = [node("Conv", "x stem", "h0", pads=[1, 1, 1, 1])], "h0"
    for i in range(draw(st.integers(2, 5))):
        nodes += step(draw, at, f"h{i + 1}", weights, channels)
        at = f"h{i + 1}"
    weights |= {"axes": np.array([2, 3]), "deep": np.random.default_rng(2).normal(size=(channels, 1, 3, 3)).astype(np.float32)}
    ends = {
        "mean": [node("GlobalAveragePool", at, "m")],
        "sum": [node("ReduceSum", f"{at} axes", "m")],
        "deep": [node("Conv", f"{at} deep", "p", strides=[2, 2], group=channels), node("ReduceMean", "p axes", "m")],
        "max": [node("MaxPool", at, "p", kernel_shape=[2, 2], strides=[2, 2]), node("ReduceMean", "p axes", "m")],
    }
    nodes += [*ends[draw(st.sampled_from(sorted(ends)))], node("Flatten", "m", "y")]
    used = {name for n in nodes for name in n.input}
    made = model(nodes, {"x": ["n", 3, 8, 8]}, {"y": None}, {k: v for k, v in weights.items() if k in used})
    return Case("network", made, {"x": np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)})


def assert_lowered_alike(case: Case, method: str, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    made = rewrite(case.model, method, target="input", **options)
    with monkeypatch.context() as patched:
        patched.setattr(writing, "lowered", lambda b, traits: b.nodes)
        plain = rewrite(case.model, method, target="input", **options)
    feeds = {**case.feeds, "target": np.array([0])}
    before, after = run(plain, feeds), run(made, feeds)
    assert len(before) > len(case.model.graph.output)
    problem = compared(before, after, 1e-6) and compared(before, after, allowed=spread(plain, feeds, "plain"))
    assert not problem, f"{case.name}: {problem}"


METHODS = ["gradient", "guided-backprop", "lrp-epsilon-plus", "lrp-alpha2-beta1"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(case=networks(), method=st.sampled_from(METHODS))
def test_lowered_networks(case: Case, method: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_lowered_alike(case, method, monkeypatch)


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(case=networks(), method=st.sampled_from(METHODS))
def test_many_lowered_networks(case: Case, method: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert_lowered_alike(case, method, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_lowered_fixtures(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for case in fixtures():
        if any(np.ndim(v) == 4 for v in case.feeds.values()):
            assert_lowered_alike(case, method, monkeypatch)


def test_one_pooling_finds_maxima_and_winners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three channels are no block, so the kernel that finds winners may give the maxima too."""
    nodes = [node("MaxPool", "x", "p", kernel_shape=[3, 3], strides=[2, 2]), node("Flatten", "p", "y")]
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 8)).astype(np.float32)
    case = Case("pool", model(nodes, {"x": ["n", 3, 8, 8]}, {"y": None}), {"x": x})
    assert_lowered_alike(case, "integrated-gradients", monkeypatch, baseline=0.0, steps=2)


def test_every_form_was_tried() -> None:
    forms = {form.__name__ for forms in LOWERINGS.values() for form in forms} | {"pooled"}
    if any(not FIRED[name] for name in forms):  # the other tests ran elsewhere
        test_lowered_networks()
        with pytest.MonkeyPatch.context() as monkeypatch:
            test_one_pooling_finds_maxima_and_winners(monkeypatch)
    assert not {name for name in forms if not FIRED[name]}


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("name", ["digits/model", "gru/model", "bert/model_legacy", "vit/model"])
def test_few_samples_at_a_time(name: str, size: int) -> None:
    (case,) = (c for c in fixtures() if c.name == f"fixture {name}")
    feeds = {k: np.concatenate([v, v[:1]]) for k, v in case.feeds.items()}
    whole, parts = (rewrite(case.model, "gradient", target=0, batch_size=n) for n in (None, size))
    before, after = run(whole, feeds), run(parts, feeds)
    problem = compared(before, after, 1e-6) and compared(before, after, allowed=spread(whole, feeds, "plain"))
    assert not problem
