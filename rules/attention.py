"""Sequence operators of the standard whose body does not serve every model. The others (Attention, RotaryEmbedding,
LinearAttention, SwiGLU) are expanded by their bodies.
"""

import numpy as np
import onnx

from onnxplain import Builder, Node, Tensor, expansion

END = np.iinfo(np.int64).max


@expansion("CausalConvWithState", domain="", inputs=4, outputs=2, activation="none")
def causal_conv_with_state(b: Builder, node: Node) -> tuple[Tensor, Tensor]:
    """y = σ(w ∗ [state, x] + bias) per channel; the state after it is the end of [state, x]. The standard's body needs to
    know how many channels there are.
    """
    x, w, bias, state = node.input(0), node.input(1), node.inputs[2], node.inputs[3]
    size = b.dim(w, -1)
    if state is None:
        extents = b.Concat(b.Slice(b.shape(x), [0], [2]), b.Sub(size, 1), axis=0)
        state = b.Expand(b.const(0.0, x.dtype), extents)
    whole = b.Concat(state, x, axis=2)
    channels = w.dim(0)
    if isinstance(channels, int):
        y = b.Conv(whole, w, bias, group=channels)
    else:
        steps, taps = (b.Range(0, b.Squeeze(n, [0]), 1) for n in (b.dim(x, 2), size))
        windows = b.Gather(whole, b.Add(b.Unsqueeze(steps, [1]), taps), axis=2)
        y = b.Squeeze(b.MatMul(windows, b.swap_last(w)), [3])
        y = y if bias is None else b.Add(y, b.Unsqueeze(bias, [1]))
    if node["activation"] != "none":
        wide = b.Cast(y, to=onnx.TensorProto.FLOAT) if x.dtype is not None and x.dtype.itemsize < 4 else y
        y = b.cast(b.Mul(wide, b.Sigmoid(wide)), x)
    return y, b.Slice(whole, b.dim(x, 2), [END], [2])
