"""Resampling images: maps that are linear in the image, one axis at a time."""

from onnxplain import Builder, Messages, Node, RuleError, Tensor, rule
from onnxplain.rulekit import scatter as placing


@rule("Resize", role="sum")
def resize(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Resizing multiplies each axis by a matrix of interpolation weights: dx = dy times their transposes.

    The matrix of an axis is the resized unit matrix. So it is right for every mode, and made of the same arithmetic as
    the forward; where sizes are known, ONNX Runtime folds it when it loads the file.
    """
    x = node.x
    for axis in _resized(b, node):
        dy = placing.along(b, dy, _weights(b, node, axis, dy), axis, x.rank)
    return dy


def _resized(b: Builder, node: Node) -> list[int]:
    """The axes whose extents change, as far as is known."""
    x, y = node.x, node.y
    axes = node.get("axes")
    axes = list(range(x.rank)) if axes is None else [a % x.rank for a in axes]
    scales = b.value(node.inputs[2])
    if node["coordinate_transformation_mode"] == "tf_crop_and_resize":  # cuts out a part even at scale one
        roi = b.value(node.inputs[1])
        n = len(axes)
        return [a for i, a in enumerate(axes) if roi is None or (roi[i], roi[n + i]) != (0, 1) or _changes(x, y, a)]
    if scales is not None and scales.size:
        return [a for a, s in zip(axes, scales.ravel(), strict=True) if s != 1]
    return [a for a in axes if _changes(x, y, a)]


def _changes(x: Tensor, y: Tensor, axis: int) -> bool:
    return x.dim(axis) is None or x.dim(axis) != y.dim(axis)


def _weights(b: Builder, node: Node, axis: int, like: Tensor) -> Tensor:
    """The interpolation weights of one axis [old, new]: a unit matrix, as an image one pixel high, resized.

    They have the type of a message, not that of the image, which may be quantized.
    """
    x, roi, scales, sizes = node.inputs
    assert x is not None
    axes = list(range(x.rank)) if node.get("axes") is None else [a % x.rank for a in node["axes"]]
    n, policy = axes.index(axis), node.get("keep_aspect_ratio_policy", "stretch")
    numbers = b.Range(0, b.Squeeze(b.dim(x, axis)), 1)
    image = b.Unsqueeze(b.cast(b.Equal(b.Unsqueeze(numbers, [1]), numbers), like), [0, 2])
    settings = {k: v for k, v in node.attributes.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    settings["extrapolation_value"] = 0.0
    crops = node["coordinate_transformation_mode"] == "tf_crop_and_resize"
    region = b.Gather(roi, [n, len(axes) + n]) if crops else None
    if scales is not None and scales.dim(0) != 0:
        known = b.value(scales)
        scale = b.Gather(scales, [n]) if known is None else b.const(known[n : n + 1])
        resized = b.Resize(image, region, scale, None, axes=[3], **settings)
    elif policy == "stretch":
        resized = b.Resize(image, region, None, b.dim(node.y, axis), axes=[3], **settings)
    elif crops:
        raise RuleError(f"no gradient of tf_crop_and_resize with keep_aspect_ratio_policy '{policy}'; use 'stretch'")
    else:  # one scale for all axes: that of the tightest, which lends the image its height
        old = b.Gather(b.shape(x), axes)
        ratios = b.Div(b.Cast(sizes, to=1), b.Cast(old, to=1))
        tightest = (b.ArgMin if policy == "not_larger" else b.ArgMax)(ratios, axis=0, keepdims=1)
        height, width = b.Gather(old, tightest), b.dim(x, axis)
        image = b.Expand(image, b.Concat([1], width, height, width, axis=0))
        wanted = b.Concat(b.Gather(sizes, tightest), b.Gather(sizes, [n]), axis=0)
        resized = b.Resize(image, None, None, wanted, axes=[2, 3], keep_aspect_ratio_policy=policy, **settings)
        resized = b.Slice(resized, [0], [1], [2])
    return b.Squeeze(resized, [0, 2])
