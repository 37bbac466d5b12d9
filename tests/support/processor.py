"""What the processor's kernels do that others' do not."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest

from tests.support.models import model, node, run

__all__ = ["exact_bytes", "saturates"]


@cache
def saturates() -> bool:
    """Whether ONNX Runtime's products of unsigned and signed bytes are cut off at 16 bits: those of x86 without VNNI are."""
    kinds = {"x": onnx.TensorProto.UINT8, "y": onnx.TensorProto.INT32}
    made = model(
        [node("MatMulInteger", "x w", "y")], {"x": [1, 64]}, {"y": [1, 16]}, {"w": np.full((64, 16), 127, np.int8)}, kinds=kinds
    )
    found = run(made, {"x": np.full((1, 64), 255, np.uint8)})["y"]
    return bool((found != 255 * 127 * 64).any())


exact_bytes = pytest.mark.skipif(
    saturates(), reason="this processor has no VNNI: ONNX Runtime cuts products of bytes off, and the prediction is another"
)
"""For tests that compare quantized kernels with the numbers they stand for."""
