"""A Llama-type model written with onnx.helper, in the operators that exporters leave: any depth, any width, weights of zeros.

Widths cost nothing: wide weights lie in a sparse file of external data, which takes no room on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

__all__ = ["Llama", "save_llama"]


@dataclass
class Llama:
    """Builds the graph of `layers` blocks: RMS norms, rotary attention with grouped keys, SwiGLU; batch and tokens symbolic."""

    layers: int
    width: int = 16
    heads: int = 4
    groups: int = 2
    hidden: int = 32
    words: int = 64
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, tuple[int, ...]] = field(default_factory=dict)
    constants: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node, named as its output."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str, *shape: int) -> str:
        self.weights[name] = shape
        return name

    def number(self, *values: float, dtype: Any = np.int64) -> str:
        """A small constant, the same tensor for the same values."""
        name = "_".join(map(str, (np.dtype(dtype).name, *values)))
        self.constants[name] = np.array(values, dtype)
        return name

    def dense(self, x: str, name: str, incoming: int, outgoing: int) -> str:
        return self.op("MatMul", x, self.weight(f"{name}.weight", incoming, outgoing))

    def norm(self, x: str, name: str) -> str:
        mean = self.op("ReduceMean", self.op("Pow", x, self.number(2, dtype=np.float32)), self.number(-1))
        root = self.op("Sqrt", self.op("Add", mean, self.number(1e-6, dtype=np.float32)))
        scaled = self.op("Mul", x, self.op("Reciprocal", root))
        return self.op("Mul", self.weight(f"{name}.weight", self.width), scaled)

    def turned(self, x: str, size: int) -> str:
        """Rotary positions: x · cos + rotated x · sin."""
        halves = [
            self.op("Slice", x, self.number(a), self.number(b), self.number(3)) for a, b in ((0, size // 2), (size // 2, size))
        ]
        rotated = self.op("Concat", self.op("Neg", halves[1]), halves[0], axis=3)
        return self.op("Add", self.op("Mul", x, "cosine"), self.op("Mul", rotated, "sine"))

    def split(self, x: str, heads: int, size: int) -> str:
        shape = self.op("Concat", "batch_extent", "tokens_extent", self.number(heads), self.number(size), axis=0)
        return self.op("Transpose", self.op("Reshape", x, shape), perm=[0, 2, 1, 3])

    def repeated(self, x: str, size: int) -> str:
        """Keys or values of a group, for each of its heads."""
        groups, each = self.number(self.groups), self.number(self.heads // self.groups)
        wide = self.op("Concat", "batch_extent", groups, each, "tokens_extent", self.number(size), axis=0)
        flat = self.op("Concat", "batch_extent", self.number(self.heads), "tokens_extent", self.number(size), axis=0)
        return self.op("Reshape", self.op("Expand", self.op("Unsqueeze", x, self.number(2)), wide), flat)

    def attention(self, x: str, name: str) -> str:
        size = self.width // self.heads
        q = self.split(self.dense(x, f"{name}.q", self.width, self.width), self.heads, size)
        k = self.split(self.dense(x, f"{name}.k", self.width, self.groups * size), self.groups, size)
        v = self.split(self.dense(x, f"{name}.v", self.width, self.groups * size), self.groups, size)
        k, v = self.repeated(self.turned(k, size), size), self.repeated(v, size)
        scores = self.op("MatMul", self.turned(q, size), self.op("Transpose", k, perm=[0, 1, 3, 2]))
        scaled = self.op("Mul", scores, self.number(size**-0.5, dtype=np.float32))
        mixed = self.op("MatMul", self.op("Softmax", self.op("Add", scaled, "mask"), axis=-1), v)
        shape = self.op("Concat", "batch_extent", "tokens_extent", self.number(self.width), axis=0)
        return self.dense(
            self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), shape), f"{name}.o", self.width, self.width
        )

    def block(self, x: str, name: str) -> str:
        x = self.op("Add", x, self.attention(self.norm(x, f"{name}.norm1"), f"{name}.attention"))
        y = self.norm(x, f"{name}.norm2")
        gate = self.dense(y, f"{name}.gate", self.width, self.hidden)
        up = self.op("Mul", self.op("Mul", gate, self.op("Sigmoid", gate)), self.dense(y, f"{name}.up", self.width, self.hidden))
        return self.op("Add", x, self.dense(up, f"{name}.down", self.hidden, self.width))

    def graph(self) -> onnx.GraphProto:
        """The graph, with its weights declared and no values in them."""
        x = self.op("Gather", self.weight("words.weight", self.words, self.width), "ids")
        for i in range(self.layers):
            x = self.block(x, f"layers.{i}")
        self.dense(self.norm(x, "norm"), "head", self.width, self.words)
        self.nodes[-1].output[0] = "logits"
        size = self.width // self.heads
        before = [
            helper.make_node("Shape", ["ids"], ["batch_extent"], "batch_extent", start=0, end=1),
            helper.make_node("Shape", ["ids"], ["tokens_extent"], "tokens_extent", start=1, end=2),
        ]
        kinds = {"ids": (TensorProto.INT64, ["batch", "tokens"]), "mask": (TensorProto.FLOAT, ["batch", 1, "tokens", "tokens"])}
        kinds |= dict.fromkeys(("cosine", "sine"), (TensorProto.FLOAT, ["tokens", size]))
        inputs = [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in kinds.items()]
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "tokens", self.words])
        small = [onnx.numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        big = [TensorProto(name=n, data_type=TensorProto.FLOAT, dims=shape) for n, shape in self.weights.items()]
        return helper.make_graph([*before, *self.nodes], "llama", inputs, [output], [*small, *big])


def save_llama(path: Path, *, external: bool = False, **settings: int) -> Path:
    """Write a Llama of zeros; with `external` its weights are holes in a sparse file beside it."""
    graph = Llama(**settings).graph()
    end = 0
    for tensor in graph.initializer:
        if tensor.raw_data:
            continue
        length = 4 * int(np.prod(tensor.dims))
        if external:
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", f"{path.name}.data"), ("offset", end), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))
            end += -(-length // 4096) * 4096
        else:
            tensor.raw_data = bytes(length)
    if external:
        with open(f"{path}.data", "wb") as file:
            file.truncate(end)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path
