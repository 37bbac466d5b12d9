"""Graph-to-graph passes that bring a model into the form the walk understands, each keeping the forward numbers.

Every pass is a function `(model) -> bool` that changes the model in place and says whether it changed anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx

from onnxplain.load import Source
from onnxplain.passes.binary_logit import binary_logits
from onnxplain.passes.constants import fold_constants
from onnxplain.passes.inline import inline_functions
from onnxplain.passes.opset import normalize_opset
from onnxplain.passes.shapes import infer_shapes
from onnxplain.passes.tidy import tidy

__all__ = ["PREPARATION", "prepare", "prepared"]

PREPARATION: dict[str, Callable[[onnx.ModelProto], bool]] = {
    "tidy": tidy,
    "inline-functions": inline_functions,
    "normalize-opset": normalize_opset,
    "infer-shapes": infer_shapes,
    "fold-constants": fold_constants,
    "binary-logits": binary_logits,
}
"""What every model goes through, in this order."""


def prepared(source: Source) -> Source:
    """The source with its model prepared, in place; nothing to do where it was before."""
    return source if source.passes is not None else replace(source, passes=tuple(prepare(source.model)))


def prepare(model: onnx.ModelProto) -> list[str]:
    """Run the preparation in place; the names of the passes that changed something."""
    applied = [name for name, run in PREPARATION.items() if run(model)]
    if "fold-constants" in applied:  # known constants make more shapes known
        infer_shapes(model)
    return applied
