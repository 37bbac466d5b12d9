"""The form in which ONNX Runtime's CPU kernels like what the rules emitted.

ONNX Runtime's CPU provider keeps images in a blocked layout (channels in blocks of 8 or 16) from convolution to convolution, as
long as every operator between them can work on it and extents are provably equal (`blocks`). `Where`, comparisons, constants
and broadcasting cannot; each costs a reordering of every image that it reads or feeds. So where a message from a convolution
meets the mask of an activation, the mask becomes a product (`masks`); where it meets the gate of its channel, or the mean of
its pixels, the one number is repeated (`pixels`); and where a message in plain layout is added to a blocked one, it is brought
into blocks first.
"""

from __future__ import annotations

from onnxplain.builder.emitter import Emitter
from onnxplain.ir.emitted import Emitted
from onnxplain.ir.ops import Traits
from onnxplain.passes.lowering.masks import hard_swish, masked, masked_message
from onnxplain.passes.lowering.pixels import gated, offset, scaled, stretched_channels, summed
from onnxplain.passes.lowering.scope import STEEP, Form, Scope
from onnxplain.passes.lowering.stretch import stretched_late

__all__ = ["STEEP", "lowered"]


def joined(s: Scope, node: Emitted) -> Emitted | None:
    """A sum of a blocked and a plain image: the plain one is brought into blocks."""
    plain = [t for t in node.inputs if t is not None and not s.is_blocked(t)]
    blocked = [t for t in node.inputs if t is not None and s.is_blocked(t)]
    if len(plain) != 1 or not blocked or not s.alike(plain[0], blocked[0]):
        return None
    moved = s.in_blocks(plain[0])
    return None if moved is None else s.instead(node, "Add", *(moved if t == plain[0] else t for t in node.inputs))


# operators: a choice of forms for each
LOWERINGS: dict[str, tuple[Form, ...]] = {
    "Where": (hard_swish, masked, masked_message),
    "Add": (joined,),
    "Sub": (offset,),
    "Mul": (gated, scaled),
    "Div": (scaled,),
    "ReduceSum": (summed,),
    "Expand": (stretched_channels,),
}
"""What may take the place of an operator; the first that fits does."""


def lowered(b: Emitter, traits: Traits) -> list[Emitted]:
    """What has been emitted at the top level, in the forms that run fast; `traits` gives the facts about operators."""
    scope = Scope(b, LOWERINGS, traits)
    scope.read(b.graph.nodes)
    return scope.lowered(stretched_late(b, b.nodes))
