"""Classical machine learning operators (ai.onnx.ml) with a derivative."""

import numpy as np

from onnxplain import Builder, Call, Messages, Tensor, rule

ML = "ai.onnx.ml"


@rule("Scaler", role="linear", domain=ML)
def scaler(b: Builder, call: Call, dy: Tensor) -> Messages:
    """y = (x − offset) · scale, so dx = dy · scale"""
    return b.Mul(dy, b.const(np.array(call.get("scale", [1.0])), dy.dtype))
