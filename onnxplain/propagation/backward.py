"""The backward pass: reverse mode over a sequence of nodes, with any family of rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from onnxplain.analysis.canonize import canonize
from onnxplain.analysis.layer_depth import Layers
from onnxplain.analysis.liveness import Live, liveness
from onnxplain.analysis.nonnegative import nonnegative_tensors
from onnxplain.builder.builder import RANDOM, Builder
from onnxplain.builder.emitter import Walking
from onnxplain.errors import RuleError, UnsupportedOperatorError
from onnxplain.ir.node import Call
from onnxplain.ir.registry import OpSpec, Rule
from onnxplain.ir.tensor import Shape, Tensor, may_be_equal, shown
from onnxplain.propagation.composite import GRADIENT, Choice
from onnxplain.propagation.precision import in_float32
from onnxplain.propagation.rectified_relevance import one_sided_tensors
from onnxplain.propagation.rule import rule_name

__all__ = ["backward", "carry", "missing_operators", "on_the_way", "placed"]


def carry(
    b: Builder,
    calls: Sequence[Call],
    sources: Iterable[Tensor],
    seeds: Mapping[Tensor, Tensor],
    choose: Choice,
    *,
    origins: Iterable[Tensor] = (),
    masks: Mapping[Tensor, Tensor] | None = None,
) -> dict[Tensor, Tensor]:
    """Messages on the tensors between sources and the seeds' targets, by the composite's rules, canonized if it says so.

    Where it says so, half-precision calls are walked in float32, and so are the messages of theirs.

    Args:
        b: emits into the graph.
        calls: the model's calls in topological order.
        sources: the tensors that messages are asked for at.
        seeds: the message each target starts with.
        choose: the composite over a registry.
        origins: where the model begins, for what is first and how deep; the sources where empty.
        masks: tensors that all must pass, with what messages are multiplied with there.
    """
    sources, origins, masks = tuple(sources), tuple(origins), masks or {}
    if choose.composite.float32:
        begin = (*sources, *origins) if choose.composite.needs_places else sources
        calls, became = in_float32(b, calls, begin, tuple(seeds), choose.registry.role)
        if became:

            def wide(t: Tensor) -> Tensor:
                return became.get(t, t)

            if choose.twins:
                first, last = ([choose.twins.get(t, t) for t in tensors] for tensors in (begin, seeds))
                _, others = in_float32(b, choose.there, first, last, choose.registry.role)
                choose = replace(choose, twins={wide(t): others.get(t0, t0) for t, t0 in choose.twins.items()}, there=())
            messages, passing = ({wide(t): b.cast(m, wide(t)) for t, m in given.items()} for given in (seeds, masks))
            origins = [wide(t) for t in origins]
            found = carry(b, calls, [wide(s) for s in sources], messages, choose, origins=origins, masks=passing)
            return {s: found[wide(s)] for s in sources if wide(s) in found}
    whole = on_the_way(b, calls, sources, tuple(seeds), choose, kept=masks)
    choose = placed(b, calls, origins or sources, tuple(seeds), whole, choose)
    if choose.composite.canonize:
        sided = one_sided_tensors(whole.calls, lambda call: _rule(choose, call), dict.fromkeys(seeds, choose.scored))
        choose = replace(choose, one_sided=lambda t: t.name in sided)
    remaining, arrived = list(masks), dict(seeds)
    while remaining:
        nearest = [t for t in remaining if not _leads_to(whole.calls, t, [o for o in remaining if o != t], choose)]
        messages = _carry(b, whole.calls, nearest, arrived, choose)
        arrived = {t: replace(b.Mul(messages[t], masks[t]), shape=t.shape) for t in nearest if t in messages}
        remaining = [t for t in remaining if t not in nearest]
    return _carry(b, whole.calls, sources, arrived, choose)


def _rule(choose: Choice, call: Call) -> Rule | None:
    chosen = choose(call)
    return None if chosen is None else chosen.rule


def _carry(
    b: Builder, calls: Sequence[Call], sources: Sequence[Tensor], seeds: Mapping[Tensor, Tensor], choose: Choice
) -> dict[Tensor, Tensor]:
    return backward(b, liveness(calls, sources, seeds, choose.registry.role), seeds, choose)


def _leads_to(calls: Sequence[Call], start: Tensor, ends: Sequence[Tensor], choose: Choice) -> bool:
    return bool(liveness(calls, [start], ends, choose.registry.role).calls)


def on_the_way(
    b: Builder,
    calls: Sequence[Call],
    sources: Sequence[Tensor],
    targets: Sequence[Tensor],
    choose: Choice,
    kept: Iterable[Tensor] = (),
) -> Live:
    """The live calls as the composite sees them; no compound hides a source, a target or a tensor in `kept`."""
    live = liveness(calls, sources, targets, choose.registry.role)
    groupings = choose.composite.groupings
    if not groupings:
        return live
    grouped = canonize(live.calls, (*sources, *targets, *kept), b.value, partial(_is_fixed, b), groupings)
    live = liveness(grouped, sources, targets, choose.registry.role)
    return liveness(live.calls, sources, targets, choose.registry.role, choose.over(live.calls, choose.nonnegative).heard)


def placed(
    b: Builder, calls: Sequence[Call], origins: Sequence[Tensor], targets: Sequence[Tensor], live: Live, choose: Choice
) -> Choice:
    """The choice with what it wants to know of these calls: their places among the linear layers, the signs of tensors."""
    if not choose.composite.canonize:
        return choose
    whole = on_the_way(b, calls, origins, targets, choose) if choose.composite.needs_places else live
    signs = nonnegative_tensors(calls, b.value)
    return choose.over(whole.calls, lambda t: t.name in signs)


def _is_fixed(b: Builder, tensor: Tensor) -> bool:
    """Whether a tensor is the same for every input: a constant, or made of such in a few calls."""
    waiting, left = [tensor], 16
    while waiting:
        current, left = waiting.pop(), left - 1
        if b.is_constant(current):
            continue
        maker = b.graph.producer(current)
        if maker is None or maker.op in RANDOM or not left:
            return False
        waiting += [t for t in maker.reads if t is not None]
    return True


def backward(b: Builder, live: Live, seeds: Mapping[Tensor, Tensor], choose: Choice) -> dict[Tensor, Tensor]:
    """Messages on every live tensor, by carrying the seeds from the targets backward through the live calls.

    Args:
        b: emits into the graph.
        live: the calls between sources and targets, in topological order.
        seeds: the message each target starts with, in the target's shape.
        choose: the rule of each call.

    Raises:
        UnsupportedOperatorError: calls without a rule, all of them, with the path from the target.
    """
    missing = [call for call in live.calls if choose(call) is None]
    if missing:
        raise UnsupportedOperatorError(missing_operators(missing, live.calls, list(seeds)))

    def within(calls: Sequence[Call], inner: Mapping[Tensor, Tensor], sources: Sequence[Tensor]) -> dict[Tensor, Tensor]:
        """The same walk through the calls of a subgraph."""
        live = on_the_way(b, calls, sources, tuple(inner), choose)
        return backward(b, live, inner, replace(choose, layers=Layers(), observer=None, one_sided=lambda tensor: False))

    def gradient(call: Call, *incoming: Tensor | None) -> list[Tensor | None]:
        """What the operator's own gradient rule sends to all that it reads."""
        return _gradient(b, call, incoming, replace(choose, composite=GRADIENT, observer=None))

    def detached(call: Call, message: Tensor) -> Tensor:
        """What the operator's detached rule sends to its first input."""
        spec = choose.registry.find_detached(call)
        if spec is None:
            raise RuleError(f"no rule says what {call.operator} becomes with its statistics held constant")
        return dict(outgoing(b, call, spec.rule, spec, [message]))[0]

    known = choose.nonnegative, choose.one_sided, choose.twins
    with b.walking(Walking(within, gradient, detached, lambda call: _spec(choose, call), *known)):
        return _walk(b, live, seeds, choose)


def _spec(choose: Choice, call: Call) -> OpSpec:
    spec = choose.registry.find(call)
    if spec is None:
        raise UnsupportedOperatorError(missing_operators([call], [call], [t for t in call.outputs if t is not None]))
    return spec


def _gradient(b: Builder, call: Call, incoming: Sequence[Tensor | None], choose: Choice) -> list[Tensor | None]:
    if call.parts:
        wanted = [t for i, t in enumerate(call.inputs) if t is not None and call.wants(i)]
        seeds = {y: m for y, m in zip(call.outputs, incoming, strict=False) if y is not None and m is not None}
        found = backward(b, liveness(call.parts, wanted, seeds, choose.registry.role), seeds, choose)
        return [None if t is None else found.get(t) for t in call.inputs]
    spec = _spec(choose, call)
    incoming = [*incoming, *[None] * (len(call.outputs) - len(incoming))]
    # By position: an operator may read one tensor twice.
    sent = dict(outgoing(b, call, spec.rule, spec, incoming))
    return [sent.get(i) for i in range(len(call.reads))]


def _walk(b: Builder, live: Live, seeds: Mapping[Tensor, Tensor], choose: Choice) -> dict[Tensor, Tensor]:
    arrived: dict[Tensor, list[Tensor]] = {target: [seed] for target, seed in seeds.items()}
    messages: dict[Tensor, Tensor] = {}

    def message(tensor: Tensor) -> Tensor | None:
        """The sum of all that arrived at a tensor."""
        if tensor not in messages and tensor in arrived:
            total = b.total(arrived.pop(tensor))
            messages[tensor] = b.know(replace(total, dtype=tensor.message_dtype or total.dtype, shape=tensor.shape))
        return messages.get(tensor)

    for call in reversed(live.calls):
        incoming = [None if y is None else message(y) for y in call.outputs]
        if all(m is None for m in incoming):
            continue
        chosen = choose(call)
        assert chosen is not None
        with b.scope(f"{call.name}/backward"):
            sent = list(outgoing(b, call, chosen.rule, chosen.spec, incoming))
            for i, m in sent:
                x = call.reads[i]
                assert x is not None
                arrived.setdefault(x, []).append(m)
            if choose.observer is not None:
                choose.observer.observe(b, call, chosen.rule, incoming, sent)
    for tensor in list(arrived):
        message(tensor)
    return messages


def outgoing(b: Builder, call: Call, rule: Rule, spec: OpSpec, incoming: Sequence[Tensor | None]) -> Iterable[tuple[int, Tensor]]:
    """The messages one rule sends to the live inputs of its call by position, each in the shape and type of its input."""
    where = f"{call}{f' in {call.scope}' if call.scope else ''}, rule '{rule_name(rule)}'"
    try:
        result = rule(b, call, *incoming)
        sent = result if isinstance(result, tuple) else (result,)
        # A rule of several operators may return None for inputs that only some of them have.
        if any(m is not None for m in sent[len(call.reads) :]):
            raise RuleError(f"{len(sent)} messages for a node with {len(call.reads)} input{'s' if len(call.reads) > 1 else ''}")
        for i, x in enumerate(call.reads):
            if x is None or not call.wants(i):
                continue
            if i >= len(sent):
                raise RuleError(f"no message for input {i} ('{x.name}')")
            if sent[i] is not None:
                yield i, _fitted(b, call, spec, i, x, sent[i])
    except RuleError as error:
        raise RuleError(f"{where}: {error}") from error
    except (IndexError, KeyError, TypeError, ValueError) as error:  # a form of the operator that the rule did not expect
        raise RuleError(f"{where}: failed on this form of the operator ({type(error).__name__}: {error})") from error


def _fitted(b: Builder, call: Call, spec: OpSpec, index: int, x: Tensor, message: object) -> Tensor:
    """A message in the shape and type of its input; one that contradicts what is known of the input is refused."""
    said = f"for input {index} ('{x.name}')"
    if not isinstance(message, Tensor):
        raise RuleError(f"the message {said} is of the class {type(message).__name__}, expected a tensor or None")
    wanted = _full_shape(call, x, spec.core) if spec.broadcasts else x.shape
    if not may_be_equal(message.shape, wanted):
        raise RuleError(f"the message {said} has the shape {shown(message.shape)}, expected {shown(wanted)}")
    if x.message_dtype is not None and not message.is_float:
        raise RuleError(f"the message {said} has the type {message.dtype}, expected {x.dtype}")
    if spec.broadcasts:
        message = b.sum_to(message, x, wanted)
    return b.know(replace(message if x.message_dtype is None else b.cast(message, x), shape=x.shape))


def _full_shape(call: Call, x: Tensor, core: int) -> Shape:
    """The extents of a message for input `x` before it is summed over broadcast axes."""
    y = next((y for y in call.outputs if y is not None), None)
    if y is None or y.shape is None or core == 0:
        return None if y is None else y.shape
    if any(t is not None and t.shape is None for t in call.inputs) or x.shape is None:
        return None
    # An operand with fewer axes than the core (a vector in MatMul) leaves its axis out of the output.
    vectors = sum(core - t.rank for t in call.inputs if t is not None and t.rank < core)
    return y.shape[: max(0, len(y.shape) - core + vectors)] + x.shape[-core:]


def missing_operators(missing: Sequence[Call], calls: Sequence[Call], targets: Sequence[Tensor]) -> str:
    """One message for all calls without a rule: operator, node, scope and the path from the target."""
    consumer: dict[str, Call] = {}
    for call in reversed(calls):
        for i, x in enumerate(call.reads):
            if x is not None and call.wants(i):
                consumer.setdefault(x.name, call)

    def path(call: Call) -> str:
        steps, current = [], call
        while True:
            onward = next((consumer[y.name] for y in current.outputs if y is not None and y.name in consumer), None)
            if onward is None:
                break
            current = onward
            steps.append(current.name)
        ends = [t.name for t in targets if t in current.outputs]
        shown = [*steps[:3], "…", *steps[-2:]] if len(steps) > 6 else steps
        return " → ".join([call.name, *shown, *ends])

    operators = sorted({call.operator for call in missing})
    lines = [f"no rule for {len(operators)} operator{'s' if len(operators) > 1 else ''} on the way: {', '.join(operators)}"]
    lines += [f"  {c}" + (f" in {c.scope}" if c.scope else "") + f": {path(c)}" for c in missing[:20]]
    if len(missing) > 20:
        lines.append(f"  … and {len(missing) - 20} more nodes")
    lines.append("give a rule for it in a folder of your own (--rules DIR), or explain a tensor behind it (--layer),")
    lines.append("or use a method that needs forward passes only, such as kernel-shap or lime")
    return "\n".join(lines)
