"""Metrics of randomisation: which weights change, and what similarities of known weights are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from scipy import stats
from skimage.metrics import structural_similarity

from onnxplain import Explainer
from onnxplain.errors import MetricError
from onnxplain.evaluation.case import MetricBatch
from onnxplain.evaluation.data import Data
from onnxplain.evaluation.metrics._similarity import similarity
from onnxplain.evaluation.metrics._weights import layers_of, prepared_model, randomised, redrawn
from onnxplain.evaluation.metrics.randomisation import other_targets, stages_of
from onnxplain.evaluation.subject import Subject
from tests.support.judged import Array, explained, from_array, linear, measured, one_by_one, random, refusals, score
from tests.support.models import model, node
from tests.support.networks import cnn, mlp, transformer
from tests.support.paths import FIXTURES

PARAMETERS = "parameter-randomisation"


def weights(made: onnx.ModelProto) -> dict[str, Array]:
    return {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}


# -- similarities --------------------------------------------------------------------------------------------------------


def test_similarities_are_scipys() -> None:
    a, b = random(6, 20), random(6, 20, seed=1).round(0)  # with ties
    pairs = list(zip(a, b, strict=True))
    np.testing.assert_allclose(similarity("spearman", a, b), [stats.spearmanr(*p)[0] for p in pairs], atol=1e-6)
    np.testing.assert_allclose(similarity("pearson", a, b), [stats.pearsonr(*p)[0] for p in pairs], atol=1e-6)
    cosines = [p @ q / np.linalg.norm(p) / np.linalg.norm(q) for p, q in pairs]
    np.testing.assert_allclose(similarity("cosine", a, b), cosines, atol=1e-6)


def test_structural_similarity_is_scikit_images() -> None:
    a, b = random(3, 9, 11), random(3, 9, 11, seed=1)
    wanted = [structural_similarity(p, q, data_range=np.ptp([p, q])) for p, q in zip(a, b, strict=True)]
    np.testing.assert_allclose(similarity("ssim", a, b), wanted, atol=1e-6)
    np.testing.assert_allclose(similarity("ssim", a, a), 1)


def test_a_constant_is_like_nothing() -> None:
    for name in ("spearman", "pearson"):
        assert np.isnan(similarity(name, np.full((1, 7), 0.1), random(1, 7))).all()
    with pytest.raises(MetricError, match="pictures"):
        similarity("ssim", random(2, 9), random(2, 9))
    with pytest.raises(MetricError, match="spearman"):
        similarity("spearmen", random(2, 9), random(2, 9))


# -- layers --------------------------------------------------------------------------------------------------------------


def test_layers_hold_weights_and_biases_in_order() -> None:
    data = Data(cnn(biased=True), random(1, 4, 10, 10))
    found = [layer.parameters for layer in layers_of(data)]
    assert all(len(parameters) == 2 for parameters in found)
    assert found[0] == ("c1.w", "c1.b")
    assert len({name for parameters in found for name in parameters}) == 2 * len(found)


def test_a_bias_added_behind_a_product_is_the_layers() -> None:
    nodes = [node("MatMul", "x w", "z"), node("Add", "b z", "a"), node("Relu", "a", "r"), node("MatMul", "r v", "y")]
    held = {"w": random(4, 5), "b": random(5), "v": random(5, 2), "unused": random(3, 3)}
    data = Data(model(nodes, {"x": ("batch", 4)}, {"y": ("batch", 2)}, held), random(2, 4))
    assert [layer.parameters for layer in layers_of(data)] == [("w", "b"), ("v",)]


def test_weights_used_twice_are_one_layer_and_other_outputs_none() -> None:
    nodes = [
        node("MatMul", "x w", "one"),
        node("MatMul", "one w", "two"),
        node("MatMul", "two v", "y"),
        node("MatMul", "x u", "z"),
    ]
    held = {"w": random(4, 4), "v": random(4, 2), "u": random(4, 2)}
    data = Data(model(nodes, {"x": ("batch", 4)}, {"y": ("batch", 2), "z": ("batch", 2)}, held), random(2, 4))
    assert [layer.parameters for layer in layers_of(data)] == [("w",), ("v",)]


@pytest.mark.parametrize("name", ["bert", "lstm", "gru", "vit", "unet", "cnn1d", "cancer_sklearn", "gpt2"])
def test_layers_of_every_kind_of_model(name: str) -> None:
    """Every weight matrix of the file is in some layer: nothing learned is left as it was."""
    with np.load(FIXTURES / name / "data.npz") as file:
        inputs = {k: file[k][:1] for k in file.files if k != "label"}
    first = next(iter(inputs))
    data = Data(FIXTURES / name / "model.onnx", inputs, input=first)
    known = weights(prepared_model(data))
    found = {name for layer in layers_of(data) for name in layer.parameters}
    products = {
        i for n in prepared_model(data).graph.node if n.op_type in ("Conv", "MatMul", "Gemm", "LSTM", "GRU") for i in n.input
    }
    missed = {k for k, v in known.items() if k in products and v.ndim >= 2 and v.dtype.kind == "f" and v.size > 1} - found
    assert found
    assert not missed


# -- which weights are random --------------------------------------------------------------------------------------------


def test_orders() -> None:
    layers = [("a", "a0"), ("b",), ("c",), ("d",)]
    down = [set("d"), set("dc"), set("dcb"), {"d", "c", "b", "a", "a0"}]
    assert [set(s) for s in stages_of(layers, "top-down", 8)] == down
    assert [set(s) for s in stages_of(layers, "bottom-up", 8)] == [{"a", "a0"}, {"a", "a0", "b"}, {"a", "a0", "b", "c"}, down[3]]
    assert [set(s) for s in stages_of(layers, "independent", 8)] == [set("d"), set("c"), set("b"), {"a", "a0"}]
    assert [set(s) for s in stages_of(layers, "top-down", 2)] == [set("dc"), {"d", "c", "b", "a", "a0"}]
    assert [set(s) for s in stages_of(layers, "independent", 2)] == [set("dc"), {"b", "a", "a0"}]


def test_only_the_chosen_weights_change_and_always_to_the_same() -> None:
    data = Data(mlp(biased=True), random(2, 24))
    before = weights(prepared_model(data))
    one, both = weights(randomised(data, ["l1.w"], "normal")), weights(randomised(data, ["l1.w", "l2.b"], "normal"))
    changed = {name for name in before if not np.array_equal(before[name], one[name])}
    assert changed == {"l1.w"}
    assert {name for name in before if not np.array_equal(before[name], both[name])} == {"l1.w", "l2.b"}
    np.testing.assert_array_equal(one["l1.w"], both["l1.w"])
    other = weights(randomised(Data(mlp(biased=True), random(2, 24), seed=1), ["l1.w"], "normal"))
    assert not np.array_equal(one["l1.w"], other["l1.w"])


def test_new_weights_are_like_the_old_ones() -> None:
    values, generator = random(200, 50) * 3 + 1, np.random.default_rng(0)
    normal, shuffled = redrawn(values, "normal", generator), redrawn(values, "shuffle", generator)
    assert normal.dtype == shuffled.dtype == np.float32
    assert (abs(normal.mean() - values.mean()), abs(normal.std() / values.std() - 1)) < (0.1, 0.05)
    np.testing.assert_array_equal(np.sort(shuffled.ravel()), np.sort(values.ravel()))
    assert abs(np.corrcoef(shuffled.ravel(), values.ravel())[0, 1]) < 0.05


# -- scores --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("measure", ["spearman", "pearson", "cosine"])
def test_the_gradient_of_a_linear_model_becomes_the_new_weights(measure: str) -> None:
    batch = explained(linear(random(7, 3)), random(4, 7), target=[0, 1, 2, 0])
    new = weights(randomised(batch.data, ["w"], "normal"))["w"]
    old = weights(prepared_model(batch.data))["w"]
    wanted = similarity(measure, np.abs(old.T[[0, 1, 2, 0]]), np.abs(new.T[[0, 1, 2, 0]]))
    made = measured(batch, PARAMETERS, measure=measure)
    np.testing.assert_allclose(made.score, wanted, atol=1e-6)
    np.testing.assert_allclose(made.facts["last"], wanted, atol=1e-6)


@pytest.mark.parametrize("order", ["top-down", "bottom-up", "independent"])
def test_each_step_is_the_explanation_of_a_model_with_these_weights(order: str) -> None:
    x = random(3, 24)
    batch = explained(mlp(biased=True), x, "lrp-epsilon")
    made = measured(batch, PARAMETERS, order=order, sign="signed", draw="shuffle")
    stages = stages_of([layer.parameters for layer in layers_of(batch.data)], order, 8)
    for k, stage in enumerate(stages):
        other = Explainer(randomised(batch.data, stage, "shuffle"), "lrp-epsilon")(x, batch.target.tolist()).attribution
        wanted = [stats.spearmanr(p, q)[0] for p, q in zip(batch.attribution, other, strict=True)]
        np.testing.assert_allclose(made.curves["similarity"][:, k], wanted, atol=1e-6)
    np.testing.assert_allclose(made.score, made.curves["similarity"].mean(axis=1))


def test_constant_weights_have_nothing_to_lose() -> None:
    nodes = [node("MatMul", "x w", "z"), node("Tanh", "z", "a"), node("MatMul", "a v", "y")]
    held = {"w": np.full((5, 4), 0.2, np.float32), "v": np.full((4, 2), 0.5, np.float32)}
    made = model(nodes, {"x": ("batch", 5)}, {"y": ("batch", 2)}, held)
    batch = explained(made, random(3, 5), "input-x-gradient", target=0)
    for draw in ("shuffle", "normal"):
        np.testing.assert_allclose(score(batch, PARAMETERS, draw=draw), 1, atol=1e-6)


@pytest.mark.parametrize("name", [PARAMETERS, "random-logit"])
@pytest.mark.parametrize("made", [mlp(), transformer()], ids=["mlp", "transformer"])
def test_results_do_not_depend_on_the_batch(name: str, made: onnx.ModelProto) -> None:
    shape = [d.dim_value for d in made.graph.input[0].type.tensor_type.shape.dim][1:]
    batch = explained(made, random(4, *shape), "input-x-gradient")
    np.testing.assert_allclose(one_by_one(batch, name), score(batch, name), atol=2e-3)


class Calibration(CalibrationDataReader):
    def __init__(self) -> None:
        self.rows = iter([{"x": random(4, 4, 10, 10, seed=seed)} for seed in range(3)])

    def get_next(self) -> Any:
        return next(self.rows, None)


@pytest.mark.parametrize("form", ["dynamic", *QuantFormat])
def test_quantized_weights_are_shuffled(form: Any, tmp_path: Path) -> None:
    plain, quantized = tmp_path / "plain.onnx", tmp_path / "quantized.onnx"
    onnx.save(mlp() if form == "dynamic" else cnn(), plain)
    if form == "dynamic":
        quantize_dynamic(plain, quantized, weight_type=QuantType.QInt8)
    else:
        quantize_static(plain, quantized, Calibration(), quant_format=form, weight_type=QuantType.QInt8)
    x = random(3, 24) if form == "dynamic" else random(3, 4, 10, 10)
    batch = explained(quantized, x, "occlusion", {"window": 4, "stride": 2})
    assert len(layers_of(batch.data)) == len(layers_of(Data(onnx.load(plain), x)))
    assert (score(batch, PARAMETERS) < 0.9).all()


def test_weights_beside_the_model(tmp_path: Path) -> None:
    """External weights are read, changed and put into the copy; the file stays as it was."""
    x = random(3, 24)
    inside = explained(mlp(), x)
    onnx.save(mlp(), tmp_path / "m.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    before = (tmp_path / "w.bin").read_bytes()
    beside = explained(tmp_path / "m.onnx", x)
    for name in (PARAMETERS, "input-invariance"):
        np.testing.assert_allclose(score(beside, name), score(inside, name), atol=1e-6)
    assert (tmp_path / "w.bin").read_bytes() == before


def test_models_too_large_to_copy_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = explained(mlp(), random(2, 24))
    monkeypatch.setattr("onnxplain.evaluation.metrics._weights.LIMIT", 1000)
    for name in (PARAMETERS, "input-invariance"):
        assert "at most 1e-06 GB of weights, and this one has 1.07e-05 GB" in refusals(batch, name)


def test_few_changed_models_are_kept_where_they_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = explained(mlp(), random(2, 24))
    whole = score(batch, PARAMETERS)
    monkeypatch.setattr("onnxplain.evaluation.subject.KEPT_BYTES", 1)
    again = explained(mlp(), random(2, 24))
    np.testing.assert_array_equal(score(again, PARAMETERS), whole)
    assert len(again.subject._changed) == 1


# -- classes and labels --------------------------------------------------------------------------------------------------


def test_the_other_class_is_never_the_same_and_any_of_the_others() -> None:
    target = np.arange(600) % 4
    batch = from_array(linear(random(3, 4)), random(600, 3), random(600, 3), target=target.tolist())
    drawn = other_targets(batch)
    assert (drawn != target).all()
    for own in range(4):
        _, counts = np.unique(drawn[target == own], return_counts=True)
        assert len(counts) == 3
        assert counts.min() > 25  # 50 expected


def test_the_opposite_class_and_the_same_class() -> None:
    w = random(6, 1)
    opposite = explained(linear(np.hstack([w, -w])), random(3, 6), target=0)
    np.testing.assert_allclose(score(opposite, "random-logit"), -1, atol=1e-6)
    np.testing.assert_allclose(score(opposite, "random-logit", sign="absolute"), 1, atol=1e-6)
    same = explained(linear(np.hstack([w, w, w])), random(3, 6), target=1)
    np.testing.assert_allclose(score(same, "random-logit"), 1, atol=1e-6)


def test_a_model_trained_on_shuffled_labels(tmp_path: Path) -> None:
    w, v, x = random(6, 3), random(6, 3, seed=1), random(4, 6)
    onnx.save(linear(v), tmp_path / "shuffled.onnx")
    batch = explained(linear(w), x, "input-x-gradient", target=[0, 1, 2, 2])
    made = score(batch, "random-labels", model=str(tmp_path / "shuffled.onnx"))
    pairs = zip(x * w.T[[0, 1, 2, 2]], x * v.T[[0, 1, 2, 2]], strict=True)
    np.testing.assert_allclose(made, [stats.spearmanr(abs(p), abs(q))[0] for p, q in pairs], atol=1e-6)
    onnx.save(linear(w), tmp_path / "same.onnx")
    np.testing.assert_allclose(score(batch, "random-labels", model=str(tmp_path / "same.onnx")), 1)


# -- what is refused -----------------------------------------------------------------------------------------------------


def test_what_does_not_apply_is_refused(tmp_path: Path) -> None:
    mine = from_array(linear(random(4, 2)), random(2, 4), random(2, 4))
    for name in (PARAMETERS, "random-logit", "random-labels"):
        assert "not attributions from a file" in refusals(mine, name)
    forest = Data(FIXTURES / "blackbox" / "forest.onnx", random(2, 4))
    trees = MetricBatch.of(Subject("occlusion", forest, method="occlusion"))
    assert "the model has none" in refusals(trees, PARAMETERS)
    batch = explained(linear(random(4, 1)), random(2, 4))
    assert "only one element" in refusals(batch, "random-logit")
    text = refusals(batch, PARAMETERS, order="sideways", steps=0, draw="uniform", measure="ssim", sign="positive")
    for words in ("top-down, bottom-up", "from 1 on", "normal, shuffle", "3×3", "absolute, signed"):
        assert words in text
    assert "model=FILE" in refusals(batch, "random-labels")
    assert "no file at" in refusals(batch, "random-labels", model=str(tmp_path / "none.onnx"))
    onnx.save(squared(), tmp_path / "other.onnx")
    assert "no input 'x', only inputs" in refusals(batch, "random-labels", model=str(tmp_path / "other.onnx"))


def squared() -> Any:
    return model([node("Mul", "inputs inputs", "y")], {"inputs": ("batch", 4)}, {"y": ("batch", 4)})
