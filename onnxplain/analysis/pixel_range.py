"""Whether a model brings pixel values into a range of its own before it weighs them."""

from __future__ import annotations

from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor

__all__ = ["pixels_are_raw"]

# operators: those that move or convert values and leave their range as it is
MOVES = (
    "Transpose",
    "Reshape",
    "Cast",
    "Pad",
    "Identity",
    "Slice",
    "Concat",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Resize",
    "Gather",
)
# operators: those that weigh values by what was learned for the range of training
WEIGHS = frozenset(("Conv", "FusedConv", "Gemm", "MatMul"))


def pixels_are_raw(graph: Graph, x: Tensor) -> bool:
    """Whether an input is weighed as it comes in: nothing scales, shifts or quantizes it on the way to the first weights.

    Args:
        graph: the model.
        x: an input.
    """
    here, seen = [x], set()
    weighed = False
    while here:
        tensor = here.pop()
        if tensor.name in seen:
            continue
        seen.add(tensor.name)
        for node in graph.nodes:
            if not any(t is not None and t.name == tensor.name for t in node.inputs):
                continue
            if node.op in WEIGHS:
                weighed = True
            elif node.op in MOVES:
                here += [t for t in node.outputs if t is not None]
            else:
                return False
    return weighed
