"""Objects that are taken for models and are none, with what to do about each."""

from __future__ import annotations

from typing import Any

__all__ = ["no_model_in_words"]

ADVICE = {
    ("torch", "Module"): "export it first: torch.onnx.export(module, (example,), 'model.onnx')",
    ("torch", "ONNXProgram"): "hand over its .model_proto",
    ("onnxruntime", "InferenceSession"): "a session gives no graph back, so hand over the file or bytes it was made from",
    ("onnx", "GraphProto"): "hand over onnx.helper.make_model(graph)",
    ("onnx_ir", "Model"): "hand over onnx_ir.to_proto(model)",
    ("keras", "Model"): "export it first: model.export('model.onnx', format='onnx')",
    ("sklearn", "BaseEstimator"): "convert it first: skl2onnx.to_onnx(estimator, example)",
    ("onnxplain", "Explainer"): "hand over the file that it was made from",
    ("_io", "BytesIO"): "hand over its .getvalue()",
}
"""By package and class: how to come to a model. Packages need not be installed."""


def no_model_in_words(given: Any) -> str:
    """Why an object is no model, and what to do, in one line.

    Args:
        given: what was handed over in place of a model.
    """
    kinds = [(kind.__module__.partition(".")[0], kind.__name__) for kind in type(given).__mro__]
    found = next((ADVICE[kind] for kind in kinds if kind in ADVICE), "")
    what = "None" if given is None else f"{type(given).__module__.partition('.')[0]}'s {type(given).__name__}"
    return f"a model is a path, the bytes of a file, or an onnx.ModelProto, not {what}" + (f"; {found}" if found else "")
