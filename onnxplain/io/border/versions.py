"""Operator sets that exist."""

from __future__ import annotations

import onnx

from onnxplain.errors import ModelError

__all__ = ["check_versions"]

STANDARD = ("", "ai.onnx")


def check_versions(model: onnx.ModelProto, name: str) -> None:
    """Check that the standard operator set is named once and known to the onnx that is installed.

    Raises:
        ModelError: it is not.
    """
    for imports in (model.opset_import, *(f.opset_import for f in model.functions)):
        versions = {o.version for o in imports if o.domain in STANDARD}
        if len(versions) > 1:
            raise ModelError(f"{name} imports the standard operator set as {' and '.join(map(str, sorted(versions)))}; keep one")
        newest = onnx.defs.onnx_opset_version()
        for version in versions:
            if not 0 < version <= newest:
                hint = "; pip install -U onnx onnxplain" if newest < version < 1000 else ""
                raise ModelError(f"{name} uses operator set {version}; onnx {onnx.__version__} knows 1 to {newest}{hint}")
