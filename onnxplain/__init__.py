"""Explain predictions of any ONNX model, by rewriting the model to return its own explanation."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from onnxplain._version import __version__

if TYPE_CHECKING:
    from onnxplain.builder.builder import Builder
    from onnxplain.builder.extents import Extents
    from onnxplain.concepts.prototype import Prototypes, prototype
    from onnxplain.concepts.rbm import GaussianRBM
    from onnxplain.concepts.tcav import Tcav, tcav
    from onnxplain.errors import OnnxplainError, RuleError
    from onnxplain.evaluation.advice.advise import Advice, advise
    from onnxplain.evaluation.report.evaluation import Evaluation
    from onnxplain.evaluation.study import evaluate
    from onnxplain.explain.attention_heads import attention_heads
    from onnxplain.explain.catalog import methods, operators
    from onnxplain.explain.detecting.detections import Detections
    from onnxplain.explain.detecting.detector import Detector
    from onnxplain.explain.explainer import Explainer
    from onnxplain.explain.generate import generate
    from onnxplain.explain.load_image import load_image
    from onnxplain.explain.plan import Plan, plan
    from onnxplain.explain.rewrite import rewrite
    from onnxplain.explain.streaming.mapping import Mapped, map
    from onnxplain.ir.node import Node
    from onnxplain.ir.ops import OpTraits
    from onnxplain.ir.registry import Messages, expansion, rule
    from onnxplain.ir.tensor import Tensor
    from onnxplain.propagation.composite import Composite, NodePattern
    from onnxplain.results.attention_heads import AttentionHeads
    from onnxplain.results.explanation import Explanation
    from onnxplain.results.generation import Generation
    from onnxplain.verification.check import check
    from onnxplain.verification.findings import CheckReport
    from onnxplain.verification.verify import verify

_HOME = {
    "Advice": "evaluation.advice.advise",
    "AttentionHeads": "results.attention_heads",
    "Builder": "builder.builder",
    "CheckReport": "verification.findings",
    "Composite": "propagation.composite",
    "Detections": "explain.detecting.detections",
    "Detector": "explain.detecting.detector",
    "Evaluation": "evaluation.report.evaluation",
    "Explainer": "explain.explainer",
    "Explanation": "results.explanation",
    "Extents": "builder.extents",
    "GaussianRBM": "concepts.rbm",
    "Generation": "results.generation",
    "Messages": "ir.registry",
    "Mapped": "explain.streaming.mapping",
    "Node": "ir.node",
    "NodePattern": "propagation.composite",
    "OnnxplainError": "errors",
    "OpTraits": "ir.ops",
    "Plan": "explain.plan",
    "Prototypes": "concepts.prototype",
    "RuleError": "errors",
    "Tcav": "concepts.tcav",
    "Tensor": "ir.tensor",
    "advise": "evaluation.advice.advise",
    "attention_heads": "explain.attention_heads",
    "check": "verification.check",
    "evaluate": "evaluation.study",
    "expansion": "ir.registry",
    "generate": "explain.generate",
    "load_image": "explain.load_image",
    "map": "explain.streaming.mapping",
    "methods": "explain.catalog",
    "operators": "explain.catalog",
    "plan": "explain.plan",
    "prototype": "concepts.prototype",
    "rewrite": "explain.rewrite",
    "rule": "ir.registry",
    "tcav": "concepts.tcav",
    "verify": "verification.verify",
}

__all__ = [
    "Advice",
    "AttentionHeads",
    "Builder",
    "CheckReport",
    "Composite",
    "Detections",
    "Detector",
    "Evaluation",
    "Explainer",
    "Explanation",
    "Extents",
    "GaussianRBM",
    "Generation",
    "Mapped",
    "Messages",
    "Node",
    "NodePattern",
    "OnnxplainError",
    "OpTraits",
    "Plan",
    "Prototypes",
    "RuleError",
    "Tcav",
    "Tensor",
    "__version__",
    "advise",
    "attention_heads",
    "check",
    "evaluate",
    "expansion",
    "generate",
    "load_image",
    "map",
    "methods",
    "operators",
    "plan",
    "prototype",
    "rewrite",
    "rule",
    "tcav",
    "verify",
]

_RENAMED = {"Call": "Node", "Where": "NodePattern"}
"""Names of the version before, and what they are called now."""


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        new = _RENAMED[name]
        warnings.warn(
            f"onnxplain.{name} is called onnxplain.{new} now; the next version drops the old name",
            DeprecationWarning,
            stacklevel=2,
        )
        return __getattr__(new)
    # Public names are imported on first use, so that `import onnxplain` stays quick.
    if name in _HOME:
        value = getattr(import_module(f"onnxplain.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'onnxplain' has no attribute '{name}'")
