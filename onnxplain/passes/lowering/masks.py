"""Masks and slopes of activations as products of images in blocks.

A step is a hard sigmoid so steep that it is 0 or 1 at every number. 0 times an infinite slope (of a root at 0, say) is no
number: messages that may be infinite keep their `Where`.
"""

from __future__ import annotations

import numpy as np

from onnxplain.ir.emitted import Emitted
from onnxplain.ir.pattern import number, op, var
from onnxplain.ir.tensor import Tensor
from onnxplain.passes.lowering.scope import STEEP, Scope

__all__ = ["hard_swish", "masked", "masked_message"]

X, MESSAGE = var("x"), var("message")
HARD_SWISH = op.Where(
    op.GreaterOrEqual(X, 3), MESSAGE,
    op.Where(op.LessOrEqual(X, -3), 0, MESSAGE * (X * (1 / 3) + 0.5)),
)  # fmt: skip
SPREAD = op.Where(op.And(var("rows"), var("columns")), MESSAGE, 0)
CONDITION = var("condition")
KEPT, DROPPED = op.Where(CONDITION, MESSAGE, 0), op.Where(CONDITION, 0, MESSAGE)
BOTH = op.And(var("one"), var("other"))
BOUND = number("bound")
SIDES = (
    (op.Greater(X, BOUND), 1, False),
    (op.GreaterOrEqual(X, BOUND), 1, True),
    (op.Less(X, BOUND), -1, False),
    (op.LessOrEqual(X, BOUND), -1, True),
)
"""On which side of the bound each comparison is true, and whether it is at the bound."""


def hard_swish(s: Scope, node: Emitted) -> Emitted | None:
    """The message times the slope 2h − u, with h = clip(x/6 + ½, 0, 1) and u = 0 to −3, ½ between, 1 from 3 on.

    1 − u is clip(½ − [x ≥ 3] + [x ≤ −3], 0, 1). All of it is bounded: the slope is right where x is infinite too. h is made
    anew, of x that is read for the steps anyway, so that the forward run need not keep it.
    """
    found = s.match(node.outputs[0], HARD_SWISH)
    if not found or not s.is_blocked(found["x"]) or not _meets(s, found["message"]):
        return None
    x = found["x"]

    def slope() -> Tensor:
        above, below = _step(s, x, 3.0, 1), _step(s, x, 3.0, -1)
        lower = s.emit("Conv", *s.affine(above, -1), like=x, hint="above", group=s.channels(x))
        outside = s.emit("Add", lower, below, like=x, hint="outside")
        jumps = s.emit("HardSigmoid", outside, like=x, hint="jumps", alpha=1.0, beta=0.5)
        h = s.emit("HardSigmoid", x, like=x, hint="ramp", alpha=float(np.float32(1 / 6)), beta=0.5)
        ramp = s.emit("Conv", *s.affine(h, 2, -1), like=x, hint="ramps", group=s.channels(x))
        return s.emit("Add", ramp, jumps, like=x, hint="slope")

    return s.instead(node, "Mul", found["message"], s.once(("hard swish", x.name), slope))


def masked(s: Scope, node: Emitted) -> Emitted | None:
    """The message where an image in blocks lies beyond bounds, else 0: the message times a step for each."""
    found = s.match(node.outputs[0], KEPT)
    dropped = not found
    found = found or s.match(node.outputs[0], DROPPED)
    if not found:
        return None
    message, steps = found["message"], _steps(s, found["condition"], negated=dropped)
    if not steps or not _meets(s, message):
        return None
    *first, last = steps
    for step in first:
        message = s.emit("Mul", message, _step(s, *step), like=node.outputs[0], hint="kept")
    return s.instead(node, "Mul", message, _step(s, *last))


def masked_message(s: Scope, node: Emitted) -> Emitted | None:
    """A message in some rows and columns, else 0: its product with ones and zeros, which is one pass instead of three."""
    found = s.match(node.outputs[0], SPREAD)
    if not found or s.is_wild(found["message"]):
        return None
    rows, columns = (s.b.value(found[k]) for k in ("rows", "columns"))
    dtype = s.b.known(found["message"]).dtype
    if rows is None or columns is None or dtype is None:
        return None
    ones = s.emit("Mul", s.b.const(rows.astype(dtype)), s.b.const(columns.astype(dtype)), like=Tensor("", dtype), hint="ones")
    return s.instead(node, "Mul", found["message"], ones)


def _meets(s: Scope, message: Tensor) -> bool:
    """Whether a message's product with an image in blocks stays there, and is 0 where the image is."""
    return s.is_blocked(message) and not s.is_wild(message)


def _steps(s: Scope, condition: Tensor, *, negated: bool) -> list[tuple[Tensor, float, int]]:
    """A condition, or what it is not, as steps: an image in blocks, a bound, and the side on which to keep what is there; none
    if it is no such."""
    both = None if negated else s.match(condition, BOTH)
    if both:
        steps = [_steps(s, both[name], negated=False) for name in ("one", "other")]
        return [*steps[0], *steps[1]] if all(steps) else []
    for pattern, above, at_bound in SIDES:
        found = s.match(condition, pattern)
        if not found:
            continue
        y, number, sign = found["x"], found.numbers["bound"], -above if negated else above
        if not np.isfinite(number) or not s.is_blocked(y):
            return []
        number *= sign
        first = number if at_bound != negated else float(np.nextafter(np.float32(number), np.float32(np.inf)))
        steep = abs(_beyond(first, sign)["alpha"]) <= float(np.finfo(np.float32).max)  # not for bounds that are nearly 0
        return [(y, first, sign)] if steep else []
    return []


def _step(s: Scope, y: Tensor, bound: float, sign: int) -> Tensor:
    """1 where sign · y ≥ bound, else 0."""
    return s.once(("step", y.name, bound, sign), lambda: s.emit("HardSigmoid", y, like=y, hint="step", **_beyond(bound, sign)))


def _beyond(bound: float, sign: int) -> dict[str, float]:
    """The hard sigmoid that is 1 where sign · y ≥ bound and 0 at every float32 below; next to 0 at every normal one.

    Elsewhere the slope is a power of two, so that nothing is rounded.
    """
    if abs(bound) < np.finfo(np.float32).tiny:
        return {"alpha": sign * STEEP, "beta": 0.0 if bound > 0 else 1.0}
    before = np.nextafter(np.float32(bound), np.float32(-np.inf))
    steep = 1 / (bound - float(before))
    return {"alpha": sign * steep, "beta": -steep * float(before)}
