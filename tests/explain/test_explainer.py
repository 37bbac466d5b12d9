"""Explainer and Explanation: batches, targets, inputs of every kind, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, rewrite
from onnxplain.errors import InputError, LayerError, MethodError, ProviderError, TargetError
from onnxplain.runtime.session import Session
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        return data["image"]


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(DIGITS, "gradient", labels=["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def test_batches_of_any_size_give_the_same(explainer: Explainer, images: np.ndarray) -> None:
    whole = explainer(images)
    assert len(whole) == len(images)
    for size in (1, 3, 7, 64):
        part = Explainer(DIGITS, batch_size=size)(images)
        np.testing.assert_allclose(part.attribution, whole.attribution, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(part.target, whole.target)
        np.testing.assert_allclose(part.outputs["logits"], whole.outputs["logits"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(explainer(images[:1]).attribution, whole.attribution[:1], rtol=1e-4, atol=1e-6)


def test_model_of_fixed_batch_takes_any_number(images: np.ndarray, explainer: Explainer) -> None:
    """Chunks of the model's own size; the last one is filled up and cut again."""
    fixed = onnx.load(DIGITS)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    for count in (1, 4, 6, 20):
        result = Explainer(fixed)(images[:count], list(range(10))[:count] if count <= 10 else None)
        expected = explainer(images[:count], list(range(10))[:count] if count <= 10 else None)
        assert len(result) == count
        np.testing.assert_allclose(result.attribution, expected.attribution, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(result.target, expected.target)


def test_targets_of_every_form(explainer: Explainer, images: np.ndarray) -> None:
    x = images[:3]
    everything = explainer(x, "all").attribution
    assert everything.shape == (3, 10, 1, 8, 8)
    for target, expected in [
        (4, everything[:, 4]),
        ([1, 2, 3], everything[np.arange(3), [1, 2, 3]]),
        (np.array([7, 7, 0]), everything[np.arange(3), [7, 7, 0]]),
        ((4,), everything[:, 4]),
        ("4", everything[:, 4]),
        ({4: 1, 9: -1}, everything[:, 4] - everything[:, 9]),
        ("4-9", everything[:, 4] - everything[:, 9]),
        (":", everything.sum(axis=1)),
    ]:
        np.testing.assert_allclose(explainer(x, target).attribution, expected, rtol=1e-4, atol=1e-5)
    top = explainer(x)
    assert top.target is not None
    np.testing.assert_array_equal(top.target, top.outputs["logits"].argmax(axis=1))
    np.testing.assert_allclose(top.attribution, everything[np.arange(3), top.target], rtol=1e-4, atol=1e-5)
    cotangent = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)
    np.testing.assert_allclose(
        explainer(x, cotangent=cotangent).attribution, np.einsum("nk,nkchw->nchw", cotangent, everything), rtol=1e-3, atol=1e-4
    )


def test_what_runs_is_what_is_saved(explainer: Explainer, images: np.ndarray, tmp_path: Path) -> None:
    path = explainer.save(tmp_path / "explained.onnx")
    result = run(onnx.load(path), {"image": images, "target": np.array([3])})
    np.testing.assert_array_equal(result["image_attribution"], explainer(images, 3).attribution)


def test_methods_follow_from_the_gradient(images: np.ndarray, explainer: Explainer) -> None:
    g = explainer(images, 2).attribution
    for method, expected in {"saliency": np.abs(g), "sensitivity": g**2, "input-x-gradient": images * g}.items():
        np.testing.assert_allclose(Explainer(DIGITS, method)(images, 2).attribution, expected, rtol=1e-4, atol=1e-6)


def test_taylor_is_the_gradient_at_the_root_point(images: np.ndarray, explainer: Explainer) -> None:
    root = np.full_like(images, 0.25)
    expected = (images - root) * explainer(root, 2).attribution
    given = {"number": 0.25, "array": np.float32(0.25) * np.ones((8, 8), np.float32), "batch": root}
    for baseline in given.values():
        np.testing.assert_allclose(
            Explainer(DIGITS, "taylor")(images, 2, baseline=baseline).attribution, expected, rtol=1e-4, atol=1e-5
        )
    np.testing.assert_allclose(Explainer(DIGITS, "taylor", baseline=0.25)(images, 2).attribution, expected, rtol=1e-4, atol=1e-5)
    # The explained class is that of the input, not of the root point.
    top = Explainer(DIGITS, "taylor", baseline=0.25)(images)
    np.testing.assert_array_equal(top.target, explainer(images).target)


def test_root_points_in_chunks(images: np.ndarray) -> None:
    root = np.random.default_rng(1).random(images.shape).astype(np.float32)
    whole = Explainer(DIGITS, "taylor")(images, baseline=root)
    part = Explainer(DIGITS, "taylor", batch_size=3)(images, baseline=root)
    np.testing.assert_allclose(part.attribution, whole.attribution, rtol=1e-4, atol=1e-6)


def test_taylor_of_a_linear_model_is_complete() -> None:
    w = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    linear = model([node("MatMul", "x w", "y")], {"x": ["n", 4]}, {"y": ["n", 3]}, {"w": w})
    x, root = np.random.default_rng(3).normal(size=(2, 5, 4)).astype(np.float32)
    result = Explainer(linear, "taylor")(x, 1, baseline=root)
    np.testing.assert_allclose(result.attribution.sum(axis=1), ((x - root) @ w)[:, 1], rtol=1e-4, atol=1e-5)


def test_several_inputs() -> None:
    made = model(
        [node("Mul", "a b", "m"), node("ReduceSum", "m axes", "y")],
        {"a": ["n", 3], "b": ["n", 3]},
        {"y": ["n", 1]},
        {"axes": np.array([1])},
    )
    a, b = np.random.default_rng(4).normal(size=(2, 5, 3)).astype(np.float32)
    both = Explainer(made)({"a": a, "b": b})
    np.testing.assert_allclose(both.attributions["a"], b, rtol=1e-6)
    np.testing.assert_allclose(both.attributions["b"], a, rtol=1e-6)
    with pytest.raises(LayerError, match="several tensors"):
        _ = both.attribution
    one = Explainer(made, inputs=["b"])({"a": a, "b": b})
    assert list(one.attributions) == ["b"]


@pytest.mark.parametrize("extent", [5, "k"])
def test_an_input_beside_the_samples_is_not_cut(extent: int | str) -> None:
    """Five factors and, by chance, five samples: chunks take samples apart, never the factors."""
    made = model(
        [node("Mul", "x f", "m"), node("ReduceSum", "m axes", "y")],
        {"x": ["n", 5], "f": [extent]}, {"y": ["n", 1]}, {"axes": np.array([1])},
    )  # fmt: skip
    x, f = np.random.default_rng(6).normal(size=(5, 5)).astype(np.float32), np.arange(5, dtype=np.float32)
    for size in (None, 1, 2, 5):
        result = Explainer(made, inputs=["x"], batch_size=size)({"x": x, "f": f})
        np.testing.assert_allclose(result.attributions["x"], np.tile(f, (5, 1)))
        assert len(result.outputs["y"]) == 5


def test_inner_tensors(images: np.ndarray, explainer: Explainer) -> None:
    for layer in ("node_relu", "relu", "1"):
        result = Explainer(DIGITS, layer=layer)(images[:2])
        ((name, value),) = result.attributions.items()
        assert value.ndim == 4
        assert value.shape[0] == 2
        assert result.about["attributions"][f"{name}_attribution"]["kind"] == "layer"
    # The gradient at an inner tensor, carried on by hand, is the gradient at the input.
    inner = Explainer(DIGITS, layer=["relu", "max_pool2d"])(images[:2], 3)
    assert len(inner.attributions) == 2


def test_integer_input_is_attributed_at_its_embedding() -> None:
    path = FIXTURES / "bert" / "model.onnx"
    with np.load(path.parent / "data.npz") as data:
        feeds = {k: data[k] for k in data.files if k != "label"}
    result = Explainer(path)(feeds)
    entry = result.about["attributions"]["input_ids_attribution"]
    assert entry["kind"] == "embedding"
    assert entry["tensor"]
    tokens = feeds["input_ids"].shape
    assert result.attributions["input_ids"].shape[:2] == tokens
    assert result.pool(-1, "input_ids").shape == tokens


def test_labels_and_zipmap() -> None:
    path = FIXTURES / "iris_sklearn" / "model.onnx"
    with np.load(path.parent / "data.npz") as data:
        x = data["features"]
    result = Explainer(path)(x)
    assert result.about["score"]["kind"] == "logit"
    np.testing.assert_array_equal(result.target, result.outputs["output_label"])
    assert isinstance(result.outputs["output_probability"], list)
    assert len(result[:2].outputs["output_probability"]) == 2


def test_binary_classifier_is_explained_at_its_log_odds() -> None:
    path = FIXTURES / "cancer_sklearn" / "model.onnx"
    with np.load(path.parent / "data.npz") as data:
        x = data["features"]
    zero, one = (Explainer(path)(x, target).attribution for target in (0, 1))
    np.testing.assert_allclose(zero, -one, rtol=1e-5)
    assert np.abs(one).sum(axis=1).min() > 1e-3, "no saturated probabilities"


def test_model_without_samples_axis() -> None:
    w = np.random.default_rng(2).normal(size=(4, 3)).astype(np.float32)
    made = model([node("MatMul", "x w", "y")], {"x": [4]}, {"y": [3]}, {"w": w})
    np.testing.assert_allclose(Explainer(made)(np.ones(4, np.float32), 1).attribution, w[:, 1])


def test_double_and_half_precision() -> None:
    for kind, dtype, tolerance in (
        (onnx.TensorProto.DOUBLE, np.float64, 1e-12),
        (onnx.TensorProto.FLOAT16, np.float16, 2e-3),
    ):
        w = np.random.default_rng(2).normal(size=(4, 3)).astype(dtype)
        made = model(
            [node("MatMul", "x w", "h"), node("Tanh", "h", "y")],
            {"x": ["n", 4]},
            {"y": ["n", 3]},
            {"w": w},
            kinds={"x": kind, "y": kind},
        )
        x = np.random.default_rng(3).normal(size=(2, 4)).astype(dtype)
        result = Explainer(made)(x, 1).attribution
        assert result.dtype == dtype
        expected = (1 - np.tanh(x.astype(np.float64) @ w)[:, 1:2] ** 2) * w[:, 1].astype(np.float64)
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


# -- reading the result ------------------------------------------------------------------------------------------------


def test_pooling_keeps_the_total(explainer: Explainer, images: np.ndarray) -> None:
    result = explainer(images)
    for by in (1, (2, 3), -1):
        pooled = result.pool(by)
        np.testing.assert_allclose(
            pooled.reshape(len(images), -1).sum(axis=1), result.attribution.sum(axis=(1, 2, 3)), rtol=1e-3, atol=1e-4
        )
    quadrants = (np.arange(8)[:, None] // 4 * 2 + np.arange(8) // 4)[None]
    groups = result.pool(quadrants)
    assert groups.shape == (len(images), 4)
    np.testing.assert_allclose(groups[:, 3], result.attribution[:, 0, 4:, 4:].sum(axis=(1, 2)), rtol=1e-3, atol=1e-4)


def test_top_elements(explainer: Explainer, images: np.ndarray) -> None:
    result = explainer(images)
    for i, places in enumerate(result.top(3)):
        values = [abs(v) for _, v in places]
        assert values == sorted(values, reverse=True)
        assert values[0] == pytest.approx(float(np.abs(result.attribution[i]).max()))


def test_one_sample_of_many(explainer: Explainer, images: np.ndarray) -> None:
    result = explainer(images)
    one = result[4]
    assert len(one) == 1
    np.testing.assert_array_equal(one.attribution[0], result.attribution[4])
    assert one.label(0) == result.label(4)
    assert result[-1].label(0) == result.label(len(images) - 1)
    assert result.label(0) in ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feeds", "says"),
    [
        (np.zeros((2, 8, 8), np.float32), r"expects \[batch, 1, 8, 8\] of float32, got \[2, 8, 8\]; add an axis"),
        (np.zeros((2, 8, 8, 1), np.float32), r"got \[2, 8, 8, 1\]; the axes are in another order|got \[2, 8, 8, 1\]"),
        (
            {"picture": np.zeros((2, 1, 8, 8), np.float32)},
            "no input 'picture' in the model.*input 'image' .* is missing",
        ),
        (np.full((1, 1, 8, 8), np.nan, np.float32), r"holds nan at \[0, 0, 0, 0\]"),
        (np.full((1, 1, 8, 8), np.inf, np.float32), "holds inf"),
        (np.array([[["text"]]]), "takes the tokens of a text"),
        (np.zeros((0, 1, 8, 8), np.float32), "no samples"),
        (np.zeros((1, 1, 8, 8), np.complex64), "got complex64"),
    ],
    ids=["rank", "order", "name", "nan", "inf", "text", "empty", "complex"],
)
def test_bad_inputs(explainer: Explainer, feeds: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        explainer(feeds)


def test_integers_are_taken_for_floats_but_not_fractions_for_integers(explainer: Explainer, images: np.ndarray) -> None:
    whole = (images * 16).round().astype(np.int64)
    np.testing.assert_allclose(explainer(whole).attribution, explainer(whole.astype(np.float32)).attribution)
    path = FIXTURES / "bert" / "model.onnx"
    with np.load(path.parent / "data.npz") as data:
        feeds = {k: data[k].astype(np.float64) + 0.5 for k in data.files if k != "label"}
    with pytest.raises(InputError, match="fractions"):
        Explainer(path)(feeds)


def test_two_inputs_need_names() -> None:
    made = model([node("Mul", "a b", "y")], {"a": ["n", 3], "b": ["n", 3]}, {"y": ["n", 3]})
    with pytest.raises(InputError, match=r"2 inputs: hand over a dict with 'a' .*'b'"):
        Explainer(made)(np.zeros((2, 3), np.float32))
    with pytest.raises(InputError, match="disagree on the number of samples: 'a' has 2, 'b' has 3"):
        Explainer(made)({"a": np.zeros((2, 3), np.float32), "b": np.zeros((3, 3), np.float32)})


@pytest.mark.parametrize(
    ("target", "says"),
    [(10, "out of range.*10 elements"), ([1, 2, 30], "30 is out of range"), ([1, 2], r"one index per sample \(int \[3\]\), got int64 \[2\]"),
     ([0.5, 1, 2], "got float64"), ("input", "hand the Explainer the indices"), ("nonsense", "no class 'nonsense'")],
    ids=str,
)  # fmt: skip
def test_bad_targets(explainer: Explainer, images: np.ndarray, target: Any, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        explainer(images[:3], target)


def test_target_and_seed_together(explainer: Explainer, images: np.ndarray) -> None:
    with pytest.raises(TargetError, match="not both"):
        explainer(images, 3, cotangent=np.zeros((20, 10), np.float32))


def test_bad_methods_and_options() -> None:
    with pytest.raises(MethodError, match=r"no method 'salincy'; did you mean 'saliency'"):
        Explainer(DIGITS, "salincy")
    with pytest.raises(MethodError, match="has no option 'steps'; it takes none"):
        Explainer(DIGITS, "gradient", steps=3)
    with pytest.raises(MethodError, match="compares with no baseline"):
        Explainer(DIGITS, "gradient", baseline=0.0)
    with pytest.raises(MethodError, match="needs a baseline"):
        rewrite(DIGITS, "taylor")


def test_missing_and_bad_baselines(images: np.ndarray) -> None:
    taylor = Explainer(DIGITS, "taylor")
    with pytest.raises(MethodError, match="needs a baseline"):
        taylor(images)
    with pytest.raises(InputError, match="does not broadcast"):
        taylor(images, baseline=np.zeros((3, 3)))
    with pytest.raises(InputError, match="NaN"):
        taylor(images, baseline=np.nan)
    with pytest.raises(InputError, match="does not broadcast"):
        Explainer(DIGITS, "taylor", baseline=np.zeros((3, 3)))
    with pytest.raises(MethodError, match="was given its baseline"):
        Explainer(DIGITS, "taylor", baseline=0.0)(images, baseline=1.0)


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(LayerError, match=r"no output or tensor 'logit'.*did you mean 'logits'"):
        Explainer(DIGITS, output="logit")
    with pytest.raises(LayerError, match=r"no input 'imge'.*did you mean 'image'"):
        Explainer(DIGITS, inputs=["imge"])
    made = model(
        [node("MatMul", "x w", "y"), node("Relu", "x", "aside")],
        {"x": ["n", 2]},
        {"y": ["n", 2], "aside": ["n", 2]},
        {"w": np.eye(2, dtype=np.float32)},
    )
    with pytest.raises(LayerError, match="does not depend on 'aside'"):
        Explainer(made, layer="aside")
    with pytest.raises(LayerError, match=r"no tensor, node or module scope 'node_rel'.*'node_relu'"):
        Explainer(DIGITS, layer="node_rel")


def test_providers() -> None:
    Explainer(DIGITS, providers="cpu")
    Explainer(DIGITS, providers=["CPUExecutionProvider"])
    with pytest.raises(ProviderError, match="unknown provider 'gpu'"):
        Explainer(DIGITS, providers="gpu")
    with pytest.raises(ProviderError, match="not in this ONNX Runtime"):
        Explainer(DIGITS, providers="QNNExecutionProvider")


def test_cuda_that_is_not_there_is_an_error_and_auto_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    from onnxplain.runtime.session import _has_cuda_device

    Explainer(DIGITS, providers="auto")
    captured = capfd.readouterr()
    assert captured.err == ""
    if _has_cuda_device():
        pytest.skip("an NVIDIA device is present: there is nothing missing to refuse")
    with pytest.raises(ProviderError, match="cuda"):
        Explainer(DIGITS, providers="cuda")


def test_large_batches_run_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is said of the batch size, and what the tensors of a run take stays bounded; the numbers are the same."""
    images = np.random.default_rng(0).random((20_000, 1, 8, 8), np.float32)
    sizes = []
    run = Session.run

    def watched(self: Session, feeds: dict[str, np.ndarray], outputs: object = None) -> dict[str, object]:
        sizes.append(len(feeds["image"]))
        return run(self, feeds)

    monkeypatch.setattr(Session, "run", watched)
    parts = Explainer(DIGITS, trust=True, progress=False)(images)
    assert sum(sizes) == 20_000
    assert max(sizes) < 20_000
    whole = Explainer(DIGITS, trust=True, batch_size=20_000)(images)
    assert sizes[-1] == 20_000
    np.testing.assert_allclose(parts.attribution, whole.attribution, rtol=1e-4, atol=1e-6)


def test_a_model_with_an_output_of_all_samples_runs_at_once() -> None:
    made = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (float[n,4000] x) => (float[n,4000] y, float[1,4000] mean) '
        "<int64[1] a = {0}> { y = Mul(x, x) mean = ReduceMean(x, a) }"
    )
    x = np.random.default_rng(0).random((9000, 4000), np.float32)
    found = Explainer(made, progress=False, trust=True)(x, target=0)
    np.testing.assert_allclose(found.outputs["mean"], x.mean(axis=0, keepdims=True), rtol=1e-4)
