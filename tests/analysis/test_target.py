"""Targets of every form, against finite differences of the chosen element."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.analysis.target import parse_target
from onnxplain.errors import TargetError
from tests.support.models import model, node, run, slopes

RNG = np.random.default_rng(5)
W = RNG.normal(size=(4, 6)).astype(np.float32)
X = RNG.normal(size=(3, 4)).astype(np.float32)


def classifier(final: str = "", batch: Any = "n") -> onnx.ModelProto:
    """Scores x² W, then a final activation."""
    nodes = [node("Mul", "x x", "q"), node("MatMul", "q w", "z")]
    if final:
        nodes.append(node(final, "z", "y"))
    last = "y" if final else "z"
    return model(nodes, {"x": [batch, 4]}, {last: [batch, 6]}, {"w": W})


def grid() -> onnx.ModelProto:
    """A map [n, 2, 3] of scores."""
    nodes = [node("Mul", "x x", "q"), node("MatMul", "q w", "z"), node("Reshape", "z shape", "y")]
    return model(nodes, {"x": ["n", 4]}, {"y": ["n", 2, 3]}, {"w": W, "shape": np.array([-1, 2, 3])})


def gradient(cotangent: np.ndarray, x: np.ndarray = X) -> np.ndarray:
    """The slope of <seed, x² W> by finite differences."""
    return slopes(classifier(), {"x": x}, "x", "z", cotangent.reshape(len(x), 6))


def onehot(*indices: int) -> np.ndarray:
    return np.eye(6)[list(indices)]


def attribution(made: onnx.ModelProto, **feeds: Any) -> np.ndarray:
    return run(made, {"x": X, **feeds})["x_attribution"]


def close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=2e-3, atol=2e-3)


TOP = ((X**2) @ W).argmax(axis=1)


@pytest.mark.parametrize("batch", ["n", 3, None], ids=str)
@pytest.mark.parametrize("final", ["", "Softmax", "Sigmoid", "LogSoftmax"])
def test_top_prediction_of_each_sample(final: str, batch: Any) -> None:
    close(attribution(rewrite(classifier(final, batch))), gradient(onehot(*TOP)))


@pytest.mark.parametrize("index", [0, 5, "3", np.int64(2)])
def test_index(index: Any) -> None:
    close(attribution(rewrite(classifier(), target=index)), gradient(onehot(*[int(index)] * 3)))


def test_probability_is_explained_as_is_on_request() -> None:
    made = classifier("Softmax")
    expected = slopes(made, {"x": X}, "x", "y", onehot(1, 1, 1), step=1e-3)
    close(attribution(rewrite(made, target=1, score="probability")), expected)


def test_contrast() -> None:
    expected = gradient(onehot(4, 4, 4) - onehot(1, 1, 1))
    close(attribution(rewrite(classifier(), target={4: 1, 1: -1})), expected)
    close(attribution(rewrite(classifier(), target="4-1")), expected)
    close(attribution(rewrite(classifier(), target="top-1")), gradient(onehot(*TOP) - onehot(1, 1, 1)))


def test_run_time_index() -> None:
    made = rewrite(classifier(), target="input")
    close(attribution(made, target=np.array([5, -1, 0])), gradient(onehot(5, TOP[1], 0)))
    close(attribution(made, target=np.array([2])), gradient(onehot(2, 2, 2)))
    close(attribution(made, target=np.array([-1])), gradient(onehot(*TOP)))


def test_run_time_index_out_of_range_is_never_a_number() -> None:
    result = attribution(rewrite(classifier(), target="input"), target=np.array([5, 6, 0]))
    assert np.isnan(result[1]).all()
    assert np.isfinite(result[[0, 2]]).all()


@pytest.mark.parametrize("layer", ["q", None])
def test_run_time_index_out_of_range_reaches_where_no_path_leads(layer: str | None) -> None:
    """NaN where the gradient itself is a constant zero; and for all samples where the tensor does not count them."""
    nodes = [node("Slice", "x zero two one", "part"), node("Mul", "part part", "q")]
    nodes += [node("MatMul", "q w", "z"), node("Sub", "z shift", "y")]
    numbers = {"zero": np.array([0]), "two": np.array([2]), "one": np.array([1]), "w": W[:2, :4]}
    made = model(nodes, {"x": ["n", 4], "shift": [1, 4]}, {"y": ["n", 4]}, numbers)
    result = run(rewrite(made, target="input", layer=layer), {"x": X[:2], "shift": X[2:], "target": np.array([1, 4])})
    if layer:
        assert np.isfinite(result["q_attribution"][0]).all()
        assert np.isnan(result["q_attribution"][1]).all()
    else:
        assert np.isnan(result["x_attribution"][1]).all()
        assert np.isnan(result["shift_attribution"]).all()


@pytest.mark.parametrize("targets", [[0, 1], [0, 1, 2, 3], []], ids=len)
@pytest.mark.parametrize("rows", [1, 3])
def test_wrong_number_of_run_time_indices_ends_the_run(targets: list[int], rows: int) -> None:
    """Never broadcast the other way, which would change the shape of the results."""
    with pytest.raises(Exception, match="onnxplain/target"):
        run(rewrite(classifier(), target="input"), {"x": X[:rows], "target": np.array(targets, np.int64)})


def test_one_seed_serves_all_samples_and_others_end_the_run() -> None:
    made = rewrite(classifier(), target="cotangent")
    close(attribution(made, seed=onehot(4).astype(np.float32)), gradient(onehot(4, 4, 4)))
    with pytest.raises(Exception, match="onnxplain/target"):
        run(made, {"x": X[:1], "seed": onehot(1, 2, 3).astype(np.float32)})


def test_one_baseline_serves_all_samples_and_others_end_the_run() -> None:
    made = rewrite(classifier(), "taylor", target=2, baseline="input")
    one = run(made, {"x": X, "baseline": X[:1]})["x_attribution"]
    np.testing.assert_array_equal(one, run(made, {"x": X, "baseline": X[[0, 0, 0]]})["x_attribution"])
    with pytest.raises(Exception, match="onnxplain/"):
        run(made, {"x": X[:1], "baseline": X})


def test_seed() -> None:
    made = rewrite(classifier("Softmax"), target="cotangent")
    cotangent = RNG.normal(size=(3, 6)).astype(np.float32)
    close(attribution(made, seed=cotangent), gradient(cotangent))


@pytest.mark.parametrize("batch", ["n", 3])
def test_all_targets(batch: Any) -> None:
    result = attribution(rewrite(classifier("Softmax", batch), target="all"))
    assert result.shape == (3, 6, 4)
    for i in range(6):
        close(result[:, i], gradient(onehot(i, i, i)))


def test_all_targets_of_a_map() -> None:
    result = attribution(rewrite(grid(), target="all"))
    assert result.shape == (3, 6, 4)
    close(result[:, 4], gradient(onehot(4, 4, 4)))


@pytest.mark.parametrize(
    ("target", "elements"),
    [
        ((1, 2), [5]),
        ((-1, 0), [3]),
        ((0, ":"), [0, 1, 2]),
        ((slice(None), 1), [1, 4]),
        ("1,:", [3, 4, 5]),
        (("top", ":"), None),
    ],
    ids=str,
)
def test_several_axes(target: Any, elements: list[int] | None) -> None:
    cotangent = np.zeros((3, 6))
    if elements is None:
        rows = ((X**2) @ W).reshape(3, 2, 3).sum(axis=2).argmax(axis=1)
        for i, row in enumerate(rows):
            cotangent[i, 3 * row : 3 * row + 3] = 1
    else:
        cotangent[:, elements] = 1
    close(attribution(rewrite(grid(), target=target)), gradient(cotangent))


def test_top_within_a_row() -> None:
    cotangent = np.zeros((3, 6))
    scores = ((X**2) @ W).reshape(3, 2, 3)
    cotangent[np.arange(3), 3 + scores[:, 1].argmax(axis=1)] = 1
    close(attribution(rewrite(grid(), target=(1, "top"))), gradient(cotangent))


def test_several_axes_with_unknown_extents() -> None:
    nodes = [node("Mul", "x x", "q"), node("MatMul", "q w", "z"), node("Reshape", "z shape", "y")]
    made = model(nodes, {"x": ["n", 4], "shape": [3]}, {"y": None}, {"w": W}, kinds={"shape": onnx.TensorProto.INT64})
    cotangent = np.zeros((3, 6))
    cotangent[:, 2] = 1
    feeds = {"x": X, "shape": np.array([3, 2, 3])}
    said = {"x": 0, "y": 0}  # a shape that comes at run time proves nothing
    close(run(rewrite(made, target=(0, -1), sample_axis=said), feeds)["x_attribution"], gradient(cotangent))
    at_run_time = rewrite(made, target="input", sample_axis=said)
    close(run(at_run_time, {**feeds, "target": np.array([2])})["x_attribution"], gradient(cotangent))
    close(run(rewrite(made, target="all", sample_axis=said), feeds)["x_attribution"][:, 2], gradient(cotangent))


def test_one_score_per_sample() -> None:
    made = model(
        [node("Mul", "x x", "q"), node("ReduceSum", "q axes", "y", keepdims=0)],
        {"x": ["n", 4]},
        {"y": ["n"]},
        {"axes": np.array([1])},
    )
    close(attribution(rewrite(made)), 2 * X)
    close(attribution(rewrite(made, target="input"), target=np.array([-1])), 2 * X)
    close(attribution(rewrite(made, target=0)), 2 * X)


def test_model_without_batch_axis() -> None:
    made = model([node("Mul", "x x", "q"), node("MatMul", "q w", "y")], {"x": [4]}, {"y": [6]}, {"w": W})
    result = run(rewrite(made, target=2), {"x": X[0]})["x_attribution"]
    close(result, gradient(onehot(2, 2, 2))[0])
    close(run(rewrite(made), {"x": X[0]})["x_attribution"], gradient(onehot(*TOP))[0])


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (6, "target 6 is out of range.* has 6 along axis 1"),
        (-7, "out of range"),
        ((1, 2), "2 axes, but output 'z' .* has 1"),
        ("three", "'three' is no target"),
        (1.5, "1.5 is no target"),
        ([1, 2, 3], "one target per sample"),
        ({}, "contrast needs"),
        (True, "True is no target"),
    ],
    ids=str,
)
def test_bad_targets(target: Any, says: str) -> None:
    with pytest.raises(TargetError, match=says):
        rewrite(classifier(), target=target)


def test_too_few_axes_name_the_right_form() -> None:
    with pytest.raises(TargetError, match="one choice per axis"):
        rewrite(grid(), target=3)


@pytest.mark.parametrize("text", ["top", "3", "3,10,12", "3,:,:", "input", "all"])
def test_text_and_back(text: str) -> None:
    assert str(parse_target(text)) == text
