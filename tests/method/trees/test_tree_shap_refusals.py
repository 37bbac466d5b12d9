"""What tree-shap refuses, with one line that says why; and what it takes that looks like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, plan, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES
from tests.support.random_trees import ML, Plan, draw, newer, older, rows

FOREST = Plan(features=3, trees=2, depth=2, base=False)


def forest(plan: Plan = FOREST, seed: int = 0, form: Any = older) -> onnx.ModelProto:
    rng = np.random.default_rng(seed)
    return form(draw(rng, plan), plan, rng)


def background(plan: Plan = FOREST, count: int = 5) -> np.ndarray:
    return rows(np.random.default_rng(1), plan, count)


def behind(made: onnx.ModelProto, *nodes: onnx.NodeProto, **weights: Any) -> onnx.ModelProto:
    """A model with more nodes after its trees, the last of which makes its output `z`."""
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(w), n) for n, w in weights.items())
    made.graph.output[0].name = "z"
    return made


@pytest.mark.parametrize("aggregate", ["MIN", "MAX"])
@pytest.mark.parametrize("form", [older, newer])
def test_the_least_or_greatest_of_trees(aggregate: str, form: Any) -> None:
    made = forest(Plan(features=3, trees=2, depth=2, base=False, aggregate=aggregate), form=form)
    with pytest.raises(MethodError, match=f"takes the {aggregate} of its trees"):
        rewrite(made, "tree-shap", background=background())


def test_no_trees() -> None:
    with pytest.raises(MethodError, match="the model has no tree ensemble"):
        rewrite(FIXTURES / "cancer" / "model.onnx", "tree-shap", background=np.zeros((3, 30), np.float32))


def test_neither_or_both_kinds_of_rows() -> None:
    with pytest.raises(MethodError, match="got neither"):
        rewrite(forest(), "tree-shap")
    with pytest.raises(MethodError, match="got both"):
        rewrite(forest(), "tree-shap", background=background(), data=background())


def test_rows_of_other_columns() -> None:
    with pytest.raises(InputError, match=r"expected \[m, 3\] for 'x', got \[5, 4\]"):
        rewrite(forest(), "tree-shap", background=np.zeros((5, 4), np.float32))


def test_missing_values_that_no_tree_has_a_way_for() -> None:
    holes = background()
    holes[0] = np.nan
    with pytest.raises(InputError, match="does not say where missing values go"):
        rewrite(forest(), "tree-shap", background=holes)


def test_too_few_rows_for_shares() -> None:
    plan = Plan(features=3, trees=4, depth=4, grow=1)
    with pytest.raises(InputError, match="none of the 1 rows of data reaches"):
        rewrite(forest(plan), "tree-shap", data=background(plan, 1))


def test_a_score_that_is_no_linear_map_of_trees() -> None:
    made = behind(forest(), node("Exp", "y", "e"), node("Add", "e e", "z"))
    with pytest.raises(MethodError, match=r"Exp 'e' makes 'z' no linear map of its trees.*--output y"):
        rewrite(made, "tree-shap", background=background())
    assert "Exp 'e'" in plan(made, "tree-shap").problem


def test_a_way_beside_the_trees() -> None:
    made = behind(forest(), node("Add", "y x", "z"))
    with pytest.raises(MethodError, match="depends on 'x' beside the trees"):
        rewrite(made, "tree-shap", background=background())


def test_columns_that_are_mixed_before_the_trees() -> None:
    made = forest()
    made.graph.node[0].input[0] = "m"
    made.graph.node.insert(0, node("MatMul", "x w", "m"))
    made.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((3, 3), np.float32), "w"))
    with pytest.raises(MethodError, match=r"feature \d of the trees \('m'\) is made of columns 0 of 'x', 1 of 'x', 2 of 'x'"):
        rewrite(made, "tree-shap", background=background())


def test_a_base_value_that_the_runtime_leaves_out() -> None:
    made = forest(Plan(features=3, trees=2, depth=2, outputs=2))
    (names,) = (a for a in made.graph.node[0].attribute if a.name == "target_ids")
    names.ints[:] = [0] * (len(names.ints) - 1) + [1]
    with pytest.raises(MethodError, match="base value for output 1"):
        rewrite(made, "tree-shap", background=background())


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT64, onnx.TensorProto.FLOAT])
@pytest.mark.parametrize(
    ("outputs", "base", "transform"), [(1, False, "NONE"), (1, True, "LOGISTIC"), (1, False, "LOGISTIC"), (3, False, "SOFTMAX")]
)
def test_classifiers_and_whole_numbers(outputs: int, base: bool, transform: str, kind: int) -> None:
    """One number for two classes, or one for each of three; whole numbers are compared as the runtime does."""
    made = forest(Plan(features=3, trees=3, depth=3, values=(0.5, 1.0, 2.0, 3.5), outputs=outputs, base=base))
    made.graph.input[0].type.tensor_type.elem_type = kind
    trees = made.graph.node[0]
    trees.op_type = "TreeEnsembleClassifier"
    trees.output[:] = ["label", "y"]
    kept = [a for a in trees.attribute if a.name not in ("n_targets", "aggregate_function")]
    for attribute in kept:
        attribute.name = attribute.name.replace("target_", "class_")
    labels = onnx.helper.make_attribute("classlabels_int64s", list(range(max(outputs, 2))))
    kept += [labels, onnx.helper.make_attribute("post_transform", transform)]
    del trees.attribute[:]
    trees.attribute.extend(kept)
    del made.graph.output[0].type.tensor_type.shape.dim[1]
    made.graph.output[0].type.tensor_type.shape.dim.add(dim_value=max(outputs, 2))
    random = np.random.default_rng(0)
    usual, x = (random.integers(0, 5, (6, 3)).astype(onnx.helper.tensor_dtype_to_np_dtype(kind)) for _ in range(2))
    found = Explainer(made, "tree-shap", background=usual, providers="cpu")(x, target="all")
    every = Explainer(made, "exact-shapley", background=usual, providers="cpu")(x, target="all")
    assert found.attribution.dtype == np.float32
    assert np.abs(every.attribution).max() > 0.05
    assert found.attribution == pytest.approx(every.attribution, abs=2e-6)
    assert np.abs(found.delta).max() < 2e-6


def test_several_ensembles_and_a_linear_tail() -> None:
    made = forest()
    second = forest(seed=3).graph.node[0]
    second.output[0], second.name = "y2", "more"
    made = behind(
        made, second, node("Mul", "y two", "a"), node("Concat", "a y2", "b", axis=1), node("ReduceMean", "b", "z", axes=[1]),
        two=np.float32(2),
    )  # fmt: skip
    made.opset_import[0].version = 17
    x = background(count=7)
    found = Explainer(made, "tree-shap", background=background(), providers="cpu")(x)
    every = Explainer(made, "exact-shapley", background=background(), providers="cpu")(x)
    assert found.attribution == pytest.approx(every.attribution, abs=2e-6)


def test_a_pipeline_of_text_and_numbers() -> None:
    """One-hot text, a scaled column and a whole number, put side by side: contributions lie on the three inputs."""
    trees = forest(Plan(features=5, trees=4, depth=3, values=(0.5,))).graph.node[0]
    trees.input[0] = "f"
    nodes = [
        onnx.helper.make_node("OneHotEncoder", ["city"], ["c"], domain=ML, cats_strings=["a", "b", "c"], zeros=1),
        onnx.helper.make_node("Reshape", ["c", "flat"], ["c2"]),
        onnx.helper.make_node("Scaler", ["age"], ["a"], domain=ML, offset=[1.0], scale=[0.5]),
        onnx.helper.make_node("Cast", ["kids"], ["k"], to=1),
        onnx.helper.make_node("Concat", ["c2", "a", "k"], ["f"], axis=1),
        trees,
    ]
    kinds = {"city": onnx.TensorProto.STRING, "kids": onnx.TensorProto.INT64}
    made = model(
        nodes, {"city": ["n", 1], "age": ["n", 1], "kids": ["n", 1]}, {"y": ["n", 1]}, {"flat": np.array([-1, 3])}, kinds=kinds
    )
    made.opset_import.append(onnx.helper.make_opsetid(ML, 3))
    random = np.random.default_rng(0)

    def table(count: int) -> dict[str, np.ndarray]:
        return {
            "city": random.choice(["a", "b", "c"], (count, 1)).astype(object),
            "age": random.normal(2, 1, (count, 1)).astype(np.float32),
            "kids": random.integers(0, 3, (count, 1)),
        }

    usual, x = table(8), table(6)
    found = Explainer(made, "tree-shap", background=usual, providers="cpu")(x)
    every = Explainer(made, "exact-shapley", background=usual, providers="cpu")(x)
    for name in x:
        assert found.attributions[name] == pytest.approx(every.attributions[name], abs=2e-6)


def test_many_rows_run_a_few_at_a_time() -> None:
    x = background(count=600)
    at_once = Explainer(forest(), "tree-shap", background=background(), providers="cpu", batch_size=600)(x)
    usual = Explainer(forest(), "tree-shap", background=background(), providers="cpu")(x)
    within = run(rewrite(forest(), "tree-shap", background=background(), batch_size=7), {"x": x})["x_attribution"]
    assert usual.attribution == pytest.approx(at_once.attribution, abs=1e-6)
    assert within == pytest.approx(at_once.attribution, abs=1e-6)


def test_functions_of_one_tree_each() -> None:
    """As isolation forests do: each tree sees columns of its own choice, and a function of its leaves is added up."""
    plan = Plan(features=3, trees=1, depth=3, base=False)
    made = forest(plan)
    made.graph.node[0].input[0] = "chosen"
    second = forest(plan, seed=4).graph.node[0]
    second.input[0], second.output[0], second.name = "chosen2", "y2", "more"
    made.graph.node.insert(0, node("Gather", "x places", "chosen", axis=1))
    made.graph.node.insert(0, node("Gather", "x places2", "chosen2", axis=1))
    tail = [node("Exp", "y", "e"), node("Mul", "e y", "m"), node("Tanh", "y2", "t"), node("Sub", "m t", "z")]
    made = behind(made, second, *tail, places=np.array([2, 0, 1]), places2=np.array([1, 1, 0]))
    x = background(plan, 7)
    found = Explainer(made, "tree-shap", background=background(plan), providers="cpu")(x)
    every = Explainer(made, "exact-shapley", background=background(plan), providers="cpu")(x)
    assert np.abs(every.attribution).max() > 0.1
    assert found.attribution == pytest.approx(every.attribution, abs=2e-6)
    assert np.abs(found.delta).max() < 2e-6


def test_on_the_command_line(tmp_path: Path) -> None:
    path, usual, x, made = (str(tmp_path / name) for name in ("m.onnx", "rows.npy", "x.npy", "explained.onnx"))
    onnx.save(forest(), path)
    np.save(usual, background())
    np.save(x, background(count=2))
    option = ("-m", "tree-shap", "--option", f"background={usual}")
    for command in (
        ["rewrite", path, "-o", made, *option],
        ["inspect", made],
        ["explain", path, x, *option],
        ["plan", path, *option[:2]],
        ["check", path, x, *option],
    ):
        shown = CliRunner().invoke(main, command)
        assert shown.exit_code == 0, shown.output
    refused = CliRunner().invoke(main, ["explain", path, x, "-m", "gradient"])
    assert refused.exit_code == 2
    assert "use -m tree-shap" in refused.output
