"""Masks and slopes of activations as products of images in blocks.

A step is a hard sigmoid so steep that it is 0 or 1 at every number. 0 times an infinite slope (of a root at 0, say) is no
number: messages that may be infinite keep their `Where`.
"""

from __future__ import annotations

import numpy as np

from onnxplain.graph import Emitted
from onnxplain.lowering.scope import STEEP, Scope
from onnxplain.tensor import Tensor

__all__ = ["chosen", "hard_swish", "masked", "spread"]

HARD_SWISH = (
    "Where", ("GreaterOrEqual", "x", 3.0), "message",
    ("Where", ("LessOrEqual", "x", -3.0), 0.0, ("Mul", "message", ("Add", ("Mul", "x", 1 / 3), 0.5))),
)  # fmt: skip
BETWEEN = ("And", ("Greater", "y", 0.0), ("Less", "y", 1.0))


def hard_swish(s: Scope, call: Emitted) -> Emitted | None:
    """The message times the slope 2h − u, with h = clip(x/6 + ½, 0, 1) and u = 0 to −3, ½ between, 1 from 3 on.

    h is what the forward run computes, and 1 − u is clip(½ − [x ≥ 3] + [x ≤ −3], 0, 1). All of it is bounded: the slope is
    right where x is infinite too.
    """
    found = s.match(call.outputs[0], HARD_SWISH)
    if found is None or not s.is_blocked(found["x"]) or not _meet(s, found["message"], found["x"]):
        return None
    x = found["x"]

    def slope() -> Tensor:
        above, below = (s.emit("HardSigmoid", x, like=x, hint="step", **_beyond(3.0, sign)) for sign in (1, -1))
        lower = s.emit("Conv", *s.affine(above, -1), like=x, hint="above", group=s.channels(x))
        outside = s.emit("Add", lower, below, like=x, hint="outside")
        jumps = s.emit("HardSigmoid", outside, like=x, hint="jumps", alpha=1.0, beta=0.5)
        h = s.emit("HardSigmoid", x, like=x, hint="ramp", alpha=float(np.float32(1 / 6)), beta=0.5)
        ramp = s.emit("Conv", *s.affine(h, 2, -1), like=x, hint="ramps", group=s.channels(x))
        return s.emit("Add", ramp, jumps, like=x, hint="slope")

    return s.instead(call, "Mul", found["message"], s.once(("hard swish", x.name), slope))


def masked(s: Scope, call: Emitted) -> Emitted | None:
    """The message where y > 0, else 0: the message times a step of y."""
    found = s.match(call.outputs[0], ("Where", ("Greater", "y", 0.0), "message", 0.0))
    if found is None or not s.is_blocked(found["y"]) or not _meet(s, found["message"], found["y"]):
        return None
    return s.instead(call, "Mul", found["message"], _step(s, found["y"], STEEP, 0.0))


def chosen(s: Scope, call: Emitted) -> Emitted | None:
    """The message where 0 < y < 1, else 0: the message times two steps of y."""
    found = s.match(call.outputs[0], ("Where", BETWEEN, "message", 0.0))
    if found is None or not s.is_blocked(found["y"]) or not _meet(s, found["message"], found["y"]):
        return None
    y = found["y"]
    lower = s.emit("Mul", found["message"], _step(s, y, STEEP, 0.0), like=y, hint="above")
    return s.instead(call, "Mul", lower, _step(s, y, -(2.0**24), 2.0**24))


def spread(s: Scope, call: Emitted) -> Emitted | None:
    """A message in some rows and columns, else 0: its product with ones and zeros, which is one pass instead of three."""
    found = s.match(call.outputs[0], ("Where", ("And", "rows", "columns"), "message", 0.0))
    if found is None or s.is_wild(found["message"]):
        return None
    rows, columns = (s.b.value(found[k]) for k in ("rows", "columns"))
    dtype = s.b.known(found["message"]).dtype
    if rows is None or columns is None or dtype is None:
        return None
    ones = s.emit("Mul", s.b.const(rows.astype(dtype)), s.b.const(columns.astype(dtype)), like=Tensor("", dtype), hint="ones")
    return s.instead(call, "Mul", found["message"], ones)


def _meet(s: Scope, message: Tensor, y: Tensor) -> bool:
    """Whether the product of a message and an image stays in blocks, and is 0 where the image is."""
    return s.is_blocked(message) and not s.is_wild(message)


def _step(s: Scope, y: Tensor, slope: float, shift: float) -> Tensor:
    make = lambda: s.emit("HardSigmoid", y, like=y, hint="step", alpha=slope, beta=shift)  # noqa: E731
    return s.once(("step", y.name, slope, shift), make)


def _beyond(bound: float, sign: int) -> dict[str, float]:
    """The hard sigmoid that is 1 where sign · x ≥ bound, and 0 at every float32 below: all of it is exact in powers of two."""
    before = np.nextafter(np.float32(bound), np.float32(0))
    steep = 1 / float(np.float32(bound) - before)
    return {"alpha": sign * steep, "beta": -steep * float(before)}
