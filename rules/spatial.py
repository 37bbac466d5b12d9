"""Grids of sampling points."""

import numpy as np

from onnxplain import Builder, Messages, Node, RuleError, Tensor, rule


@rule("AffineGrid", role="function")
def affine_grid(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = θ·[p, 1] at every point p of the identity's grid: dθ = Σ dy·[p, 1]ᵀ over the points"""
    theta, size = node.input(0), node.input(1)
    axes = size.dim(0)
    if not isinstance(axes, int):
        raise RuleError("whether its grid is flat or spatial is unknown; re-export the model with shape information")
    n = axes - 2
    identity = b.Expand(b.const(np.eye(n, n + 1), theta.dtype), b.shape(theta))
    points = b.Reshape(b.AffineGrid(identity, size, align_corners=node["align_corners"]), [0, -1, n])
    columns = b.Transpose(b.Reshape(dy, [0, -1, n]), perm=[0, 2, 1])
    return b.Concat(b.MatMul(columns, points), b.ReduceSum(columns, [2], keepdims=1), axis=2), None
