"""Shapes and types of all tensors, as far as the standard's inference knows them."""

from __future__ import annotations

import onnx
import onnx.shape_inference

from onnxplain.passes.weights import without_weights

__all__ = ["infer_shapes"]

FLOAT = onnx.TensorProto.FLOAT

KEEP_SHAPE = {
    "ai.onnx.ml": ("Scaler", "Normalizer", "Imputer"),
    "com.microsoft": (
        "Gelu",
        "FastGelu",
        "QuickGelu",
        "BiasGelu",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    ),
}
"""Operators outside the standard whose first output has the shape of their first input."""


def infer_shapes(model: onnx.ModelProto) -> bool:
    """Infer shapes with data propagation.

    What the file claims of inner tensors and outputs is set aside, since people edit batch sizes without redoing it; it
    comes back only for tensors that inference cannot reach (behind operators the standard does not know), and as names
    for extents that inference finds no name for.
    """
    claimed = {v.name: v for v in (*model.graph.value_info, *model.graph.output)}
    declared = {v.name for v in model.graph.output}
    with without_weights(model) as skeleton:
        del skeleton.graph.value_info[:]
        for output in skeleton.graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
        inferred = _infer(skeleton)
        unknown = {n: v for n, v in claimed.items() if _has_shape(v) and not _has_shape(inferred.get(n))}
        if unknown:
            skeleton.graph.value_info.extend(v for n, v in unknown.items() if n not in declared)
            inferred = _infer(skeleton)
            inferred |= {n: v for n, v in unknown.items() if n in declared and not _has_shape(inferred.get(n))}
        for name, info in inferred.items():
            if name in claimed and _has_shape(info):
                _name_extents(info, claimed[name])
        del skeleton.graph.value_info[:]
        skeleton.graph.value_info.extend(v for n, v in inferred.items() if n not in declared)
        for output in skeleton.graph.output:
            if output.name in inferred:
                output.CopyFrom(inferred[output.name])
    return True


def _infer(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """Value information of every tensor whose type inference finds, with its shape where it finds that too."""
    work = onnx.ModelProto()
    work.CopyFrom(model)
    for node in work.graph.node:
        if node.op_type in KEEP_SHAPE.get(node.domain, ()):
            _stand_in(node)
    result = onnx.shape_inference.infer_shapes(work, data_prop=True)
    infos = (*result.graph.value_info, *result.graph.output)
    return {v.name: v for v in infos if v.type.HasField("tensor_type") and v.type.tensor_type.elem_type}


def _stand_in(node: onnx.NodeProto) -> None:
    """Make a node one that inference knows, with the same type and shape of its first output."""
    learned = node.domain == "ai.onnx.ml"  # these make float32 of whatever they get
    del node.attribute[:]
    del node.input[1:]
    del node.output[1:]
    node.op_type, node.domain = ("Cast" if learned else "Identity"), ""
    if learned:
        node.attribute.append(onnx.helper.make_attribute("to", FLOAT))


def _has_shape(info: onnx.ValueInfoProto | None) -> bool:
    return info is not None and info.type.HasField("tensor_type") and info.type.tensor_type.HasField("shape")


def _name_extents(info: onnx.ValueInfoProto, claimed: onnx.ValueInfoProto) -> None:
    """Give extents that inference could not tell the symbols the file claims."""
    if not _has_shape(claimed):
        return
    mine, theirs = info.type.tensor_type.shape.dim, claimed.type.tensor_type.shape.dim
    if len(mine) != len(theirs):
        return
    for found, said in zip(mine, theirs, strict=True):
        nameless = not found.dim_param or found.dim_param.startswith("unk__")  # inference's own made-up symbols
        if not found.HasField("dim_value") and nameless and said.dim_param:
            found.dim_param = said.dim_param
