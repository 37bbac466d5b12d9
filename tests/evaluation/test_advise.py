"""advise: what is counted in made models and in shipped ones, and that the method suggested can serve them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from onnxplain import advise, plan
from onnxplain.cli.main import main
from onnxplain.errors import LayerError, ModelError
from onnxplain.method.registry import find_method
from tests.support.models import model, node
from tests.support.paths import FIXTURES

SHIPPED = sorted(p.parent.name for p in FIXTURES.glob("*/model.onnx") if not p.parent.name.startswith(("lrp_", "layers_")))
RNG = np.random.default_rng(0)


def weights(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


def image_model(pool: str, bias: Any, *, stride: int = 1, act: str = "Relu", extra: int = 0) -> Any:
    """Convolution, activation, pooling, `extra` + 1 dense layers."""
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        node("Conv", "x w b", "conv", kernel_shape=[3, 3], strides=[stride, stride], pads=[1, 1, 1, 1]),
        node(act, "conv", "bent"),
        node(pool, "bent", "pooled", **attributes),
        node("Flatten", "pooled", "flat"),
    ]
    size, given, last = 4 * (8 // stride // 2) ** 2, {"w": weights(4, 1, 3, 3), "b": np.float32(bias)}, "flat"
    for i in range(extra):
        nodes += [node("Gemm", f"{last} v{i} c{i}", f"dense{i}"), node("Relu", f"dense{i}", f"on{i}")]
        given |= {f"v{i}": weights(size, size), f"c{i}": -np.ones(size, np.float32)}
        last = f"on{i}"
    nodes.append(node("Gemm", f"{last} v", "y"))
    return model(nodes, {"x": ["n", 1, 8, 8]}, {"y": ["n", 3]}, {**given, "v": weights(size, 3)})


def test_a_network_that_follows_the_tutorial_hears_nothing_to_change() -> None:
    advice = advise(image_model("AveragePool", [-1, -0.5, 0, -2]))
    assert [s.topic for s in advice.statements if s.verdict == "change"] == []
    assert {s.topic for s in advice.statements if s.verdict == "good"} >= {
        "dense layers", "weight sharing", "pooling", "biases", "activations"
    }  # fmt: skip
    assert advice.of("dropout").verdict == "unseen"
    assert "stride" not in {s.topic for s in advice.statements}
    assert advice.suggestion.method == "lrp-epsilon-plus"


def test_max_pooling_positive_biases_and_strides_are_counted() -> None:
    advice = advise(image_model("MaxPool", [1, 2, 0, -2], stride=2))
    assert advice.of("pooling").verdict == "change"
    assert advice.of("pooling").found == {"max": ["MaxPool:0"], "sum": []}
    found = advice.of("biases").found
    assert (found["biases"], found["positive"], found["largest"], found["largest_at"]) == (3, 2, 2.0, "Conv:0")
    assert found["share_positive"] == pytest.approx(2 / 3)  # zeros are no biases
    assert advice.of("stride").found == {"stride": 2, "layer": "Conv:0"}


@pytest.mark.parametrize(("extra", "verdict"), [(0, "good"), (1, "good"), (2, "change")])
def test_many_dense_layers_are_too_many(extra: int, verdict: str) -> None:
    advice = advise(image_model("AveragePool", np.zeros(4), extra=extra))
    said = advice.of("dense layers")
    assert said.verdict == verdict
    assert said.found["dense_layers"] == extra + 1
    size = 64
    dense = extra * size * size + 3 * size
    assert said.found["weights"] == dense
    assert said.found["share_of_weights"] == pytest.approx(dense / (dense + 36))


def test_an_added_bias_counts_and_a_scaled_one_by_its_sign() -> None:
    added = model(
        [node("MatMul", "x w", "z"), node("Add", "z b", "h"), node("Relu", "h", "a"), node("Gemm", "a v c", "y", beta=-1.0)],
        {"x": ["n", 4]},
        {"y": ["n", 2]},
        {"w": weights(4, 3), "b": np.float32([1, -1, -1]), "v": weights(3, 2), "c": np.float32([1, 2])},
    )
    found = advise(added).of("biases").found
    assert (found["biases"], found["positive"]) == (5, 1)


def test_layers_with_nothing_between_can_be_one() -> None:
    nodes = [node("Gemm", "x a", "h"), node("Reshape", "h s", "r"), node("Gemm", "r b", "k"), node("Relu", "k", "l")]
    given = {"a": weights(4, 6), "s": np.array([0, 6]), "b": weights(6, 5), "c": weights(5, 2)}
    one = model([*nodes, node("Gemm", "l c", "y")], {"x": ["n", 4]}, {"y": ["n", 2]}, given)
    said = advise(one).of("depth")
    assert said.verdict == "change"
    assert said.found == {"linear_layers": 3, "depth": 3, "merging": [["Gemm:0", "Gemm:1"]]}
    read_twice = model(
        [*nodes[:3], node("Gemm", "h d", "side"), node("Add", "k side", "y")],
        {"x": ["n", 4]},
        {"y": ["n", 5]},
        {"a": given["a"], "s": given["s"], "b": given["b"], "d": weights(6, 5)},
    )
    assert advise(read_twice).of("depth").found["merging"] == []


def test_a_linear_model_of_a_table_has_exact_values() -> None:
    made = model([node("Gemm", "x w b", "y")], {"x": ["n", 4]}, {"y": ["n", 2]}, {"w": weights(4, 2), "b": weights(2)})
    assert advise(made).suggestion.method == "linear-shap"


def test_a_linear_model_of_pictures_needs_no_more_than_its_gradient() -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w b", "y")]
    made = model(nodes, {"x": ["n", 1, 8, 8]}, {"y": ["n", 2]}, {"w": weights(64, 2), "b": weights(2)})
    assert advise(made).suggestion.method == "input-x-gradient"


def test_trees_have_exact_values() -> None:
    for name in ("gradient_boosting", "xgboost_two", "lightgbm_three"):
        assert advise(FIXTURES / "trees" / f"{name}.onnx").suggestion.method == "tree-shap"


def test_saturating_activations_suggest_differences() -> None:
    nodes = [node("Gemm", "x a", "h"), node("Tanh", "h", "t"), node("Gemm", "t b", "y")]
    made = model(nodes, {"x": ["n", 4]}, {"y": ["n", 2]}, {"a": weights(4, 6), "b": weights(6, 2)})
    advice = advise(made)
    assert advice.of("activations").verdict == "change"
    assert advice.of("activations").found == {"rectifying": 0, "smooth": 0, "saturating": 1}
    assert advice.suggestion.method == "deeplift"


def test_dropout_left_in_the_file_is_seen() -> None:
    nodes = [node("Gemm", "x a", "h"), node("Relu", "h", "r"), node("Dropout", "r", "d"), node("Gemm", "d b", "y")]
    made = model(nodes, {"x": ["n", 4]}, {"y": ["n", 2]}, {"a": weights(4, 6), "b": weights(6, 2)})
    assert advise(made).of("dropout").verdict == "good"


def test_a_dense_layer_on_pixels_could_be_a_convolution() -> None:
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f a", "h"), node("Relu", "h", "r"), node("Gemm", "r b", "y")]
    made = model(nodes, {"x": ["n", 1, 4, 4]}, {"y": ["n", 2]}, {"a": weights(16, 6), "b": weights(6, 2)})
    assert advise(made).of("weight sharing").verdict == "change"


def test_an_operator_without_a_rule_leaves_forward_passes() -> None:
    nodes = [node("Gemm", "x a", "h"), node("Secret", "h", "r", domain="my.ops"), node("Gemm", "r b", "y")]
    made = model(nodes, {"x": ["n", 4]}, {"y": ["n", 2]}, {"a": weights(4, 6), "b": weights(6, 2)})
    made.opset_import.add(domain="my.ops", version=1)
    advice = advise(made)
    assert find_method(advice.suggestion.method).forward_only
    assert "Secret" in advice.suggestion.reason


@pytest.mark.parametrize(
    ("name", "method", "facts"),
    [
        ("digits", "lrp-epsilon-plus", {"dense_layers": 1, "max": ["MaxPool:0"]}),
        ("cancer", "integrated-gradients", {"dense_layers": 3, "positive": 28}),
        ("resnet", "lrp-epsilon-plus", {"dense_layers": 1, "linear_layers": 15}),
        ("vit", "attnlrp", {"attention": 2, "normalizations": 5}),
        ("gpt2", "attnlrp", {"attention": 2, "dense_layers": 0}),
        ("llama", "attnlrp", {"attention": 2, "gates": 2, "biases": 0}),
        ("gru", "lrp-epsilon", {"recurrent": 2}),
        ("digits_keras", "lrp-epsilon-plus", {"merging": [["Conv:1", "Conv:2"]]}),
        ("mobilenet", "lrp-epsilon-plus", {"gates": 3, "saturating": 0}),
    ],
)
def test_shipped_models(name: str, method: str, facts: dict[str, Any]) -> None:
    advice = advise(FIXTURES / name / "model.onnx")
    assert advice.suggestion.method == method
    found = {key: value for s in advice.statements for key, value in s.found.items()}
    assert {key: found[key] for key in facts} == facts


@pytest.mark.parametrize("name", SHIPPED)
def test_the_method_suggested_serves_the_model(name: str) -> None:
    path = FIXTURES / name / "model.onnx"
    advice = advise(path)
    assert not plan(path, advice.suggestion.method).missing
    for other in advice.suggestion.others:
        find_method(other.partition(" ")[0])
    legacy = path.with_name("model_legacy.onnx")
    if legacy.exists():  # the other exporter's file says the same
        again = advise(legacy)
        assert again.suggestion.method == advice.suggestion.method
        assert again.structure.depth == advice.structure.depth
        assert again.of("biases").found["positive"] == advice.of("biases").found["positive"]


@pytest.mark.parametrize("name", ["forest", "mixed", "xgboost"])
def test_trees_of_any_export_have_exact_values(name: str) -> None:
    advice = advise(FIXTURES / "blackbox" / f"{name}.onnx")
    assert advice.suggestion.method == "tree-shap"
    assert "a sum of trees" in advice.suggestion.reason
    assert advice.statements == ()


def test_command_prints_statements_and_json() -> None:
    path = str(FIXTURES / "digits" / "model.onnx")
    shown = CliRunner().invoke(main, ["advise", path])
    assert shown.exit_code == 0, shown.output
    for words in ("1 max pooling", "17 of 46 biases are positive", "not in the file", "suggested: lrp-epsilon-plus"):
        assert words in shown.output
    data = json.loads(CliRunner().invoke(main, ["advise", path, "--json"]).output)
    assert data["inputs"] == {"image": "image"}
    assert all(s["text"] and s["reason"] and s["source"] for s in data["statements"])


def test_what_is_no_model_or_no_output_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no file"):
        advise(tmp_path / "none.onnx")
    with pytest.raises(LayerError, match="logits"):
        advise(FIXTURES / "digits" / "model.onnx", output="logit")
