"""DeepLIFT through Clip whose bounds depend on the input."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from onnxplain import Explainer

X = np.array([[3.0, -2.0, 0.5, 1.5, -4.0, 2.5]], np.float32)
BASELINE = np.array([[0.5, 1.0, 2.0, -3.0, -0.5, 2.25]], np.float32)
BOUNDS = """
    top = ReduceMax <keepdims = 0> (x)
    bottom = ReduceMin <keepdims = 0> (x)
    reach = Sub (top, bottom)
    margin = Mul (reach, quarter)
    low = Add (bottom, margin)
    high = Sub (top, margin)
"""
FORMS = {
    "both": ("Clip (x, low, high)", "m = Max (x, low)\n z = Min (m, high)"),
    "low": ("Clip (x, low)", "z = Max (x, low)"),
    "high": ("Clip (x, , high)", "z = Min (x, high)"),
}


def model(last: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        bounds (float[1, 6] x) => (float[1, 1] y)
        <float quarter = {{0.25}}, float[6, 1] w = {{1, -2, 0.5, 3, -1.5, 0.75}}> {{
            {BOUNDS}
            {last}
            y = MatMul (z, w)
        }}"""
    )


@pytest.mark.parametrize("form", FORMS)
def test_live_bounds_get_their_share_of_the_change(form: str) -> None:
    clip, plain = FORMS[form]
    found = Explainer(model(f"z = {clip}"), "deeplift", baseline=BASELINE)(X)
    spelled = Explainer(model(plain), "deeplift", baseline=BASELINE)(X)
    there = Explainer(model(f"z = {clip}"), "gradient")(BASELINE).outputs["y"]
    assert found.attribution.sum() == pytest.approx(float((found.outputs["y"] - there).sum()), abs=1e-4)
    assert found.attribution == pytest.approx(spelled.attribution, abs=1e-5)


def test_where_nothing_changes_multipliers_are_the_gradient() -> None:
    found = Explainer(model("z = Clip (x, low, high)"), "deeplift", baseline=X)(X)
    assert found.attribution == pytest.approx(np.zeros_like(X), abs=1e-7)
