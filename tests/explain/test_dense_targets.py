"""Targets of outputs that say something of every place: against sums over files, and Seg-Grad-CAM against finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnxplain import Explainer
from onnxplain.errors import TargetError
from tests.support.detectors import SHAPES, pictures

Array = np.ndarray[Any, Any]
LABELS = ["background", "disc", "cross", "frame"]
MODEL = str(SHAPES / "segmenter.onnx")


def run(model: onnx.ModelProto | str, feeds: dict[str, Array]) -> Array:
    given = model if isinstance(model, str) else model.SerializeToString()
    return np.asarray(ort.InferenceSession(given, providers=["CPUExecutionProvider"]).run(None, feeds)[0])


def of_mask(x: Array, channel: int) -> Array:
    """The cotangent of a class's mask, pixel by pixel."""
    scores = run(MODEL, {"images": x})
    made = np.zeros_like(scores)
    for i, rows, columns in np.ndindex(len(x), *scores.shape[2:]):
        made[i, channel, rows, columns] = scores[i, :, rows, columns].argmax() == channel
    return made


def with_last_node(node: onnx.NodeProto, shape: list[Any]) -> onnx.ModelProto:
    """The segmenter with one more node behind it."""
    model = onnx.load(MODEL)
    model.graph.node.append(node)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, shape))
    return model


SLOW = [pytest.param(method, marks=pytest.mark.slow) for method in ("lrp-epsilon-plus", "feature-ablation")]


@pytest.mark.parametrize("method", ["gradient", "grad-cam", *SLOW])
def test_the_mask_of_a_class(method: str) -> None:
    x = pictures(2)
    options = {"groups": "superpixels", "parts": 8} if method == "feature-ablation" else {}
    explainer = Explainer(MODEL, method, labels=LABELS, **options)
    found = explainer(x, "mask of frame")
    right = explainer(x, cotangent=of_mask(x, 3))
    assert found.attribution == pytest.approx(right.attribution, abs=1e-6 * float(np.abs(right.attribution).max()))
    assert found.target_names == ["mask of frame"] * 2
    assert np.abs(found.attribution).max() > 0


def test_a_region() -> None:
    x = pictures(1)
    explainer = Explainer(MODEL, "gradient", labels=LABELS)
    one, all_of_them = explainer(x, "frame in 10,40,30,62").attribution, explainer(x, "region 10,40,30,62").attribution
    weights = np.zeros((1, 4, 64, 64), np.float32)
    weights[:, :, 40:62, 10:30] = 1  # left, top, right, bottom
    assert all_of_them == pytest.approx(explainer(x, cotangent=weights).attribution, abs=1e-4)
    weights[:, :3] = 0
    assert one == pytest.approx(explainer(x, cotangent=weights).attribution, abs=1e-4)


def test_seg_grad_cam_against_finite_differences() -> None:
    """α_k = 1/Z Σ_ij ∂/∂A_k,ij Σ_M y_c is the slope of the sum along a whole channel: central differences behind the layer."""
    x, layer, step = pictures(1), "features_9", 1e-2
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(onnx.load(MODEL)))
    activations = run(extractor.extract_model(["images"], [layer]), {"images": x})
    behind = extractor.extract_model([layer], ["logits"])
    mask, channels = of_mask(x, 3), activations.shape[1]
    moved = np.eye(channels, dtype=np.float32)[:, :, None, None] * step
    above, below = (
        (run(behind, {layer: activations + sign * moved}) * mask).sum(axis=(1, 2, 3), dtype=np.float64) for sign in (1, -1)
    )
    weights = (above - below) / (2 * step) / activations[0, 0].size
    right = (weights[:, None, None] * activations[0]).sum(axis=0)
    found = Explainer(MODEL, "grad-cam", layer=layer, labels=LABELS, relu=False)(x, "mask of frame").attribution
    assert found[0, 0] == pytest.approx(right, abs=1e-2 * np.abs(right).max())
    assert np.abs(right).max() > 0


def test_channels_that_come_last_and_probabilities() -> None:
    x = pictures(1)
    turned = with_last_node(helper.make_node("Transpose", ["logits"], ["turned"], perm=[0, 2, 3, 1]), ["batch", 64, 64, 4])
    shares = with_last_node(helper.make_node("Softmax", ["logits"], ["shares"], axis=1), ["batch", 4, 64, 64])
    right = Explainer(MODEL, "gradient")(x, "mask of 3").attribution
    for model in (turned, shares):
        assert Explainer(model, "gradient", labels=LABELS)(x, "mask of frame").attribution == pytest.approx(right, abs=1e-4)


def test_one_channel() -> None:
    """A depth map has nothing but its region; of one class a probability counts from one half on."""
    x = pictures(1)
    model = onnx.load(MODEL)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([3]), "three"))
    model.graph.node.extend(
        [helper.make_node("Gather", ["logits", "three"], ["frame"], axis=1), helper.make_node("Sigmoid", ["frame"], ["share"])]
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("share", TensorProto.FLOAT, ["batch", 1, 64, 64]))
    scores = run(MODEL, {"images": x})
    weights = np.zeros_like(scores)
    weights[:, 3] = scores[:, 3] > 0
    right = Explainer(MODEL, "gradient")(x, cotangent=weights).attribution
    assert Explainer(model, "gradient")(x, "mask of 0").attribution == pytest.approx(right, abs=1e-4)
    assert Explainer(model, "gradient")(x, "region 0,0,64,64").attribution.any()


@pytest.mark.parametrize(
    ("labels", "target", "message"),
    [
        (LABELS, "mask of dog", "no class 'dog'; known: "),
        ([], "mask of frame", "the classes have no names, so 'frame' is unknown: give labels"),
        ([], "mask of 7", "class 7 is out of range: the output has 4 channels"),
        (
            LABELS,
            "frame in 10,40,70,62",
            "the region 10,40,70,62 .* does not lie within the output, which is 64 wide and 64 high",
        ),
        (["a", "b"], "mask of a", r"2 labels, and no axis of the output \[1, 4, 64, 64\] is as long"),
    ],
)
def test_what_does_not_fit(labels: list[str], target: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Explainer(MODEL, "gradient", labels=labels)(pictures(1), target)


def test_a_class_that_nobody_predicts_and_outputs_without_places() -> None:
    empty = np.full((1, 3, 64, 64), 0.5, np.float32)
    assert not (run(MODEL, {"images": empty}).argmax(axis=1) == 1).any()
    with pytest.raises(TargetError, match="'disc' is predicted nowhere: name another class, or a region, as 'disc in LEFT"):
        Explainer(MODEL, "gradient", labels=LABELS)(empty, "mask of disc")
    digit = np.load("fixtures/digits/digit_3.npy")
    with pytest.raises(
        TargetError, match=r"is of an output that says something of every place; this one has the shape \[1, 10\]"
    ):
        Explainer("fixtures/digits/model.onnx")(digit, "mask of 3")
