"""Normalizations. With x̂ = (x − mean x) · r and r = 1 / √(var x + ε), the message g on x̂ becomes
dx = r · (g − mean g − x̂ · mean(g · x̂)) on x.
"""

from collections.abc import Sequence

from onnxplain import Builder, Messages, Node, RuleError, Tensor, rule


@rule("BatchNormalization", role="linear")
def batch_normalization(b: Builder, node: Node, dy: Tensor, dmean: None, dvar: None) -> Messages:
    """With stored statistics m, v and r = 1/√(v + ε): dx = dy · s · r, ds = Σ dy · (x − m) · r, dβ = Σ dy,
    dm = −Σ dx, dv = −½ Σ dx · (x − m) · r²; sums over all axes but the channels'.
    """
    if node["training_mode"]:
        raise RuleError(
            "batch normalization in training mode, its result depends on the other samples of the batch; "
            "export the model in inference mode"
        )
    x = node.x
    s, m, v = (_per_channel(b, node.input(i), x) for i in (1, 3, 4))
    axes = [axis for axis in range(x.rank) if axis != 1]
    r = b.Reciprocal(b.Sqrt(b.Add(v, node["epsilon"])))
    dx = b.Mul(dy, b.Mul(s, r))
    normal = b.Mul(b.Sub(x, m), r)
    ds = b.ReduceSum(b.Mul(dy, normal), axes, keepdims=0)
    dbias = b.ReduceSum(dy, axes, keepdims=0)
    dm = b.Neg(b.ReduceSum(dx, axes, keepdims=0))
    dv = b.Mul(b.ReduceSum(b.Mul(dx, b.Mul(normal, r)), axes, keepdims=0), -0.5)
    return dx, ds, dbias, dm, dv


@rule("LayerNormalization", role="norm", broadcasts=True, weight=1, bias=2)
def layer_normalization(b: Builder, node: Node, dy: Tensor | None, dmean: Tensor | None, dr: Tensor | None) -> Messages:
    """dx = r · (g − mean g − x̂ · mean(g · x̂)) + (dmean − dr · r² · x̂) / n with g = dy · scale;
    dscale = Σ dy · x̂, dbias = Σ dy
    """
    x, scale = node.input(0), node.input(1)
    axes = list(range(node["axis"] % x.rank, x.rank))
    # Applied once more with scale 1, the operator gives x̂ and r.
    ones, settings = b.full_like(scale, 1), {k: node[k] for k in ("axis", "epsilon", "stash_type")}
    normal, _, r = b.LayerNormalization(x, ones, None, outputs=3, **settings)
    r = b.cast(r, x)
    dx = [] if dy is None else [_through(b, b.Mul(dy, scale), normal, r, axes)]
    if dmean is not None:
        dx.append(_spread(b, b.cast(dmean, x), x, axes))
    if dr is not None:
        dx.append(b.Mul(_spread(b, b.Mul(b.cast(dr, x), b.Mul(r, b.Neg(r))), x, axes), normal))
    return b.total(dx), None if dy is None else b.Mul(dy, normal), dy


@rule("RMSNormalization", role="norm", broadcasts=True, weight=1)
def rms_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (g − x̂ · mean(g · x̂)) with x̂ = x · r, r = 1/√(mean x² + ε), g = dy · scale; dscale = Σ dy · x̂."""
    x, scale = node.input(0), node.input(1)
    axes = list(range(node["axis"] % x.rank, x.rank))
    r = b.Reciprocal(b.Sqrt(b.Add(_mean(b, b.Mul(x, x), axes), node["epsilon"])))
    normal, g = b.Mul(x, r), b.Mul(dy, scale)
    return b.Mul(r, b.Sub(g, b.Mul(normal, _mean(b, b.Mul(g, normal), axes)))), b.Mul(dy, normal)


@rule("InstanceNormalization", role="norm", weight=1, bias=2)
def instance_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (g − mean g − x̂ · mean(g · x̂)) with g = dy · scale, means over each channel of each sample."""
    x, scale = node.input(0), _per_channel(b, node.input(1), node.x)
    axes = list(range(2, x.rank))
    normal, r = _normalized(b, x, axes, node["epsilon"])
    dx = _through(b, b.Mul(dy, scale), normal, r, axes)
    return dx, b.ReduceSum(b.Mul(dy, normal), [0, *axes], keepdims=0), b.ReduceSum(dy, [0, *axes], keepdims=0)


@rule("GroupNormalization", role="norm", weight=1, bias=2)
def group_normalization_per_group(b: Builder, node: Node, dy: Tensor) -> Messages:
    """As the layer norm of each group of channels, with one scale and bias per group."""
    groups = [0, node["num_groups"], -1]
    x, dy = b.Reshape(node.x, groups), b.Reshape(dy, groups)
    normal, r = _normalized(b, x, [2], node["epsilon"])
    dx = _through(b, b.Mul(dy, b.Unsqueeze(node.input(1), [1])), normal, r, [2])
    dscale, dbias = (b.ReduceSum(t, [0, 2], keepdims=0) for t in (b.Mul(dy, normal), dy))
    return b.reshape(dx, node.x), dscale, dbias


@rule("GroupNormalization", role="norm", since=21, weight=1, bias=2)
def group_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """As the layer norm of each group of channels, with one scale and bias per channel."""
    x, scale = node.x, _per_channel(b, node.input(1), node.x)
    groups = [0, node["num_groups"], -1]
    axes = [axis for axis in range(x.rank) if axis != 1]
    grouped, r = _normalized(b, b.Reshape(x, groups), [2], node["epsilon"])
    dx = _through(b, b.Reshape(b.Mul(dy, scale), groups), grouped, r, [2])
    normal = b.reshape(grouped, x)
    return b.reshape(dx, x), b.ReduceSum(b.Mul(dy, normal), axes, keepdims=0), b.ReduceSum(dy, axes, keepdims=0)


@rule("MeanVarianceNormalization", role="norm")
def mean_variance_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (dy − mean dy − y · mean(dy · y)) with r = 1 / (√var x + 10⁻⁹)"""
    axes = node["axes"]
    centred = _centred(b, node.x, axes)
    r = b.Reciprocal(b.Add(b.Sqrt(_mean(b, b.Mul(centred, centred), axes)), 1e-9))
    return _through(b, dy, node.y, r, axes)


@rule("LpNormalization", role="norm")
def lp_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = (dy − d‖x‖ · Σ dy · y) / ‖x‖ with d‖x‖ = y for p = 2, sign x for p = 1; 0 where ‖x‖ = 0"""
    axis = [node["axis"]]
    euclidean = node["p"] == 2
    norm = b.ReduceL2(node.x, axis, keepdims=1) if euclidean else b.ReduceL1(node.x, axis, keepdims=1)
    slope = node.y if euclidean else b.Sign(node.x)
    rest = b.Sub(dy, b.Mul(slope, b.ReduceSum(b.Mul(dy, node.y), axis, keepdims=1)))
    zero = b.Equal(norm, 0)
    return b.Where(zero, 0, b.Div(rest, b.Where(zero, 1, norm)))


@rule("LRN", role="norm")
def lrn(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · d^(−β) − 2αβ/n · x · Σ dy · y / d with d = k + α/n · Σ x²; sums over windows of n channels."""
    x, n, alpha, beta = node.x, node["size"], node["alpha"], node["beta"]
    before, after = (n - 1) // 2, n // 2
    d = b.Add(b.Mul(_windows(b, b.Mul(x, x), before, after), alpha), node["bias"])
    others = _windows(b, b.Div(b.Mul(dy, node.y), d), after, before)
    return b.Sub(b.Mul(dy, b.Pow(d, -beta)), b.Mul(b.Mul(x, others), 2 * alpha * beta))


# -- with the statistics that divide held constant -----------------------------------------------------------------------


@rule("LayerNormalization", role="norm", detached=True)
def detached_layer_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (g − mean g) with g = dy · scale"""
    x, scale = node.input(0), node.input(1)
    axes = list(range(node["axis"] % x.rank, x.rank))
    settings = {k: node[k] for k in ("axis", "epsilon", "stash_type")}
    r = b.LayerNormalization(x, b.full_like(scale, 1), None, outputs=3, **settings)[2]
    return b.Mul(b.cast(r, x), _centred(b, b.Mul(dy, scale), axes))


@rule("RMSNormalization", role="norm", detached=True)
def detached_rms_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · dy · scale"""
    x, scale = node.input(0), node.input(1)
    axes = list(range(node["axis"] % x.rank, x.rank))
    r = b.Reciprocal(b.Sqrt(b.Add(_mean(b, b.Mul(x, x), axes), node["epsilon"])))
    return b.Mul(r, b.Mul(dy, scale))


@rule("InstanceNormalization", role="norm", detached=True)
def detached_instance_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (g − mean g) with g = dy · scale, means over each channel of each sample"""
    x, axes = node.x, list(range(2, node.x.rank))
    _, r = _normalized(b, x, axes, node["epsilon"])
    return b.Mul(r, _centred(b, b.Mul(dy, _per_channel(b, node.input(1), x)), axes))


@rule("GroupNormalization", role="norm", since=21, detached=True)
def detached_group_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (g − mean g) with g = dy · scale, means over each group of channels"""
    x, groups = node.x, [0, node["num_groups"], -1]
    _, r = _normalized(b, b.Reshape(x, groups), [2], node["epsilon"])
    g = b.Reshape(b.Mul(dy, _per_channel(b, node.input(1), x)), groups)
    return b.reshape(b.Mul(r, _centred(b, g, [2])), x)


@rule("GroupNormalization", role="norm", detached=True)
def detached_group_normalization_per_group(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (g − mean g) with g = dy · scale, one scale per group"""
    groups = [0, node["num_groups"], -1]
    _, r = _normalized(b, b.Reshape(node.x, groups), [2], node["epsilon"])
    g = b.Mul(b.Reshape(dy, groups), b.Unsqueeze(node.input(1), [1]))
    return b.reshape(b.Mul(r, _centred(b, g, [2])), node.x)


@rule("MeanVarianceNormalization", role="norm", detached=True)
def detached_mean_variance_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = r · (dy − mean dy)"""
    axes = node["axes"]
    centred = _centred(b, node.x, axes)
    r = b.Reciprocal(b.Add(b.Sqrt(_mean(b, b.Mul(centred, centred), axes)), 1e-9))
    return b.Mul(r, _centred(b, dy, axes))


@rule("LpNormalization", role="norm", detached=True)
def detached_lp_normalization(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / ‖x‖; 0 where ‖x‖ = 0"""
    axis = [node["axis"]]
    norm = b.ReduceL2(node.x, axis, keepdims=1) if node["p"] == 2 else b.ReduceL1(node.x, axis, keepdims=1)
    zero = b.Equal(norm, 0)
    return b.Where(zero, 0, b.Div(dy, b.Where(zero, 1, norm)))


@rule("LRN", role="norm", detached=True)
def detached_lrn(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · d^(−β) with d = k + α/n · Σ x²"""
    n = node["size"]
    d = b.Add(b.Mul(_windows(b, b.Mul(node.x, node.x), (n - 1) // 2, n // 2), node["alpha"]), node["bias"])
    return b.Mul(dy, b.Pow(d, -node["beta"]))


def _centred(b: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    return b.Sub(x, _mean(b, x, axes))


def _windows(b: Builder, x: Tensor, before: int, after: int) -> Tensor:
    """The mean over windows of `before` + 1 + `after` channels, zeros beyond the first and last."""
    flat = b.Unsqueeze(b.Reshape(x, [0, 0, -1]), [1])
    pads = [before, 0, after, 0]
    means = b.AveragePool(flat, kernel_shape=[before + 1 + after, 1], pads=pads, count_include_pad=1)
    return b.Reshape(means, b.shape(x))


def _mean(b: Builder, x: Tensor, axes: Sequence[int]) -> Tensor:
    return b.ReduceMean(x, list(axes), keepdims=1)


def _normalized(b: Builder, x: Tensor, axes: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor]:
    """x̂ and r"""
    centred = _centred(b, x, axes)
    r = b.Reciprocal(b.Sqrt(b.Add(_mean(b, b.Mul(centred, centred), axes), epsilon)))
    return b.Mul(centred, r), r


def _through(b: Builder, g: Tensor, normal: Tensor, r: Tensor, axes: Sequence[int]) -> Tensor:
    """r · (g − mean g − x̂ · mean(g · x̂))"""
    inner = b.Sub(b.Sub(g, _mean(b, g, axes)), b.Mul(normal, _mean(b, b.Mul(g, normal), axes)))
    return b.Mul(r, inner)


def _spread(b: Builder, message: Tensor, x: Tensor, axes: Sequence[int]) -> Tensor:
    """A message on the mean over axes of x, sent to all the elements in it."""
    return b.expand(b.Div(message, b.count(x, axes, message)), x)


def _per_channel(b: Builder, vector: Tensor, x: Tensor) -> Tensor:
    """A vector over the channels, axis 1 of x, in the type of x and ready to broadcast against it."""
    vector = b.cast(vector, x)
    return b.Unsqueeze(vector, list(range(1, x.rank - 1))) if x.rank > 2 else vector
