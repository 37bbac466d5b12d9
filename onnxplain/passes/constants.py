"""Constants folded where cheap: the shape arithmetic that exporters leave behind. Weights are touched only where asked for."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx

from onnxplain.ir.edit import reads, set_nodes

__all__ = ["fold_constants"]

SMALL_CONSTANT_ELEMENTS = 1024
"""Elements up to which a constant is small."""

# operators: those that shape arithmetic consists of, which run when a model is prepared
FOLDABLE = frozenset(
    """Abs Add And Cast CastLike Ceil Concat ConstantOfShape Div Equal Expand Floor Gather Greater GreaterOrEqual Identity Less
    LessOrEqual Max Min Mod Mul Neg Not Or Range ReduceMax ReduceMin ReduceProd Reciprocal ReduceSum Reshape ScatterND Shape Size
    Slice Split Sqrt Squeeze Sub Transpose Unsqueeze Where""".split()
)
"""All are exact and give the same result everywhere."""


def fold_constants(model: onnx.ModelProto, also: Collection[str] = ()) -> bool:
    """Replace nodes that compute small constants from small constants by initializers.

    The tensors named in `also` may be large and made of large ones; weights that nothing reads any more are dropped. What
    lies in external files stays unread, and the nodes on it stay nodes.
    """
    graph = model.graph
    infos = {v.name: v.type.tensor_type for v in (*graph.value_info, *graph.input, *graph.output)}
    static = {n: _static(t) for n, t in infos.items()}
    static.update((t.name, list(t.dims)) for t in graph.initializer)
    read = {i for n in graph.node if set(also).intersection(n.output) for i in n.input}
    values = {
        t.name: t
        for t in graph.initializer
        if (int(np.prod(t.dims)) <= SMALL_CONSTANT_ELEMENTS or t.name in read) and not t.external_data
    }
    outputs = {o.name for o in graph.output}
    folded: dict[str, onnx.NodeProto] = {}
    made: set[str] = set()
    shapes: dict[str, onnx.TensorProto] = {}
    for node in graph.node:
        if node.domain or node.op_type not in FOLDABLE or outputs.intersection(node.output):
            continue
        # operators: their results are written here
        if node.op_type in ("Shape", "Size"):
            extent = static.get(node.input[0])
            if extent is not None:
                shapes[node.output[0]] = _shape_tensor(node, extent)
                folded[node.name] = node
                made.add(node.output[0])
            continue
        if not node.input or not all(not i or i in values or i in made for i in node.input):
            continue
        sizes = [static.get(o) for o in node.output]
        large = {o for o, s in zip(node.output, sizes, strict=True) if s is None or int(np.prod(s)) > SMALL_CONSTANT_ELEMENTS}
        if large <= set(also) and None not in sizes:
            folded[node.name] = node
            made.update(node.output)
    if not folded:
        return False
    results = _evaluate([n for n in folded.values() if n.output[0] not in shapes], {**values, **shapes}, model)
    wanted = {i for n in graph.node if n.name not in folded for i in reads(n)}
    set_nodes(graph, [n for n in graph.node if n.name not in folded])
    for name, tensor in {**shapes, **results}.items():
        if name in wanted:
            graph.initializer.append(tensor)
    _drop_unused(graph, wanted | outputs, read)
    return True


def _static(tensor: onnx.TypeProto.Tensor) -> list[int] | None:
    if not tensor.HasField("shape"):
        return None
    dims = [d.dim_value for d in tensor.shape.dim if d.HasField("dim_value")]
    return dims if len(dims) == len(tensor.shape.dim) else None


def _shape_tensor(node: onnx.NodeProto, extent: list[int]) -> onnx.TensorProto:
    attributes = {a.name: a.i for a in node.attribute}
    array = np.array(extent[attributes.get("start", 0) : attributes.get("end", len(extent))], np.int64)
    if node.op_type == "Size":
        array = np.array(int(np.prod(extent)), np.int64)
    return onnx.numpy_helper.from_array(array, node.output[0])


def _evaluate(
    nodes: list[onnx.NodeProto], values: dict[str, onnx.TensorProto], model: onnx.ModelProto
) -> dict[str, onnx.TensorProto]:
    from onnx.reference import ReferenceEvaluator  # reads all schemas first

    if not nodes:
        return {}
    names = [o for n in nodes for o in n.output if o]
    used = {i for n in nodes for i in n.input}
    graph = onnx.helper.make_graph(
        nodes,
        "constants",
        [],
        [onnx.helper.make_empty_tensor_value_info(n) for n in names],
        initializer=[t for n, t in values.items() if n in used],
    )
    part = onnx.helper.make_model(graph, opset_imports=[o for o in model.opset_import if not o.domain], ir_version=10)
    results = ReferenceEvaluator(part).run(None, {})
    return {n: onnx.numpy_helper.from_array(np.asarray(r), n) for n, r in zip(names, results, strict=True)}


def _drop_unused(graph: onnx.GraphProto, wanted: set[str], large: set[str]) -> None:
    """Remove small initializers, and the large ones named, that nothing reads any more."""
    for i in range(len(graph.initializer) - 1, -1, -1):
        tensor = graph.initializer[i]
        if tensor.name not in wanted and (int(np.prod(tensor.dims)) <= SMALL_CONSTANT_ELEMENTS or tensor.name in large):
            del graph.initializer[i]
