"""The logits of a binary classifier that returns [1 − p, p] with p = sigmoid(z), as scikit-learn converters write it."""

from __future__ import annotations

import numpy as np
import onnx

from onnxplain.ir.markers import LOGITS

__all__ = ["binary_logits"]


def binary_logits(model: onnx.ModelProto) -> bool:
    """Beside every tensor [1 − p, p] add [−z, z], whose difference is the log odds.

    The model's own nodes stay as they are; what nothing needs is dropped again when the model is written.
    """
    makers = {o: n for n in model.graph.node for o in n.output}
    values = {t.name: t for t in model.graph.initializer}
    found = [n for n in model.graph.node if n.op_type == "Concat" and not n.domain and _is_binary(n, makers, values)]
    found = [n for n in found if f"{n.output[0]}{LOGITS}" not in makers]
    infos = {v.name: v for v in (*model.graph.value_info, *model.graph.output)}
    for joined in found:
        sigmoid = makers[joined.input[1]]
        name = f"{joined.output[0]}{LOGITS}"
        negative = f"{name}_negative"
        axis = next(a.i for a in joined.attribute if a.name == "axis")
        model.graph.node.append(onnx.helper.make_node("Neg", [sigmoid.input[0]], [negative], name=negative))
        model.graph.node.append(onnx.helper.make_node("Concat", [negative, sigmoid.input[0]], [name], name=name, axis=axis))
        for made, like in ((negative, sigmoid.output[0]), (name, joined.output[0])):
            if like in infos:
                info = model.graph.value_info.add()
                info.CopyFrom(infos[like])
                info.name = made
    return bool(found)


def _is_binary(joined: onnx.NodeProto, makers: dict[str, onnx.NodeProto], values: dict[str, onnx.TensorProto]) -> bool:
    if len(joined.input) != 2:
        return False
    complement, sigmoid = (makers.get(i) for i in joined.input)
    if complement is None or sigmoid is None or complement.op_type != "Sub" or sigmoid.op_type != "Sigmoid":
        return False
    one = values.get(complement.input[0])
    return complement.input[1] == sigmoid.output[0] and one is not None and bool(np.all(onnx.numpy_helper.to_array(one) == 1))
