"""Methods at many points: every form of model gives what separate runs of the inner method give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import Explainer, rewrite
from onnxplain.errors import InputError, MethodError
from onnxplain.method.options import OPTIONS
from onnxplain.method.registry import all_methods
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"
RANDOM = np.random.default_rng(7)
WEIGHT = RANDOM.standard_normal((3, 4)).astype(np.float32)
NONE = object()
"""No axis for samples."""
HALF = onnx.TensorProto.FLOAT16

Feeds = dict[str, np.ndarray]


def curved(shape: list[Any], beside: Mapping[str, list[Any]], *, batch: Any, to_rows: list[onnx.NodeProto]) -> onnx.ModelProto:
    """tanh of `row` [batch, 3], made from x by `to_rows`, through a matrix: smooth, and different at every point."""
    weights = {"w": WEIGHT, "lead": np.array([0])}
    nodes = [*to_rows, node("Tanh", "row", "bent"), node("MatMul", "bent w", "mixed"), node("Sigmoid", "mixed", "gate"),
             node("Mul", "gate mixed", "y")]  # fmt: skip
    return model(nodes, {"x": shape, **beside}, {"y": [batch, 4] if batch is not NONE else [4]}, weights)


def made_at(name: str) -> int:
    """The axis of x that counts samples."""
    return 1 if name == "samples along the second axis" else 0


def draw(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def plain(batch: Any = "n") -> onnx.ModelProto:
    return curved([batch, 3], {}, batch=batch, to_rows=[node("Identity", "x", "row")])


def with_shape() -> onnx.ModelProto:
    """The rows expanded to the batch's own extent, read by Shape."""
    rows = [
        node("Shape", "x", "extents"),
        node("ConstantOfShape", "extents", "ones", value=onnx.numpy_helper.from_array(np.ones(1, np.float32))),
        node("Mul", "x ones", "row"),
    ]
    return curved(["n", 3], {}, batch="n", to_rows=rows)


MODELS: dict[str, tuple[Callable[[], onnx.ModelProto], Callable[[], Feeds]]] = {
    "symbolic batch": (plain, lambda: {"x": draw(5, 3)}),
    "unnamed batch": (lambda: plain(None), lambda: {"x": draw(5, 3)}),
    "fixed batch": (lambda: plain(5), lambda: {"x": draw(5, 3)}),
    "no batch": (
        lambda: curved([3], {}, batch=NONE, to_rows=[node("Identity", "x", "row")]),
        lambda: {"x": draw(3)},
    ),
    "samples along the second axis": (
        lambda: curved([2, "n", 3], {}, batch="n", to_rows=[node("ReduceMean", "x lead", "row", keepdims=0)]),
        lambda: {"x": draw(2, 5, 3)},
    ),
    "an input beside it that has samples, and one that has none": (
        lambda: curved(
            ["n", 3], {"each": ["n", 3], "shared": [3]}, batch="n",
            to_rows=[node("Mul", "x each", "product"), node("Add", "product shared", "row")],
        ),
        lambda: {"x": draw(5, 3), "each": draw(5, 3), "shared": draw(3)},
    ),
    "an input beside it whose samples have another name": (
        lambda: curved(["n", 3], {"each": ["m", 3]}, batch="n", to_rows=[node("Mul", "x each", "row")]),
        lambda: {"x": draw(5, 3), "each": draw(5, 3)},
    ),
    "an input beside it with samples along its second axis": (
        lambda: curved(
            ["n", 3], {"state": [2, "n", 3]}, batch="n",
            to_rows=[node("ReduceMean", "state lead", "mean", keepdims=0), node("Mul", "x mean", "row")],
        ),
        lambda: {"x": draw(5, 3), "state": draw(2, 5, 3)},
    ),
    "a batch that a shape is computed from": (
        with_shape,
        lambda: {"x": draw(5, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("target", ["2", "all"])
def test_every_form_of_model(name: str, target: str) -> None:
    """Mean, variance and path over points, in chunks that do not divide their number, against one run per point."""
    make, feed = MODELS[name]
    x = feed()
    batched = name != "no batch"
    noise = draw(7, *x["x"].shape)
    scale = np.float32(0.3)
    gradient = rewrite(make(), "gradient", inputs=["x"], target=target)
    each = np.stack([run(gradient, {**x, "x": x["x"] + scale * e})["x_attribution"] for e in noise]).astype(np.float64)
    count = 5 if batched else 1
    settings: dict[str, Any] = {"inputs": ["x"], "noise": "input", "noise_unit": "absolute", "noise_level": 0.3, "target": target}
    for method, expected in {
        "smoothgrad": each.mean(0), "smoothgrad-squared": (each**2).mean(0), "vargrad": each.var(0),
    }.items():  # fmt: skip
        for chunk in (1, 3 * count, 1000, None):
            got = run(rewrite(make(), method, chunk=chunk, **settings), {**x, "noise": noise})["x_attribution"]
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    baseline = np.float32(0.25)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    points = [baseline + np.float32((a + 1) / 2) * (x["x"] - baseline) for a in nodes]
    slopes = sum(w / 2 * run(gradient, {**x, "x": p})["x_attribution"] for w, p in zip(weights, points, strict=True))
    step = x["x"] - baseline if target != "all" else np.expand_dims(x["x"] - baseline, made_at(name) + 1 if batched else 0)
    made = rewrite(make(), "integrated-gradients", inputs=["x"], target=target, steps=6, baseline=0.25, chunk=2 * count)
    result = run(made, x)
    np.testing.assert_allclose(result["x_attribution"], slopes * step, rtol=1e-4, atol=1e-6)
    change = run(make(), x)["y"] - run(make(), {**x, "x": np.full_like(x["x"], baseline)})["y"]
    change = change if target == "all" else change[..., 2]
    np.testing.assert_allclose(result["delta"], summed(result["x_attribution"], x["x"], change.shape) - change, atol=2e-6)
    assert np.abs(result["delta"]).max() < 1e-3


def summed(attribution: np.ndarray, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Over all but samples and targets, which have the extents 5 and 4 here and nothing else has."""
    kept = {5, 4} if len(shape) == 2 or (len(shape) == 1 and shape[0] == 4) else {5}
    return attribution.sum(tuple(i for i, n in enumerate(attribution.shape) if n not in kept))


def test_equal_points_of_two_inputs_stay_apart() -> None:
    """Two inputs of one shape have one baseline: their gradients must not be added up."""
    nodes = [node("Mul", "a a", "square"), node("Mul", "square b", "product"), node("MatMul", "product w", "y")]
    made = model(nodes, {"a": [2, 3], "b": [2, 3]}, {"y": [2, 4]}, {"w": WEIGHT})
    a, b = draw(2, 3), draw(2, 3)
    result = run(rewrite(made, "integrated-gradients", baseline=0.5, target=1, steps=4), {"a": a, "b": b})
    # Polynomials of degree 3 along the path: four nodes of Gauss and Legendre are exact.
    np.testing.assert_allclose(result["delta"], 0, atol=1e-5)
    slopes = run(rewrite(made, "taylor", baseline=0.5, target=1), {"a": a, "b": b})
    np.testing.assert_allclose(slopes["a_attribution"], (a - 0.5) * 2 * 0.25 * WEIGHT[:, 1], rtol=1e-5)
    np.testing.assert_allclose(slopes["b_attribution"], (b - 0.5) * 0.25 * WEIGHT[:, 1], rtol=1e-5)


def test_float16_models_sum_in_float32() -> None:
    made = model(
        [node("Tanh", "x", "bent"), node("MatMul", "bent w", "y")], {"x": ["n", 3]}, {"y": ["n", 4]},
        {"w": WEIGHT.astype(np.float16)}, kinds={"x": HALF, "y": HALF},
    )  # fmt: skip
    x = draw(5, 3).astype(np.float16)
    result = run(rewrite(made, "integrated-gradients", baseline=0.0, target=1, steps=200), {"x": x})
    assert result["x_attribution"].dtype == np.float16
    expected = np.tanh(x.astype(np.float64)) * WEIGHT.astype(np.float16)[:, 1]
    np.testing.assert_allclose(result["x_attribution"], expected, rtol=2e-2, atol=2e-3)


def test_methods_nest() -> None:
    """Noise around a path: both loops, one baseline per sample, against one path per draw."""
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"][:4]
    baseline = RANDOM.random(x.shape).astype(np.float32)
    noise = draw(3, *x.shape)
    settings: dict[str, Any] = {"inner": "integrated-gradients", "steps": 5, "noise_level": 0.2, "noise_unit": "absolute"}
    nested = Explainer(DIGITS, "smoothgrad", noise="input", **settings)(x, 3, baseline=baseline, noise=noise).attribution
    path = Explainer(DIGITS, "integrated-gradients", steps=5)
    each = [path(x + np.float32(0.2) * e, 3, baseline=baseline).attribution for e in noise]
    np.testing.assert_allclose(nested, np.mean(each, 0), rtol=1e-4, atol=1e-5)


def test_layer() -> None:
    """A path at an inner tensor, as Captum's LayerIntegratedGradients has it."""
    with np.load(FIXTURES / "captum" / "path_digits.npz") as held, np.load(FIXTURES / "digits" / "data.npz") as data:
        of, x = dict(held), data["image"][:2]
    layer = [n.output[0] for n in onnx.load(DIGITS).graph.node if n.op_type == "Conv"][1]
    explainer = Explainer(DIGITS, "integrated-gradients", layer=layer, baseline={layer: of["layer_baseline"]}, steps=7)
    found = explainer(x, of["target"]).attribution
    np.testing.assert_allclose(found, of["layer"], rtol=0, atol=1e-5 * np.abs(of["layer"]).max())


def test_noise_is_the_same_in_every_run_batch_and_file() -> None:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"]
    whole = Explainer(DIGITS, "smoothgrad", samples=20)
    found = whole(x).attribution
    np.testing.assert_array_equal(whole(x).attribution, found)
    np.testing.assert_allclose(whole(x[5:6]).attribution, found[5:6], atol=1e-5)
    np.testing.assert_allclose(Explainer(DIGITS, "smoothgrad", samples=20, batch_size=3)(x).attribution, found, atol=1e-5)
    np.testing.assert_allclose(Explainer(DIGITS, "smoothgrad", samples=20, chunk=1)(x).attribution, found, atol=1e-5)
    other = Explainer(DIGITS, "smoothgrad", samples=20, seed=1)(x).attribution
    assert np.abs(other - found).max() > 0.1
    assert rewrite(DIGITS, "smoothgrad").SerializeToString() == rewrite(DIGITS, "smoothgrad").SerializeToString()


def test_noise_has_the_level_that_was_asked_for() -> None:
    """The inner method that gives the input itself shows what noise it gets."""
    made = model([node("Mul", "x half", "y")], {"x": ["n", 400]}, {"y": ["n", 400]}, {"half": np.float32([0.5])})
    square = model([node("Mul", "x x", "y")], {"x": ["n", 400]}, {"y": ["n", 400]})
    assert run(rewrite(made, "vargrad", target=3), {"x": draw(2, 400)})["x_attribution"].max() == 0  # a constant gradient
    x = draw(2, 400)
    for unit, width in (("range", np.ptp(x, axis=1)), ("absolute", np.ones(2))):
        spread = run(rewrite(square, "vargrad", target=":", samples=500, noise_level=0.1, noise_unit=unit), {"x": x})[
            "x_attribution"
        ]
        # The gradient of Σ x² is 2x, its variance 4 (0.1 · width)²; over 400 elements and 500 draws it is known to 1 %.
        np.testing.assert_allclose(spread.mean(1), 4 * (0.1 * width) ** 2, rtol=0.02)


def test_distribution_of_baselines() -> None:
    """For a quadratic score expected gradients add up, in expectation, to its difference from the mean over the baselines."""
    square = model(
        [node("Mul", "x x", "squares"), node("MatMul", "squares w", "y")], {"x": ["n", 3]}, {"y": ["n", 4]}, {"w": WEIGHT}
    )
    x, references = draw(5, 3), draw(9, 3)
    settings: dict[str, Any] = {"samples": 4000, "delta": True}
    explainer = Explainer(square, "expected-gradients", baseline=references, **settings)
    found = explainer(x, 1)
    change = (x**2 @ WEIGHT)[:, 1] - (references**2 @ WEIGHT)[:, 1].mean()
    assert found.delta is not None
    np.testing.assert_allclose(found.attribution.sum(1), change + found.delta, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.delta, 0, atol=0.15)
    later = Explainer(square, "expected-gradients", **settings)(x, 1, baseline=references)
    np.testing.assert_allclose(later.attribution, found.attribution, rtol=1e-4, atol=1e-5)
    own = np.repeat(references[:, None], 5, axis=1)  # each sample its own, here the same
    per_sample = Explainer(square, "expected-gradients", baseline=own, **settings)(x, 1)
    np.testing.assert_allclose(per_sample.attribution, found.attribution, rtol=1e-4, atol=1e-5)
    parts = Explainer(square, "expected-gradients", batch_size=3, **settings)(x, 1, baseline=references)
    np.testing.assert_allclose(parts.attribution, found.attribution, rtol=1e-4, atol=1e-5)


def test_path_of_ones_own_and_blur() -> None:
    """A path through points is the sum of straight ones; the blur path is complete as its steps grow."""
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"][:3]
    corners = RANDOM.random((2, *x.shape)).astype(np.float32)
    straight = Explainer(DIGITS, "integrated-gradients", steps=10)
    whole = straight(corners[1], 3, baseline=corners[0]).attribution + straight(x, 3, baseline=corners[1]).attribution
    for found in (
        Explainer(DIGITS, "path-integrated-gradients", steps=10)(x, 3, path=corners),
        Explainer(DIGITS, "path-integrated-gradients", steps=10, batch_size=2)(x, 3, path=corners),
        Explainer(DIGITS, "path-integrated-gradients", steps=10, path=corners)(x, 3),
    ):
        np.testing.assert_allclose(found.attribution, whole, rtol=1e-4, atol=1e-5)
    gaps = [Explainer(DIGITS, "blur-integrated-gradients", steps=s)(x, 3).delta for s in (5, 300)]
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert np.abs(gaps[1]).max() < min(0.05, np.abs(gaps[0]).max() / 5)
    flat = Explainer(DIGITS, "blur-integrated-gradients")(np.full_like(x, 0.5), 3)
    np.testing.assert_allclose(flat.attribution, 0, atol=1e-5)  # blurring a constant changes nothing


def shifted(x: np.ndarray, down: int, right: int) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    return padded[:, :, 2 - down : 10 - down, 2 - right : 10 - right]


@pytest.mark.parametrize("batch", ["symbolic", "fixed"])
def test_translation_trick(batch: str) -> None:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"][:2]
    made = onnx.load(DIGITS)
    if batch == "fixed":
        for value in (*made.graph.input, *made.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 2
    gradient = Explainer(made, "gradient")
    moves = [(0, 0), (1, -1), (-2, 1)]
    each = [shifted(gradient(shifted(x, *m), 3).attribution, -m[0], -m[1]) for m in moves]
    found = Explainer(made, "translated", shifts=moves)(x, 3).attribution
    np.testing.assert_allclose(found, np.mean(each, 0), rtol=1e-4, atol=1e-5)
    everything = Explainer(made, "translated", shifts=moves)(x, "all").attribution
    np.testing.assert_allclose(everything[:, 3], found, rtol=1e-4, atol=1e-5)
    nine = Explainer(made, "translated", shifts=1)(x, 3).attribution
    each = [shifted(gradient(shifted(x, i, j), 3).attribution, -i, -j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    np.testing.assert_allclose(nine, np.mean(each, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("integrated-gradients", {"baseline": 0, "steps": 0}, "steps must be at least 1"),
        ("integrated-gradients", {"baseline": 0, "quadrature": "simpson"}, "no quadrature 'simpson'"),
        ("integrated-gradients", {"baseline": 0, "quadrature": "riemann-trapezoid", "steps": 1}, "at least 2 steps"),
        ("integrated-gradients", {"baseline": 0, "chunk": 0}, "at least 1, or memory"),
        ("integrated-gradients", {"baseline": 0, "chunk": "much"}, "memory as '500MB'"),
        ("integrated-gradients", {"baseline": 0, "samples": 3}, "no option 'samples'; it takes chunk, delta, inner"),
        ("integrated-gradients", {}, "needs a baseline"),
        ("smoothgrad", {"samples": 0}, "samples must be at least 1"),
        ("smoothgrad", {"noise_level": -1}, "must not be negative"),
        ("smoothgrad", {"noise_unit": "dB"}, "'range'"),
        ("smoothgrad", {"noise": "pink"}, "'seeded' or 'input'"),
        ("smoothgrad", {"baseline": 0}, "compares with no baseline"),
        ("smoothgrad", {"inner": "integrated-gradients"}, "needs a baseline"),
        ("smoothgrad", {"inner": "gradients"}, "did you mean 'gradient'"),
        ("smoothgrad", {"inner": "integrated-gradients", "step": 3}, "for 'integrated-gradients' within it delta, multiply"),
        ("path-integrated-gradients", {"path": "straight"}, "is an array"),
        ("blur-integrated-gradients", {"sigma": 0}, "positive"),
        ("blur-integrated-gradients", {"axes": [9]}, "name those of space or time"),
        ("translated", {"shifts": [[1, 2, 3]]}, "one number for each of the 2 axes"),
    ],
)
def test_refusals(method: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((MethodError, InputError), match=words):
        rewrite(DIGITS, method, **options)


def test_run_time_values_that_do_not_fit() -> None:
    with np.load(FIXTURES / "digits" / "data.npz") as data:
        x = data["image"][:2]
    explainer = Explainer(DIGITS, "smoothgrad", noise="input")
    with pytest.raises(MethodError, match="needs a noise"):
        explainer(x)
    with pytest.raises(InputError, match="does not broadcast"):
        explainer(x, noise=np.zeros((4, 2, 1, 8, 9)))
    with pytest.raises(MethodError, match="expects no 'path' at run time; as it was set up it expects noise"):
        explainer(x, noise=np.zeros((4, 2, 1, 8, 8)), path=x)
    with pytest.raises(MethodError, match="expects nothing"):
        Explainer(DIGITS)(x, noise=x)


def test_every_option_is_in_the_vocabulary() -> None:
    for found in all_methods().values():
        assert {o.name for o in found.options} <= OPTIONS.keys(), found.name


def test_memory_of_a_run_bounds_the_chunk() -> None:
    """Rows follow from the sizes of tensors: 3 + 3·4 floats twice a row, here 80 bytes for those that messages pass."""
    made = rewrite(plain(), "integrated-gradients", baseline=0.0, chunk="1kB", target=0, steps=50)
    loop = next(n for n in made.graph.node if n.op_type == "Loop")
    x = draw(2, 3)
    made.graph.output.append(onnx.helper.make_tensor_value_info(loop.input[0], onnx.TensorProto.INT64, []))
    steps = int(run(made, {"x": x})[loop.input[0]])
    per_row = 2 * 4 * (3 + 3 + 3 * 4)
    assert steps == -(-50 // (1000 // per_row // 2))


@pytest.mark.parametrize("inner", ["lrp-epsilon-plus", "lrp-epsilon-gamma-box", "guided-backprop", "attnlrp"])
@pytest.mark.parametrize("name", ["digits", "vit"])
def test_rules_of_relevance_within(inner: str, name: str) -> None:
    """Smoothed relevance, and relevance averaged along a path: the walk by a composite at every point, against separate walks."""
    file = FIXTURES / name / "model.onnx"
    with np.load(FIXTURES / name / "data.npz") as data:
        x = data["image"][:2]
    noise = draw(3, *x.shape)
    alone = Explainer(file, inner)
    smoothed = Explainer(file, "smoothgrad", inner=inner, noise="input", noise_level=0.1, noise_unit="absolute", chunk=4)
    expected = np.mean([alone(x + np.float32(0.1) * e, 2).attribution for e in noise], 0)
    found = smoothed(x, 2, noise=noise).attribution
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    path = Explainer(file, "integrated-gradients", inner=inner, steps=3, baseline=0.1, quadrature="riemann-right")
    step = x - np.float32(0.1)
    expected = np.mean([alone(np.float32(0.1) + np.float32(a) * step, 2).attribution for a in (1 / 3, 2 / 3, 1)], 0)
    if all_methods()[inner].per_unit:  # per unit of the input: times the step
        expected = expected * step
    np.testing.assert_allclose(path(x, 2).attribution, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("method", [m.name for m in all_methods().values() if m.multi_point and m.attributes_to != "column"])
def test_hosts_load_the_file_in_silence(method: str, capfd: pytest.CaptureFixture[str]) -> None:
    """ONNX Runtime's log says nothing at its default severity."""
    found = all_methods()[method]
    settings: dict[str, Any] = {"baseline": 0.0} if found.needs_baseline else {}
    if found.attributes_to != "explained" and not found.auto_layer:
        settings["layer"] = "Relu:0"
    for target in (None, "all"):
        made = rewrite(DIGITS, method, target=target, **settings).SerializeToString()
        ort.InferenceSession(made, providers=["CPUExecutionProvider"])
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["symbolic batch", "fixed batch", "no batch", "samples along the second axis"])
def test_several_baselines_of_every_form_of_model(name: str) -> None:
    """Their mean for the straight path; for random draws, the same draws with each baseline said by its number."""
    make, feed = MODELS[name]
    x = feed()
    several = draw(3, *x["x"].shape)
    each = [run(rewrite(make(), "integrated-gradients", baseline=b, steps=4, target=1), x) for b in several]
    found = run(rewrite(make(), "integrated-gradients", baseline=several, steps=4, target=1), x)
    np.testing.assert_allclose(found["x_attribution"], np.mean([e["x_attribution"] for e in each], 0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["delta"], np.mean([e["delta"] for e in each], 0), rtol=1e-3, atol=1e-5)
    gradient = rewrite(make(), "gradient", target=1)
    position, chosen = np.float32([[0.25], [0.5], [1.0]]), np.array([[2], [0], [2]])
    references = several.take(0, 1 + made_at(name)) if name != "no batch" else several
    made = rewrite(make(), "expected-gradients", baseline=references, noise="input", target=1)
    samples = 1 if name == "no batch" else 5
    drawn = {"position": np.repeat(position, samples, 1), "reference": np.repeat(chosen, samples, 1)}
    found = run(made, {**x, **drawn})
    terms = []
    for a, k in zip(position[:, 0], chosen[:, 0], strict=True):
        start = references[k] if name == "no batch" else np.expand_dims(references[k], made_at(name))
        step = x["x"] - start
        terms.append(step * run(gradient, {"x": start + a * step})["x_attribution"])
    np.testing.assert_allclose(found["x_attribution"], np.mean(terms, 0), rtol=1e-4, atol=1e-6)
