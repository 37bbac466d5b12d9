"""The walk: reverse mode over a sequence of calls, with any family of rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from onnxplain.builder import Builder
from onnxplain.call import Call
from onnxplain.errors import RuleError, UnsupportedOperatorError
from onnxplain.liveness import Live, liveness
from onnxplain.registry import OpSpec, Rule
from onnxplain.tensor import Shape, Tensor

__all__ = ["Choice", "backward", "missing_operators"]

Choice = Callable[[Call], "tuple[Rule, OpSpec] | None"]
"""Which rule serves a call, with the registry's entry of its operator; None where the registry has none."""


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
        return backward(b, liveness(calls, sources, inner, lambda c: _role(choose, c)), inner, choose)

    with b.walking(within):
        return _walk(b, live, seeds, choose)


def _role(choose: Choice, call: Call) -> str:
    chosen = choose(call)
    return "" if chosen is None else chosen[1].role


def _walk(b: Builder, live: Live, seeds: Mapping[Tensor, Tensor], choose: Choice) -> dict[Tensor, Tensor]:
    arrived: dict[Tensor, list[Tensor]] = {target: [seed] for target, seed in seeds.items()}
    messages: dict[Tensor, Tensor] = {}

    def message(tensor: Tensor) -> Tensor | None:
        """The sum of all that arrived at a tensor."""
        if tensor not in messages and tensor in arrived:
            total = b.total(arrived.pop(tensor))
            messages[tensor] = replace(total, dtype=tensor.message_dtype or total.dtype, shape=tensor.shape)
        return messages.get(tensor)

    for call in reversed(live.calls):
        incoming = [None if y is None else message(y) for y in call.outputs]
        if all(m is None for m in incoming):
            continue
        chosen = choose(call)
        assert chosen is not None
        rule, spec = chosen
        with b.scope(f"{call.name}/backward"):
            for x, m in outgoing(b, call, rule, spec, incoming):
                arrived.setdefault(x, []).append(m)
    for tensor in list(arrived):
        message(tensor)
    return messages


def outgoing(
    b: Builder, call: Call, rule: Rule, spec: OpSpec, incoming: Sequence[Tensor | None]
) -> Iterable[tuple[Tensor, Tensor]]:
    """The messages one rule sends to the live inputs of its call, each in the shape and type of its input."""
    try:
        result = rule(b, call, *incoming)
        sent = result if isinstance(result, tuple) else (result,)
        for i, x in enumerate(call.reads):
            if x is None or not call.wants(i):
                continue
            if i >= len(sent):
                raise RuleError(f"its rule gives no message for input {i} ('{x.name}')")
            m = sent[i]
            if m is None:
                continue
            if spec.broadcasts:
                m = b.sum_to(m, x, _full_shape(call, x, spec.core))
            yield x, replace(m if x.message_dtype is None else b.cast(m, x), shape=x.shape)
    except RuleError as error:
        raise RuleError(f"{call}{f' in {call.scope}' if call.scope else ''}: {error}") from error
    except (IndexError, KeyError, TypeError, ValueError) as error:  # a form of the operator that the rule did not expect
        where = f"{call}{f' in {call.scope}' if call.scope else ''}"
        raise RuleError(f"{where}: its rule failed on this form of it ({type(error).__name__}: {error})") from error


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
    lines.append("give a rule for it in a folder of your own (--rules DIR), or explain a tensor behind it (--layer)")
    return "\n".join(lines)
