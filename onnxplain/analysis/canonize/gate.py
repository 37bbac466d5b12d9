"""A signal with its gate: squeeze-and-excitation, LSTM gates, gated units, attention weights, division by a statistic.

Of two live operands of a product, one is the gate where it is squashed into [0, 1] or comes from an activation, attention
weights where a softmax made it, a statistic where reductions and elementwise functions made it. The other is the signal.

No patterns: what lies between a gate and its use is any number of operators, in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnxplain.analysis.canonize.dataflow import Dataflow
from onnxplain.analysis.statistic import is_statistic
from onnxplain.ir.node import Node
from onnxplain.ir.ops import OpTraits
from onnxplain.ir.tensor import Tensor

__all__ = ["group_gates", "statistic_of"]


def _squashes(facts: OpTraits) -> bool:
    """Activations into [0, 1]."""
    return facts.within_one and bool(facts.elementwise)


def _weighs(facts: OpTraits) -> bool:
    """What makes attention weights."""
    return facts.within_one and not facts.elementwise


def _lets_through(facts: OpTraits) -> bool:
    """What makes the gate of a gated linear unit."""
    return facts.lets_through


def group_gates(flow: Dataflow) -> Sequence[Node]:
    """`Normalize` for products with a statistic, `Gate` with a gate, `GatedUnit` with an activation (SwiGLU and its
    kin), `Attend` with attention weights; the attribute `signal` says which input is the signal."""
    made: list[Node] = []
    for node in flow.nodes:
        # operators: the products that the compounds stand for
        if node.op not in ("Mul", "Div", "MatMul", "Einsum") or node.domain or [*node.needs_grad] != [True, True]:
            continue
        kind, signal = _kind(flow, node)
        if kind:
            compound = flow.compound(kind, [node], list(node.inputs), signal=signal)
            assert compound is not None
            made.append(compound)
    return flow.replaced(made)


def _kind(flow: Dataflow, node: Node) -> tuple[str, int]:
    a, c = node.input(0), node.input(1)
    if flow.traits(node).multiplies:
        return ("Attend", 1) if _made_by(flow, a, _weighs) else ("Attend", 0) if _made_by(flow, c, _weighs) else ("", 0)
    if node.op == "Div":
        return ("Normalize", 0) if statistic_of(flow, c) else ("", 0)
    for divisor, signal in ((c, 0), (a, 1)):
        if statistic_of(flow, divisor, inverted=True):
            return "Normalize", signal
    for kind, makes in (("Gate", _squashes), ("GatedUnit", _lets_through)):
        gates = [_made_by(flow, t, makes) for t in (a, c)]
        if sum(gates) == 1:
            return kind, gates.index(False)
    return "", 0


def _made_by(flow: Dataflow, tensor: Tensor, makes: Callable[[OpTraits], bool]) -> bool:
    """Whether an operator of that kind made a tensor, moved, rescaled or taken from one since."""
    maker, factor = flow.live_maker(tensor), 1.0
    while maker is not None and (_hands_on(flow, maker) or _rescales(flow, maker) or _complements(flow, maker)):
        factor *= _scale(flow, maker) if _rescales(flow, maker) else 1.0
        maker = flow.live_maker(next((t for i, t in enumerate(maker.inputs) if maker.needs_input_grad(i)), None))
    if maker is None:
        return False
    return makes(flow.traits(maker)) or (makes is _squashes and _clips_to_one(flow, maker, factor))


def _hands_on(flow: Dataflow, node: Node) -> bool:
    """Whether a call brings a gate to where it is used: moved, repeated, masked or in another precision."""
    facts = flow.traits(node)
    return facts.moves_elements == "first" or facts.recodes or facts.quantizes or node.op == "Where"


def _clips_to_one(flow: Dataflow, node: Node, factor: float) -> bool:
    """Whether a node clips to what the factor behind it brings into [0, 1], as in the hard sigmoid Clip(x + 3, 0, 6) / 6."""
    bounds = [flow.value(t) for t in node.inputs[1:3]] if node.op == "Clip" else []
    if len(bounds) != 2 or any(v is None or v.size != 1 for v in bounds):
        return False
    low, high = (float(v.ravel()[0]) for v in bounds if v is not None)
    return low == 0 and abs(high * factor - 1) < 1e-3


def _rescales(flow: Dataflow, node: Node) -> bool:
    """Whether a node multiplies or divides by a number."""
    live = [i for i in range(len(node.inputs)) if node.needs_input_grad(i)]
    # operators: a factor is multiplied by or divided by
    return node.op in ("Mul", "Div") and len(live) == 1 and flow.scalar(node.input(1 - live[0]))


def _complements(flow: Dataflow, node: Node) -> bool:
    """Whether a node is 1 − u, the other side of a gate."""
    of = node.parts[-1] if node.parts else node
    value = flow.value(of.inputs[0]) if of.op == "Sub" and of.needs_input_grad(1) and not of.needs_input_grad(0) else None
    return value is not None and value.size == 1 and float(value.ravel()[0]) == 1.0


def _scale(flow: Dataflow, node: Node) -> float:
    """The number that a node multiplies by."""
    value = flow.value(node.input(1 if node.needs_input_grad(0) else 0))
    number = 1.0 if value is None else float(value.ravel()[0])
    return 1 / number if node.op == "Div" and node.needs_input_grad(0) and number else number


def _inverts(flow: Dataflow, node: Node) -> bool:
    """Whether a node makes a divisor of a statistic: 1 / s, c / s, s^−½."""
    exponent = flow.value(node.inputs[1]) if node.op == "Pow" else None
    return (
        node.op == "Reciprocal"
        or (node.op == "Div" and node.needs_input_grad(1))
        or (exponent is not None and bool((exponent < 0).all()))
    )


def statistic_of(flow: Dataflow, tensor: Tensor, *, inverted: bool = False) -> bool:
    """Whether a tensor is made of reductions by elementwise functions: √(mean x² − (mean x)² + ε), or one over it."""
    inverts: list[bool] = []

    def operands(node: Node) -> list[Tensor]:
        return [t for i, t in enumerate(node.inputs) if t is not None and node.needs_input_grad(i)]

    found = is_statistic(tensor, flow.live_maker, operands, flow.traits, lambda node: inverts.append(_inverts(flow, node)))
    return found and (not inverted or any(inverts))
