"""Where a score is a sum of terms that depend on one column each."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.analysis.columns import Column, ColumnFlow
from onnxplain.errors import MethodError
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.ops import Traits
from onnxplain.ir.tensor import Tensor

__all__ = ["additive_terms", "is_affine"]

MOST_NAMED = 4
"""Columns that an error names."""


def additive_terms(graph: Graph, score: Tensor, flow: ColumnFlow) -> tuple[Tensor, ...]:
    """The tensors whose elements are the terms of an additive model: each element depends on one column at most, and the score is
    affine in all of them together.

    Args:
        graph: the model.
        score: the tensor that is explained.
        flow: follows the columns of the model's inputs.

    Returns:
        The tensors, none of which depends on another.

    Raises:
        MethodError: some node mixes columns in a way that is not linear; the message names it and them.
    """
    terms: dict[Tensor, None] = {}
    mixed: dict[Tensor, Node | None] = {score: None}
    while mixed:
        tensor, reader = mixed.popitem()
        columns = flow.of(tensor)
        if columns is not None and all(len(c) <= 1 for c in columns.flat):
            if tensor.is_float or reader is None:
                terms.setdefault(tensor)
                continue
            raise MethodError(f"{reader} reads '{tensor.name}', which holds {tensor.dtype}; linear-shap adds up real numbers")
        node = graph.producer(tensor)
        if node is None:
            raise MethodError(f"linear-shap needs a table of known width: the columns of '{tensor.name}' are not known")
        mixed.update(dict.fromkeys(_affine_operands(node, flow), node))
    return tuple(terms)


def _affine_operands(node: Node, flow: ColumnFlow) -> list[Tensor]:
    """The operands that the result is affine in: all that depend on columns.

    Raises:
        MethodError: it is not.
    """
    depends = [i for i, t in enumerate(node.inputs) if t is not None and _depends(t, flow)]
    if is_affine(node, depends, flow.traits):
        return [node.input(i) for i in depends]
    found = [flow.of(node.input(i)) for i in depends]
    names = sorted({c for columns in found if columns is not None for some in columns.flat for c in some})
    shown = ", ".join(_named(c) for c in names[:MOST_NAMED]) + (
        f" and {len(names) - MOST_NAMED} more" if names[MOST_NAMED:] else ""
    )
    raise MethodError(
        f"{node} is not linear in what mixes {shown or 'columns'}, so the score is no sum of terms of one column each; "
        "exact-shapley and kernel-shap take any model"
    )


def _depends(tensor: Tensor, flow: ColumnFlow) -> bool:
    columns = flow.of(tensor)
    return not flow.graph.is_constant(tensor) and (columns is None or any(columns.flat))


def is_affine(node: Node, depends: Sequence[int], traits: Traits) -> bool:
    """Whether the results of a node are affine in inputs of these numbers together, the others held constant."""
    if traits(node).recodes and not (node.x.is_float and node.y.is_float):
        return False  # whole numbers are rounded
    how = traits(node).linear_in
    together = how == "together" or (how == "each" and len(depends) == 1) or (how == "first" and list(depends) == [0])
    return together or _is_affine_model(node) or _puts_elsewhere(node, depends)


def _is_affine_model(node: Node) -> bool:
    """Whether a model of ai.onnx.ml gives its weighted sums as they are."""
    if node.domain != "ai.onnx.ml" or node.get("post_transform", "NONE") != "NONE":
        return False
    # operators: the models that are weighted sums
    if node.op == "SVMRegressor":
        return node.get("kernel_type", "LINEAR") == "LINEAR" and not node.get("one_class", 0)
    if node.op == "SVMClassifier":  # without probabilities the score is the distance from the planes
        return node.get("kernel_type", "LINEAR") == "LINEAR" and not node.get("prob_a")
    return node.op in ("LinearRegressor", "LinearClassifier")  # operators: as above


def _puts_elsewhere(node: Node, depends: Sequence[int]) -> bool:
    """Whether a node of ai.onnx.ml only puts the numbers of its inputs elsewhere."""
    # operators: those that do
    picks = (node.op == "ArrayFeatureExtractor" and list(depends) == [0]) or node.op == "FeatureVectorizer"
    return node.domain == "ai.onnx.ml" and picks


def _named(column: Column) -> str:
    return f"column {column[1]} of '{column[0]}'"
