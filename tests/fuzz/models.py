"""Mutants of models: of their bytes, of single protobuf fields, of the graph."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.fuzz import seeds

__all__ = ["mutant"]

INTEGERS = (
    0,
    1,
    2,
    3,
    -1,
    -2,
    7,
    8,
    12,
    16,
    17,
    255,
    4096,
    65536,
    1 << 20,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 40,
    (1 << 63) - 1,
    -(1 << 63),
)
FLOATS = (0.0, 1.0, -1.0, 1e-38, 1e30, 3e38, float("inf"), float("-inf"), float("nan"), 0.5)
STRINGS = (
    "",
    "x",
    "y",
    "ai.onnx",
    "ai.onnx.ml",
    "com.microsoft",
    "\x00",
    "\x1b[31mred",
    "a" * 5000,
    "../../etc/passwd",
    "é",
    "nan",
    "-1",
)
OPERATORS = (
    "Add", "Mul", "Relu", "Identity", "MatMul", "Gemm", "Conv", "Reshape", "Transpose", "Softmax", "Concat", "Split", "Loop", "If", "Scan",
    "MaxPool", "Slice", "Gather", "Pad", "Expand", "Tile", "Einsum", "LSTM", "Resize", "Constant", "ConstantOfShape", "Range", "Shape",
    "Cast", "QuantizeLinear", "DequantizeLinear", "ReduceSum", "TopK", "Where", "NonZero", "OneHot", "Clip", "BatchNormalization", "Sum",
    "CumSum", "GridSample", "ConvTranspose", "TreeEnsembleClassifier", "ZipMap", "Scaler", "Unknown",
)  # fmt: skip


def mutant(rng: random.Random) -> bytes:
    """One mutant of a seed, mutated once to four times."""
    data = rng.choice(seeds.models())
    if rng.random() < 0.15:
        return _bytes(rng, data)
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        for _ in range(5):
            if (_field if rng.random() < 0.4 else rng.choice(EDITS))(rng, model):
                break
    made = model.SerializeToString()
    return _bytes(rng, made) if rng.random() < 0.03 else made


# -- bytes -----------------------------------------------------------------------------------------------------------


def _bytes(rng: random.Random, data: bytes) -> bytes:
    made = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(made) or 1)
        kind = rng.randrange(5)
        if kind == 0:
            made[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del made[at : at + rng.choice((1, 2, 16, 200))]
        elif kind == 2:
            made[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 2, 16))))
        elif kind == 3:
            del made[at:]
        else:
            size = rng.choice((4, 32, 256))
            made[at:at] = made[(start := rng.randrange(len(made) or 1)) : start + size]
    return bytes(made)


# -- fields ----------------------------------------------------------------------------------------------------------


def _messages(message: Message, depth: int = 0) -> Iterator[Message]:
    yield message
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_MESSAGE and depth < 12:
            for part in value if field.is_repeated else [value]:
                yield from _messages(part, depth + 1)


def _field(rng: random.Random, model: onnx.ModelProto) -> bool:
    """Change one field of one message, set or not."""
    by_kind: dict[str, list[Message]] = {}
    for message in _messages(model):
        by_kind.setdefault(message.DESCRIPTOR.name, []).append(message)
    message = rng.choice(by_kind[rng.choice(sorted(by_kind))])
    fields = list(message.DESCRIPTOR.fields) if rng.random() < 0.3 else [f for f, _ in message.ListFields()]
    if not fields:
        return False
    field = rng.choice(fields)
    if field.is_repeated:
        return _repeated(rng, model, message, field)
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        others = by_kind.get(field.message_type.name)
        if not others:
            return False
        copied = type(others[0])()
        copied.CopyFrom(rng.choice(others))
        getattr(message, field.name).CopyFrom(copied)
    else:
        return _set(message, field.name, _scalar(rng, model, field))
    return True


def _set(message: Message, name: str, value: Any) -> bool:
    try:
        setattr(message, name, value)
    except (ValueError, TypeError):
        return False
    return True


def _repeated(rng: random.Random, model: onnx.ModelProto, message: Message, field: FieldDescriptor) -> bool:
    values = getattr(message, field.name)
    kind = rng.randrange(5)
    if len(values) and kind == 0:
        del values[rng.randrange(len(values))]
    elif len(values) and kind == 1:
        values.append(values[rng.randrange(len(values))])
    elif len(values) > 1 and kind == 2:
        whole = list(values)
        rng.shuffle(whole)
        del values[:]
        values.extend(whole)
    elif kind == 3:
        del values[:]
    elif field.type == FieldDescriptor.TYPE_MESSAGE:
        values.add()
    else:
        try:
            value = _scalar(rng, model, field)
            if len(values) and rng.random() < 0.7:
                values[rng.randrange(len(values))] = value
            else:
                values.append(value)
        except (ValueError, TypeError):
            return False
    return True


def _scalar(rng: random.Random, model: onnx.ModelProto, field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice((*STRINGS, rng.choice(_names(model) or ["x"])))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 3, 4, 8, 64))))
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return rng.choice((*range(26), 99))
    return rng.choice(INTEGERS)


# -- the graph -------------------------------------------------------------------------------------------------------


def _names(model: onnx.ModelProto) -> list[str]:
    graph = model.graph
    return [*(v.name for v in graph.input), *(t.name for t in graph.initializer), *(o for n in graph.node for o in n.output)]


def _graphs(model: onnx.ModelProto) -> list[Any]:
    found: list[Any] = [model.graph]
    for graph in found:
        found += [a.g for n in graph.node for a in n.attribute if a.HasField("g")]
    return [*found, *model.functions]


def _node(rng: random.Random, model: onnx.ModelProto) -> onnx.NodeProto | None:
    graph = rng.choice(_graphs(model))
    return rng.choice(graph.node) if graph.node else None


def _rewire(rng: random.Random, model: onnx.ModelProto) -> bool:
    node = _node(rng, model)
    if node is None or not node.input:
        return False
    node.input[rng.randrange(len(node.input))] = rng.choice([*_names(model), "nowhere", ""])
    return True


def _swap_operator(rng: random.Random, model: onnx.ModelProto) -> bool:
    node = _node(rng, model)
    if node is None:
        return False
    node.op_type = rng.choice((*OPERATORS, *(f.name for f in model.functions)))
    node.domain = rng.choice((node.domain, "", "", *(f.domain for f in model.functions)))
    return True


def _rename_output(rng: random.Random, model: onnx.ModelProto) -> bool:
    node = _node(rng, model)
    if node is None or not node.output:
        return False
    node.output[rng.randrange(len(node.output))] = rng.choice([*_names(model), ""])
    return True


def _drop_node(rng: random.Random, model: onnx.ModelProto) -> bool:
    graph = rng.choice(_graphs(model))
    if not graph.node:
        return False
    del graph.node[rng.randrange(len(graph.node))]
    return True


def _add_node(rng: random.Random, model: onnx.ModelProto) -> bool:
    node = _node(rng, model)
    if node is None or not node.input:
        return False
    place = rng.randrange(len(node.input))
    new = onnx.helper.make_node(rng.choice(OPERATORS), [node.input[place]] * rng.choice((1, 1, 2, 3)), [f"fuzz{rng.random()}"])
    node.input[place] = new.output[0]
    model.graph.node.insert(rng.randrange(len(model.graph.node) + 1), new)
    return True


def _attribute(rng: random.Random, model: onnx.ModelProto) -> bool:
    node = _node(rng, model)
    if node is None:
        return False
    if not node.attribute or rng.random() < 0.1:
        node.attribute.append(
            onnx.helper.make_attribute(rng.choice(("axis", "perm", "kernel_shape", "to", "axes")), rng.choice(INTEGERS))
        )
        return True
    attribute = rng.choice(node.attribute)
    kind = rng.randrange(4)
    if kind == 0:
        attribute.type = rng.randrange(15)
        return True
    name, old = attribute.name, onnx.AttributeProto()
    old.CopyFrom(attribute)
    values = (
        rng.choice(INTEGERS),
        [rng.choice(INTEGERS) for _ in range(rng.randrange(1, 6))],
        rng.choice(FLOATS),
        rng.choice(STRINGS),
        [rng.choice(FLOATS)] * 3,
    )
    if kind == 1 and len(old.ints):
        attribute.ints[rng.randrange(len(old.ints))] = rng.choice(INTEGERS)
    elif kind == 1 and old.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(INTEGERS)
    else:
        attribute.CopyFrom(onnx.helper.make_attribute(name, rng.choice(values)))
    return True


def _tensor(rng: random.Random, model: onnx.ModelProto) -> bool:
    tensors = [t for g in _graphs(model) if isinstance(g, onnx.GraphProto) for t in g.initializer]
    tensors += [a.t for g in _graphs(model) for n in g.node for a in n.attribute if a.HasField("t")]
    if not tensors:
        return False
    tensor = rng.choice(tensors)
    kind = rng.randrange(6)
    if kind == 0:
        tensor.data_type = rng.randrange(27)
    elif kind == 1:
        if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(INTEGERS)
        else:
            tensor.dims.append(rng.choice(INTEGERS))
    elif kind == 2:
        tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
    elif kind == 3:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        if rng.random() < 0.9:
            tensor.external_data.add(
                key="location", value=rng.choice(("weights.bin", "../up.bin", "/etc/hostname", "", "link", ".", "a\x00b"))
            )
        tensor.external_data.add(key=rng.choice(("offset", "length")), value=rng.choice(("-1", "x", "0", "9" * 30, "1e3", "")))
    elif kind == 4:
        array = rng.choice((0, 1, -1, 1 << 40, -(1 << 63), 1 << 20))
        if tensor.data_type != onnx.TensorProto.INT64:
            return False
        size = max(1, min(8, len(tensor.raw_data) // 8 or len(tensor.int64_data)))
        tensor.ClearField("int64_data")
        tensor.raw_data = array.to_bytes(8, "little", signed=True) * size
    else:
        tensor.name = rng.choice([*_names(model), ""])
    return True


def _value_info(rng: random.Random, model: onnx.ModelProto) -> bool:
    infos = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if not infos:
        return False
    info = rng.choice(infos)
    kind = rng.randrange(6)
    dims = info.type.tensor_type.shape.dim
    if kind == 0 and dims:
        rng.choice(dims).dim_value = rng.choice(INTEGERS)
    elif kind == 1 and dims:
        rng.choice(dims).dim_param = rng.choice(STRINGS)
    elif kind == 2:
        info.type.tensor_type.elem_type = rng.randrange(27)
    elif kind == 3:
        info.type.tensor_type.ClearField("shape")
    elif kind == 4 and dims:
        del dims[rng.randrange(len(dims))]
    else:
        info.name = rng.choice([*_names(model), "", "nowhere"])
    return True


def _function(rng: random.Random, model: onnx.ModelProto) -> bool:
    """A function made of the graph, which may call itself, or a call of a function elsewhere."""
    if model.functions and rng.random() < 0.6:
        function = rng.choice(model.functions)
        caller = rng.choice(model.functions)
        caller.node.add(op_type=function.name, domain=function.domain, input=list(caller.input), output=[f"r{rng.random()}"])
        return True
    graph = model.graph
    function = model.functions.add(
        name="F", domain=rng.choice(("own", "")), input=[v.name for v in graph.input], output=[o.name for o in graph.output]
    )
    function.opset_import.extend(model.opset_import)
    function.node.extend(graph.node)
    model.opset_import.add(domain="own", version=1)
    del graph.node[:]
    graph.node.add(op_type="F", domain=function.domain, input=function.input, output=function.output)
    return True


def _body(rng: random.Random, model: onnx.ModelProto) -> bool:
    bodies = [a for g in _graphs(model) for n in g.node for a in n.attribute if a.HasField("g")]
    if not bodies:
        return False
    body = rng.choice(bodies)
    kind = rng.randrange(5)
    if kind == 0:
        body.ClearField("g")
    elif kind == 1:
        del body.g.node[:]
    elif kind == 2:
        del body.g.output[:]
    elif kind == 3:
        del body.g.input[:]
    else:
        whole = onnx.GraphProto()
        whole.CopyFrom(model.graph)
        body.g.CopyFrom(whole)
    return True


def _versions(rng: random.Random, model: onnx.ModelProto) -> bool:
    kind = rng.randrange(3)
    if kind == 0 and model.opset_import:
        rng.choice(model.opset_import).version = rng.choice((*INTEGERS, 6, 9, 11, 13, 15, 21, 26))
    elif kind == 1:
        model.opset_import.add(domain=rng.choice(STRINGS), version=rng.choice(INTEGERS))
    else:
        model.ir_version = rng.choice(INTEGERS)
    return True


EDITS: tuple[Callable[[random.Random, onnx.ModelProto], bool], ...] = (
    _rewire, _rewire, _swap_operator, _rename_output, _drop_node, _add_node, _attribute, _attribute, _attribute, _tensor, _tensor, _tensor,
    _value_info, _value_info, _function, _body, _versions,
)  # fmt: skip
