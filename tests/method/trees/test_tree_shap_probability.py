"""tree-shap of probabilities behind a transform, against all coalitions run by the model itself."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from onnxplain import Explainer, plan, rewrite
from onnxplain.errors import MethodError
from tests.support.models import model
from tests.support.paths import FIXTURES
from tests.support.random_trees import ML, Plan, draw, older

FOLDER = FIXTURES / "trees"
TABLES = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))["tables"]

with np.load(FOLDER / "reference.npz") as data:
    ARRAYS = dict(data)


def rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Background, and what is explained."""
    table = ARRAYS[f"{TABLES[name]}.data"]
    return table[:20], table[100:104]


@pytest.mark.parametrize("target", ["all", 1, None])
@pytest.mark.parametrize(
    "name", ["gradient_boosting_two", "xgboost_two", "gradient_boosting_three", "lightgbm_three", "catboost_three"]
)
def test_as_all_coalitions_say(name: str, target: str | int | None) -> None:
    background, x = rows(name)
    given = {"background": background, "score": "probability", "providers": "cpu"}
    made = Explainer(FOLDER / f"{name}.onnx", "tree-shap", pairs="all", **given)(x, target=target)
    every = Explainer(FOLDER / f"{name}.onnx", "k-sii", **given)(x, target=target)
    assert made.facts["interactions"] == pytest.approx(every.facts["interactions"], abs=2e-6)
    assert made.attribution == pytest.approx(every.facts["interactions"].sum(axis=-1), abs=2e-6)
    assert made.facts["base_value"] == pytest.approx(every.facts["base_value"], abs=1e-6)
    assert made.delta is not None
    assert np.abs(made.delta).max() < 2e-6


@pytest.mark.parametrize("name", ["gradient_boosting_two", "histograms_two", "xgboost_two"])
def test_shap_adds_up_to_the_same(name: str) -> None:
    """shap scales the margin's values to the change of the probability, row by row, so that single values differ."""
    background, x = rows(name)
    made = Explainer(FOLDER / f"{name}.onnx", "tree-shap", background=background, score="probability", providers="cpu")(
        x, target=1
    )
    reference = ARRAYS[f"{name}.probability"][:4, 0]
    assert made.attribution.sum(axis=1) == pytest.approx(reference.sum(axis=1), abs=1e-5)
    assert np.abs(made.attribution - reference).max() > 0.003


def test_text_and_numbers_of_several_inputs() -> None:
    rng = np.random.default_rng(1)
    drawn = Plan(features=5, trees=4, depth=3, values=(0.5,), outputs=2)
    trees = older(draw(rng, drawn), drawn, rng).graph.node[0]
    trees.input[0], trees.output[0] = "f", "margin"
    nodes = [
        onnx.helper.make_node("OneHotEncoder", ["city"], ["c"], domain=ML, cats_strings=["a", "b", "c"], zeros=1),
        onnx.helper.make_node("Reshape", ["c", "flat"], ["c2"]),
        onnx.helper.make_node("Cast", ["kids"], ["k"], to=1),
        onnx.helper.make_node("Concat", ["c2", "age", "k"], ["f"], axis=1),
        trees,
        onnx.helper.make_node("Softmax", ["margin"], ["y"], axis=1),
    ]
    kinds = {"city": onnx.TensorProto.STRING, "kids": onnx.TensorProto.INT64}
    made = model(
        nodes, {"city": ["n", 1], "age": ["n", 1], "kids": ["n", 1]}, {"y": ["n", 2]}, {"flat": np.array([-1, 3])}, kinds=kinds
    )
    made.opset_import.append(onnx.helper.make_opsetid(ML, 3))

    def table(count: int) -> dict[str, np.ndarray]:
        return {
            "city": rng.choice(["a", "b", "c"], (count, 1)).astype(object),
            "age": rng.normal(0.5, 1, (count, 1)).astype(np.float32),
            "kids": rng.integers(0, 3, (count, 1)),
        }

    given = {"background": table(8), "score": "probability", "providers": "cpu"}
    x = table(5)
    found, every = (Explainer(made, m, **given)(x, target=1) for m in ("tree-shap", "exact-shapley"))
    assert max(np.abs(every.attributions[name]).max() for name in x) > 0.01
    for name in x:
        assert found.attributions[name] == pytest.approx(every.attributions[name], abs=2e-6)


def test_values_along_paths_are_refused() -> None:
    with pytest.raises(MethodError, match="have no values along paths"):
        rewrite(FOLDER / "gradient_boosting_two.onnx", "tree-shap", score="probability", data=rows("gradient_boosting_two")[0])


def test_too_many_columns() -> None:
    rng = np.random.default_rng(0)
    drawn = Plan(features=20, trees=12, depth=4, grow=1, outputs=2)
    made = older(draw(rng, drawn), drawn, rng)
    made.graph.node.append(onnx.helper.make_node("Softmax", ["y"], ["z"], axis=1))
    made.graph.output[0].name = "z"
    background = np.zeros((3, 20), np.float32)
    with pytest.raises(MethodError, match="at most 12 columns are run, and the trees look at 20"):
        rewrite(made, "tree-shap", score="probability", background=background)
    assert rewrite(made, "tree-shap", background=background).graph.output[1].name == "x_attribution"


@pytest.mark.parametrize("trees", [1, 5])
@pytest.mark.parametrize("by_extent", [False, True])
def test_columns_that_no_tree_looks_at(trees: int, by_extent: bool) -> None:
    """Twenty columns of which trees read four: as the model of these four alone. One tree behind a sigmoid takes any number."""
    rng = np.random.default_rng(5)
    drawn = Plan(features=4, trees=trees, depth=3, outputs=3)
    made = older(draw(rng, drawn), drawn, rng)
    made.graph.node.append(onnx.helper.make_node("Sigmoid", ["y"], ["p"]))
    if by_extent:  # the extent of a batch is no way past the trees
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3]), "three"))
        made.graph.node.append(onnx.helper.make_node("Shape", ["x"], ["extents"]))
        made.graph.node.append(onnx.helper.make_node("Slice", ["extents", "zero", "one"], ["samples"]))
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "zero"))
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "one"))
        made.graph.node.append(onnx.helper.make_node("Concat", ["samples", "three"], ["as"], axis=0))
        made.graph.node.append(onnx.helper.make_node("Reshape", ["p", "as"], ["z"]))
    made.graph.output[0].name = "z" if by_extent else "p"
    wide = onnx.ModelProto()
    wide.CopyFrom(made)
    wide.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 20
    x = rng.normal(0.5, 1, (30, 20)).astype(np.float32)
    given = {"score": "probability", "providers": "cpu"}
    found = Explainer(wide, "tree-shap", background=x, **given)(x[:3], target=1).attribution
    every = Explainer(made, "exact-shapley", background=x[:, :4], **given)(x[:3, :4], target=1).attribution
    assert np.abs(every).max() > 0.001
    assert found[:, :4] == pytest.approx(every, abs=1e-6)
    assert not found[:, 4:].any()
    if trees == 1:
        along = Explainer(wide, "tree-shap", data=x, **given)(x[:3], target=1)
        assert along.delta == pytest.approx(0, abs=1e-6)


def test_trees_of_another_output_do_not_count() -> None:
    rng = np.random.default_rng(2)
    small, large = (Plan(features=20, trees=t, depth=d, grow=1, outputs=2) for t, d in ((2, 1), (12, 4)))
    made, other = (older(draw(rng, p), p, rng) for p in (small, large))
    other.graph.node[0].output[0] = "other"
    made.graph.node.extend([onnx.helper.make_node("Softmax", ["y"], ["z"], axis=1), other.graph.node[0]])
    made.graph.output[0].name = "z"
    made.graph.output.append(onnx.helper.make_tensor_value_info("other", 1, ["n", 2]))
    assert rewrite(made, "tree-shap", score="probability", output="z", background=np.zeros((3, 20), np.float32)) is not None


def test_the_plan_takes_it() -> None:
    assert not plan(FOLDER / "gradient_boosting_two.onnx", "tree-shap", score="probability").problem
