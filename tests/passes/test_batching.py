"""Few samples per run: the same numbers as all at once, whatever the batch; weights once in the file, and in the processor's layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from click.testing import CliRunner

from onnxplain import rewrite, verify
from onnxplain.cli.main import main
from onnxplain.errors import InputError, MethodError
from onnxplain.io import reader as load
from onnxplain.io.metadata import read_metadata
from onnxplain.runtime.cuda_placement import left_to_processor
from tests.passes.test_lowering import residual
from tests.support import host_cases, networks
from tests.support.host_cases import FIXTURES, Case
from tests.support.models import model, node, run

DIGITS = FIXTURES / "digits" / "model.onnx"
RANDOM = np.random.default_rng(0)
CASES = [c for c in host_cases.cases() if c.source not in ("cancer_sklearn", "fixed_of_digits", "qdq_of_digits")]


def same(found: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-4) -> None:
    """Results that differ by rounding alone: a product of few rows is computed in another order."""
    assert list(found) == list(expected)
    largest = max(np.abs(v).max(initial=0) for v in expected.values())
    for name, value in expected.items():
        assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape), name
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance * largest, err_msg=name)


def runner(made: onnx.ModelProto) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A session, from inputs to outputs by name."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(None, feeds), strict=True))


def wider(made: onnx.ModelProto, feeds: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """Feeds of two samples, repeated and moved about, so that there are more of them; one row for all stays."""
    random, found = np.random.default_rng(0), {}
    for info in made.graph.input:
        array, extents = feeds[info.name], [d.dim_param for d in info.type.tensor_type.shape.dim]
        axis = next((extents.index(s) for s in ("batch", "targets") if s in extents), None)
        if axis is not None and array.shape[axis] > 1:
            array = np.take(array, np.arange(count) % 2, axis)
            if array.dtype.kind == "f" and "mask" not in info.name:
                array = (array + random.standard_normal(array.shape) / 10).astype(array.dtype)
        found[info.name] = array
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_method_gives_the_same(case: Case) -> None:
    """Five samples by twos, so that the last run overlaps the one before; by ones on the larger models."""
    plain, feeds, _ = host_cases.made(case)
    size = 2 if case.source == "digits" else 1
    made = rewrite(host_cases.source(case.source), case.method, batch_size=size, **host_cases.settings_of(case))
    onnx.checker.check_model(made, full_check=True)
    feeds = wider(plain, feeds, 5)
    same(run(made, feeds), run(plain, feeds), 2e-2 if case.source.startswith("float16") else 1e-4)


MODELS = {
    "cnn": (lambda: networks.cnn(biased=True), {"x": (4, 10, 10)}),
    "transformer": (lambda: networks.transformer(biased=True), {"x": (5, 8)}),
    "lstm": (lambda: onnx.load(FIXTURES / "lstm" / "model.onnx"), {"sequence": (17, 5)}),
}


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "integrated-gradients", "smoothgrad"])
@pytest.mark.parametrize("name", MODELS)
def test_any_number_of_samples(name: str, method: str, size: int) -> None:
    make, shapes = MODELS[name]
    options: dict[str, Any] = {"baseline": 0.5, "steps": 3} if method == "integrated-gradients" else {}
    options |= {"samples": 3} if method == "smoothgrad" else {}
    plain, made = (runner(rewrite(make(), method, target="input", batch_size=k, **options)) for k in (None, size))
    for count in {1, size - 1, size, size + 1, 3 * size + 2} - {0}:
        feeds: dict[str, Any] = {k: RANDOM.standard_normal((count, *s)).astype(np.float32) for k, s in shapes.items()}
        for target in (np.arange(count) % 3 - 1, np.array([1])):
            same(made({**feeds, "target": target}), plain({**feeds, "target": target}))


@pytest.mark.parametrize("size", [1, 3])
def test_no_samples_at_all(size: int) -> None:
    made = rewrite(DIGITS, target="input", batch_size=size)
    found = run(made, {"image": np.zeros((0, 1, 8, 8), np.float32), "target": np.zeros(0, np.int64)})
    assert {k: v.shape for k, v in found.items()} == {"logits": (0, 10), "image_attribution": (0, 1, 8, 8)}


def test_samples_along_another_axis() -> None:
    """A recurrent network over [time, samples, features], with states of its own to begin from."""
    weights = {"w": RANDOM.standard_normal((1, 3, 4)), "r": RANDOM.standard_normal((1, 3, 3))}
    nodes = [
        onnx.helper.make_node("RNN", ["x", "w", "r", "", "", "h"], ["", "last"], hidden_size=3),
        node("Squeeze", "last axis", "y"),
    ]
    stored = {k: v.astype(np.float32) for k, v in weights.items()} | {"axis": np.array([0])}
    made = model(nodes, {"x": [6, "n", 4], "h": [1, "n", 3]}, {"y": ["n", 3]}, stored)
    feeds = {"x": RANDOM.standard_normal((6, 5, 4)).astype(np.float32), "h": RANDOM.standard_normal((1, 5, 3)).astype(np.float32)}
    expected = run(rewrite(made), feeds)
    assert expected["x_attribution"].shape == (6, 5, 4)
    for size in (1, 2):
        same(run(rewrite(made, batch_size=size), feeds), expected)


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("count", [2, 5])
def test_a_wrong_number_of_rows_ends_the_run(size: int, count: int) -> None:
    """As all at once: never another sample's target."""
    made = rewrite(DIGITS, target="input", batch_size=size)
    feeds = {"image": np.zeros((4, 1, 8, 8), np.float32), "target": np.zeros(count, np.int64)}
    with pytest.raises(Exception, match=r"node.*onnxplain/samples"):
        run(made, feeds)


# -- weights --------------------------------------------------------------------------------------------------------------


def body_of(made: onnx.ModelProto) -> onnx.GraphProto:
    return next(a.g for n in made.graph.node if n.op_type == "Loop" for a in n.attribute if a.name == "body")


@pytest.mark.parametrize("size", [1, 4])
def test_weights_are_in_the_file_once(size: int) -> None:
    plain, made = (rewrite(residual(), target="input", batch_size=k) for k in (None, size))
    before, after = ({t.name: t for t in m.graph.initializer if np.prod(t.dims) > 4096} for m in (plain, made))
    assert before
    assert before.keys() == after.keys()
    assert made.ByteSize() < 1.05 * plain.ByteSize() + 4000
    assert all(np.prod(t.dims) <= 4096 for t in body_of(made).initializer)


def optimized(made: onnx.ModelProto, folder: Path) -> onnx.GraphProto:
    """What ONNX Runtime makes of a model."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx", load_external_data=False).graph


@pytest.mark.parametrize("size", [1, 4])
def test_convolutions_keep_the_processors_layout(size: int, tmp_path: Path) -> None:
    """As many of each operator in the body as without a loop, and no weight of a convolution left outside."""
    counts = []
    for k in (None, size):
        graph = optimized(rewrite(residual(), target="input", batch_size=k), tmp_path)
        inside = graph if k is None else body_of(onnx.ModelProto(graph=graph))
        counts.append(Counter(n.op_type for n in inside.node if n.domain == "com.microsoft.nchwc"))
        assert k is None or all(len(t.dims) < 3 for t in graph.initializer)
    if not counts[0]:
        pytest.skip("ONNX Runtime has no blocked layout on this processor")
    assert counts[0] == counts[1]


def test_what_is_made_of_matrices_stays_outside(tmp_path: Path) -> None:
    """ONNX Runtime keeps a copy too many of what it folds within a body: transposed weights are folded outside."""
    weights = {f"w{i}": RANDOM.standard_normal((80, 80)).astype(np.float32) for i in range(2)}
    nodes = [node("MatMul", "x w0", "a"), node("Tanh", "a", "t"), node("MatMul", "t w1", "y")]
    made = rewrite(model(nodes, {"x": ["n", 80]}, {"y": ["n", 80]}, weights), batch_size=1)
    assert "Transpose" in {n.op_type for n in made.graph.node}
    graph = optimized(made, tmp_path)
    assert "Transpose" not in {n.op_type for n in (*graph.node, *body_of(onnx.ModelProto(graph=graph)).node)}
    assert max(np.prod(t.dims) for t in body_of(onnx.ModelProto(graph=graph)).initializer) < 80 * 80


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("make", [networks.cnn, networks.transformer], ids=lambda m: m.__name__)
def test_external_weights(make: Any, size: int, tmp_path: Path) -> None:
    """Weights in a file beside the model, biases among them, stay there."""
    onnx.save(make(biased=True), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=90)
    done = CliRunner().invoke(
        main, ["rewrite", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "e.onnx"), "--batch-size", str(size)]
    )
    assert done.exit_code == 0, done.output
    onnx.checker.check_model(str(tmp_path / "e.onnx"), full_check=True)
    shape = [4, 10, 10] if make is networks.cnn else [5, 8]
    feeds = {"x": RANDOM.standard_normal((5, *shape)).astype(np.float32)}
    session = ort.InferenceSession(tmp_path / "e.onnx", providers=["CPUExecutionProvider"])
    same(
        dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True)),
        run(rewrite(make(biased=True)), feeds),
    )
    assert verify(tmp_path / "e.onnx", tmp_path / "m.onnx").ok


def test_weights_left_in_the_models_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command copies them from file to file, the function puts them in: both write the same."""
    onnx.save(residual(), tmp_path / "m.onnx")
    monkeypatch.setattr(load, "WORTHWHILE", 1)
    monkeypatch.setattr("onnxplain.io.lazy_weights.BIG", 1000)
    done = CliRunner().invoke(main, ["rewrite", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "e.onnx"), "--batch-size", "2"])
    assert done.exit_code == 0, done.output
    written, returned = onnx.load(tmp_path / "e.onnx"), rewrite(tmp_path / "m.onnx", batch_size=2)
    order = {t.name: t for t in written.graph.initializer}
    del written.graph.initializer[:]
    written.graph.initializer.extend(order[t.name] for t in returned.graph.initializer)
    assert written == returned


# -- the file and what is said of it --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", ["resnet", "bert", "convnext"])
def test_every_node_has_a_cuda_kernel(name: str, size: int) -> None:
    made = rewrite(FIXTURES / name / "model.onnx", "gradient", batch_size=size)
    assert [n.name for n in left_to_processor(made)] == []


def test_commands_on_such_a_file(tmp_path: Path) -> None:
    out = tmp_path / "e.onnx"
    words = ["rewrite", str(DIGITS), "-o", str(out), "-m", "integrated-gradients", "--baseline", "0", "--batch-size", "2"]
    assert CliRunner().invoke(main, words).exit_code == 0
    about = read_metadata(onnx.load(out))
    assert about is not None
    assert about["batch_size"] == 2
    assert "2 samples at a time" in CliRunner().invoke(main, ["inspect", str(out)]).output
    done = CliRunner().invoke(main, ["verify", str(out), "--model", str(DIGITS)])
    assert done.exit_code == 0, done.output
    assert "completeness" in done.output
    assert "not checked" not in done.output
    again = CliRunner().invoke(main, ["rewrite", str(out), "-o", str(tmp_path / "f.onnx")])
    assert again.exit_code == 2
    assert "is an explained model already" in again.output
    assert rewrite(DIGITS, batch_size=2).SerializeToString() == rewrite(DIGITS, batch_size=2).SerializeToString()


def test_all_at_once_says_so() -> None:
    about = read_metadata(rewrite(DIGITS))
    assert about is not None
    assert about["batch_size"] is None


def fixed() -> onnx.ModelProto:
    return host_cases.MADE["fixed_of_digits"](onnx.load(DIGITS))


def paired(second: str) -> onnx.ModelProto:
    return model([node("MatMul", "x t", "m"), node("Relu", "m", "y")], {"x": ["n", 3], "t": [second, 4]}, {"y": ["n", 4]})


def found_places() -> onnx.ModelProto:
    """As many rows as the input has places above zero: no input counts them."""
    nodes = [
        node("NonZero", "x", "z"),
        node("Transpose", "z", "t"),
        node("Cast", "t", "places", to=1),
        node("Relu", "places", "y"),
    ]
    return model(nodes, {"x": [3, 4]}, {"y": ["found", 2]})


def normed() -> onnx.ModelProto:
    """A second output that is one number for all samples."""
    nodes = [node("Relu", "x", "y"), node("ReduceMean", "y", "mean", keepdims=0)]
    return model(nodes, {"x": ["n", 3]}, {"y": ["n", 3], "mean": []})


REFUSED: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "no number": (DIGITS, {"batch_size": 0}, InputError, "at least 1; got 0"),
    "no whole number": (DIGITS, {"batch_size": 1.5}, InputError, "at least 1; got 1.5"),
    "fixed": (fixed, {}, MethodError, "exported for batches of 2; export it with a free first axis"),
    "two counts": (lambda: paired("m"), {}, MethodError, r"one axis 'n'.* in each of 'x' \['n', 3\], 't' \['m', 4\]"),
    "no input of samples": (found_places, {"layer": "places"}, MethodError, r"which axis of 'x' \[3, 4\] counts samples"),
    "an output of no samples": (normed, {}, MethodError, r"in output 'mean', found \[\]; .*only_attribution"),
    "no tensor": (FIXTURES / "iris_sklearn" / "model.onnx", {}, MethodError, "output 'output_probability' is no tensor"),
    "rows": (
        DIGITS,
        {"method": "integrated-gradients", "baseline": np.zeros((4, 1, 8, 8))},
        InputError,
        "baseline of 'image' holds a row for every sample; give one for all, or 'input' for run time",
    ),
    "masked rows": (DIGITS, {"mask": {"image": np.ones((4, 1, 8, 8))}}, InputError, "mask of 'image' holds a row"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_take_turns_is_refused(name: str) -> None:
    make, settings, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        rewrite(make() if callable(make) else make, **{"batch_size": 2, **settings})


def test_outputs_that_cannot_be_joined_can_be_left_out() -> None:
    feeds = {"x": RANDOM.standard_normal((3, 3)).astype(np.float32)}
    found = run(rewrite(normed(), target=1, batch_size=1, only_attribution=True), feeds)
    same(found, run(rewrite(normed(), target=1, only_attribution=True), feeds))


def test_baselines_that_all_samples_share() -> None:
    """Several rows of a distribution are no rows of samples."""
    settings = {"baseline": RANDOM.standard_normal((4, 1, 8, 8)).astype(np.float32), "samples": 5}
    feeds = {"image": RANDOM.standard_normal((3, 1, 8, 8)).astype(np.float32)}
    plain, made = (run(rewrite(DIGITS, "expected-gradients", batch_size=k, **settings), feeds) for k in (None, 1))
    same(made, plain)
