"""Whose mistake it is: ONNX Runtime is asked about the model as it was given, with its external data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxplain import rewrite
from onnxplain.errors import InternalError, ModelError
from onnxplain.io.reader import read
from onnxplain.runtime.guarded import PACKAGE, guarded, refusal

MODEL = """
<ir_version: 8, opset_import: ["" : 18]>
scale (float[N, 16] x) => (float[N, 16] y) <float[16] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}> {
    p = Softmax (x)
    y = Mul (p, w)
}
"""


@pytest.fixture
def external(tmp_path: Path) -> Path:
    path, model = tmp_path / "model.onnx", onnx.parser.parse_model(MODEL)
    weight = model.graph.initializer[0]
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), weight.name))  # as bytes, which can move out
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return path


def test_a_model_with_external_data_is_not_blamed(external: Path) -> None:
    assert refusal(external) is None
    assert refusal(read(external)) is None
    assert refusal(onnx.load(external, load_external_data=False)) is None  # nobody knows its folder
    assert refusal(external.read_bytes()) is None


def test_a_model_that_does_not_load_is_blamed(external: Path) -> None:
    model = onnx.load(external, load_external_data=False)
    model.graph.node[1].op_type = "Nonsense"
    broken = external.with_name("broken.onnx")
    broken.write_bytes(model.SerializeToString())
    assert "Nonsense" in str(refusal(broken))


def test_an_error_of_ours_is_told_as_ours(external: Path) -> None:
    made: dict[str, Any] = {}
    exec(compile("def fails(model): raise KeyError('x')", str(PACKAGE / "no_such_module.py"), "exec"), made)
    fails = guarded(made["fails"])
    with pytest.raises(InternalError, match="its own mistake"):
        fails(read(external))
    external.with_name("w.bin").write_bytes(bytes(3))
    with pytest.raises(ModelError, match="ONNX Runtime does not load it either"):
        fails(external)


def test_a_product_with_external_weights_behind_probabilities(external: Path) -> None:
    """As converters of LightGBM leave it, but for the weights, which stay unread."""
    made = rewrite(external, "gradient")
    assert np.prod(made.graph.initializer[0].dims) == 16
    assert made.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
