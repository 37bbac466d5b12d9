"""The similarity of an embedding to a reference, as a score of the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper

from onnxplain.errors import InputError, MethodError, nearest
from onnxplain.io.reader import Source
from onnxplain.ir.edit.names import names_in
from onnxplain.ir.edit.nodes import NodeWriter
from onnxplain.passes.shapes import infer_shapes
from onnxplain.runtime.inputs import check_inputs, model_inputs
from onnxplain.runtime.session import Session

__all__ = [
    "AT_RUN_TIME",
    "MEASURES",
    "REFERENCE",
    "SCORE",
    "ReferenceLike",
    "Similarity",
    "embedding_of",
    "similar_to",
    "with_similarity",
]

Array = np.ndarray[Any, Any]

MEASURES = ("cosine", "dot")
"""Cosine: e · r / (|e| |r|). Dot: e · r."""
SCORE = "similarity"
"""The output with the similarity, [n, 1]."""
REFERENCE = "reference"
"""The input with the reference, where it is given at run time, [n, d]."""
AT_RUN_TIME = "input"

ReferenceLike: TypeAlias = "Array | str | Mapping[str, Any] | list[float]"
"""An embedding; the inputs that the model makes it of, by name; or "input"."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """What an embedding is compared with, and how.

    Attributes:
        measure: one of `MEASURES`.
        reference: the other embedding, [d]; None where it is given at run time.
        output: the output with the embedding; None for the only one.
    """

    measure: str
    reference: Array | None
    output: str | None = None

    def told(self) -> dict[str, Any]:
        """What the metadata of an explained model says of it."""
        known = self.reference
        digest = None if known is None else hashlib.sha256(known.astype("<f8").tobytes()).hexdigest()
        return {
            "measure": self.measure, "embedding": self.output, "reference": AT_RUN_TIME if known is None else "baked in",
            "reference_sha256": digest,
        }  # fmt: skip


def similar_to(
    reference: ReferenceLike | None,
    measure: str | None,
    output: str | None,
    embed: Callable[[Mapping[str, Any], str | None], Array],
) -> Similarity | None:
    """The similarity that a user asks for; None where nothing was said of it.

    Args:
        reference: an embedding; inputs of the model, by name, of which it makes one; "input" for one given at run time.
        measure: one of `MEASURES`; None for cosine.
        output: the output with the embedding.
        embed: makes the embedding of inputs.

    Raises:
        MethodError: there is no such measure, or it has no reference.
        InputError: the reference is no embedding.
    """
    if reference is None:
        if measure is not None:
            raise MethodError(f"similarity={measure!r} compares with a reference: give reference= (--reference) too")
        return None
    if measure not in (None, *MEASURES):
        raise MethodError(f"unknown similarity {measure!r}; {nearest(str(measure), MEASURES)}")
    if isinstance(reference, str):
        if reference != AT_RUN_TIME:
            raise InputError(f"a reference is an embedding, a dict of the model's inputs, or 'input', not {reference!r}")
        return Similarity(measure or "cosine", None, output)
    values = embed(reference, output) if isinstance(reference, Mapping) else np.asarray(reference)
    if values.dtype.kind not in "fiu" or values.size == 0 or (values.ndim > 1 and values.size != values.shape[-1]):
        raise InputError(f"a reference is one embedding, [d] or [1, d], not {values.dtype} {list(values.shape)}")
    flat = values.ravel().astype(np.float64)
    if not np.isfinite(flat).all() or not flat.any():
        raise InputError("a reference of zeros, or of numbers that are not finite, has no direction to compare with")
    return Similarity(measure or "cosine", flat, output)


def embedding_of(source: Source, inputs: Mapping[str, Any], output: str | None, providers: Any = None) -> Array:
    """The embedding that a model makes of one sample, [1, d].

    Args:
        source: the model, as it was read.
        inputs: one sample, by input.
        output: the output with the embedding; None for the only one.
        providers: where to run.

    Raises:
        InputError: the inputs do not fit, or hold several samples.
    """
    session = Session(source.model, providers, folder=source.folder)
    name, tensors = _embedding(source.model, output).name, model_inputs(source.model)
    feeds = check_inputs(dict(inputs), tensors)
    several = {len(array) for array in feeds.values() if array.ndim and len(array) != 1}
    if several:
        raise InputError(f"the reference has {max(several)} samples, and one is needed: give one")
    for tensor in tensors:  # models that were exported for a fixed number of samples get the one so many times
        fixed = tensor.shape[0] if tensor.shape else None
        if isinstance(fixed, int) and fixed > 1 and tensor.name in feeds:
            feeds[tensor.name] = feeds[tensor.name].repeat(fixed, axis=0)
    return np.asarray(session.run(feeds)[name])[:1].reshape(1, -1)


def with_similarity(source: Source, similarity: Similarity | None) -> Source:
    """A prepared model with one more output, the similarity of its embedding to the reference; in place.

    Raises:
        InputError: there is no such output, it is no embedding, or the reference has another length.
    """
    model = source.model
    if similarity is None or any(o.name == SCORE for o in model.graph.output):
        return source
    embedding = _embedding(model, similarity.output)
    kind = embedding.type.tensor_type.elem_type
    dims = list(embedding.type.tensor_type.shape.dim)
    length = prod(d.dim_value for d in dims[1:]) if all(d.dim_value for d in dims[1:]) else None
    names = names_in(model.graph)
    if SCORE in names or REFERENCE in names:
        raise InputError(f"the model has a tensor '{SCORE}' or '{REFERENCE}' of its own; rename it")
    names.take((SCORE, REFERENCE))
    w = NodeWriter(names, "similarity/", model.graph.node, model.graph.initializer)
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    rows = w.op("Flatten", embedding.name, axis=1)
    rows = w.op("LpNormalization", rows, axis=1, p=2) if similarity.measure == "cosine" else rows
    if similarity.reference is None:
        samples = dims[0].dim_param or dims[0].dim_value or "samples"
        model.graph.input.append(helper.make_tensor_value_info(REFERENCE, kind, [samples, length or "reference_length"]))
        other = w.op("LpNormalization", REFERENCE, axis=1, p=2) if similarity.measure == "cosine" else REFERENCE
        products, axis = w.op("Mul", rows, other), w.constant(np.array([1], np.int64))
        model.graph.node.append(helper.make_node("ReduceSum", [products, axis], [SCORE], SCORE))
    else:
        if length is not None and length != similarity.reference.size:
            found = similarity.reference.size
            raise InputError(f"the reference has {found} numbers, and the embedding '{embedding.name}' {length}")
        column = similarity.reference / (np.linalg.norm(similarity.reference) if similarity.measure == "cosine" else 1.0)
        held = w.constant(column[:, None].astype(dtype), "reference")
        model.graph.node.append(helper.make_node("MatMul", [rows, held], [SCORE], SCORE))
    first = dims[0].dim_param or dims[0].dim_value or None
    model.graph.output.append(helper.make_tensor_value_info(SCORE, kind, [first, 1]))
    infer_shapes(model)
    return source


def _embedding(model: onnx.ModelProto, name: str | None) -> onnx.ValueInfoProto:
    """The output with the embedding.

    Raises:
        InputError: there is no such output, there are several and none is named, or it is no embedding.
    """
    outputs = {o.name: o for o in model.graph.output if o.name != SCORE}
    if name is None and len(outputs) != 1:
        listed = ", ".join(outputs)
        raise InputError(f"the model has {len(outputs)} outputs: say which one is the embedding, --output (output=): {listed}")
    if name is not None and name not in outputs:
        raise InputError(f"no output '{name}' in the model; {nearest(name, outputs)}")
    found = next(iter(outputs.values())) if name is None else outputs[name]
    kind = found.type.tensor_type.elem_type
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)
    if not found.type.HasField("tensor_type") or kind not in floats or len(found.type.tensor_type.shape.dim) < 2:
        raise InputError(f"output '{found.name}' is no embedding: one is of floating-point numbers, [samples, …]")
    return found
