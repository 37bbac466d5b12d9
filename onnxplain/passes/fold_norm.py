"""Norms with stored statistics folded into the linear map before them, or into the one behind, however they are written.

Such a norm multiplies and shifts each channel, y = a · x + c. It is a BatchNormalization with a = s / √(v + ε) and c = β − m · a,
or a chain of sums and products with constants. The map's weights take the factor, its bias the shift. Relevance needs the
product as one linear map, and a gradient saves nodes. Weights in external files stay unread: their products are nodes, which
runtimes fold when they load the file.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from onnxplain.analysis.statistic import is_statistic
from onnxplain.ir.edit import names_in, reads, set_nodes
from onnxplain.ir.ops import OpTraits, traits_of
from onnxplain.passes.channel_steps import Step, is_norm, step_of
from onnxplain.passes.constants import fold_constants
from onnxplain.passes.linear_map import LinearMap, MapWriter, linear_map
from onnxplain.passes.order import sort_nodes
from onnxplain.passes.view import FileView

__all__ = ["fold_batch_norm"]

# operators: norms whose scale and shift are their own, even where they stand in operators behind them
NORMS = ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "RMSNormalization", "MeanVarianceNormalization")


def fold_batch_norm(model: onnx.ModelProto, keep: Sequence[str] = ()) -> bool:
    """Fold the norms next to a convolution or dense layer where nobody else reads what lies between them.

    Args:
        model: changed in place.
        keep: names of tensors that the user asks for, which stay what they are.
    """
    folding = _Folding(model, tuple(keep))
    maps = [found for node in model.graph.node if (found := linear_map(node, folding.constants, folding.view)) is not None]
    changed = [folding.fold(found) for found in maps]
    if not any(changed):
        return False
    folding.write()
    fold_constants(model, also={name for nodes in folding.before.values() for n in nodes for name in n.output})
    return True


class _Folding:
    """The graph's links, and what is to be taken out and put in."""

    def __init__(self, model: onnx.ModelProto, keep: tuple[str, ...]) -> None:
        graph = model.graph
        self.model = model
        self.view = FileView(graph)
        self.constants = self.view.constants
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for name in reads(node):
                self.readers.setdefault(name, []).append(node)
        self.inputs = {i.name for i in graph.input}
        self.asked = {*(o.name for o in graph.output), *keep}
        self.names = names_in(graph)
        self.gone: set[int] = set()
        self.before: dict[int, list[onnx.NodeProto]] = {}
        self.behind: dict[int, list[onnx.NodeProto]] = {}
        self.infos = {v.name: v for v in (*graph.value_info, *graph.input, *graph.output)}
        for node in graph.node:  # what is made of constants alone, such as one over a root, or weights that are turned
            if node.input and all(not i or i in self.constants for i in reads(node)) and not traits_of(node.op_type).random:
                self.constants.update({o: made for o in node.output if (made := self._described(o)) is not None})

    def fold(self, linear: LinearMap) -> bool:
        """Fold the norms before and behind a map."""
        before, behind = self._steps_before(linear), self._steps_behind(linear)
        if not is_norm(before) or not self._alike(linear, before):
            before = []
        if not (is_norm(behind) or before) or not self._alike(linear, behind):  # with a norm before it a bias behind is the map's
            behind = []
        new = self._writer(linear)
        if behind:
            self._into_map_before(linear, behind, new)
        if before:
            self._into_map_behind(linear, before, new)
        self.gone.update(id(step.node) for step in (*before, *behind))
        return bool(before or behind)

    def _into_map_before(self, linear: LinearMap, steps: Sequence[Step], new: MapWriter) -> None:
        """map → norm becomes a map with weights W · a and bias b · a + c"""
        factor, bias = new.taken(steps, new.bias)
        if factor:
            new.scale_weights(factor, outgoing=True)
        linear.node.output[0] = steps[-1].y
        self.view.makers[steps[-1].y] = linear.node
        if bias:
            new.set_bias(bias)

    def _into_map_behind(self, linear: LinearMap, steps: Sequence[Step], new: MapWriter) -> None:
        """norm → map becomes a map with weights W · a and bias b + Σ W · c; where not every output of the map sees its whole
        kernel, the bias is the map of a plane of c."""
        factor, shift = new.taken(steps, "")
        if shift and linear.sees_parts:
            new.add_behind(new.map_of_plane(shift, self._extents(linear.node.input[0])[2:]))
        elif shift:
            new.set_bias(new.map_of_constant(shift))
        if factor:
            new.scale_weights(factor, outgoing=False)
        linear.node.input[0] = start = steps[0].x
        self.readers[start] = [linear.node if r is steps[0].node else r for r in self.readers[start]]

    def _steps_behind(self, linear: LinearMap) -> list[Step]:
        """The steps that follow a map, up to those that belong to a function."""
        steps: list[Step] = []
        name, channels = linear.node.output[0], linear.channels(outgoing=True)
        while self._is_between(name):
            step = step_of(self.view, self.readers[name][0], self.constants, channels)
            if step is None or step.x != name:
                break
            steps.append(step)
            name = step.y
        while steps and steps[-1].uniform:
            steps.pop()
        return steps

    def _steps_before(self, linear: LinearMap) -> list[Step]:
        """The steps that lead to a map, from those on that belong to no function; none where they cannot be folded into it."""
        steps: list[Step] = []
        name, channels = linear.node.input[0], linear.channels(outgoing=False)
        while self._is_between(name) and (maker := self.view.makers.get(name)) is not None:
            step = step_of(self.view, maker, self.constants, channels)
            if step is None:
                break
            steps.insert(0, step)
            name = step.x
        while steps and steps[0].uniform:
            steps.pop(0)
        if steps and steps[0].x in self.inputs and not any(step.kind == "normalize" for step in steps):
            return []  # how an input is prepared is no layer: what reads it is the first, in its units
        extents = self._extents(linear.node.input[0])
        if not steps or self._normalized(steps[0].x) or (linear.sees_parts and (len(extents) < 3 or not all(extents[2:]))):
            return []
        return steps

    def write(self) -> None:
        """Put the new nodes around the maps, behind the constants that they read."""
        made = [
            each
            for n in self.model.graph.node
            if id(n) not in self.gone
            for each in (*self.before.get(id(n), ()), n, *self.behind.get(id(n), ()))
        ]
        set_nodes(self.model.graph, made)
        sort_nodes(self.model)

    def _writer(self, linear: LinearMap) -> MapWriter:
        before, behind = (where.setdefault(id(linear.node), []) for where in (self.before, self.behind))
        return MapWriter(linear, self.model, self.names, self.view, self.infos, before, behind)

    def _alike(self, linear: LinearMap, steps: Sequence[Step]) -> bool:
        """Whether all constants are of the type of the map's weights."""
        names = [linear.weights, *([linear.bias] if linear.bias else []), *(c for s in steps for c in s.constants.values())]
        return len({self.constants[n].data_type for n in names}) == 1

    def _is_between(self, name: str) -> bool:
        """Whether one node alone reads a tensor, and the user does not ask for it."""
        return name not in self.asked and len(self.readers.get(name, ())) == 1

    def _described(self, name: str) -> onnx.TensorProto | None:
        """A constant's type and extents alone; None where these are not known."""
        kind = self.infos[name].type.tensor_type if name in self.infos else None
        if kind is None or not kind.HasField("shape") or not all(d.HasField("dim_value") for d in kind.shape.dim):
            return None
        return onnx.TensorProto(data_type=kind.elem_type, dims=self._extents(name))

    def _extents(self, name: str) -> list[int]:
        info = self.infos.get(name)
        return [] if info is None else [d.dim_value for d in info.type.tensor_type.shape.dim]

    def _normalized(self, name: str) -> bool:
        """Whether a tensor was divided by a statistic of the sample, by a norm whose scale and shift may follow."""

        def facts(node: onnx.NodeProto) -> OpTraits:
            return traits_of(node.op_type, node.domain)

        def operands(node: onnx.NodeProto) -> list[str]:
            return [i for i in node.input if i and i not in self.constants]

        maker = self.view.makers.get(name)
        while maker is not None and facts(maker).moves_elements == "first":
            maker = self.view.makers.get(maker.input[0])
        if maker is None or maker.op_type in NORMS:
            return maker is not None
        factors = operands(maker) if maker.op_type in ("Mul", "Div") else []  # operators: how to divide by a statistic
        return len(factors) == 2 and any(is_statistic(f, self.view.makers.get, operands, facts) for f in factors)
