"""From the score back to the ensembles it is made of: it must be linear in them, or in functions of one tree each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnxplain.analysis.additive import is_affine
from onnxplain.analysis.trees.read import is_ensemble, tree_count
from onnxplain.errors import MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits, standard_traits
from onnxplain.ir.tensor import Tensor

__all__ = ["BESIDE", "Term", "origins_of", "terms_of"]

BESIDE = ""
"""In place of an ensemble: the inputs themselves."""


@dataclass(frozen=True)
class Term:
    """A tensor that depends on the leaves of an ensemble alone: what the ensemble makes, or with one tree any function of that.

    Attributes:
        node: the ensemble.
        tensor: the tensor, in which the score is linear.
    """

    node: Node
    tensor: Tensor

    @property
    def is_function(self) -> bool:
        """Whether the tensor is made of what the ensemble makes."""
        return self.tensor not in self.node.outputs


def terms_of(graph: Graph, score: Tensor, traits: Traits) -> list[Term]:
    """The tensors that a score is a linear map of, each of which depends on one ensemble.

    Args:
        graph: the model.
        score: the tensor that is explained.
        traits: the facts about operators.

    Raises:
        MethodError: the score depends on the inputs in some other way.
    """
    origins = origins_of(graph)
    wanted, seen = [score], {score.name}
    found: list[Term] = []
    while wanted:
        tensor = wanted.pop()
        maker = graph.producer(tensor)
        if maker is None:
            raise MethodError(
                f"'{score.name}' depends on '{tensor.name}' beside the trees, not by a linear map of ensembles alone; "
                "exact-shapley and kernel-shap explain any model"
            )
        alone = _only_tree(origins[tensor.name])
        if is_ensemble(maker):
            found.append(Term(maker, tensor))
        elif alone is not None and tensor.is_float and not _is_linear_way(graph, tensor, origins, traits):
            found.append(Term(alone, tensor))
        else:
            live = _live(maker, origins)
            if not _is_linear(maker, live, traits):
                raise MethodError(_why_not(maker, score, live))
            new = [t for i in live if (t := maker.inputs[i]) is not None and t.name not in seen]
            seen.update(t.name for t in new)
            wanted += new
    order = {node.y.name: i for i, node in enumerate(graph.nodes) if is_ensemble(node)}
    return sorted(found, key=lambda term: (order[term.node.y.name], term.tensor.name))


def origins_of(graph: Graph) -> dict[str, dict[str, Node | None]]:
    """By tensor that depends on inputs: the ensembles it is made of, by the name of their first output, and `BESIDE` if it is
    made of inputs beside them. Extents depend on no input."""
    made: dict[str, dict[str, Node | None]] = {t.name: {BESIDE: None} for t in graph.inputs}
    for node in graph.nodes:
        if standard_traits(node).shape_only:
            continue
        mine: dict[str, Node | None] = {}
        for t in node.reads:
            if t is not None:
                mine.update(made.get(t.name, {}))
        if mine:
            mine = {node.y.name: node} if is_ensemble(node) else mine
            made.update((t.name, mine) for t in node.outputs if t is not None)
    return made


def _only_tree(origins: Mapping[str, Node | None]) -> Node | None:
    """The ensemble of one tree that a tensor depends on alone."""
    if len(origins) != 1:
        return None
    (node,) = origins.values()
    return node if node is not None and tree_count(node) == 1 else None


def _is_linear_way(graph: Graph, tensor: Tensor, origins: Mapping[str, Mapping[str, Node | None]], traits: Traits) -> bool:
    """Whether all between a tensor and its ensemble is linear."""
    wanted, seen = [tensor], {tensor.name}
    while wanted:
        maker = graph.producer(wanted.pop())
        assert maker is not None
        if is_ensemble(maker):
            continue
        live = _live(maker, origins)
        if not _is_linear(maker, live, traits):
            return False
        new = [t for i in live if (t := maker.inputs[i]) is not None and t.name not in seen]
        seen.update(t.name for t in new)
        wanted += new
    return True


def _live(node: Node, origins: Mapping[str, Mapping[str, Node | None]]) -> list[int]:
    """The numbers of the inputs, then captures, that depend on inputs of the model."""
    return [i for i, t in enumerate(node.reads) if t is not None and t.name in origins]


def _is_linear(node: Node, live: list[int], traits: Traits) -> bool:
    if max(live) >= len(node.inputs):
        return False
    return is_affine(node, live, traits)


def _why_not(node: Node, score: Tensor, live: list[int]) -> str:
    before = next((t.name for i in live if i < len(node.inputs) and (t := node.inputs[i]) is not None), "")
    return (
        f"{node} makes '{score.name}' no linear map of its trees, so that SHAP values of trees do not add up to it; explain what "
        f"it reads (--output {before}), or use exact-shapley or kernel-shap, which explain any model"
    )
