"""Batch norms folded into the linear map beside them: the same forward, fewer nodes, and nothing lost that was asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain import Explainer, rewrite
from onnxplain.io.reader import read
from onnxplain.passes import prepared, simplified
from tests.support.paths import FIXTURES

NORMED = sorted(
    path
    for path in FIXTURES.glob("*/model*.onnx")
    if any(n.op_type == "BatchNormalization" for n in onnx.load(path, load_external_data=False).graph.node)
)


def outputs(model: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    """All outputs, by ONNX Runtime without its own fusions."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: feeds[i.name] for i in session.get_inputs()})  # type: ignore[no-any-return]


@pytest.mark.parametrize("path", NORMED, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_folding_keeps_the_forward(path: Path) -> None:
    source = prepared(read(path))
    before = source.copy().model
    after = simplified(source).model
    onnx.checker.check_model(after, full_check=True)
    with np.load(path.parent / "data.npz") as data:
        feeds = {k: v[:3] for k, v in data.items()}
    for mine, theirs in zip(outputs(after, feeds), outputs(before, feeds), strict=True):
        assert np.abs(mine - theirs).max() <= 1e-5 * np.abs(theirs).max()


def norms(model: onnx.ModelProto) -> int:
    """How many batch norms a model has."""
    return sum(n.op_type == "BatchNormalization" for n in model.graph.node)


def test_norms_behind_and_before_maps_fold_and_lone_ones_stay() -> None:
    for net, left in (("lrp_resnet", 0), ("lrp_bn_first", 0), ("lrp_densenet", None)):
        path = FIXTURES / net / "model_legacy.onnx"
        assert norms(onnx.load(path)) > 0
        folded = norms(rewrite(path, "lrp-epsilon"))
        assert folded == left if left is not None else folded > 0


def test_a_tensor_between_map_and_norm_stays_when_it_is_asked_for() -> None:
    path = FIXTURES / "lrp_resnet" / "model_legacy.onnx"
    graph = onnx.load(path).graph
    norm = next(n for n in graph.node if n.op_type == "BatchNormalization")
    data = np.load(path.parent / "data.npz")["image"]
    inner = Explainer(path, "gradient", layer=norm.input[0])(data)
    assert np.abs(inner.attribution).max() > 0
    assert norms(rewrite(path, "gradient", layer=norm.input[0])) == 1
    assert norms(rewrite(path, "gradient")) == 0


def test_a_resnet_gradient_is_about_twice_the_model() -> None:
    path = FIXTURES / "resnet" / "model_legacy.onnx"
    assert len(rewrite(path).graph.node) <= 2.3 * len(onnx.load(path).graph.node)
