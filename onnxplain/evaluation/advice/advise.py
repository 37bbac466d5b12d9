"""advise: what in a model's structure helps or hinders its explanations, and the method that this suggests."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onnxplain.analysis.forward_only_advice import instead
from onnxplain.evaluation.advice.statements import Statement, counted, statements
from onnxplain.evaluation.advice.structure import Structure, read_structure
from onnxplain.io.reader import ModelLike
from onnxplain.runtime.guarded import guarded

__all__ = ["Advice", "Suggestion", "advise"]


@dataclass(frozen=True)
class Suggestion:
    """A method that suits the structure of a model.

    Attributes:
        method: its name.
        needs: what it needs, such as a baseline.
        reason: why it suits.
        others: methods to measure it against.
    """

    method: str
    needs: str
    reason: str
    others: tuple[str, ...]


@dataclass(frozen=True)
class Advice:
    """Statements about the structure of a model, and a method. They are evidence, no proof; `onnxplain.evaluate` measures.

    Attributes:
        statements: what was found, one entry per topic.
        suggestion: a method that suits.
        structure: the facts that the statements rest on.

    Example:
        >>> from onnxplain import advise
        >>> advice = advise("fixtures/digits/model.onnx")
        >>> advice.of("depth").text
        '3 linear layers; how many the task needs the file does not say'
    """

    statements: tuple[Statement, ...]
    suggestion: Suggestion
    structure: Structure

    def of(self, topic: str) -> Statement:
        """The statement on a topic.

        Args:
            topic: for example "depth".

        Returns:
            The statement.

        Raises:
            KeyError: there is no statement on this topic.
        """
        return {s.topic: s for s in self.statements}[topic]

    def to_dict(self) -> dict[str, Any]:
        """The advice as plain values, ready for JSON.

        Returns:
            A dict with the keys inputs, score, suggestion and statements.
        """
        return {
            "inputs": self.structure.inputs,
            "score": self.structure.score,
            "suggestion": asdict(self.suggestion),
            "statements": [asdict(s) for s in self.statements],
        }


@guarded
def advise(model: ModelLike, *, output: str | None = None, rules: str | Path | Iterable[str | Path] | None = None) -> Advice:
    """Say what in a model's structure helps or hinders explanations, and suggest a method. The graph is read; nothing is run.

    Args:
        model: as in `onnxplain.rewrite`.
        output: as in `onnxplain.rewrite`.
        rules: as in `onnxplain.rewrite`.

    Returns:
        Statements, each with the numbers found and the reason, and a method.

    Raises:
        OnnxplainError: the model cannot be read, or the output does not exist.

    Source: Montavon, Samek, Müller 2017, "Methods for interpreting and understanding deep neural networks", section 6.

    Example:
        >>> from onnxplain import advise
        >>> advise("fixtures/digits/model.onnx").suggestion.method
        'lrp-epsilon-plus'
    """
    structure = read_structure(model, output=output, rules=rules)
    return Advice(statements(structure), suggest(structure), structure)


def suggest(s: Structure) -> Suggestion:
    """The method that suits a structure."""
    if s.exact:
        what = "a sum of trees" if s.exact == "tree-shap" else "a sum of terms of one column each"
        reason = f"the score is {what}, so that a file can hold its exact SHAP values"
        return Suggestion(s.exact, "rows of background", reason, ("exact-shapley", "kernel-shap"))
    if s.blocked or s.missing:
        why = s.blocked.partition(";")[0] if s.blocked else f"no rule serves {', '.join(s.missing[:3])}"
        method, *rest = [part.strip().split(" ")[0] for part in instead(s.tensors).split("-m ")[1:]]
        others = tuple(name.rstrip(",") for name in rest)
        return Suggestion(method.rstrip(","), "forward passes only", f"{why}, so nothing can be propagated backward", others)
    bends = bool(
        s.activations or s.recurrent or s.attention or s.gates or s.products or s.norms or s.control or s.pools.get("max")
    )
    if not bends and set(s.inputs.values()) == {"table"}:
        reason = "nothing bends between a table and the score: the model is linear, and the SHAP values of its columns are exact"
        return Suggestion("linear-shap", "rows of background", reason, ("input-x-gradient", "kernel-shap"))
    if not bends:
        reason = "nothing bends between input and score: the model is linear, and the parts that inputs add up to are exact"
        return Suggestion("input-x-gradient", "nothing else", reason, ("gradient",))
    if s.attention:
        products = counted(s.attention, "product")
        reason = f"{products} with attention weights: relevance goes through values and weights alike, and softmax keeps its sum"
        return Suggestion("attnlrp", "nothing else", reason, ("cp-lrp", "integrated-gradients"))
    if s.recurrent:
        reason = "recurrent layers: relevance goes to the signals, none to the gates (Arras et al. 2017)"
        return Suggestion("lrp-epsilon", "nothing else", reason, ("integrated-gradients", "deeplift"))
    if s.control:
        reason = "branches or loops: a path of gradients needs no rule for them, and its completeness gap says how good it is"
        return Suggestion("integrated-gradients", "a baseline", reason, ("gradient", "shapley-sampling"))
    if s.of_kind("convolution"):
        return _of_convolutions(s)
    if s.squashing:
        reason = f"{s.squashing} saturating activations: differences from a baseline do not vanish where slopes do"
        return Suggestion("deeplift", "a baseline, such as the mean of the data", reason, ("integrated-gradients", "lrp-epsilon"))
    if "table" in s.inputs.values():
        reason = (
            "dense layers on a table, where zero seldom stands for nothing: a path from a baseline says against what a feature "
            "speaks; first by faithfulness in the comparison of docs/comparison.md"
        )
        others = ("deeplift-shap", "kernel-shap", "lrp-epsilon")
        return Suggestion("integrated-gradients", "a baseline, such as the mean of the data", reason, others)
    reason = "dense layers with activations like ReLU: what contradicts or is weak is absorbed"
    return Suggestion("lrp-epsilon", "nothing else", reason, ("integrated-gradients", "kernel-shap"))


def _of_convolutions(s: Structure) -> Suggestion:
    """The rule of practice for convolutional networks, by what is known of the input."""
    convolutions = counted(len(s.of_kind("convolution")), "convolution")
    reason = (
        f"{convolutions}, {counted(len(s.of_kind('dense')), 'dense layer')}: rules by kind of layer, z⁺ or γ below and ε above, "
        "were found to name the object best (Kohlbrenner et al. 2020)"
    )
    if s.squashing and not s.bending("rectifier"):
        reason = f"{convolutions} with saturating activations: differences from a baseline do not vanish where slopes do"
        return Suggestion(
            "deeplift", "a baseline, such as zero or the mean of the data", reason, ("integrated-gradients", "lrp-epsilon")
        )
    if "image" in s.inputs.values():
        others = ("lrp-epsilon-gamma-box (low and high: the bounds of the pixels)", "integrated-gradients", "grad-cam")
        return Suggestion("lrp-epsilon-plus", "nothing else", reason, others)
    return Suggestion("lrp-epsilon-alpha2-beta1", "nothing else", reason, ("lrp-epsilon", "integrated-gradients"))
