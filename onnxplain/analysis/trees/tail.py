"""From the score back to the ensembles it is made of: what lies between must be linear in them."""

from __future__ import annotations

from onnxplain.analysis.additive import is_affine
from onnxplain.analysis.trees.read import is_ensemble
from onnxplain.errors import MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor

__all__ = ["ensembles_of"]


def ensembles_of(graph: Graph, score: Tensor, traits: Traits) -> list[Node]:
    """The ensembles that a score is a linear map of, in the order of the graph.

    Args:
        graph: the model.
        score: the tensor that is explained.
        traits: the facts about operators.

    Raises:
        MethodError: the score depends on the inputs in some other way.
    """
    depends = {t.name for t in graph.inputs}
    for node in graph.nodes:
        if any(t is not None and t.name in depends for t in node.reads):
            depends.update(t.name for t in node.outputs if t is not None)
    wanted, seen, found = [score], {score.name}, set()
    while wanted:
        tensor = wanted.pop()
        maker = graph.producer(tensor)
        if maker is None:
            raise MethodError(
                f"'{score.name}' depends on '{tensor.name}' beside the trees, not by a linear map of ensembles alone; "
                "exact-shapley and kernel-shap explain any model"
            )
        if is_ensemble(maker):
            found.add(maker.y.name)
            continue
        live = [i for i, t in enumerate(maker.reads) if t is not None and t.name in depends]
        rounds = maker.op == "Cast" and not maker.y.is_float
        if rounds or max(live) >= len(maker.inputs) or not (is_affine(maker, live, traits) or _picks(maker, live)):
            raise MethodError(_why_not(maker, score, live))
        for t in (maker.inputs[i] for i in live):
            if t is not None and t.name not in seen:
                seen.add(t.name)
                wanted.append(t)
    return [node for node in graph.nodes if is_ensemble(node) and node.y.name in found]


def _picks(node: Node, live: list[int]) -> bool:
    """Whether a node of ai.onnx.ml puts the numbers of its inputs elsewhere."""
    # operators: those that do
    return node.domain == "ai.onnx.ml" and (
        (node.op == "ArrayFeatureExtractor" and live == [0]) or node.op == "FeatureVectorizer"
    )


def _why_not(node: Node, score: Tensor, live: list[int]) -> str:
    before = next((t.name for i in live if i < len(node.inputs) and (t := node.inputs[i]) is not None), "")
    return (
        f"{node} makes '{score.name}' no linear map of its trees, so that SHAP values of trees do not add up to it; explain what "
        f"it reads (--output {before}), or use exact-shapley or kernel-shap, which explain any model"
    )
