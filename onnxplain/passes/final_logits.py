"""The logits of a classifier's probabilities, wherever they are not simply what its last operator reads.

Probabilities are handed on: squeezed, reshaped, cast to another precision, normalized though they sum to one, put side by side as
[1 − p, p], or made inside a LinearClassifier or an ensemble of trees. Beside such outputs the logits take the same way, and are
explained in their place.
The model's own nodes stay as they are; what nothing needs is dropped when the model is written.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxplain.ir.markers import LOGITS
from onnxplain.ir.ops import traits_of
from onnxplain.passes.shapes import infer_shapes

__all__ = ["early_logits", "final_logits"]

ML = "ai.onnx.ml"

SINGLE = {"LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}
"""By post_transform of a LinearClassifier or an ensemble of trees: the activation that it is."""

# operators: ensembles of trees, by the output that holds their scores
TREES = {"TreeEnsembleClassifier": 1, "TreeEnsembleRegressor": 0, "TreeEnsemble": 0}

NUMBERED = {1: "SOFTMAX", 2: "LOGISTIC"}
"""The transforms of SINGLE as TreeEnsemble numbers them; 0 is none."""


def early_logits(model: onnx.ModelProto) -> bool:
    """`final_logits` for linear classifiers and trees, before what follows them is written out in operators that say less."""
    if not any(n.domain == ML and (n.op_type == "LinearClassifier" or n.op_type in TREES) for n in model.graph.node):
        return False
    infer_shapes(model)
    return final_logits(model)


def final_logits(model: onnx.ModelProto) -> bool:
    """Add the logits beside outputs that hold probabilities, and beside every tensor [1 − p, p]."""
    search = _Search(model)
    for node in list(model.graph.node):
        if node.op_type == "Concat" and not node.domain:
            search.logits_of(node.output[0])
    for output in model.graph.output:
        name = output.name
        maker = search.makers.get(name)
        while maker is not None and (maker.domain, maker.op_type) == (ML, "ZipMap"):
            name = maker.input[0]
            maker = search.makers.get(name)
        search.logits_of(name)
    model.graph.node.extend(search.added)
    model.graph.value_info.extend(search.infos)
    return bool(search.added)


FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


class _Search:
    """Goes back from probabilities to their logits, and notes the nodes that bring these along."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.makers = {o: n for n in model.graph.node for o in n.output if o}
        self.values = {t.name: t for t in model.graph.initializer}
        self.known = {v.name: v for v in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
        self.added: list[onnx.NodeProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.found: dict[str, str | None] = {}

    def logits_of(self, name: str) -> str | None:
        """The name of the logits of a tensor of probabilities; None where it holds none, or they are not plain."""
        way: list[onnx.NodeProto] = []  # what probabilities go through on their way here
        start = name
        while start not in self.found and (maker := self.makers.get(start)) is not None and self._hands_on(maker, start):
            way.append(maker)
            start = maker.input[0]
        logits = self.found[start] if start in self.found else self._source(start)
        self.found[start] = logits
        for node in reversed(way):
            if logits is not None and (node.domain, node.op_type) != (ML, "Normalizer"):
                logits = self._copied(node, logits)
            self.found[node.output[0]] = logits
        if logits is not None and way and logits != f"{name}{LOGITS}":
            logits = self._add(helper.make_node("Identity", [logits], [f"{name}{LOGITS}"]), name)
        return logits

    def _hands_on(self, node: onnx.NodeProto, name: str) -> bool:
        """Whether a node's output holds the elements of its first input."""
        if (node.domain, node.op_type) == (ML, "Normalizer"):
            return _settings(node).get("norm", b"MAX") == b"L1" and self._sum_to_one(node.input[0])
        facts = traits_of(node.op_type, node.domain)
        if node.op_type == "Mul" and not node.domain and node.input[1] in self.values:  # as converters of LightGBM leave it
            return bool(np.all(numpy_helper.to_array(self.values[node.input[1]]) == 1))
        if node.output[0] != name or not (facts.recodes or facts.moves_elements == "first"):
            return False
        if node.op_type == "Cast":
            return _settings(node)["to"] in FLOATS and self._is_float(node.input[0])
        return node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]

    def _sum_to_one(self, name: str) -> bool:
        """Whether the probabilities of a sample sum to one."""
        maker = self.makers.get(name)
        if maker is None:
            return False
        if (maker.domain, maker.op_type) == (ML, "LinearClassifier"):
            settings = _settings(maker)
            two = len(settings.get("classlabels_ints", ()) or settings.get("classlabels_strings", ())) == 2
            how = settings.get("post_transform", b"NONE")
            return how == b"SOFTMAX" or (how == b"LOGISTIC" and two and self._mirrored(maker))
        if maker.domain == ML and maker.op_type in TREES:
            return _transform(maker) == "SOFTMAX" or (_transform(maker) == "LOGISTIC" and _single_of_two(maker))
        return maker.op_type == "Softmax" or self._is_binary(maker)

    def _mirrored(self, node: onnx.NodeProto) -> bool:
        """Whether the scores of two classes are provably −s and s."""
        found = self._rows(node)
        if found is None:
            return False
        rows, bias = found
        return len(rows) == 1 or (len(rows) == 2 and np.array_equal(rows[0], -rows[1]) and bias[0] == -bias[1])

    def _rows(self, node: onnx.NodeProto) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
        """The weights and biases of a linear classifier, a row per score; None where the number of its features is unknown."""
        settings, x = _settings(node), self.known.get(node.input[0])
        shape = [] if x is None else [d.dim_value for d in x.type.tensor_type.shape.dim]
        if len(shape) != 2 or not shape[1]:
            return None
        rows = np.array(settings["coefficients"], np.float32).reshape(-1, shape[1])
        return rows, np.array(settings.get("intercepts") or np.zeros(len(rows)), np.float32)

    def _source(self, name: str) -> str | None:
        """The logits where probabilities are made of them."""
        maker = self.makers.get(name)
        if maker is None:
            return None
        if (maker.domain, maker.op_type) == (ML, "LinearClassifier") and len(maker.output) > 1 and maker.output[1] == name:
            return self._linear(maker)
        if maker.domain == ML and maker.op_type in TREES and maker.output[TREES[maker.op_type]] == name:
            return self._sums(maker) if _transform(maker) in SINGLE else None
        if maker.domain:
            return None
        if traits_of(maker.op_type).of_logits:
            return maker.input[0] if self._is_float(maker.input[0]) else None
        return self._binary(maker) if self._is_binary(maker) else None

    def _is_binary(self, joined: onnx.NodeProto) -> bool:
        """Whether a node makes [1 − p, p] with p = sigmoid(z), as scikit-learn converters write it."""
        if joined.op_type != "Concat" or len(joined.input) != 2:
            return False
        complement, sigmoid = (self.makers.get(i) for i in joined.input)
        if complement is None or sigmoid is None or complement.op_type != "Sub" or sigmoid.op_type != "Sigmoid":
            return False
        one = self.values.get(complement.input[0])
        return complement.input[1] == sigmoid.output[0] and one is not None and bool(np.all(numpy_helper.to_array(one) == 1))

    def _binary(self, joined: onnx.NodeProto) -> str:
        """[−z, z], whose difference is the log odds."""
        sigmoid, name = self.makers[joined.input[1]], f"{joined.output[0]}{LOGITS}"
        negative = self._add(helper.make_node("Neg", [sigmoid.input[0]], [f"{name}_negative"]), sigmoid.output[0])
        made = helper.make_node("Concat", [negative, sigmoid.input[0]], [name], axis=_settings(joined)["axis"])
        return self._add(made, joined.output[0])

    def _linear(self, node: onnx.NodeProto) -> str | None:
        """X·Cᵀ + b of a linear classifier; a single score s of two classes as [−s, s]."""
        settings, found, name = _settings(node), self._rows(node), f"{node.output[1]}{LOGITS}"
        how = settings.get("post_transform", b"NONE").decode()
        if name in self.makers:  # by an earlier search
            return name
        if how not in SINGLE or found is None:
            return None
        rows, bias = found
        if len(rows) == 1:
            if how != "LOGISTIC" or len(settings.get("classlabels_ints", ()) or settings.get("classlabels_strings", ())) != 2:
                return None
            rows, bias = np.concatenate([-rows, rows]), np.concatenate([-bias, bias])
        for part, value in (("weights", rows), ("bias", bias)):
            self.graph.initializer.append(numpy_helper.from_array(value, f"{name}_{part}"))
        x = node.input[0]
        if self.known[x].type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
            x = self._add(helper.make_node("Cast", [x], [f"{name}_x"], to=onnx.TensorProto.FLOAT), None)
        return self._add(helper.make_node("Gemm", [x, f"{name}_weights", f"{name}_bias"], [name], transB=1), node.output[1])

    def _sums(self, node: onnx.NodeProto) -> str:
        """What an ensemble of trees transforms: the same ensemble without its transform."""
        at = TREES[node.op_type]
        made = onnx.NodeProto()
        made.CopyFrom(node)
        for given in made.attribute:
            if given.name == "post_transform":
                given.CopyFrom(helper.make_attribute(given.name, 0 if given.type == onnx.AttributeProto.INT else "NONE"))
        made.output[:] = [f"{name}{LOGITS}" for name in node.output]
        name = made.output[at]
        if name in self.makers or name in {n.output[at] for n in self.added if len(n.output) > at}:
            return name
        made.name = name
        self.added.append(made)
        for output, like in zip(made.output, node.output, strict=True):
            if like in self.known:
                info = onnx.ValueInfoProto()
                info.CopyFrom(self.known[like])
                info.name = output
                self.infos.append(info)
        return name

    def _copied(self, node: onnx.NodeProto, logits: str) -> str:
        """The same step, taken by the logits."""
        made = onnx.NodeProto()
        made.CopyFrom(node)
        made.input[0] = logits
        del made.output[1:]
        made.output[0] = f"{node.output[0]}{LOGITS}"
        return self._add(made, node.output[0])

    def _add(self, node: onnx.NodeProto, like: str | None) -> str:
        """Note a node whose output is shaped like another tensor."""
        node.name = name = node.output[0]
        if name not in self.makers and name not in {n.output[0] for n in self.added}:
            self.added.append(node)
            if like in self.known:
                info = onnx.ValueInfoProto()
                info.CopyFrom(self.known[like])
                info.name = name
                self.infos.append(info)
        return name

    def _is_float(self, name: str) -> bool:
        kind = self.known[name].type.tensor_type.elem_type if name in self.known else onnx.TensorProto.FLOAT
        return kind in FLOATS or not kind


def _transform(node: onnx.NodeProto) -> str:
    """The transform of an ensemble of trees."""
    how = _settings(node).get("post_transform", 0)
    return how.decode() if isinstance(how, bytes) else NUMBERED.get(how, "")


def _single_of_two(node: onnx.NodeProto) -> bool:
    """Whether an ensemble gives two classes one number s, as −s and s, and some weight is negative: so the runtime knows."""
    settings = _settings(node)
    two = len(settings.get("classlabels_int64s", ()) or settings.get("classlabels_strings", ())) == 2
    tensor = settings.get("class_weights_as_tensor")
    weights = numpy_helper.to_array(tensor) if tensor is not None else np.array(settings.get("class_weights", ()))
    return two and len(set(settings.get("class_ids", ()))) == 1 and bool((weights < 0).any())


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
