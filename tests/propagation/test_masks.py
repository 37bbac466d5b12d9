"""Masks: relevance and gradients of what passes chosen channels only."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.utils import Extractor

from onnxplain import Explainer, rewrite
from onnxplain.errors import InputError, LayerError
from tests.support.paths import FIXTURES

VGG = FIXTURES / "lrp_vgg" / "model.onnx"
IMAGES = np.load(FIXTURES / "lrp_vgg" / "data.npz")["image"]
CHANNELS = 12


def explained(method: str, **options: object) -> np.ndarray:
    return Explainer(VGG, method, **options)(IMAGES, target=2).attribution  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon", "lrp-epsilon-plus-flat", "lrp-gamma", "lrp-alpha2-beta1"])
def test_what_passes_each_channel_adds_up_to_the_whole(method: str) -> None:
    whole = explained(method)
    parts = [explained(method, mask={"relu_1": [c]}) for c in range(CHANNELS)]
    assert np.abs(sum(parts) - whole).max() < 1e-5 * np.abs(whole).max()
    assert all(np.abs(p).max() < np.abs(whole).max() * 2 for p in parts)


def test_a_gradient_through_some_channels_is_that_of_a_model_whose_others_stand_still() -> None:
    """Finite differences: the layer's other channels are held at their values while the input moves."""
    split = Extractor(onnx.shape_inference.infer_shapes(onnx.load(VGG)))
    head, tail = (
        ReferenceEvaluator(in_float64(split.extract_model(a, b))) for a, b in ((["image"], ["relu_1"]), (["relu_1"], ["logits"]))
    )
    kept, image = [2, 5], IMAGES.astype(np.float64)
    held = head.run(None, {"image": image})[0]

    def score(x: np.ndarray) -> float:
        inner = held.copy()
        inner[:, kept] = head.run(None, {"image": x})[0][:, kept]
        return float(tail.run(None, {"relu_1": inner})[0][:, 2].sum())

    direction = np.random.default_rng(0).standard_normal(image.shape)
    step = 1e-7
    slope = (score(image + step * direction) - score(image - step * direction)) / (2 * step)
    assert abs((explained("gradient", mask={"relu_1": kept}) * direction).sum() - slope) < 1e-4 * abs(slope)


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of float32 tensors, in double."""
    double = onnx.TensorProto.DOUBLE
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = double
    del model.graph.value_info[:]
    return model


def test_a_mask_at_run_time_is_the_one_baked_in() -> None:
    explainer = Explainer(VGG, "lrp-epsilon", mask={"relu_1": "input"})
    mask = np.zeros((1, CHANNELS, 8, 8), np.float32)
    mask[:, [2, 5]] = 1
    given = explainer(IMAGES, target=2, mask=mask).attribution
    assert np.abs(given - explained("lrp-epsilon", mask={"relu_1": [2, 5]})).max() == 0
    assert [i.name for i in explainer.model.graph.input] == ["image", "target", "mask"]


def test_masks_at_two_layers_must_both_be_passed() -> None:
    some = [0, 3, 4, 7]
    both = explained("lrp-epsilon", mask={"relu_1": [2, 5], "relu_2": some})
    parts = [explained("lrp-epsilon", mask={"relu_1": [2, 5], "relu_2": [c]}) for c in some]
    assert np.abs(sum(parts) - both).max() < 1e-5 * np.abs(both).max()
    assert np.abs(both - explained("lrp-epsilon", mask={"relu_1": [2, 5]})).max() > 0.01 * np.abs(both).max()


def test_bad_masks_are_refused_with_what_there_is() -> None:
    with pytest.raises(InputError, match="channels 0 to 11; the mask names \\[12\\]"):
        rewrite(VGG, "lrp-epsilon", mask={"relu_1": [12]})
    with pytest.raises(InputError, match="does not broadcast"):
        rewrite(VGG, "lrp-epsilon", mask={"relu_1": np.zeros((5, 1, 1))})
    with pytest.raises(LayerError, match="no tensor, node or module scope 'relu_99'"):
        rewrite(VGG, "lrp-epsilon", mask={"relu_99": [1]})
    with pytest.raises(InputError, match="nothing that is explained passes 'relu'"):
        rewrite(VGG, "lrp-epsilon", layer="relu_2", mask={"relu": [1]})
