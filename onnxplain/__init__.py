"""Explain predictions of any ONNX model, by rewriting the model to return its own explanation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxplain.builder import Builder
    from onnxplain.call import Call
    from onnxplain.checking import check
    from onnxplain.composite import Composite, Where
    from onnxplain.concepts.tcav import tcav
    from onnxplain.errors import OnnxplainError, RuleError
    from onnxplain.explainer import Explainer
    from onnxplain.explanation import Explanation
    from onnxplain.extents import Extents
    from onnxplain.findings import CheckReport
    from onnxplain.listing import methods, operators
    from onnxplain.planning import Plan, plan
    from onnxplain.registry import Messages, expansion, rule
    from onnxplain.rewriting import rewrite
    from onnxplain.tensor import Tensor
    from onnxplain.verifying import verify

__version__ = "0.1.0"

_HOME = {
    "Builder": "builder",
    "Call": "call",
    "CheckReport": "findings",
    "Composite": "composite",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Extents": "extents",
    "Messages": "registry",
    "OnnxplainError": "errors",
    "Plan": "planning",
    "RuleError": "errors",
    "Tensor": "tensor",
    "Where": "composite",
    "check": "checking",
    "expansion": "registry",
    "methods": "listing",
    "operators": "listing",
    "plan": "planning",
    "rewrite": "rewriting",
    "rule": "registry",
    "tcav": "concepts.tcav",
    "verify": "verifying",
}

__all__ = [
    "Builder",
    "Call",
    "CheckReport",
    "Composite",
    "Explainer",
    "Explanation",
    "Extents",
    "Messages",
    "OnnxplainError",
    "Plan",
    "RuleError",
    "Tensor",
    "Where",
    "__version__",
    "check",
    "expansion",
    "methods",
    "operators",
    "plan",
    "rewrite",
    "rule",
    "tcav",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Public names are imported on first use, so that `import onnxplain` stays quick.
    if name in _HOME:
        value = getattr(import_module(f"onnxplain.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'onnxplain' has no attribute '{name}'")
