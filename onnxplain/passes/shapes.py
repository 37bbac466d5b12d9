"""Shapes and types of all tensors, as far as the standard's inference knows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import onnx
import onnx.shape_inference
from onnx.helper import make_tensor_value_info

from onnxplain.ir.edit import graphs_in
from onnxplain.passes.loop_shapes import (
    adopt_types,
    assume_states,
    correct_states,
    declare_counters,
    declare_results,
    lend_constants,
)
from onnxplain.passes.named_extents import name_extents
from onnxplain.passes.ranks import prove_inner_ranks, proven_ranks
from onnxplain.passes.stand_ins import stand_in
from onnxplain.passes.weights import without_weights

__all__ = ["infer_shapes"]

Infos: TypeAlias = "dict[str, onnx.ValueInfoProto]"
"""What is known of tensors, by name."""


def infer_shapes(model: onnx.ModelProto) -> bool:
    """Infer shapes with data propagation.

    What the file claims of inner tensors and outputs is set aside, since people edit batch sizes without redoing it; it
    comes back for tensors that inference cannot reach (behind operators the standard does not know), and for extents that
    inference knows nothing of: symbols always, numbers only from exporters that write symbols for what varies (one that
    only traced an example would write its number of boxes, too) and only where no claim in the file contradicts inference.
    """
    claimed = {v.name: _meant(v) for v in (*model.graph.value_info, *model.graph.output)}
    declared = {v.name for v in model.graph.output}
    with without_weights(model) as skeleton:
        del skeleton.graph.value_info[:]
        given = {v.name for v in skeleton.graph.input}
        for output in skeleton.graph.output:
            if output.type.HasField("tensor_type") and output.name not in given:
                output.type.tensor_type.ClearField("shape")
        inferred = _infer(skeleton)
        unknown = {n: v for n, v in claimed.items() if _has_shape(v) and not _has_shape(inferred.get(n))}
        if unknown:
            inferred = _infer_with(skeleton, [v for n, v in unknown.items() if n not in declared], inferred)
        inferred = _with_proven_ranks(skeleton, inferred)
        inferred |= {n: v for n, v in unknown.items() if n in declared and not _has_shape(inferred.get(n))}
        pairs = [(info, claimed[n]) for n, info in inferred.items() if n in claimed and _same_rank(info, claimed[n])]
        careful = any(_is_symbolic(said) for n, said in claimed.items() if n not in declared)
        trusted = careful and not any(_contradicts(info, said) for info, said in pairs)
        for info, said in pairs:
            _fill_extents(info, said, numbers=trusted)
        name_extents(skeleton.graph, inferred)
        del skeleton.graph.value_info[:]
        skeleton.graph.value_info.extend(v for n, v in inferred.items() if n not in declared)
        for output in skeleton.graph.output:
            if output.name in inferred:
                output.CopyFrom(inferred[output.name])
    return True


def _infer_with(model: onnx.ModelProto, claims: Sequence[onnx.ValueInfoProto], known: Infos) -> Infos:
    """What inference knows with claims of the file taken for true; those that contradict it are left out.

    Claims that stand stay in the model.
    """
    if not claims:
        return known
    before = len(model.graph.value_info)
    model.graph.value_info.extend(claims)
    try:
        return _infer(model)
    except onnx.shape_inference.InferenceError:
        del model.graph.value_info[before:]
    if len(claims) == 1:
        return known
    half = len(claims) // 2
    return _infer_with(model, claims[half:], _infer_with(model, claims[:half], known))


def _with_proven_ranks(model: onnx.ModelProto, inferred: Infos) -> Infos:
    """What inference knows once ranks that it loses are proven otherwise, and what follows from them."""
    made = {o for n in model.graph.node for o in n.output if o}
    while any(not _has_shape(inferred.get(name)) for name in made):
        ranks = proven_ranks(model, inferred)
        types = {n: v.type.tensor_type.elem_type for n, v in inferred.items()}
        claims = {n: make_tensor_value_info(n, types[n], [None] * rank) for n, rank in ranks.items() if n in types}
        outputs = {o.name: o for o in model.graph.output}
        for name in claims.keys() & outputs.keys():
            outputs[name].CopyFrom(claims.pop(name))
        found = _infer_with(model, list(claims.values()), inferred) if claims else _infer(model)
        if sum(map(_has_shape, found.values())) <= sum(map(_has_shape, inferred.values())):
            break
        inferred = found
    return _with_inner_ranks(model, inferred)


def _with_inner_ranks(model: onnx.ModelProto, inferred: Infos) -> Infos:
    """What inference knows with the ranks proven within subgraphs; as it was, where these contradict a claim of the file."""
    trial = onnx.ModelProto()
    trial.CopyFrom(model)
    if not prove_inner_ranks(trial, inferred):
        return inferred
    try:
        found = _infer(trial)
    except onnx.shape_inference.InferenceError:
        return inferred
    model.CopyFrom(trial)
    found |= {n: v for n, v in inferred.items() if _has_shape(v) and not _has_shape(found.get(n))}
    return _with_inner_ranks(model, found)


def _infer(model: onnx.ModelProto) -> Infos:
    """Value information of every tensor whose type inference finds, with its shape where it finds that too."""
    work = onnx.ModelProto()
    work.CopyFrom(model)
    shapes = {t.name: t.dims for graph in graphs_in(work.graph) for t in graph.initializer}
    for graph in graphs_in(work.graph):
        for node in graph.node:
            stand_in(node, shapes)
    declare_counters(work.graph)
    lend_constants(work.graph)
    result = onnx.shape_inference.infer_shapes(work, data_prop=True)
    if assume_states(work, {v.name: v for v in result.graph.input} | _typed(result)):
        result = onnx.shape_inference.infer_shapes(work, data_prop=True)
        while correct_states(work, result):
            result = onnx.shape_inference.infer_shapes(work, data_prop=True)
    if declare_results(work, result):
        result = onnx.shape_inference.infer_shapes(work, data_prop=True)
    for node, done in zip(model.graph.node, result.graph.node, strict=True):
        adopt_types(node, done)
    return _typed(result)


def _typed(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    infos = (*model.graph.value_info, *model.graph.output)
    return {
        v.name: v
        for v in infos
        if (v.type.HasField("tensor_type") and v.type.tensor_type.elem_type)
        or (v.type.HasField("sequence_type") and v.type.sequence_type.elem_type.HasField("tensor_type"))
    }


def _has_shape(info: onnx.ValueInfoProto | None) -> bool:
    return info is not None and info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape")


def _meant(info: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    """A claim without the symbols that an earlier inference made up: the next one counts from the start again."""
    said = onnx.ValueInfoProto()
    said.CopyFrom(info)
    if _has_shape(said):
        for dim in said.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.ClearField("dim_param")
    return said


def _same_rank(info: onnx.ValueInfoProto, said: onnx.ValueInfoProto) -> bool:
    both = _has_shape(info) and _has_shape(said)
    return both and len(info.type.tensor_type.shape.dim) == len(said.type.tensor_type.shape.dim)


def _is_symbolic(said: onnx.ValueInfoProto) -> bool:
    """Whether the file gives an extent a name of its own."""
    return _has_shape(said) and any(d.dim_param and not _nameless(d) for d in said.type.tensor_type.shape.dim)


def _nameless(dim: onnx.TensorShapeProto.Dimension) -> bool:
    """Whether inference knows nothing of an extent; it makes up symbols for those."""
    return not dim.HasField("dim_value") and (not dim.dim_param or dim.dim_param.startswith("unk__"))


def _contradicts(info: onnx.ValueInfoProto, said: onnx.ValueInfoProto) -> bool:
    """Whether the file claims a number where inference found another, or a symbol."""
    dims = zip(info.type.tensor_type.shape.dim, said.type.tensor_type.shape.dim, strict=True)
    return any(
        claim.HasField("dim_value") and not _nameless(found) and (found.dim_param or found.dim_value != claim.dim_value)
        for found, claim in dims
    )


def _fill_extents(info: onnx.ValueInfoProto, said: onnx.ValueInfoProto, *, numbers: bool) -> None:
    """Give extents that inference could not tell what the file claims of them."""
    for found, claim in zip(info.type.tensor_type.shape.dim, said.type.tensor_type.shape.dim, strict=True):
        if _nameless(found) and claim.dim_param:
            found.dim_param = claim.dim_param
        elif _nameless(found) and numbers and claim.HasField("dim_value"):
            found.dim_value = claim.dim_value
