"""The backward pass: reverse mode over a sequence of nodes, with any family of rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from onnxplain.analysis.canonize import canonize
from onnxplain.analysis.layer_depth import LayerPositions
from onnxplain.analysis.liveness import Live, liveness
from onnxplain.analysis.nonnegative import nonnegative_tensors
from onnxplain.builder.backward_access import BackwardContext
from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError, UnsupportedOperatorError
from onnxplain.ir.node import Node
from onnxplain.ir.ops import standard_traits
from onnxplain.ir.registry import OpSpec, Rule
from onnxplain.ir.tensor import Shape, Tensor, may_be_equal, shown
from onnxplain.propagation.composite import GRADIENT, RuleSelector
from onnxplain.propagation.operands import whole_power
from onnxplain.propagation.precision import in_float32
from onnxplain.propagation.rectified_relevance import one_sided_tensors
from onnxplain.propagation.rule import rule_name

__all__ = ["backpropagate", "backward", "live_nodes", "missing_operators", "with_layer_positions"]


def backpropagate(
    b: Builder,
    nodes: Sequence[Node],
    sources: Iterable[Tensor],
    target_messages: Mapping[Tensor, Tensor],
    choose: RuleSelector,
    *,
    origins: Iterable[Tensor] = (),
    masks: Mapping[Tensor, Tensor] | None = None,
) -> dict[Tensor, Tensor]:
    """Messages on the tensors between sources and the targets, by the composite's rules, canonized if it says so.

    Where it says so, half-precision nodes are walked in float32, and so are the messages of theirs.

    Args:
        b: emits into the graph.
        nodes: the model's nodes in topological order.
        sources: the tensors that messages are asked for at.
        target_messages: the message each target starts with.
        choose: the composite over a registry.
        origins: where the model begins, for what is first and how deep; the sources where empty.
        masks: tensors that all must pass, with what messages are multiplied with there.
    """
    sources, origins, masks = tuple(sources), tuple(origins), masks or {}
    if choose.composite.float32:
        begin = (*sources, *origins) if choose.composite.needs_positions else sources
        nodes, became = in_float32(b, nodes, begin, tuple(target_messages), choose.registry.role)
        if became:

            def wide(t: Tensor) -> Tensor:
                return became.get(t, t)

            if choose.references:
                first, last = ([choose.references.get(t, t) for t in tensors] for tensors in (begin, target_messages))
                _, others = in_float32(b, choose.reference_nodes, first, last, choose.registry.role)
                choose = replace(
                    choose, references={wide(t): others.get(t0, t0) for t, t0 in choose.references.items()}, reference_nodes=()
                )
            messages, passing = ({wide(t): b.cast(m, wide(t)) for t, m in given.items()} for given in (target_messages, masks))
            origins = [wide(t) for t in origins]
            found = backpropagate(b, nodes, [wide(s) for s in sources], messages, choose, origins=origins, masks=passing)
            return {s: found[wide(s)] for s in sources if wide(s) in found}
    whole = live_nodes(b, nodes, sources, tuple(target_messages), choose, kept=masks)
    choose = with_layer_positions(b, nodes, origins or sources, tuple(target_messages), whole, choose)
    if choose.composite.canonize:
        sided = one_sided_tensors(
            whole.nodes, lambda node: _rule(choose, node), dict.fromkeys(target_messages, choose.scored), choose.registry.traits
        )
        choose = replace(choose, rectified=lambda t: t.name in sided)
    remaining, arrived = list(masks), dict(target_messages)
    while remaining:
        nearest = [t for t in remaining if not _leads_to(whole.nodes, t, [o for o in remaining if o != t], choose)]
        messages = _carry(b, whole.nodes, nearest, arrived, choose)
        arrived = {t: b.Mul(messages[t], masks[t]) for t in nearest if t in messages}
        remaining = [t for t in remaining if t not in nearest]
    return _carry(b, whole.nodes, sources, arrived, choose)


def _rule(choose: RuleSelector, node: Node) -> Rule | None:
    chosen = choose(node)
    return None if chosen is None else chosen.rule


def _carry(
    b: Builder, nodes: Sequence[Node], sources: Sequence[Tensor], target_messages: Mapping[Tensor, Tensor], choose: RuleSelector
) -> dict[Tensor, Tensor]:
    return backward(b, liveness(nodes, sources, target_messages, choose.registry.role), target_messages, choose)


def _leads_to(nodes: Sequence[Node], start: Tensor, ends: Sequence[Tensor], choose: RuleSelector) -> bool:
    return bool(liveness(nodes, [start], ends, choose.registry.role).nodes)


def live_nodes(
    b: Builder,
    nodes: Sequence[Node],
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    choose: RuleSelector,
    kept: Iterable[Tensor] = (),
) -> Live:
    """The live nodes as the composite sees them; no compound hides a source, a target or a tensor in `kept`."""
    live = liveness(nodes, sources, targets, choose.registry.role)
    groupings = choose.composite.groupings
    if not groupings:
        return live
    visible = (*sources, *targets, *kept)
    grouped = canonize(live.nodes, nodes, visible, b.value, partial(_is_fixed, b), choose.registry.traits, groupings)
    live = liveness(grouped, sources, targets, choose.registry.role)
    return liveness(
        live.nodes, sources, targets, choose.registry.role, choose.for_nodes(live.nodes, choose.nonnegative).inputs_served
    )


def with_layer_positions(
    b: Builder, nodes: Sequence[Node], origins: Sequence[Tensor], targets: Sequence[Tensor], live: Live, choose: RuleSelector
) -> RuleSelector:
    """The choice with what it wants to know of these nodes: their places among the linear layers, the signs of tensors."""
    if not choose.composite.canonize:
        return choose
    whole = live_nodes(b, nodes, origins, targets, choose) if choose.composite.needs_positions else live
    signs = nonnegative_tensors(nodes, b.value, choose.registry.traits)
    return choose.for_nodes(whole.nodes, lambda t: t.name in signs)


def _is_fixed(b: Builder, tensor: Tensor) -> bool:
    """Whether a tensor is the same for every input of some extents: a constant, an extent, or made of such in a few nodes."""
    waiting, left = [tensor], 16
    while waiting:
        current, left = waiting.pop(), left - 1
        if b.is_constant(current):
            continue
        maker = b.graph.producer(current)
        if maker is None or standard_traits(maker).random or not left:
            return False
        if standard_traits(maker).shape_only:
            continue
        waiting += [t for t in maker.reads if t is not None]
    return True


def backward(b: Builder, live: Live, target_messages: Mapping[Tensor, Tensor], choose: RuleSelector) -> dict[Tensor, Tensor]:
    """Messages on every live tensor, by propagating the messages on the targets backward through the live nodes.

    Args:
        b: emits into the graph.
        live: the nodes between sources and targets, in topological order.
        target_messages: the message each target starts with, in the target's shape.
        choose: the rule of each node.

    Raises:
        UnsupportedOperatorError: nodes without a rule, all of them, with the path from the target.
    """
    missing = [node for node in live.nodes if choose(node) is None]
    if missing:
        raise UnsupportedOperatorError(missing_operators(missing, live.nodes, list(target_messages)))

    def within(nodes: Sequence[Node], inner: Mapping[Tensor, Tensor], sources: Sequence[Tensor]) -> dict[Tensor, Tensor]:
        """The same backward pass through the nodes of a subgraph."""
        live = live_nodes(b, nodes, sources, tuple(inner), choose)
        return backward(b, live, inner, replace(choose, layers=LayerPositions(), observer=None, rectified=lambda tensor: False))

    def gradient(node: Node, *incoming: Tensor | None) -> list[Tensor | None]:
        """What the operator's own gradient rule sends to all that it reads."""
        return _gradient(b, node, incoming, replace(choose, composite=GRADIENT, observer=None))

    def detached(node: Node, message: Tensor) -> Tensor:
        """What the operator's detached rule sends to its first input."""
        spec = choose.registry.find_detached(node)
        if spec is None:
            raise RuleError(f"no rule says what {node.operator} becomes with its statistics held constant")
        return dict(input_messages(b, node, spec.rule, spec, [message]))[0]

    known = choose.nonnegative, choose.rectified, choose.references
    with b.backward_context(BackwardContext(within, gradient, detached, lambda node: _spec(choose, node), *known)):
        return _walk(b, live, target_messages, choose)


def _spec(choose: RuleSelector, node: Node) -> OpSpec:
    spec = choose.registry.find(node)
    if spec is None:
        raise UnsupportedOperatorError(missing_operators([node], [node], [t for t in node.outputs if t is not None]))
    return spec


def _gradient(b: Builder, node: Node, incoming: Sequence[Tensor | None], choose: RuleSelector) -> list[Tensor | None]:
    if node.parts:
        wanted = [t for i, t in enumerate(node.inputs) if t is not None and node.needs_input_grad(i)]
        target_messages = {y: m for y, m in zip(node.outputs, incoming, strict=False) if y is not None and m is not None}
        found = backward(b, liveness(node.parts, wanted, target_messages, choose.registry.role), target_messages, choose)
        return [None if t is None else found.get(t) for t in node.inputs]
    spec = _spec(choose, node)
    incoming = [*incoming, *[None] * (len(node.outputs) - len(incoming))]
    # By position: an operator may read one tensor twice.
    sent = dict(input_messages(b, node, spec.rule, spec, incoming))
    return [sent.get(i) for i in range(len(node.reads))]


def _walk(b: Builder, live: Live, target_messages: Mapping[Tensor, Tensor], choose: RuleSelector) -> dict[Tensor, Tensor]:
    arrived: dict[Tensor, list[Tensor]] = {target: [cotangent] for target, cotangent in target_messages.items()}
    messages: dict[Tensor, Tensor] = {}

    def message(tensor: Tensor) -> Tensor | None:
        """The sum of all that arrived at a tensor."""
        if tensor not in messages and tensor in arrived:
            total = b.total(arrived.pop(tensor))
            messages[tensor] = b.know(total)
        return messages.get(tensor)

    for node in reversed(live.nodes):
        incoming = [None if y is None else message(y) for y in node.outputs]
        if all(m is None for m in incoming):
            continue
        chosen = choose(node)
        assert chosen is not None
        with b.scope(f"{node.name}/backward"):
            sent = list(input_messages(b, node, chosen.rule, chosen.spec, incoming))
            for i, m in sent:
                x = node.reads[i]
                assert x is not None
                arrived.setdefault(x, []).append(m)
            if choose.observer is not None:
                choose.observer.observe(b, node, chosen.rule, incoming, sent)
    for tensor in list(arrived):
        message(tensor)
    return messages


def input_messages(
    b: Builder, node: Node, rule: Rule, spec: OpSpec, incoming: Sequence[Tensor | None]
) -> Iterable[tuple[int, Tensor]]:
    """The messages one rule sends to the live inputs of its call by position, each in the shape and type of its input."""
    where = f"{node}{f' in {node.scope}' if node.scope else ''}, rule '{rule_name(rule)}'"
    try:
        result = rule(b, node, *incoming)
        sent = result if isinstance(result, tuple) else (result,)
        # A rule of several operators may return None for inputs that only some of them have.
        if any(m is not None for m in sent[len(node.reads) :]):
            raise RuleError(f"{len(sent)} messages for a node with {len(node.reads)} input{'s' if len(node.reads) > 1 else ''}")
        for i, x in enumerate(node.reads):
            if x is None or not node.needs_input_grad(i):
                continue
            if i >= len(sent):
                raise RuleError(f"no message for input {i} ('{x.name}')")
            m = sent[i]
            if m is None:
                continue
            full = _full_shape(node, x, spec.core) if spec.broadcasts else x.shape
            _check_message(m, i, x, full)
            if spec.traits.unbounded_slope and rule is spec.rule:
                m = _zero_where_zero(b, node, i, incoming, m)
            if spec.broadcasts:
                m = b.sum_to(m, x, full)
            # Two symbols may stand for one extent: those of the input are what its other messages have too.
            yield i, b.know(b.shaped(m if x.message_dtype is None else b.cast(m, x), x.shape))
    except RuleError as error:
        raise RuleError(f"{where}: {error}") from error
    except (IndexError, KeyError, TypeError, ValueError) as error:  # a form of the operator that the rule did not expect
        raise RuleError(f"{where}: failed on this form of the operator ({type(error).__name__}: {error})") from error


def _check_message(message: object, index: int, x: Tensor, expected: Shape) -> None:
    """Refuse a message that contradicts what is known of its input, before it is summed over broadcast axes."""
    said = f"the message for input {index} ('{x.name}')"
    if not isinstance(message, Tensor):
        raise RuleError(f"{said} is of the class {type(message).__name__}, expected a tensor or None")
    if not may_be_equal(message.shape, expected):
        raise RuleError(f"{said} has the shape {shown(message.shape)}, expected {shown(expected)}")
    if x.message_dtype is not None and not message.is_float:
        raise RuleError(f"{said} has the type {message.dtype}, expected {x.dtype}")


def _zero_where_zero(b: Builder, node: Node, index: int, incoming: Sequence[Tensor | None], m: Tensor) -> Tensor:
    """The message of a function of each element, 0 where the incoming one is 0: a slope may be infinite there, and 0 · ∞ is NaN.

    Elements behind a branch of Where that is not taken, or behind a mask, have the message 0 whatever their slope.
    """
    dy = incoming[0]
    if dy is None or (node.op == "Pow" and index == 0 and whole_power(b, node.input(1))):
        return m
    critical = node.input(1) if node.op == "Div" else node.x
    if b.spec(node).traits.unbounded_slope == "at zero" and _nowhere_zero(b, critical):
        return m
    return b.Where(b.Equal(dy, 0), 0, m)


def _nowhere_zero(b: Builder, tensor: Tensor) -> bool:
    """Whether a tensor is provably not zero: a constant, what is added to a number above zero, or the root of such."""
    while True:
        known = b.value(tensor)
        if known is not None:
            return bool((known != 0).all())
        node = b.graph.producer(tensor)
        if node is None or node.domain:
            return False
        if node.op == "Add":
            operands = [t for t in node.inputs if t is not None]
            above = any((v := b.value(t)) is not None and bool((v > 0).all()) for t in operands)
            return above and all(b.nonnegative(t) for t in operands)
        # operators: zero only where their operand is, or is infinite
        if node.op not in ("Sqrt", "Abs", "Neg", "Reciprocal"):
            return False
        tensor = node.x


def _full_shape(node: Node, x: Tensor, core: int) -> Shape:
    """The extents of a message for input `x` before it is summed over broadcast axes."""
    y = next((y for y in node.outputs if y is not None), None)
    if y is None or y.shape is None or core == 0:
        return None if y is None else y.shape
    if any(t is not None and t.shape is None for t in node.inputs) or x.shape is None:
        return None
    # An operand with fewer axes than the core (a vector in MatMul) leaves its axis out of the output.
    vectors = sum(core - t.rank for t in node.inputs if t is not None and t.rank < core)
    return y.shape[: max(0, len(y.shape) - core + vectors)] + x.shape[-core:]


def missing_operators(missing: Sequence[Node], nodes: Sequence[Node], targets: Sequence[Tensor]) -> str:
    """One message for all nodes without a rule: operator, node, scope and the path from the target."""
    consumer: dict[str, Node] = {}
    for node in reversed(nodes):
        for i, x in enumerate(node.reads):
            if x is not None and node.needs_input_grad(i):
                consumer.setdefault(x.name, node)

    def path(node: Node) -> str:
        steps, current = [], node
        while True:
            onward = next((consumer[y.name] for y in current.outputs if y is not None and y.name in consumer), None)
            if onward is None:
                break
            current = onward
            steps.append(current.name)
        ends = [t.name for t in targets if t in current.outputs]
        shown = [*steps[:3], "…", *steps[-2:]] if len(steps) > 6 else steps
        return " → ".join([node.name, *shown, *ends])

    operators = sorted({node.operator for node in missing})
    lines = [f"no rule for {len(operators)} operator{'s' if len(operators) > 1 else ''} on the way: {', '.join(operators)}"]
    lines += [f"  {c}" + (f" in {c.scope}" if c.scope else "") + f": {path(c)}" for c in missing[:20]]
    if len(missing) > 20:
        lines.append(f"  … and {len(missing) - 20} more nodes")
    lines.append("give a rule for it in a folder of your own (--rules DIR), or explain a tensor behind it (--layer),")
    lines.append("or use a method that needs forward passes only, such as kernel-shap or lime")
    return "\n".join(lines)
