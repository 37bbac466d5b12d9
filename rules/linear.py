"""Linear maps: dense layers, convolutions and their transposes, sums of products."""

from onnxplain import Builder, Extents, Messages, Node, Tensor, rule
from onnxplain.rulekit import windows as geometry

# -- dense -------------------------------------------------------------------------------------------------------------


@rule("MatMul", role="bilinear", broadcasts=True, core=2)
def matmul(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dA = dY·Bᵀ, dB = Aᵀ·dY; a vector counts as a matrix of one row (A) or one column (B); batch axes broadcast."""
    a, c = node.input(0), node.input(1)
    row, column = a.rank == 1, c.rank == 1
    if column:
        dy = b.Unsqueeze(dy, [-1])
    if row:
        dy = b.Unsqueeze(dy, [-2])
    da = b.MatMul(dy, b.Unsqueeze(c, [0]) if column else b.swap_last(c))
    dc = b.MatMul(b.Unsqueeze(a, [1]) if row else b.swap_last(a), dy)
    return b.Squeeze(da, [-2]) if row else da, b.Squeeze(dc, [-1]) if column else dc


@rule("Gemm", role="linear", weight=1, bias=2)
def gemm(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Y = α·A·B + β·C with A, B transposed on demand: dA = α·dY·Bᵀ, dB = α·Aᵀ·dY, dC = β·dY summed to the shape of C"""
    x, w, bias = node.inputs
    turned_x, turned_w, alpha, beta = node["transA"], node["transB"], node["alpha"], node["beta"]
    if turned_x:
        dx = b.Gemm(w, dy, alpha=alpha, transA=turned_w, transB=1)
    else:
        dx = b.Gemm(dy, w, alpha=alpha, transB=1 - turned_w)
    if turned_w:
        dw = b.Gemm(dy, x, alpha=alpha, transA=1, transB=turned_x)
    else:
        dw = b.Gemm(x, dy, alpha=alpha, transA=1 - turned_x)
    if bias is None or not node.needs_input_grad(2):
        return dx, dw, None
    return dx, dw, b.sum_to(dy if beta == 1 else b.Mul(dy, beta), bias, node.y.shape)


# -- convolution -------------------------------------------------------------------------------------------------------


@rule("Conv", role="linear", weight=1, bias=2)
def conv(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dX = dY convolved with W turned round, dW = X convolved with dY, dB = Σ dY"""
    x, w, group = node.input(0), node.input(1), node["group"]
    over = geometry.windows(b, node, x, Extents.of(b, w, 2))
    dx = geometry.conv_input_gradient(b, over, dy, w, x, node.y, group) if node.needs_input_grad(0) else None
    dw = geometry.conv_weight_gradient(b, over, x, dy, group) if node.needs_input_grad(1) else None
    return dx, dw, b.ReduceSum(dy, _all_but_channels(x), keepdims=0)


@rule("ConvTranspose", role="linear", weight=1, bias=2)
def conv_transpose(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dX = dY convolved with W, dW = dY convolved with X, dB = Σ dY: what X did to dX in Conv, the other way round"""
    x, w, group = node.input(0), node.input(1), node["group"]
    spatial = list(range(2, x.rank))
    over = geometry.transposed_windows(b, node, x, Extents.of(b, w, 2))
    # Windows beyond the last that wrote: output_padding or output_shape made room for them.
    spare = bool(node.get("output_shape")) or any(
        p >= s for p, s in zip(node.get("output_padding") or (), over.strides, strict=False)
    )
    dx = geometry.conv_forward(b, over, dy, w, group) if node.needs_input_grad(0) else None
    if dx is not None and spare:
        dx = b.Slice(dx, [0] * len(spatial), Extents.of(b, x, 2).operand, spatial)
    dw = geometry.conv_weight_gradient(b, over, dy, x, group, spare=spare) if node.needs_input_grad(1) else None
    return dx, dw, b.ReduceSum(dy, _all_but_channels(x), keepdims=0)


def _all_but_channels(x: Tensor) -> list[int]:
    return [0, *range(2, x.rank)]


@rule("Col2Im", role="sum")
def col2im(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The columns are the image's windows, so dx holds the windows of dy: a convolution with unit kernels."""
    block = Extents(b, node.input(2))
    over = geometry.windows(b, node, node.y, block, axes=node.input(2).dim(0))
    planes = b.Reshape(dy, Extents(b, [-1, 1]).then(Extents(b, node.input(1))).operand)
    size = b.ReduceProd(block.operand, keepdims=0)
    numbers = b.Range(0, size, 1)
    units = b.cast(b.Equal(b.Unsqueeze(numbers, [1]), numbers), node.x)
    units = b.Reshape(units, Extents(b, [-1, 1]).then(block).operand)
    return b.reshape(geometry.conv_forward(b, over, planes, units), node.x), None, None


# -- sums of products --------------------------------------------------------------------------------------------------


@rule("Einsum", role="bilinear")
def einsum(b: Builder, node: Node, dy: Tensor) -> Messages:
    """The message on an operand is the sum of products of dy and all other operands, over the labels it lacks."""
    operands = [x for x in node.inputs if x is not None]
    terms, result = _labels(node, operands)
    return tuple(
        _einsum_message(b, dy, i, operands, terms, result) if node.needs_input_grad(i) else None for i in range(len(operands))
    )


def _labels(node: Node, operands: list[Tensor]) -> tuple[list[str], str]:
    """The labels of each operand and of the result, with `...` written out and the result made explicit."""
    equation = "".join(node["equation"].split())
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    named = {c for c in equation if c.isalpha()}
    spare = [c for c in "zyxwvutsrqponmlkjihgfedcbaZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in named]
    hidden = [x.rank - len(t.replace("...", "")) if "..." in t else 0 for t, x in zip(terms, operands, strict=True)]
    batch = "".join(spare[: max(hidden, default=0)])
    written = [t.replace("...", batch[len(batch) - h :]) for t, h in zip(terms, hidden, strict=True)]
    if arrow:
        return written, right.replace("...", batch)
    once = sorted(c for c in named if left.count(c) == 1)
    return written, batch + "".join(once)


def _einsum_message(b: Builder, dy: Tensor, i: int, operands: list[Tensor], terms: list[str], result: str) -> Tensor:
    x, mine = operands[i], terms[i]
    others = [t for j, t in enumerate(terms) if j != i]
    elsewhere = set("".join([result, *others]))
    labels = "".join(dict.fromkeys(mine))
    found = "".join(c for c in labels if c in elsewhere)
    rest = [o for j, o in enumerate(operands) if j != i]
    m = b.Einsum(dy, *rest, equation=f"{','.join([result, *others])}->{found}")
    # Axes to insert: labels summed within x alone, and the further places of a label that x has twice (a diagonal).
    again = [axis for axis, c in enumerate(mine) if c in mine[:axis]]
    alone = [axis for axis, c in enumerate(mine) if c not in elsewhere and axis not in again]
    if again or alone:
        m = b.Unsqueeze(m, sorted(again + alone))
    for axis in again:
        first = mine.index(mine[axis])
        numbers = b.Range(0, b.Squeeze(b.dim(x, axis), [0]), 1)
        rows = b.Unsqueeze(numbers, [a for a in range(len(mine)) if a != first])
        columns = b.Unsqueeze(numbers, [a for a in range(len(mine)) if a != axis])
        m = b.Where(b.Equal(rows, columns), m, 0)
    full = [_extent(c, x.dim(axis), operands, terms) for axis, c in enumerate(mine)]
    # An extent of one may have been stretched by another operand, and others may have had one where x has more.
    thin = {c for c in found if c not in result and all(_at(o, t, c) == 1 for o, t in zip(rest, others, strict=True) if c in t)}
    stretch = [axis for axis, c in enumerate(mine) if axis in alone or (c in thin and x.dim(axis) != 1)]
    if stretch:
        sizes = [b.dim(x, axis) if axis in stretch else b.const([1]) for axis in range(len(mine))]
        m = b.Expand(m, b.Concat(*sizes, axis=0))
    return b.sum_to(m, x, tuple(full))


def _at(x: Tensor, term: str, label: str) -> int | str | None:
    return x.dim(term.index(label))


def _extent(label: str, mine: int | str | None, operands: list[Tensor], terms: list[str]) -> int | str | None:
    """The extent of a label in the product: that of x itself unless x has one and another operand more."""
    every = [_at(o, t, label) for o, t in zip(operands, terms, strict=True) if label in t]
    return next((e for e in every if e != 1), 1) if mine == 1 else mine
