"""Setting weights aside while onnx's C++ functions, which copy the whole model several times, work on the rest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx
from onnx.external_data_helper import uses_external_data

__all__ = ["without_weights"]

KEPT_ELEMENTS = 1024
"""Elements up to which an initializer stays: shapes, axes, and other values that inference looks at."""


@contextmanager
def without_weights(model: onnx.ModelProto) -> Iterator[onnx.ModelProto]:
    """The model with its big and its external initializers turned into graph inputs of the same name and type, a copy to work on.

    Whatever the block leaves in the copy replaces the model's graph at the end, weights put back untouched.
    """
    graph = model.graph
    big = [t for t in graph.initializer if int(np.prod(t.dims)) > KEPT_ELEMENTS or uses_external_data(t)]
    small = [t for t in graph.initializer if int(np.prod(t.dims)) <= KEPT_ELEMENTS and not uses_external_data(t)]
    skeleton = onnx.ModelProto()
    for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(skeleton, name, getattr(model, name))
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    skeleton.graph.name = graph.name or "graph"
    skeleton.graph.doc_string = graph.doc_string
    for field in (
        "node",
        "input",
        "output",
        "value_info",
        "sparse_initializer",
        "quantization_annotation",
        "metadata_props",
    ):
        getattr(skeleton.graph, field).extend(getattr(graph, field))
    skeleton.graph.initializer.extend(small)
    declared = {v.name for v in graph.input}
    hidden = {t.name for t in big}
    skeleton.graph.input.extend(
        onnx.helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in big if t.name not in declared
    )
    yield skeleton
    model.ir_version = skeleton.ir_version
    del model.opset_import[:]
    model.opset_import.extend(skeleton.opset_import)
    del model.functions[:]
    model.functions.extend(skeleton.functions)
    for field in ("node", "output", "value_info"):
        values = list(getattr(skeleton.graph, field))
        del getattr(graph, field)[:]
        getattr(graph, field).extend(values)
    inputs = [v for v in skeleton.graph.input if v.name in declared or v.name not in hidden]
    del graph.input[:]
    graph.input.extend(inputs)
    # Initializers keep their place: small ones may have been changed or added, big ones are the model's own messages.
    changed = {t.name: t for t in skeleton.graph.initializer}
    for i in range(len(graph.initializer) - 1, -1, -1):
        name = graph.initializer[i].name
        if name in changed:
            graph.initializer[i].CopyFrom(changed.pop(name))
        elif name not in hidden:
            del graph.initializer[i]
    graph.initializer.extend(changed.values())
