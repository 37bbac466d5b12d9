"""The logits of a classifier's probabilities, wherever they are not simply what its last operator reads.

Probabilities are handed on: squeezed, reshaped, cast to another precision, normalized though they sum to one, put side by side as
[1 − p, p], or made inside a LinearClassifier. Beside such outputs the logits take the same way, and are explained in their place.
The model's own nodes stay as they are; what nothing needs is dropped when the model is written.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxplain.analysis.probabilities import probabilities_of
from onnxplain.ir.markers import LOGITS
from onnxplain.ir.ops import traits_of
from onnxplain.ir.own_kernels import as_shown
from onnxplain.ir.pattern import match, op, var
from onnxplain.passes.shapes import infer_shapes
from onnxplain.passes.view import FileView

__all__ = ["early_logits", "final_logits"]

ML = "ai.onnx.ml"

TREES = {(ML, "TreeEnsembleClassifier"): 1, (ML, "TreeEnsembleRegressor"): 0, (ML, "TreeEnsemble"): 0}
"""Ensembles of trees, and which of their results holds the scores."""

NUMBERED = {1: "SOFTMAX", 2: "LOGISTIC"}
"""Transforms as TreeEnsemble numbers them."""

SINGLE = {"LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax"}
"""By post_transform: the activation that it is."""


def early_logits(model: onnx.ModelProto) -> bool:
    """`final_logits` for linear classifiers, before what follows them is written out in operators that say less."""
    if not any(n.domain == ML and n.op_type == "LinearClassifier" for n in model.graph.node):
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


P = op.Sigmoid(var("z"))
BINARY = op.Concat(1 - P, P)

FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)


class _Search:
    """Goes back from probabilities to their logits, and notes the nodes that bring these along."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.makers = {o: n for n in as_shown(model.graph.node) for o in n.output if o}
        self.values = {t.name: t for t in model.graph.initializer}
        self.known = {v.name: v for v in (*model.graph.input, *model.graph.value_info, *model.graph.output)}
        self.added: list[onnx.NodeProto] = []
        self.infos: list[onnx.ValueInfoProto] = []
        self.found: dict[str, str | None] = {}

    @cached_property
    def view(self) -> FileView:
        """The graph as patterns see it."""
        return FileView(self.graph)

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
            if logits is not None and not self._keeps_values(node):
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
        if facts.quantizes:
            return True
        if node.op_type == "Mul" and not node.domain and node.input[1] in self.values:  # as converters of LightGBM leave it
            factor = self.view.constant(node.input[1])
            return factor is not None and bool(np.all(factor == 1))
        if node.output[0] != name or not (facts.recodes or facts.moves_elements == "first"):
            return False
        if node.op_type == "Cast":
            return _settings(node)["to"] in FLOATS and self._is_float(node.input[0])
        return node.op_type != "Dropout" or len(node.input) < 3 or not node.input[2]

    def _keeps_values(self, node: onnx.NodeProto) -> bool:
        """Whether a node on the way of probabilities makes other numbers of the same meaning, which logits have no use for."""
        return (node.domain, node.op_type) == (ML, "Normalizer") or traits_of(node.op_type, node.domain).quantizes

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
        if (maker.domain, maker.op_type) in TREES:
            return self._untransformed(maker, name)
        if maker.domain:
            return None
        if traits_of(maker.op_type).of_logits:
            return maker.input[0] if self._is_float(maker.input[0]) else None
        if self._is_binary(maker):
            return self._binary(maker)
        written = probabilities_of(self.view, name)
        return None if written is None else self._add(helper.make_node("Identity", [written.scores], [f"{name}{LOGITS}"]), name)

    def _is_binary(self, joined: onnx.NodeProto) -> bool:
        """Whether a node makes [1 − p, p] with p = sigmoid(z), as scikit-learn converters write it."""
        return bool(match(self.view, BINARY, joined.output[0]))

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

    def _untransformed(self, node: onnx.NodeProto, name: str) -> str | None:
        """The scores of trees before the last activation: the same trees without it.

        Of a single score s of two classes, ONNX Runtime makes [σ(−s), σ(s)], but [1 − s, s] without the activation where no leaf
        is below zero. Where two classes have scores for some samples only, it means something else from sample to sample.
        """
        settings, made = _settings(node), f"{name}{LOGITS}"
        given, place = settings.get("post_transform", b"NONE"), list(node.output).index(name)
        how = given.decode() if isinstance(given, bytes) else NUMBERED.get(given, "")
        classes = len(settings.get("classlabels_int64s", ()) or settings.get("classlabels_strings", ()))
        ids, bases = set(settings.get("class_ids", ())), len(settings.get("base_values", ()))
        single = classes == 2 and ids == {0} and bases < 2
        plain = classes != 2 or ids == {1} or bases == 2 or (how == "LOGISTIC" and not bases)
        mirrored = single and how == "LOGISTIC"
        if how not in SINGLE or place != TREES[node.domain, node.op_type] or not (mirrored or (plain and not single)):
            return None
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for attribute in copy.attribute:
            if attribute.name == "post_transform":
                plainly = 0 if attribute.type == onnx.AttributeProto.INT else "NONE"
                attribute.CopyFrom(helper.make_attribute("post_transform", plainly))
        copy.output[:] = [*(f"{made}_label" for _ in range(place)), f"{made}_scores"]
        copy.name = f"{made}_scores"
        self.added.append(copy)
        if name in self.known:  # as many scores, of the same type
            info = onnx.ValueInfoProto()
            info.CopyFrom(self.known[name])
            info.name = copy.output[place]
            self.infos.append(info)
        if not single:
            return self._add(helper.make_node("Identity", [copy.output[place]], [made]), name)
        second = [numpy_helper.from_array(np.array([i]), f"{made}_{i}") for i in (1, 2)]
        self.graph.initializer.extend(second)
        one, two = (t.name for t in second)
        score = self._add(helper.make_node("Slice", [copy.output[place], one, two, one], [f"{made}_score"]), None)
        negative = self._add(helper.make_node("Neg", [score], [f"{made}_negative"]), None)
        return self._add(helper.make_node("Concat", [negative, score], [made], axis=1), name)

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
            if like is not None and like in self.known:
                info = onnx.ValueInfoProto()
                info.CopyFrom(self.known[like])
                info.name = name
                if not self._is_float(like):  # logits of a quantized probability are none
                    info.type.tensor_type.elem_type = self._kind(node.input[0])
                self.known[name] = info
                self.infos.append(info)
        return name

    def _is_float(self, name: str) -> bool:
        return self._kind(name) in FLOATS

    def _kind(self, name: str) -> int:
        """The element type of a tensor, float32 where it is unknown."""
        kind = self.known[name].type.tensor_type.elem_type if name in self.known else 0
        return kind or onnx.TensorProto.FLOAT


def _settings(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}
