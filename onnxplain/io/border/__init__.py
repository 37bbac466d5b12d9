"""What every model file has to fulfil before anything else looks at it, checked once, where it comes in.

Beyond it nobody has to ask whether a tensor holds as many numbers as it says, whether an If has its branches, or whether
functions end. What the standard's schemas say of operators is checked for the standard's operators alone; types and shapes
are left to inference.
"""

from __future__ import annotations

from pathlib import Path

import onnx

from onnxplain.io.border.functions import check_functions
from onnxplain.io.border.graphs import check_graphs
from onnxplain.io.border.tensors import check_tensors
from onnxplain.io.border.versions import check_versions

__all__ = ["check_border"]


def check_border(model: onnx.ModelProto, folder: Path | None, name: str) -> None:
    """Check a model that was parsed.

    Args:
        model: the model; its external data is not read.
        folder: the folder of its external data; None if unknown.
        name: what to call it in messages.

    Raises:
        ModelError: the first thing that is wrong, and where.
    """
    check_versions(model, name)
    check_graphs(model, name)
    check_functions(model, name)
    check_tensors(model, folder, name)
