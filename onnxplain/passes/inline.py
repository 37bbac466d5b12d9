"""Local functions, as the dynamo exporter writes them, expanded where they are called."""

from __future__ import annotations

import onnx
import onnx.inliner

from onnxplain.errors import ModelError
from onnxplain.passes.tidy import tidy
from onnxplain.passes.weights import without_weights

__all__ = ["inline_functions"]


def inline_functions(model: onnx.ModelProto) -> bool:
    """Inline every model-local function."""
    if not model.functions:
        return False
    with without_weights(model) as skeleton:
        try:
            inlined = onnx.inliner.inline_local_functions(skeleton, convert_version=True)
        except Exception as error:
            raise ModelError(f"the model's local functions cannot be inlined: {error}") from error
        skeleton.CopyFrom(inlined)
        del skeleton.functions[:]
    tidy(model)
    return True
