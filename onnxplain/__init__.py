"""Explain predictions of any ONNX model, by rewriting the model to return its own explanation."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxplain.builder import Builder
    from onnxplain.call import Call
    from onnxplain.checking import check
    from onnxplain.composite import Composite, Where
    from onnxplain.concepts.prototype import Prototypes, prototype
    from onnxplain.concepts.rbm import GaussianRBM
    from onnxplain.concepts.tcav import Tcav, tcav
    from onnxplain.errors import OnnxplainError, RuleError
    from onnxplain.evaluation.advise import Advice, advise
    from onnxplain.evaluation.evaluation import Evaluation
    from onnxplain.evaluation.study import evaluate
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
    "Advice": "evaluation.advise",
    "Builder": "builder",
    "Call": "call",
    "CheckReport": "findings",
    "Composite": "composite",
    "Evaluation": "evaluation.evaluation",
    "Explainer": "explainer",
    "Explanation": "explanation",
    "Extents": "extents",
    "GaussianRBM": "concepts.rbm",
    "Messages": "registry",
    "OnnxplainError": "errors",
    "Plan": "planning",
    "Prototypes": "concepts.prototype",
    "RuleError": "errors",
    "Tcav": "concepts.tcav",
    "Tensor": "tensor",
    "Where": "composite",
    "advise": "evaluation.advise",
    "check": "checking",
    "evaluate": "evaluation.study",
    "expansion": "registry",
    "methods": "listing",
    "operators": "listing",
    "plan": "planning",
    "prototype": "concepts.prototype",
    "rewrite": "rewriting",
    "rule": "registry",
    "tcav": "concepts.tcav",
    "verify": "verifying",
}

__all__ = [
    "Advice",
    "Builder",
    "Call",
    "CheckReport",
    "Composite",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Extents",
    "GaussianRBM",
    "Messages",
    "OnnxplainError",
    "Plan",
    "Prototypes",
    "RuleError",
    "Tcav",
    "Tensor",
    "Where",
    "__version__",
    "advise",
    "check",
    "evaluate",
    "expansion",
    "methods",
    "operators",
    "plan",
    "prototype",
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
