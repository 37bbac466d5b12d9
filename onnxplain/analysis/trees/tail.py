"""From the score back to the ensembles it is made of: what lies between must be linear in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxplain.analysis.trees.read import is_ensemble
from onnxplain.errors import MethodError
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["ensembles_of"]

# operators: linear ones of ai.onnx.ml of which the standard table claims nothing
LINEAR = {
    "ai.onnx.ml.LinearClassifier",
    "ai.onnx.ml.LinearRegressor",
    "ai.onnx.ml.ArrayFeatureExtractor",
    "ai.onnx.ml.FeatureVectorizer",
}


def ensembles_of(nodes: Sequence[Node], sources: Sequence[Tensor], score: Tensor) -> list[Node]:
    """The ensembles that a score is made of, in the order of the graph.

    Args:
        nodes: the model's nodes in topological order.
        sources: what is explained.
        score: the explained score.

    Raises:
        MethodError: the score depends on what is explained in some other way than by a linear map of ensembles.
    """
    depends = {t.name for t in sources}
    for node in nodes:
        if any(t is not None and t.name in depends for t in node.reads):
            depends.update(t.name for t in node.outputs if t is not None)
    makers = {t.name: node for node in nodes for t in node.outputs if t is not None}
    names = {t.name for t in sources}
    wanted, found, seen = [score], set(), set()
    while wanted:
        tensor = wanted.pop()
        if tensor.name in names:
            raise MethodError(
                f"'{score.name}' depends on '{tensor.name}' beside the trees, not by a linear map of ensembles alone; "
                "exact-shapley and kernel-shap explain any model"
            )
        if tensor.name not in depends or tensor.name in seen:
            continue
        seen.add(tensor.name)
        node = makers[tensor.name]
        if is_ensemble(node):
            found.add(node.name)
        else:
            wanted += _operands(node, lambda t: t.name in depends, score)
    return [node for node in nodes if node.name in found and is_ensemble(node)]


def _operands(node: Node, depends: Callable[[Tensor], bool], score: Tensor) -> list[Tensor]:
    """The inputs of a node that depend on what is explained, in all of which together it is linear."""
    live = [i for i, t in enumerate(node.inputs) if t is not None and depends(t)]
    how = standard_traits(node).linear_in or ("first" if node.operator in LINEAR else "")
    fits = {"together": True, "each": len(live) == 1, "first": live == [0], "": False}[how] and not node.captures
    if node.op == "Cast" and not node.y.is_float:
        fits = False
    if fits and node.get("post_transform", "NONE") not in ("NONE", b"NONE"):
        fits = False
    if not fits:
        raise MethodError(
            f"{node} makes '{score.name}' no linear map of its trees, so that SHAP values of trees do not add up to it; explain "
            "a tensor before it (--output), or use exact-shapley or kernel-shap, which explain any model"
        )
    return [t for i in live if (t := node.inputs[i]) is not None]
