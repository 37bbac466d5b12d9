"""Layers, neurons and maps agree with Captum and pytorch-grad-cam, from the files of two exporters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import Explainer, check, plan, rewrite
from onnxplain.errors import LayerError, MethodError, OnnxplainError
from onnxplain.method.registry import all_methods
from onnxplain.results.plot.views import columns_of, views_of
from onnxplain.results.tables import long_columns
from onnxplain.verification.verify import verify
from tests.support.lrp_cases import FIXTURES, about, arrays
from tests.support.models import model, node, run

EXPORTERS = ("model", "model_legacy")
NEURON = (6, 1, 3)
PATH = {"steps": 20, "chunk": 7}
"""Captum's number of steps; chunks that do not divide it."""

CAPTUM: dict[str, tuple[str, dict[str, Any]]] = {
    "grad-cam@4": ("grad-cam", {}),
    "guided-grad-cam": ("guided-grad-cam", {}),
    "input-x-gradient@3": ("input-x-gradient", {}),
    "integrated-gradients@3": ("integrated-gradients", PATH),
    "conductance@3": ("conductance", PATH | {"quadrature": "riemann-left"}),
    "internal-influence@3": ("internal-influence", PATH),
    "neuron-gradient": ("gradient", {}),
    "neuron-integrated-gradients": ("integrated-gradients", PATH),
    "neuron-conductance": ("neuron-conductance", PATH | {"neuron": NEURON}),
}
MAPS = ("grad-cam", "grad-cam++", "hires-cam", "layer-cam", "xgrad-cam", "score-cam", "ablation-cam")


def tensor(fixture: str, file: str, layer: str) -> str:
    """The inner tensor in a file that the recipe nodes so."""
    return str(about(fixture)["relevance"]["layers"][layer][f"{file}.onnx"])


def of_batch(fixture: str, file: str, batch: int | None) -> onnx.ModelProto:
    """The model, its batch fixed where a number is given."""
    model = onnx.load(FIXTURES / fixture / f"{file}.onnx")
    if batch is not None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].Clear()
            value.type.tensor_type.shape.dim[0].dim_value = batch
        del model.graph.value_info[:]
    return model


def close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("key", CAPTUM)
@pytest.mark.parametrize("file", EXPORTERS)
def test_captum(file: str, key: str, batch: int | None) -> None:
    method, options = CAPTUM[key]
    expected, image = arrays("layers_cnn", "relevance"), arrays("layers_cnn", "data")["image"]
    target: Any = arrays("layers_cnn", "reference")["target"]
    settings: dict[str, Any] = {}
    if "@" in key or key in ("neuron-conductance", "guided-grad-cam"):
        settings["layer"] = tensor("layers_cnn", file, key.partition("@")[2] or ("4" if "cam" in key else "3"))
    else:
        settings["output"], target = tensor("layers_cnn", file, "3"), NEURON
    explainer = Explainer(of_batch("layers_cnn", file, batch), method, **settings, **options)
    given = {"baseline": expected["baseline"]} if explainer.about["baseline"] == "input" else {}
    close(explainer(image, target, **given).attribution, expected[key])


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize("method", MAPS)
@pytest.mark.parametrize("file", EXPORTERS)
def test_maps(file: str, method: str, batch: int | None) -> None:
    explainer = Explainer(of_batch("layers_cnn", file, batch), method)
    (entry,) = explainer.about["attributions"].values()
    assert entry == {"explains": "image", "tensor": tensor("layers_cnn", file, "4"), "kind": "map"}
    image, reference = arrays("layers_cnn", "data")["image"], arrays("layers_cnn", "reference")
    seed = {"seed": 1e4 * np.eye(6, dtype=np.float32)[reference["target"]]} if method == "grad-cam++" else {}
    found = explainer(image, None if seed else reference["target"], **seed).attribution
    close(found, arrays("layers_cnn", "relevance")[f"{method}.map@4"])


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "layer-cam", "score-cam"])
@pytest.mark.parametrize("file", EXPORTERS)
def test_maps_of_tokens(file: str, method: str) -> None:
    explainer = Explainer(FIXTURES / "layers_vit" / f"{file}.onnx", method)
    (entry,) = explainer.about["attributions"].values()
    assert entry["tensor"] == tensor("layers_vit", file, "blocks.1.norm1")
    found = explainer(arrays("layers_vit", "data")["image"], arrays("layers_vit", "reference")["target"]).attribution
    close(found, arrays("layers_vit", "relevance")[f"{method}.map@blocks.1.norm1"])


@pytest.mark.parametrize(("fixture", "layer"), [("layers_cnn", "4"), ("layers_vit", "blocks.1.norm1")])
def test_enlarged_as_cv2_does(fixture: str, layer: str) -> None:
    explainer = Explainer(FIXTURES / fixture / "model.onnx", "grad-cam", upsample=True)
    found = explainer(arrays(fixture, "data")["image"], arrays(fixture, "reference")["target"]).attribution
    close(found, arrays(fixture, "relevance")[f"grad-cam.enlarged@{layer}"])


@pytest.mark.parametrize(("fixture", "layer"), [("layers_cnn", "4"), ("layers_vit", "blocks.1.norm1")])
def test_eigen_cam_is_the_first_principal_component(fixture: str, layer: str) -> None:
    found = Explainer(FIXTURES / fixture / "model.onnx", "eigen-cam", relu=False)(arrays(fixture, "data")["image"]).attribution
    expected = arrays(fixture, "relevance")[f"eigen-cam.projection@{layer}"]
    for mine, theirs in zip(found, expected, strict=True):  # a singular vector has no sign of its own
        close(mine, theirs * np.sign((mine * theirs).sum()))


@pytest.mark.parametrize("gap", [0.5, 0.99, 0.9999])
def test_eigen_cam_of_close_singular_values(gap: float) -> None:
    """Against numpy's SVD, for activations whose second singular value nearly reaches the first."""
    random = np.random.default_rng(3)
    u, v = (np.linalg.qr(random.standard_normal((n, n)))[0] for n in (12, 5))
    x = ((u[:, :5] * [1, gap, 0.3, 0.2, 0.1]) @ v.T).T.reshape(1, 5, 3, 4).astype(np.float32)
    made = model(
        [node("Relu", "x", "a"), node("Neg", "x", "b"), node("Relu", "b", "c"), node("Sub", "a c", "d"),
         node("GlobalAveragePool", "d", "p"), node("Flatten", "p", "y")],
        {"x": ["n", 5, 3, 4]}, {"y": ["n", 5]},
    )  # fmt: skip
    found = Explainer(made, "eigen-cam", layer="Sub:0", relu=False, centred=False)(x).attribution[0, 0].ravel()
    first = x[0].reshape(5, -1).T @ np.linalg.svd(x[0].reshape(5, -1).T.astype(np.float64))[2][0]
    close(found, first * np.sign((found * first).sum()), 1e-3 if gap > 0.99 else 1e-5)  # float32 squares the gap


@pytest.mark.parametrize("fixture", ["layers_cnn", "layers_vit"])
@pytest.mark.parametrize(
    "method", [*MAPS, "eigen-cam", "guided-grad-cam", "conductance", "internal-influence", "neuron-conductance"]
)
def test_all_targets_are_each_target(fixture: str, method: str) -> None:
    options: dict[str, Any] = {"baseline": 0.1, "steps": 3} if method.startswith(("con", "int", "neu")) else {}
    layer = None if method.endswith(("cam", "++")) else "Conv:0"
    explainer = Explainer(FIXTURES / fixture / "model.onnx", method, layer=layer, **options)
    image = arrays(fixture, "data")["image"]
    every = explainer(image, "all").attribution
    for target in (0, 5):
        close(every[:, target], explainer(image, target).attribution, 1e-4)


def test_score_cam_takes_any_chunk() -> None:
    image, path = arrays("layers_cnn", "data")["image"], FIXTURES / "layers_cnn" / "model.onnx"
    whole = Explainer(path, "score-cam", chunk=1000)(image).attribution
    for chunk in (1, 5):
        close(Explainer(path, "score-cam", chunk=chunk)(image).attribution, whole)


def test_conductance_adds_up_to_the_change_of_the_score() -> None:
    """At a layer that everything passes: the layer's own steps are exact, gradients are those of the middle of each."""
    image = arrays("layers_cnn", "data")["image"]
    path, baseline = FIXTURES / "layers_cnn" / "model.onnx", arrays("layers_cnn", "relevance")["baseline"]
    explainer = Explainer(path, "conductance", layer="4", steps=300)
    found = explainer(image, 2, baseline=baseline)
    change = found.outputs["logits"][:, 2] - explainer(baseline, 2, baseline=baseline).outputs["logits"][:, 2]
    np.testing.assert_allclose(found.attribution.sum((1, 2, 3)), change, atol=2e-3 * np.abs(change).max())


SMALL = {"steps": 2, "samples": 2, "shifts": [[0, 1]], "path": np.full((1, 1, 3, 24, 32), 0.1), "sigma": 2.0}
"""Options that keep every method short."""


@pytest.mark.parametrize(  # lrp needs a composite, which others have
    "method",
    [n for n, m in all_methods().items() if n != "lrp" and not m.forward_only and m.attributes_to not in ("column", "token")]
    + ["feature-ablation"],
)
def test_a_neuron_is_explained_by_every_method(method: str) -> None:
    """A neuron of an inner tensor is explained as the same element of a model that ends there."""
    whole = onnx.load(FIXTURES / "layers_cnn" / "model.onnx")
    inner = tensor("layers_cnn", "model", "3")
    short = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(whole)).extract_model(["image"], [inner])
    known = all_methods()[method]
    given: dict[str, Any] = {o.name: SMALL[o.name] for o in known.options if o.name in SMALL}
    if known.takes_baseline({}):
        given["baseline"] = 0.1
    if known.attributes_to != "explained":
        given["layer"] = "Relu:0"
    image = arrays("layers_cnn", "data")["image"]
    found = [Explainer(m, method, output=o, **given)(image, NEURON).attribution for m, o in ((whole, "3"), (short, inner))]
    assert np.abs(found[0]).max() > 0
    close(found[0], found[1])


def test_the_gradient_is_the_sum_of_what_goes_through_the_channels() -> None:
    image, path = arrays("layers_cnn", "data")["image"], FIXTURES / "layers_cnn" / "model.onnx"
    parts = [Explainer(path, "gradient-through", layer="4", neuron=(k, ":", ":"))(image, 1).attribution for k in range(14)]
    close(np.sum(parts, axis=0), Explainer(path)(image, 1).attribution)


@pytest.mark.parametrize("address", ["relu_4", "node_relu_4", "Relu:4", "Relu:-1", "4.relu2", "4"])
def test_addresses_of_one_tensor(address: str) -> None:
    found = Explainer(FIXTURES / "layers_cnn" / "model.onnx", layer=address)
    assert list(found.about["attributions"]) == ["relu_4_attribution"]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("Relu:5", "the model has 5 Relu, Relu:0 to Relu:4"),
        ("Relu:-6", "Relu:-1 to Relu:-5"),
        ("Rule:0", "no operator with its number"),
    ],
)
def test_addresses_of_nothing(address: str, message: str) -> None:
    with pytest.raises(LayerError, match=message):
        Explainer(FIXTURES / "layers_cnn" / "model.onnx", layer=address)


def test_a_plan_names_layers_by_their_addresses() -> None:
    path = FIXTURES / "resnet" / "model_legacy.onnx"
    for row in plan(path).rows:
        if row.shape:
            assert Explainer(path, layer=row.address).about["attributions"].popitem()[1]["tensor"] == row.output
            break
    named = {row.address: row.output for row in plan(path).rows}
    assert len(named) == len(plan(path).rows)
    assert plan(path, "grad-cam").layers[0].tensor.name == named["Relu:10"]


def test_a_norm_that_is_asked_for_stays() -> None:
    """The address of a norm, or of what it reads, is not folded away."""
    path = FIXTURES / "resnet" / "model_legacy.onnx"
    image = arrays("resnet", "data")["image"]
    before, behind = (Explainer(path, layer=a)(image, 0) for a in ("Conv:0", "BatchNormalization:0"))
    assert list(before.attributions) != list(behind.attributions)
    assert np.abs(before.attribution - behind.attribution).max() > 0


def test_a_layer_starts_where_its_inputs_start() -> None:
    """A baseline of the inputs, and the layer's own value there, by its name, are the same baseline."""
    image, path = arrays("layers_cnn", "data")["image"], FIXTURES / "layers_cnn" / "model.onnx"
    baseline = arrays("layers_cnn", "relevance")["baseline"][:1]
    value = run(rewrite(path, layer="3", target=0), {"image": baseline})  # the layer itself is not returned
    assert "relu_2_attribution" in value
    whole = onnx.load(path)
    whole.graph.output.append(onnx.helper.make_empty_tensor_value_info("relu_2"))
    (at,) = ort.InferenceSession(whole.SerializeToString()).run(["relu_2"], {"image": baseline})
    one = Explainer(path, "integrated-gradients", layer="3", baseline=baseline)(image, 1)
    other = Explainer(path, "integrated-gradients", layer="3", baseline={"relu_2": at})(image, 1)
    close(one.attribution, other.attribution)
    assert one.delta is not None
    assert np.abs(one.delta).max() < 1e-2
    several = Explainer(path, "integrated-gradients", layer="3", baseline=np.stack([baseline, 0 * baseline]))(image, 1)
    zero = Explainer(path, "integrated-gradients", layer="3", baseline=0.0)(image, 1)
    close(several.attribution, (one.attribution + zero.attribution) / 2)


def test_a_number_stands_for_a_whole_baseline_of_the_inputs() -> None:
    """What goes through the model to the layer has the inputs' extents, be it given as a number or written out."""
    image, path = arrays("layers_cnn", "data")["image"], FIXTURES / "layers_cnn" / "model.onnx"
    zeros = np.zeros((1, *image.shape[1:]), np.float32)
    found = [Explainer(path, "deeplift-shap", layer="3", baseline=b)(image, 1).attribution for b in (0.0, zeros)]
    close(*found)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("conductance", {"baseline": 0.0}, "needs a layer, as --layer Relu:-1"),
        ("neuron-conductance", {"baseline": 0.0, "layer": ["3", "4"]}, "goes through one layer"),
        ("gradient-through", {"layer": "4", "neuron": 3}, "neuron 3 has 1 axes, but layer"),
        ("gradient-through", {"layer": "4", "neuron": (99, 0, 0)}, "neuron 99 is out of range"),
        ("gradient-through", {"layer": "4", "neuron": "all"}, "a neuron is one choice for each axis"),
        ("smoothgrad", {"inner": "grad-cam"}, "'grad-cam' makes a map, so 'smoothgrad' cannot"),
        ("smoothgrad", {"inner": "conductance", "layer": "4"}, "explains a layer while the inputs vary"),
        ("grad-cam", {"layer": "Flatten:0"}, "axes"),
        ("grad-cam", {"layer": "4", "axes": [0, 1]}, "count places, 2"),
        ("grad-cam", {"layer": "Conv:-1", "grid": [3, 3]}, "does not fit"),
        ("eigen-cam", {"steps": 0}, "1 to 30"),
        ("conductance", {"baseline": 0.0, "layer": "4", "quadrature": "gauss-legendre"}, "takes the quadratures"),
        ("conductance", {"baseline": np.zeros((2, 1, 3, 24, 32)), "layer": "4"}, "got several of them"),
    ],
)
def test_what_is_refused(method: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(OnnxplainError, match=message):
        Explainer(FIXTURES / "layers_cnn" / "model_legacy.onnx", method, **settings)


@pytest.mark.parametrize("fixture", ["cancer", "bert", "stft"])
def test_no_map_without_places(fixture: str) -> None:
    with pytest.raises(LayerError, match="a map needs an input"):
        Explainer(FIXTURES / fixture / "model.onnx", "grad-cam")


PICKED = {
    "digits": ("relu_1", (1, 4, 4)), "digits_keras": ("Transpose__54:0", (1, 2, 2)), "resnet": ("relu_10", (1, 3, 3)),
    "mobilenet": ("silu_2", (1, 8, 8)), "convnext": ("add_172", (1, 6, 6)), "densenet": ("relu_10", (1, 5, 5)),
    "cnn1d": ("max_pool1d_1", (1, 8)), "vit": ("layer_norm_2", (1, 3, 3)), "lrp_vit": ("layer_norm_2", (1, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("fixture", PICKED)
def test_the_last_tensor_with_places_is_picked(fixture: str) -> None:
    feeds = {k: v[:2] for k, v in arrays(fixture, "data").items() if k != "label"}
    wide = Explainer(FIXTURES / fixture / "model.onnx", "hires-cam", upsample=True)
    plain = Explainer(FIXTURES / fixture / "model.onnx", "hires-cam")
    (entry,) = plain.about["attributions"].values()
    assert (entry["tensor"], plain(feeds).attribution.shape[1:]) == PICKED[fixture]
    (x,) = feeds.values()
    size = x.shape[1:3] if fixture == "digits_keras" else x.shape[2:]
    assert wide(feeds).attribution.shape == (2, 1, *size)


def test_a_model_without_samples() -> None:
    made = model(
        [node("Conv", "x w", "a"), node("Relu", "a", "r"), node("ReduceMean", "r axes", "p", keepdims=0), node("Squeeze", "p", "y")],
        {"x": [1, 2, 5, 6]}, {"y": [3]},
        {"w": np.random.default_rng(1).standard_normal((3, 2, 2, 2)).astype(np.float32), "axes": np.array([2, 3])},
    )  # fmt: skip
    x = np.random.default_rng(2).standard_normal((1, 2, 5, 6)).astype(np.float32)
    for method in (*MAPS, "eigen-cam"):
        every = run(rewrite(made, method, target="all"), {"x": x})["x_attribution"]
        one = run(rewrite(made, method, target=1), {"x": x})["x_attribution"]
        assert one.shape == (1, 4, 5)
        close(every[1], one)


def vision(pooled: str) -> onnx.ModelProto:
    """Patches as tokens, a norm and a mixing of all tokens into the class token; `pooled` says what is read at the end."""
    random = np.random.default_rng(5)
    weights = {
        "w": random.standard_normal((4, 3, 4, 4)).astype(np.float32), "flat": np.array([0, 4, -1]),
        "one": np.ones(4, np.float32), "mix": random.standard_normal((4, 4)).astype(np.float32), "axis": np.array([1]),
        "head": random.standard_normal((4, 2)).astype(np.float32), "first": np.array(0),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w", "p", strides=[4, 4]), node("Reshape", "p flat", "f"), node("Transpose", "f", "t", perm=[0, 2, 1]),
        node("LayerNormalization", "t one", "l"), node("MatMul", "l mix", "k"), node("Transpose", "k", "kt", perm=[0, 2, 1]),
        node("MatMul", "l kt", "a"), node("Softmax", "a", "s"), node("MatMul", "s l", "m"), node("Add", "t m", "r"),
        node("Relu", "r", "g"),
    ]  # fmt: skip
    nodes.append(node("Gather", "g first", "c", axis=1) if pooled == "first" else node("ReduceMean", "g axis", "c", keepdims=0))
    return model([*nodes, node("MatMul", "c head", "y")], {"x": ["n", 3, 12, 20]}, {"y": ["n", 2]}, weights)


@pytest.mark.parametrize(("pooled", "picked"), [("first", "l"), ("mean", "g")])
def test_tokens_lie_as_the_patches_did(pooled: str, picked: str) -> None:
    """A patch that is all the model can see of the image lights up in the map where it is."""
    made = vision(pooled)
    explainer = Explainer(made, "grad-cam", relu=False)
    (entry,) = explainer.about["attributions"].values()
    assert entry["tensor"] == picked
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 20)).astype(np.float32)
    found = explainer(x, 1).attribution
    assert found.shape == (2, 1, 3, 5)
    activation = Explainer(made, layer=picked)(x, 1).attribution
    (value,) = ort.InferenceSession(with_output(made, picked).SerializeToString()).run([picked], {"x": x})
    close(found[:, 0].reshape(2, 15), np.einsum("ntd,nd->nt", value, activation.mean(axis=1)))


def with_output(made: onnx.ModelProto, name: str) -> onnx.ModelProto:
    made.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return made


def test_channels_last() -> None:
    """The same network with a transposition on both ends of its convolution: the same map, over the image as it is fed."""
    random = np.random.default_rng(4)
    weights = {
        "w": random.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "h": random.standard_normal((6, 2)).astype(np.float32),
    }
    first = [node("Conv", "x w", "c", strides=[2, 2]), node("Relu", "c", "r"), node("ReduceMean", "r axes", "p", keepdims=0)]
    last = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c", strides=[2, 2]),
        node("Transpose", "c", "b", perm=[0, 2, 3, 1]), node("Relu", "b", "r"), node("ReduceMean", "r axes", "p", keepdims=0),
    ]  # fmt: skip
    head = [node("MatMul", "p h", "y")]
    a = model([*first, *head], {"x": ["n", 3, 9, 13]}, {"y": ["n", 2]}, {**weights, "axes": np.array([2, 3])})
    b = model([*last, *head], {"x": ["n", 9, 13, 3]}, {"y": ["n", 2]}, {**weights, "axes": np.array([1, 2])})
    x = random.standard_normal((2, 3, 9, 13)).astype(np.float32)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    for method in (*MAPS, "eigen-cam"):
        for upsample in (False, True):
            mine, theirs = (Explainer(m, method, upsample=upsample) for m in (a, b))
            close(mine(x, 0).attribution, theirs(turned, 0).attribution)
    mine, theirs = (Explainer(m, "guided-grad-cam") for m in (a, b))
    close(mine(x, 0).attribution, theirs(turned, 0).attribution.transpose(0, 3, 1, 2))


def test_extents_known_only_at_run_time() -> None:
    random = np.random.default_rng(4)
    weights = {
        "w": random.standard_normal((6, 3, 3, 3)).astype(np.float32), "h": random.standard_normal((6, 2)).astype(np.float32),
        "axes": np.array([2, 3]),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w", "c", strides=[2, 2]), node("Relu", "c", "r"), node("ReduceMean", "r axes", "p", keepdims=0),
        node("MatMul", "p h", "y"),
    ]  # fmt: skip
    free = model(nodes, {"x": ["n", 3, "height", "width"]}, {"y": ["n", 2]}, weights)
    fixed = model(nodes, {"x": ["n", 3, 9, 13]}, {"y": ["n", 2]}, weights)
    x = random.standard_normal((2, 3, 9, 13)).astype(np.float32)
    for method in (*MAPS, "eigen-cam"):
        mine, theirs = (Explainer(m, method, upsample=True)(x, 0).attribution for m in (free, fixed))
        close(mine, theirs)
    close(*(Explainer(m, "guided-grad-cam")(x, 0).attribution for m in (free, fixed)))


def test_maps_in_pictures_and_tables(tmp_path: Path) -> None:
    path, image = FIXTURES / "layers_cnn" / "model.onnx", arrays("layers_cnn", "data")["image"]
    found = Explainer(path, "grad-cam")(image)
    (view,) = views_of(columns_of([found, Explainer(path)(image)]))
    assert view.form == "image"
    assert view.maps == (True, False)
    wide = Explainer(path, "grad-cam", upsample=True)(image)
    close(view.attributions[0], wide.attribution)
    for name in ("map.png", "map.html", "map.csv", "map.npz", "map.json"):
        assert found.save(tmp_path / name).stat().st_size > 1000
    assert len(long_columns(found)["attribution"]) == 3 * 6 * 8
    signal = {k: v for k, v in arrays("cnn1d", "data").items() if k != "label"}
    (view,) = views_of(columns_of([Explainer(FIXTURES / "cnn1d" / "model.onnx", "grad-cam")(signal)]))
    assert view.form == "series"
    assert view.attributions[0].shape == signal["signal"].shape


def test_a_map_says_what_it_was_made_from() -> None:
    path = str(FIXTURES / "layers_cnn" / "model.onnx")
    made = rewrite(path, "grad-cam", target="input")
    assert verify(made, path).ok
    image = arrays("layers_cnn", "data")["image"]
    found = run(made, {"image": image, "target": np.array([0, 1, 99])})["image_attribution"]
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2]).all()


def test_check_takes_a_layer_where_a_method_needs_one() -> None:
    path, image = FIXTURES / "layers_cnn" / "model.onnx", arrays("layers_cnn", "data")["image"]
    report = check(path, "conductance", image, layer="Relu:0", baseline=0.0, steps=2)
    assert report.ok
    assert "conductance is finite" in [f.name for f in report.findings]
    with pytest.raises(MethodError, match="leave --layer out"):
        check(path, "gradient", image, layer="Relu:0")
