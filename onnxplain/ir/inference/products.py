"""Shapes of matrix products, sums of products and windows that slide over an image."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.ir.inference.applied import Applied
from onnxplain.ir.inference.dims import broadcast, common
from onnxplain.ir.tensor import Dim, Shape

__all__ = ["contracted", "convolved", "general_product", "matrix_product", "pooled_shape"]


def matrix_product(n: Applied) -> Shape:
    a, b = n.shape(0), n.shape(1)
    if a is None or b is None or not a or not b:
        return None
    left, right = a if len(a) > 1 else (1, *a), b if len(b) > 1 else (*b, 1)
    outer = broadcast([left[:-2], right[:-2]]) or ()
    rows, columns = left[-2:-1] if len(a) > 1 else (), right[-1:] if len(b) > 1 else ()
    return (*outer, *rows, *columns)


def general_product(n: Applied) -> Shape:
    a, b = n.shape(0), n.shape(1)
    rows = None if a is None else a[1 if n.attribute("transA") else 0]
    columns = None if b is None else b[0 if n.attribute("transB") else 1]
    return rows, columns


def contracted(n: Applied) -> Shape:
    """Einsum without an ellipsis."""
    text = n.attribute("equation").replace(" ", "")
    if isinstance(text, bytes):
        text = text.decode()
    if "..." in text:
        return None
    terms, arrow, result = text.partition("->")
    letters: dict[str, Dim] = {}
    for i, term in enumerate(terms.split(",")):
        x = n.shape(i)
        for letter, d in zip(term, x if x is not None else (None,) * len(term), strict=False):
            known = letters.get(letter)
            # An extent of 1 stretches, so that a symbol says nothing where another operand may say more.
            letters[letter] = d if letter not in letters or known == 1 else known if d == 1 else common(known, d)
    if not arrow:
        result = "".join(sorted(c for c in letters if terms.count(c) == 1))
    return tuple(letters.get(c) for c in result)


def convolved(n: Applied) -> Shape:
    x, w = n.shape(), n.shape(1)
    if x is None:
        return None if w is None else (None,) * len(w)
    kernel: Sequence[Dim] | None = n.attributes.get("kernel_shape") or (None if w is None else w[2:])
    space = _windows(n, x[2:], kernel)
    return (x[0], None if w is None else w[0], *space)


def pooled_shape(n: Applied) -> Shape:
    x = n.shape()
    return None if x is None else (*x[:2], *_windows(n, x[2:], n.attributes["kernel_shape"]))


def _windows(n: Applied, extents: Sequence[Dim], kernel: Sequence[Dim] | None) -> list[Dim]:
    """How many places a window takes along each axis."""
    count = len(extents)
    strides, dilations = (n.attributes.get(name) or [1] * count for name in ("strides", "dilations"))
    pads = n.attributes.get("pads") or [0] * (2 * count)
    auto = n.attribute("auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        return [d if s == 1 else -(-d // s) if isinstance(d, int) else None for d, s in zip(extents, strides, strict=True)]
    made: list[Dim] = []
    for i, extent in enumerate(extents):
        size = None if kernel is None else kernel[i]
        before, after = (0, 0) if auto == "VALID" else (pads[i], pads[count + i])
        if isinstance(size, int):
            span = (size - 1) * dilations[i] + 1
            made.append(_places(extent, span, before, after, strides[i], ceil=bool(n.attributes.get("ceil_mode"))))
        else:
            made.append(None)
    return made


def _places(extent: Dim, span: int, before: int, after: int, stride: int, *, ceil: bool) -> Dim:
    """How many windows of a span fit into a padded extent."""
    if not isinstance(extent, int):
        return extent if stride == 1 and span == 1 + before + after else None
    free = extent + before + after - span
    if not ceil:
        return free // stride + 1
    # The last window must not start in the padding behind the image.
    return min(-(-free // stride), (extent + before - 1) // stride) + 1
