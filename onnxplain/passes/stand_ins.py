"""Nodes that stand in for others while shapes are inferred: with the same types and shapes, and known to inference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx.helper import get_attribute_value, make_attribute

from onnxplain.ir.ops import traits_of
from onnxplain.ir.own_kernels import is_join

__all__ = ["stand_in"]

ML = "ai.onnx.ml"

# operators: what onnx's inference loses, not all of that kind
KEEP_SHAPE = {
    "": ("GroupNormalization", "MeanVarianceNormalization"),
    ML: ("Scaler", "Normalizer", "Imputer"),
    "com.microsoft": (
        "Gelu",
        "FastGelu",
        "QuickGelu",
        "BiasGelu",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    ),
}
"""Operators that inference loses or does not know, and whose first output has the shape of their first input."""

# operators: those of which inference knows no result
SCORES = (
    "LinearRegressor",
    "SVMRegressor",
    "SVMClassifier",
    "FeatureVectorizer",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
)
"""Operators of ai.onnx.ml that make so many float32 numbers of each row."""


def stand_in(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """Make a node that inference does not know, or gets wrong, one that it gets right.

    Args:
        node: changed where it has to be.
        shapes: those of constants, by name.
    """
    if is_join(node):  # of the kernel's result inference knows nothing
        del node.input[0]
        _become(node, "Identity", [node.output[0]])
    elif node.op_type in KEEP_SHAPE.get(node.domain, ()):
        if node.domain == ML and node.op_type != "Imputer":  # these make float32 of whatever they get
            _become(node, "Cast", [node.output[0]])
            node.attribute.append(make_attribute("to", onnx.TensorProto.FLOAT))
        else:
            _become(node, "Identity", [node.output[0]])
    elif node.domain == ML and node.op_type in SCORES:
        _as_classifier(node)
    elif traits_of(node.op_type, node.domain).pools:
        _pool(node)
    elif not node.domain and node.op_type == "STFT":
        if "onesided" not in _attributes(node):  # inference takes 0 for the default, which is 1
            node.attribute.append(make_attribute("onesided", 1))
    elif not node.domain and node.op_type == "ConvTranspose":
        _transposed(node, shapes)


def _pool(node: onnx.NodeProto) -> None:
    """Pooling with ceil_mode as pooling without.

    Windows are as many as start within the image, and of those only the first may reach beyond the padding:
    n = min(⌈(x + p − k) / s⌉ + 1, ⌈(x + b) / s⌉) for an extent x, windows of span k and a padding p that begins with b. Both
    grow alike with x, so n = ⌈(x + q) / s⌉ with q = min(p − k + s, b): as with windows of q' − q + 1 on q' elements of padding.
    """
    given = _attributes(node)
    if not given.get("ceil_mode", 0):
        return
    _drop(node, "ceil_mode")
    if _same(given):
        return
    kernel = given["kernel_shape"]
    n = len(kernel)
    strides, dilations = given.get("strides", [1] * n), given.get("dilations", [1] * n)
    pads = given.get("pads", [0] * 2 * n) if given.get("auto_pad", b"NOTSET") == b"NOTSET" else [0] * 2 * n
    both = [pads[i] + pads[n + i] for i in range(n)]
    rest = [min(both[i] - (kernel[i] - 1) * dilations[i] - 1 + strides[i], pads[i]) for i in range(n)]
    padding = [max(q, 0) for q in rest]
    for name in ("kernel_shape", "pads", "auto_pad", "dilations"):
        _drop(node, name)
    node.attribute.append(make_attribute("kernel_shape", [p - q + 1 for p, q in zip(padding, rest, strict=True)]))
    node.attribute.append(make_attribute("pads", [*padding, *[0] * n]))


def _transposed(node: onnx.NodeProto, shapes: Mapping[str, Sequence[int]]) -> None:
    """A transposed convolution with SAME padding as one with the padding that it means.

    It is what the extents exceed those of the input times the strides by; output_padding counts before, not after. Where the
    kernel's extent is not known, neither is the result's.
    """
    given = _attributes(node)
    if not _same(given) or not any(given.get("output_padding", ())):
        return
    kernel, extra = given.get("kernel_shape", shapes.get(node.input[1], ())[2:]), given["output_padding"]
    if not kernel:
        x = node.input[0]
        _become(node, "Reshape", [node.output[0]])
        node.input[:] = [x, ""]
        return
    n = len(kernel)
    strides, dilations = given.get("strides", [1] * n), given.get("dilations", [1] * n)
    padding = [max((k - 1) * d + 1 + e - s, 0) for k, d, e, s in zip(kernel, dilations, extra, strides, strict=True)]
    for name in ("pads", "auto_pad"):
        _drop(node, name)
    node.attribute.append(make_attribute("pads", [*padding, *[0] * n]))


def _as_classifier(node: onnx.NodeProto) -> None:
    """As a LinearClassifier, of which inference knows the scores."""
    given, outputs = _attributes(node), ["", node.output[0]]
    count = given.get("targets", given.get("n_targets", 1))
    if node.op_type == "FeatureVectorizer":
        count = sum(given["inputdimensions"])
    elif node.op_type == "TreeEnsembleClassifier":
        outputs = list(node.output)
        count = max(len(given.get("classlabels_int64s", ())), len(given.get("classlabels_strings", ())), 1)
    elif node.op_type == "SVMClassifier":
        outputs = list(node.output)
        count = classes = max(len(given.get("classlabels_ints", ())), len(given.get("classlabels_strings", ())), 1)
        if sum(given.get("vectors_per_class", ())) and not given.get("prob_a"):
            count = max(classes * (classes - 1) // 2, 2)
    labels = "classlabels_strings" if given.get("classlabels_strings") else "classlabels_ints"
    names = [str(i) for i in range(count)] if labels == "classlabels_strings" else list(range(count))
    _become(node, "LinearClassifier", outputs, ML, intercepts=[0.0] * count, coefficients=[0.0] * count, **{labels: names})


def _become(node: onnx.NodeProto, op: str, outputs: list[str], domain: str = "", **attributes: Any) -> None:
    node.op_type, node.domain = op, domain
    del node.input[1:]
    node.output[:] = outputs
    del node.attribute[:]
    node.attribute.extend(make_attribute(name, value) for name, value in attributes.items())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: get_attribute_value(a) for a in node.attribute}


def _same(attributes: dict[str, Any]) -> bool:
    return bool(attributes.get("auto_pad", b"NOTSET").startswith(b"SAME"))


def _drop(node: onnx.NodeProto, name: str) -> None:
    for attribute in [a for a in node.attribute if a.name == name]:
        node.attribute.remove(attribute)
