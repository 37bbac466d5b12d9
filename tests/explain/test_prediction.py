"""The first run of an Explainer compares its prediction with the original's: changes are found and named, rounding is not one."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto

from onnxplain import Explainer, evaluate, passes, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import ModelError, PredictionChanged, RelevanceWarning
from onnxplain.explain import prediction
from onnxplain.explain.prediction import PredictionCheck
from onnxplain.io import reader
from onnxplain.io.reader import read
from onnxplain.ir.graph import Graph
from onnxplain.passes import PREPARATION, prepared
from onnxplain.passes.linear_map import MapWriter
from onnxplain.runtime.agreement import apart, disagreement, largest
from onnxplain.runtime.random_inputs import random_inputs
from onnxplain.runtime.session import Session
from tests.support.models import model, node
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"


def images(count: int = 2) -> np.ndarray[Any, Any]:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        return np.asarray(data["image"][:count])


@pytest.fixture
def shrunk(monkeypatch: pytest.MonkeyPatch) -> str:
    """A pass that makes the last bias of the digits model 2 % smaller; its name."""

    def wrong(made: onnx.ModelProto) -> bool:
        bias = next(t for n in made.graph.node if n.op_type == "Gemm" for t in made.graph.initializer if t.name == n.input[2])
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) * np.float32(0.98), bias.name))
        return True

    monkeypatch.setitem(PREPARATION, "settle-branches", wrong)
    return "settle-branches"


# -- changes are found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon-plus", "occlusion"])
def test_a_pass_that_changes_the_prediction_is_named(method: str, shrunk: str) -> None:
    explainer = Explainer(DIGITS, method)
    for _ in range(2):  # and the second run is not let through
        with pytest.raises(PredictionChanged, match=f"output 'logits' differs by .*first after the pass '{shrunk}'") as raised:
            explainer(images())
        assert raised.value.culprit == shrunk


def test_trust_turns_it_off(shrunk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(PredictionCheck, "__init__", lambda *_: made.append(1))
    assert Explainer(DIGITS, trust=True)(images()).attribution.shape == (2, 1, 8, 8)
    assert not made


def test_evaluations_compare_too(shrunk: str) -> None:
    settings: dict[str, Any] = {"metrics": ["sparseness"], "progress": False}
    with pytest.raises(PredictionChanged, match=shrunk):
        evaluate(DIGITS, images(), ["gradient"], **settings)
    with pytest.raises(PredictionChanged, match=shrunk):  # attributions from elsewhere are judged by the prediction
        evaluate(DIGITS, images(), [], attributions={"given": np.ones((2, 1, 8, 8))}, metrics=["selectivity"], progress=False)
    assert evaluate(DIGITS, images(), ["gradient"], trust=True, **settings).subjects == ("gradient",)


def test_the_command_line_compares(shrunk: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images())
    given, out = str(tmp_path / "x.npy"), str(tmp_path / "explained.onnx")
    found = CliRunner().invoke(main, ["explain", str(DIGITS), given])
    assert found.exit_code == 2
    assert f"first after the pass '{shrunk}'" in found.output
    assert CliRunner().invoke(main, ["explain", str(DIGITS), given, "--trust"]).exit_code == 0
    found = CliRunner().invoke(main, ["rewrite", str(DIGITS), "-o", out, "--verify", given])
    assert found.exit_code == 2
    assert f"first after the pass '{shrunk}'" in found.output
    assert not Path(out).exists()
    assert CliRunner().invoke(main, ["rewrite", str(DIGITS), "-o", out]).exit_code == 0


@pytest.mark.parametrize(
    "more", [(), ("--only-attribution",), ("--batch-size", "1"), ("--target", "input"), ("--method", "deeplift")]
)
def test_rewriting_verifies_whatever_the_file_takes_and_returns(more: tuple[str, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", images())
    out = tmp_path / "explained.onnx"
    if "deeplift" in more:
        more = (*more, "--baseline", "input")
    found = CliRunner().invoke(main, ["rewrite", str(DIGITS), "-o", str(out), "--verify", str(tmp_path / "x.npy"), *more])
    assert found.exit_code == 0, found.output
    assert out.exists()


def test_a_change_by_nodes_of_the_method_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pass of the preparation is at fault where the writing of the model is."""

    def wrong(made: onnx.ModelProto) -> bool:
        bias = next(t for t in made.graph.initializer if len(t.dims) == 1 and t.dims[0] == 10)
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(1), bias.name))
        return False

    monkeypatch.setattr("onnxplain.explain.write.sum_parts", wrong)
    with pytest.raises(PredictionChanged, match="by what the method added to the graph") as raised:
        Explainer(DIGITS)(images())
    assert raised.value.culprit == ""


def test_labels_text_and_maps_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    iris = FIXTURES / "iris_sklearn" / "model.onnx"
    x = random_inputs(Graph(prepared(read(iris)).model), 0)
    Explainer(iris)(x)
    right = passes.expand_functions

    def wrong(made: onnx.ModelProto, registry: Any = None) -> bool:
        """The label of the least probable class."""
        changed = right(made, registry)
        for each in made.graph.node:
            if each.op_type == "ArgMax":
                each.op_type = "ArgMin"
        return changed

    monkeypatch.setattr(passes, "expand_functions", wrong)
    nodes = [node("ArgMax", "x", "label", axis=1, keepdims=0), node("Mul", "x x", "y")]
    kinds = {"label": TensorProto.INT64}
    made = model(nodes, {"x": ["n", 3]}, {"y": ["n", 3], "label": ["n"]}, kinds=kinds)
    with pytest.raises(PredictionChanged, match="output 'label' differs in 2 elements"):
        Explainer(made)(np.array([[1, 2, 3], [3, 2, 1]], np.float32))


# -- it costs one run, once ------------------------------------------------------------------------------------------


def test_the_original_runs_once_on_the_first_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    class Counted(Session):
        def run(self, feeds: Any, outputs: Any = None) -> dict[str, Any]:
            runs.append(len(feeds["image"]))
            return super().run(feeds, outputs)

    monkeypatch.setattr(prediction, "Session", Counted)
    explainer = Explainer(DIGITS, batch_size=2)
    explainer(images(5))
    explainer(images(5), target="all")
    assert runs == [2]


def test_nothing_of_the_original_is_held_afterwards() -> None:
    explainer = Explainer(DIGITS)
    gc.collect()
    held = lambda: [o for o in gc.get_objects() if isinstance(o, PredictionCheck)]  # noqa: E731
    before = len(held())
    assert before
    explainer(images())
    gc.collect()
    assert len(held()) == before - 1


def test_large_files_are_not_held_and_have_to_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WORTHWHILE", 1)
    path = tmp_path / "model.onnx"
    path.write_bytes(DIGITS.read_bytes())
    Explainer(path)(images())
    explainer = Explainer(path)
    path.write_bytes(DIGITS.read_bytes() + b" ")
    with pytest.raises(ModelError, match=r"changed since it was read.*trust=True"):
        explainer(images())
    path.unlink()
    with pytest.raises(ModelError, match="is gone"):
        explainer(images())
    monkeypatch.undo()
    path.write_bytes(DIGITS.read_bytes())
    explainer = Explainer(path)
    path.unlink()
    explainer(images())


def test_weights_in_other_files_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(onnx.load(DIGITS), path, save_as_external_data=True, location="weights.bin", size_threshold=1024)
    found, plain = (Explainer(p, "lrp-epsilon-plus")(images()).attribution for p in (path, DIGITS))
    np.testing.assert_array_equal(found, plain)


# -- nobody is accused of rounding, or of drawing random numbers -----------------------------------------------------


@pytest.mark.parametrize("op", ["RandomNormalLike", "Bernoulli", "Dropout"])
def test_random_models_are_not_accused(op: str) -> None:
    draw = {"Dropout": node("Dropout", "one half yes", "r kept"), "Bernoulli": node("Bernoulli", "halves", "r")}
    nodes = [node("Mul", "x zero", "zeros"), node("Add", "zeros half", "halves"), node("Add", "zeros unit", "one"),
             draw.get(op, node(op, "x", "r")), node("Mul", "x r", "y")]  # fmt: skip
    weights = {"zero": np.float32(0), "half": np.float32(0.5), "unit": np.float32(1), "yes": np.array(True)}
    made = model(nodes, {"x": ["n", 50]}, {"y": ["n", 50]}, weights)
    explainer = Explainer(made)
    with pytest.warns(UserWarning, match="differs from run to run"):
        explainer(np.ones((2, 50), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        explainer(np.ones((2, 50), np.float32))


def test_an_original_that_does_not_run_is_told() -> None:
    made = model([node("Relu", "x", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
    made.ir_version = 99
    with pytest.warns(UserWarning, match="not compared, since the original does not run: ONNX Runtime"):
        Explainer(made)(np.ones((1, 3), np.float32))


def test_what_cancels_is_held_against_what_rounding_does_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The norm takes 6000 from sums near it, so that what is left of them shows how they were rounded. Folded into the product
    before it, the norm rounds elsewhere."""
    random = np.random.default_rng(0)
    weights = {"w": random.uniform(999.99, 1000.01, (8, 16)), "s": np.ones(16), "b": np.zeros(16), "m": np.full(16, 6000.0)}
    weights = {name: value.astype(np.float32) for name, value in {**weights, "v": np.full(16, 1e-2)}.items()}
    made = model(
        [node("Gemm", "x w", "z"), node("BatchNormalization", "z s b m v", "y")], {"x": ["n", 8]}, {"y": ["n", 16]}, weights
    )
    x = random.uniform(0.74999, 0.75001, (4, 8)).astype(np.float32)
    own, folded = (Session(m, "cpu").run({"x": x})["y"] for m in (made, rewrite(made)))
    assert np.abs(own - folded).max() > 1e-4 * np.abs(own).max(), "far beyond the last place"
    assert "BatchNormalization" not in {n.op_type for n in rewrite(made).graph.node}
    Explainer(made)(x)

    def rootless(self: Any, step: Any) -> str:
        return str(self("Div", step.constants["scale"], step.constants["variance"]))

    monkeypatch.setattr(MapWriter, "_norm_factor", rootless)
    with pytest.raises(PredictionChanged, match="fold-batch-norm"):
        Explainer(made)(x)


def test_runs_that_disagree() -> None:
    x = np.linspace(1, 2, 24, dtype=np.float32).reshape(2, 12)
    assert disagreement(apart({"y": x}, {"y": x})) == ""
    assert disagreement(apart({"y": x}, {"y": x * (1 + np.float32(1e-6))})) == ""
    assert "output 'y' differs by 0.002, its largest value being 2" in disagreement(apart({"y": x}, {"y": x * np.float32(1.001)}))
    assert "another shape" in disagreement(apart({"y": x}, {"y": x[:1]}))
    assert "another shape" in disagreement(apart({"y": x}, {}))
    holed = x.copy()
    holed[0, 3] = np.nan
    assert disagreement(apart({"y": holed}, {"y": holed})) == ""
    assert "finiteness" in disagreement(apart({"y": x}, {"y": holed}))
    assert largest(apart({"y": x}, {"y": x + np.float32(0.5)})) == pytest.approx(0.25)
    # Noise excuses a difference, and what is not excused is one channel's, whatever the size of others.
    difference = apart({"y": x}, {"y": x * np.float32(1.001)})
    assert disagreement(difference, [apart({"y": x}, {"y": x * np.float32(1.0005)})]) == ""
    boxes = np.stack([np.full((2, 8), 600, np.float32), np.full((2, 8), 0.5, np.float32)], axis=1)
    moved = boxes.copy()
    moved[0, 1, 0] = 0.501
    assert "its largest value being 0.5" in disagreement(apart({"y": boxes}, {"y": moved}))


def test_sequences_maps_text_and_whole_numbers_that_disagree() -> None:
    rows = [{"a": 0.25, "b": 0.75}, {"a": 0.5, "b": 0.5}]
    assert disagreement(apart({"z": rows}, {"z": [dict(reversed(r.items())) for r in rows]})) == ""
    assert "output 'z' differs by" in disagreement(apart({"z": rows}, {"z": [rows[0], {"a": 0.75, "b": 0.25}]}))
    assert "output 'z's keys'" in disagreement(apart({"z": rows}, {"z": [{"a": 0.25, "c": 0.75}, {"a": 0.5, "c": 0.5}]}))
    text = np.array(["a", "b"], object)
    assert "differs in 1 element" in disagreement(apart({"t": text}, {"t": np.array(["a", "c"], object)}))
    parts = [np.zeros(3, np.float32), np.ones(2, np.float32)]
    assert "output 's[1]'" in disagreement(apart({"s": parts}, {"s": [parts[0], parts[1] * 2]}))
    assert disagreement(apart({"q": np.array([7], np.uint8)}, {"q": np.array([8], np.uint8)})) == "", "one step"
    assert disagreement(apart({"q": np.array([7], np.uint8)}, {"q": np.array([9], np.uint8)}))
    assert "differs in 1 element" in disagreement(apart({"i": np.array([7])}, {"i": np.array([8])}))


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*/*.onnx")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_no_fixture_is_accused(path: Path) -> None:
    source = prepared(read(path))
    if any(t.dtype is not None and t.dtype.kind in "OUS" for t in Graph(source.copy().model).inputs):
        pytest.skip("text cannot be made up")
    x = random_inputs(Graph(source.model), 0)
    explained = 0
    for method in (
        "gradient",
        "lrp-epsilon-plus",
        "lrp-alpha2-beta1",
        "attnlrp",
        "deeplift",
        "integrated-gradients",
        "occlusion",
    ):
        options: dict[str, Any] = {"baseline": 0.0} if method in ("deeplift", "integrated-gradients") else {}
        try:
            explainer = Explainer(path, method, progress=False, **options)
            trusting = Explainer(path, method, progress=False, trust=True, **options)
            trusting(x)
        except Exception:  # this method refuses this model, which other tests are about
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            warnings.simplefilter("ignore", RelevanceWarning)  # another finding than a changed prediction
            explainer(x)
        explained += 1
    assert explained
