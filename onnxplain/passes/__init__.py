"""Graph to graph with the prediction kept: preparation before the backward pass, lowering after it.

Every pass is a function `(model) -> bool` that changes the model in place and says whether it changed anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import onnx

from onnxplain.io.reader import Source
from onnxplain.ir.registry import Registry
from onnxplain.passes.branches import settle_branches
from onnxplain.passes.claims import drop_false_claims
from onnxplain.passes.constants import fold_constants
from onnxplain.passes.contrib import claim_contrib, expand_contrib, expand_operators
from onnxplain.passes.dense import write_out_sparse
from onnxplain.passes.derived_score import append_score
from onnxplain.passes.expand import expand_functions
from onnxplain.passes.final_logits import early_logits, final_logits
from onnxplain.passes.fold_norm import fold_batch_norm
from onnxplain.passes.inline import inline_functions
from onnxplain.passes.integer_products import float_products
from onnxplain.passes.last_windows import settle_last_windows
from onnxplain.passes.lift import lift_constants
from onnxplain.passes.merge import merge_dequantized
from onnxplain.passes.opset import normalize_opset
from onnxplain.passes.order import sort_nodes
from onnxplain.passes.shapes import infer_shapes
from onnxplain.passes.sigmoid import merge_sigmoids
from onnxplain.passes.tidy import tidy
from onnxplain.passes.unrounded import unrounded_scores
from onnxplain.passes.yes_or_no import settle_yes_or_no

__all__ = ["PREPARATION", "expanded", "prepare", "prepared", "preparing", "scored", "simplified"]

PREPARATION: dict[str, Callable[[onnx.ModelProto], bool]] = {
    "sort-nodes": sort_nodes,
    "drop-false-claims": drop_false_claims,
    "write-out-sparse": write_out_sparse,
    "tidy": tidy,
    "inline-functions": inline_functions,
    "settle-yes-or-no": settle_yes_or_no,
    "lift-constants": lift_constants,
    "claim-contrib": claim_contrib,
    "normalize-opset": normalize_opset,
    "tidy-new-constants": tidy,  # the version converter writes axes as nodes
    "lift-new-constants": lift_constants,
    "merge-dequantized": merge_dequantized,
    "early-logits": early_logits,
    "expand-contrib": expand_contrib,
    "merge-expanded": merge_dequantized,
    "expand-functions": expand_functions,
    "lower-opset": normalize_opset,  # what kept the model's operator set high may be gone
    "unrounded-scores": unrounded_scores,
    "infer-shapes": infer_shapes,
    "settle-last-windows": settle_last_windows,
    "fold-constants": fold_constants,
    "settle-branches": settle_branches,
    "merge-sigmoids": merge_sigmoids,
    "final-logits": final_logits,
}
"""What every model goes through, in this order."""


def prepared(source: Source, registry: Registry | None = None) -> Source:
    """The source with its model prepared, in place; nothing to do where it was before."""
    return source if source.passes is not None else replace(source, passes=tuple(prepare(source.model, registry)))


def scored(source: Source, output: str | None, score: str) -> Source:
    """A prepared source with the score that is explained appended, in place, where the model does not compute it."""
    assert source.passes is not None
    if not append_score(source.model, output, score):
        return source
    return replace(source, passes=(*source.passes, "append-score"))


def simplified(source: Source, keep: Iterable[str | None] = ()) -> Source:
    """A prepared source with its batch normalizations folded, in place; what `keep` names stays visible."""
    assert source.passes is not None
    if not fold_batch_norm(source.model, [k for k in keep if k is not None]):
        return source
    return replace(source, passes=(*source.passes, "fold-batch-norm"))


def expanded(source: Source, operators: Sequence[str], registry: Registry) -> Source:
    """A prepared source with the named operators written in smaller ones, in place."""
    applied = [float_products(source.model)] if "MatMulInteger" in operators else []
    if not any([*applied, expand_operators(source.model, registry, operators)]):
        return source
    infer_shapes(source.model)
    if fold_constants(source.model):
        infer_shapes(source.model)
    return replace(source, passes=(*(source.passes or ()), "expand-operators"))


def prepare(model: onnx.ModelProto, registry: Registry | None = None) -> list[str]:
    """Run the preparation in place; the names of the passes that changed something.

    Operators that have an expansion in the registry (the package's own by default), and those that have a function body and
    no rule in it, are expanded.
    """
    return list(dict.fromkeys(preparing(model, registry)))


def preparing(model: onnx.ModelProto, registry: Registry | None = None) -> Iterator[str]:
    """As `prepare`, a pass at a time: the name of each that changed something, given when it has run. Some run more than once."""
    passes = {**PREPARATION}
    passes["expand-contrib"] = partial(expand_contrib, registry=registry)
    passes["expand-functions"] = partial(expand_functions, registry=registry)
    applied = set()
    for name, run in passes.items():
        if run(model):
            applied.add(name)
            yield name
    if {"fold-constants", "settle-branches"} & applied:  # known constants make more shapes known
        infer_shapes(model)
        yield "infer-shapes"
    while "settle-branches" in applied and fold_constants(model):  # and known branches more constants
        yield "fold-constants"
        settle_branches(model)
        infer_shapes(model)
        yield "settle-branches"
