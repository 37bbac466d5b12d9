"""The forms that nodes are written in: what ONNX Runtime keeps in its blocked layout, and that the numbers stay the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.reference import ReferenceEvaluator

from onnxplain import rewrite
from onnxplain.explain import write as writing
from onnxplain.passes import lowering
from tests.support.models import model, node, run

CHANNELS = 32


def residual(extent: Any = "batch") -> onnx.ModelProto:
    """Two residual blocks of convolutions, one with a stride, and a mean over the image."""
    g = np.random.default_rng(0)

    def weight(outward: int, inward: int, kernel: int) -> np.ndarray:
        return (g.standard_normal((outward, inward, kernel, kernel)) / np.sqrt(inward * kernel**2)).astype(np.float32)

    weights = {"stem": weight(CHANNELS, 3, 3), "out": g.standard_normal((2 * CHANNELS, 5)).astype(np.float32)}
    weights |= {f"w{i}": weight(CHANNELS, CHANNELS, 3) for i in range(2)}
    weights |= {"v0": weight(2 * CHANNELS, CHANNELS, 3), "v1": weight(2 * CHANNELS, 2 * CHANNELS, 3)}
    weights |= {"down": weight(2 * CHANNELS, CHANNELS, 1)}
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        node("Conv", "x stem", "c0", **same),
        node("Relu", "c0", "r0"),
        node("Conv", "r0 w0", "c1", **same),
        node("Relu", "c1", "r1"),
        node("Conv", "r1 w1", "c2", **same),
        node("Add", "c2 r0", "a1"),
        node("Relu", "a1", "r2"),
        node("Conv", "r2 v0", "c3", strides=[2, 2], **same),
        node("Relu", "c3", "r3"),
        node("Conv", "r3 v1", "c4", **same),
        node("Conv", "r2 down", "c5", strides=[2, 2]),
        node("Add", "c4 c5", "a2"),
        node("Relu", "a2", "r4"),
        node("GlobalAveragePool", "r4", "m"),
        node("Flatten", "m", "f"),
        node("MatMul", "f out", "y"),
    ]
    return model(nodes, {"x": [extent, 3, 16, 16]}, {"y": [extent, 5]}, weights)


def optimized(made: onnx.ModelProto, folder: Path) -> Counter[str]:
    """The operators that ONNX Runtime makes of a model."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(folder / "optimized.onnx", load_external_data=False).graph.node
    found = Counter(n.op_type for n in nodes)
    if not any(n.domain == "com.microsoft.nchwc" for n in nodes):
        pytest.skip("ONNX Runtime has no blocked layout on this processor")
    return found


@pytest.mark.parametrize("extent", ["batch", 2])
def test_messages_stay_in_blocks_between_convolutions(extent: Any, tmp_path: Path) -> None:
    found = optimized(rewrite(residual(extent), target=1), tmp_path)
    # In: the message of the mean, that of the pointwise transposed convolution; out: both strided ones, and what leaves.
    assert found["ReorderInput"] <= 4
    assert found["ReorderOutput"] <= 8
    assert found["HardSigmoid"] >= 2


def test_plain_forms_cost_more_reordering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = sum(optimized(rewrite(residual(), target=1), tmp_path)[op] for op in ("ReorderInput", "ReorderOutput"))
    monkeypatch.setattr(writing, "lowered", lambda b, traits: b.nodes)
    plain = sum(optimized(rewrite(residual(), target=1), tmp_path)[op] for op in ("ReorderInput", "ReorderOutput"))
    assert made < 0.7 * plain


def test_numbers_are_those_of_the_plain_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).standard_normal((3, 3, 16, 16)).astype(np.float32)
    made = run(rewrite(residual(), target=1), {"x": x})["x_attribution"]
    reference = ReferenceEvaluator(rewrite(residual(), target=1)).run(["x_attribution"], {"x": x})[0]
    monkeypatch.setattr(writing, "lowered", lambda b, traits: b.nodes)
    plain = run(rewrite(residual(), target=1), {"x": x})["x_attribution"]
    np.testing.assert_allclose(made, plain, atol=1e-6 * np.abs(plain).max())
    np.testing.assert_allclose(reference, plain, atol=1e-5 * np.abs(plain).max())


def test_a_step_is_zero_or_one() -> None:
    made = model([node("HardSigmoid", "x", "y", alpha=lowering.STEEP, beta=0.0)], {"x": [8]}, {"y": [8]})
    tiny = float(np.finfo(np.float32).tiny)
    x = np.array([0, -0.0, tiny, 1e-30, 1, 3e38, np.inf, -tiny], np.float32)
    np.testing.assert_array_equal(run(made, {"x": x})["y"], [0, 0, 1, 1, 1, 1, 1, 0])


def test_an_infinite_slope_behind_a_mask_is_no_message() -> None:
    """The root's slope at 0 is infinite; the Relu before it lets nothing through there."""
    w = np.ones((16, 16, 1, 1), np.float32)
    made = model(
        [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Sqrt", "r", "s"), node("GlobalAveragePool", "s", "y")],
        {"x": ["n", 16, 2, 2]},
        {"y": ["n", 16, 1, 1]},
        {"w": w},
    )
    x = np.full((1, 16, 2, 2), -1, np.float32)
    found = run(rewrite(made, target=(0, 0, 0)), {"x": x})["x_attribution"]
    np.testing.assert_array_equal(found, np.zeros_like(x))


def test_depthwise_strides_run_as_convolutions() -> None:
    g = np.random.default_rng(2)
    w = g.standard_normal((16, 1, 3, 3)).astype(np.float32)
    made = model(
        [node("Conv", "x w", "y", strides=[2, 2], pads=[1, 1, 1, 1], group=16)],
        {"x": ["n", 16, 9, 8]},
        {"y": ["n", 16, 5, 4]},
        {"w": w},
    )
    explained = rewrite(made, target="cotangent")
    assert not [n for n in explained.graph.node if n.op_type == "ConvTranspose"]
    x, cotangent = (g.standard_normal(s).astype(np.float32) for s in ((2, 16, 9, 8), (2, 16, 5, 4)))
    found = run(explained, {"x": x, "seed": cotangent})["x_attribution"]
    # ⟨seed, conv v⟩ = ⟨gradient, v⟩ for any v
    v = g.standard_normal(x.shape).astype(np.float32)
    np.testing.assert_allclose(np.sum(cotangent * run(made, {"x": v})["y"]), np.sum(found * v), rtol=1e-4)


def test_a_window_over_the_whole_image_is_turned_round_as_a_product() -> None:
    """Dense layers written as convolutions would be convolutions of a padded pixel with the whole weight."""
    g = np.random.default_rng(3)
    w = g.standard_normal((32, 16, 5, 3)).astype(np.float32)
    made = model([node("Conv", "x w", "y")], {"x": ["n", 16, 5, 3]}, {"y": ["n", 32, 1, 1]}, {"w": w})
    explained = rewrite(made, target="cotangent")
    assert [n.op_type for n in explained.graph.node if n.op_type in ("Conv", "ConvTranspose")] == ["Conv"]
    cotangent = g.standard_normal((2, 32, 1, 1)).astype(np.float32)
    found = run(explained, {"x": np.zeros((2, 16, 5, 3), np.float32), "seed": cotangent})["x_attribution"]
    np.testing.assert_allclose(found, np.einsum("no,oihw->nihw", cotangent[:, :, 0, 0], w), rtol=1e-4, atol=1e-5)


def heads(pieces: int) -> onnx.ModelProto:
    """Some of three slices of a tensor, each with a factor of its own, added up."""
    cuts = {f"{name}{i}": np.array([i + (name == "e")]) for i in range(3) for name in "se"}
    nodes = [node("Slice", f"x s{i} e{i} axis", f"p{i}") for i in range(pieces)]
    nodes += [node("Mul", f"p{i} f{i}", f"q{i}") for i in range(pieces)]
    nodes += [node("Sum", " ".join(f"q{i}" for i in range(pieces)), "t"), node("ReduceSum", "t all", "y", keepdims=0)]
    factors = {f"f{i}": np.float32(i + 2) for i in range(3)}
    constants = {**cuts, **factors, "axis": np.array([1]), "all": np.array([1, 2])}
    return model(nodes, {"x": ["n", 3, 4]}, {"y": ["n"]}, constants)


@pytest.mark.parametrize(("pieces", "pads"), [(3, 0), (2, 2)])
def test_pieces_that_fill_an_axis_are_put_side_by_side(pieces: int, pads: int) -> None:
    explained = rewrite(heads(pieces), target="cotangent")
    assert Counter(n.op_type for n in explained.graph.node)["Pad"] == pads
    found = run(explained, {"x": np.ones((2, 3, 4), np.float32), "seed": np.ones(2, np.float32)})["x_attribution"]
    expected = np.array([2, 3, 4] if pieces == 3 else [2, 3, 0], np.float32)
    np.testing.assert_array_equal(found, np.broadcast_to(expected[:, None], (2, 3, 4)))


@pytest.mark.parametrize(("masked", "guards"), [(False, 0), (True, 1)])
def test_rows_without_any_score_are_looked_for_only_where_there_can_be_some(masked: bool, guards: int) -> None:
    nodes = [node("MatMul", "x w", "s"), node("Mul", "s half", "h")]
    nodes += [node("Add", "h mask", "m"), node("Softmax", "m", "y")] if masked else [node("Softmax", "h", "y")]
    inputs: dict[str, Any] = {"x": ["n", 4], **({"mask": ["n", 4]} if masked else {})}
    made = model(nodes, inputs, {"y": ["n", 4]}, {"w": np.eye(4, dtype=np.float32), "half": np.float32(0.5)})
    explained = rewrite(made, target="cotangent", score="probability", inputs=["x"])
    assert Counter(n.op_type for n in explained.graph.node)["IsNaN"] == guards


@pytest.mark.parametrize("between", ["AveragePool", "Conv"])
def test_an_infinite_slope_behind_a_linear_map_is_no_message(between: str) -> None:
    """The root's slope is infinite where everything before it is zero; the Relu lets nothing through there."""
    weights = {"w": np.ones((16, 16, 1, 1), np.float32)}
    map_ = node("Conv", "r w", "p") if between == "Conv" else node("AveragePool", "r", "p", kernel_shape=[2, 2], strides=[1, 1])
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), map_, node("Sqrt", "p", "s"), node("GlobalAveragePool", "s", "y")]
    made = model(nodes, {"x": ["n", 16, 4, 4]}, {"y": ["n", 16, 1, 1]}, weights)
    x = np.full((1, 16, 4, 4), -1, np.float32)
    found = run(rewrite(made, target=(0, 0, 0)), {"x": x})["x_attribution"]
    np.testing.assert_array_equal(found, np.zeros_like(x))
