"""LSTM, GRU and RNN written out step by step, for relevance: a Scan over time with linear maps, activations and gates in it.

The input and the state before go into one linear map, W·x + R·h + b = [W R]·(x ‖ h) + b, so that both share its denominator,
whichever rule serves it. Gates multiply signals, which relevance takes for products of a signal and a gate (Arras et al.
2017, Explaining Recurrent Neural Network Predictions in Sentiment Analysis, section 3; Arras et al. 2019, Explaining and
Interpreting LSTMs). A GRU with linear_before_reset has its gate between R·h and the sum: [W I]·(x ‖ r ∘ (R·h + b)) + b.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from onnxplain import Builder, Extents, Messages, Node, Tensor, expansion, rule
from onnxplain.rulekit.rnn_activations import Activation, activations, directions, pick
from onnxplain.rulekit.stand_ins import stands_for

Step = Callable[[Tensor, "list[Tensor]"], "list[Tensor]"]
"""The input and the states before a step to the states after it, the hidden state first."""


@expansion("RNN", domain="", inputs=6, outputs=2, on_demand=True, direction="forward", layout=0)
def rnn(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """H = f(W·x + R·h + b)"""

    def step(cell: Cell) -> Step:
        (f,) = cell.functions
        return lambda x, states: [f.value(cell.linear(0, 1, x, states[0]))]

    return unrolled(b, node, step, count=1)


@expansion("GRU", domain="", inputs=6, outputs=2, on_demand=True, direction="forward", layout=0, linear_before_reset=0)
def gru(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """H = (1 − u) ∘ g(W·x + R·(r ∘ h) + b) + u ∘ h, or with g(W·x + b + r ∘ (R·h + b))"""

    def step(cell: Cell) -> Step:
        f, g = cell.functions

        def after(x: Tensor, states: list[Tensor]) -> list[Tensor]:
            (h,) = states
            u, r = (f.value(z) for z in b.Split(cell.linear(0, 2, x, h), num_outputs=2, axis=-1, outputs=2))
            if node["linear_before_reset"]:
                z = cell.linear(2, 3, x, None, beside=b.Mul(r, cell.linear(2, 3, None, h)))
            else:
                z = cell.linear(2, 3, x, b.Mul(r, h))
            return [b.Add(b.Mul(b.Sub(1, u), g.value(z)), b.Mul(u, h))]

        return after

    return unrolled(b, node, step, count=2)


@expansion("LSTM", domain="", inputs=8, outputs=3, on_demand=True, direction="forward", layout=0, input_forget=0)
def lstm(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """C = φ ∘ c + i ∘ g(W·x + R·h + b), H = o ∘ h(C), with gates i, φ that may see c, and o that may see C"""
    return _lstm(b, node, lambda h: h)


@expansion("DynamicQuantizeLSTM", domain="com.microsoft", inputs=12, outputs=3, direction="forward", layout=0, input_forget=0)
def dynamic_quantize_lstm(b: Builder, node: Node) -> tuple[Tensor | None, ...]:
    """An LSTM on what its integer weights stand for, and on 8 bits of its input and of every hidden state, by their range.

    The operator itself stays for the prediction: ONNX Runtime takes a range of their own for the samples of every thread.
    """
    x, w, r, bias, lens, *starts, peepholes = node.inputs[:8]
    w, r = (_stand_for(b, node.input(i), node.inputs[j], node.inputs[j + 1]) for i, j in ((1, 8), (2, 10)))
    plain = replace(node, op="LSTM", domain="", inputs=(_rounded(b, x), w, r, bias, lens, *starts, peepholes))
    written = _lstm(b, plain, lambda h: _rounded(b, h))
    kept = {k: v for k, v in node.attributes.items() if k not in ("opset", "layout")}
    own = b.op(node.op, *node.inputs, domain=node.domain, outputs=3, **kept)
    pairs = zip(node.outputs, own, written, strict=True)
    return tuple(None if y is None or w is None else stands_for(b, o, w) for y, o, w in pairs)


@rule("DynamicQuantizeLSTM", role="zero", domain="com.microsoft")
def prediction_only(b: Builder, node: Node, *dy: Tensor | None) -> Messages:
    """dx = 0: messages go through what it is written out as, beside it"""
    return (None,) * len(node.inputs)


def _rounded(b: Builder, x: Tensor | None) -> Tensor:
    """What is left of a tensor after it has been quantized to 8 bits by its own range."""
    made: Tensor = b.DequantizeLinear(*b.DynamicQuantizeLinear(x, outputs=3))
    return made


def _stand_for(b: Builder, w: Tensor, scale: Tensor | None, zero: Tensor | None) -> Tensor:
    """Real weights [directions, gates·hidden, …] of integers [directions, …, gates·hidden], with scales [directions] or
    [directions, gates·hidden]."""
    assert scale is not None
    axes = [1, 2] if scale.rank == 1 else [1]
    steps = b.cast(w, scale)
    if zero is not None:
        steps = b.Sub(steps, b.cast(b.Unsqueeze(zero, axes), scale))
    return b.transpose(b.Mul(steps, b.Unsqueeze(scale, axes)), [0, 2, 1])


def _lstm(b: Builder, node: Node, seen: Callable[[Tensor], Tensor]) -> tuple[Tensor | None, ...]:
    """The steps of an LSTM, whose linear maps read what is `seen` of the hidden state."""

    def step(cell: Cell) -> Step:
        f, g, h = cell.functions

        def after(x: Tensor, states: list[Tensor]) -> list[Tensor]:
            hidden, c = states
            before = seen(hidden)
            zi, zo, zf = b.Split(cell.linear(0, 3, x, before), num_outputs=3, axis=-1, outputs=3)
            i = f.value(cell.seeing(0, zi, c))
            forget = b.Sub(1, i) if node["input_forget"] else f.value(cell.seeing(2, zf, c))
            c = b.Add(b.Mul(forget, c), b.Mul(i, g.value(cell.linear(3, 4, x, before))))
            return [b.Mul(f.value(cell.seeing(1, zo, c)), h.value(c)), c]

        return after

    return unrolled(b, node, step, count=3)


# -- what they share ---------------------------------------------------------------------------------------------------


class Cell:
    """The weights and functions of one direction: W [gates·hidden, input], R [gates·hidden, hidden], biases of both."""

    def __init__(self, b: Builder, node: Node, d: int, functions: Sequence[Activation]) -> None:
        self.b, self.functions = b, functions
        self.w, self.r, bias = (pick(b, t, d, 0) for t in node.inputs[1:4])
        peepholes = pick(b, node.inputs[7], d, 0) if len(node.inputs) > 7 else None
        self.biases = None if bias is None else b.Split(bias, num_outputs=2, axis=0, outputs=2)
        self.peepholes = None if peepholes is None else b.Split(peepholes, num_outputs=3, axis=0, outputs=3)
        self.hidden = b.dim(node.input(2), 2)

    def linear(self, first: int, last: int, x: Tensor | None, h: Tensor | None, beside: Tensor | None = None) -> Tensor:
        """W·x + R·h + b, with one bias for each product, for the gates from `first` up to `last`.

        What stands `beside` is added as I·m, a part of the same linear map.
        """
        b = self.b
        given = [t for t in (x, h, beside) if t is not None]
        weights = [self.rows(t, first, last) for t, of in ((self.w, x), (self.r, h)) if t is not None and of is not None]
        if beside is not None:
            assert self.r is not None
            weights.append(b.EyeLike(self.rows(self.r, first, last)))
        joined = weights[0] if len(weights) == 1 else b.Concat(*weights, axis=1)
        bias = None
        if self.biases is not None:
            added = [t for t, of in zip(self.biases, (x, h), strict=True) if of is not None]
            bias = self.rows(b.total(added), first, last)
        made: Tensor = b.Gemm(given[0] if len(given) == 1 else b.Concat(*given, axis=1), joined, bias, transB=1)
        return made

    def seeing(self, which: int, z: Tensor, cell: Tensor) -> Tensor:
        """A gate's input with what its peephole adds: z + p ∘ C"""
        return z if self.peepholes is None else self.b.Add(z, self.b.Mul(cell, self.peepholes[which]))

    def rows(self, t: Tensor, first: int, last: int) -> Tensor:
        """What belongs to some of the gates."""
        ends = [self.b.Mul(self.hidden, n) for n in (first, last)]
        made: Tensor = self.b.Slice(t, *ends, [0])
        return made


def unrolled(b: Builder, node: Node, make: Callable[[Cell], Step], *, count: int) -> tuple[Tensor | None, ...]:
    """The hidden states of all steps, then the last of each state; `count` functions serve each direction."""
    x, lens, starts = node.x, node.inputs[4], [node.inputs[5], *node.inputs[6:7]]
    batch_first = bool(node["layout"])
    x = b.transpose(x, [1, 0, 2]) if batch_first else x
    zeros = b.Expand(b.const(0, x.dtype), Extents.of(b, x).at(1).then(Extents.of(b, node.input(2)).at(2)).operand)
    inside: Tensor | None = None
    if lens is not None:  # [steps, batch, 1]: the steps before the end of each sequence
        steps = b.Range(0, b.Squeeze(b.dim(x, 0), [0]), 1)
        inside = b.Less(b.Unsqueeze(steps, [1, 2]), b.Unsqueeze(b.Cast(lens, to=7), [0, 2]))

    def run(d: int, backwards: bool, functions: Sequence[Activation]) -> list[Tensor]:
        step = make(Cell(b, node, d, functions))
        begin = [zeros if s is None else pick(b, b.transpose(s, [1, 0, 2]) if batch_first else s, d, 0) for s in starts]

        def body(*formal: Tensor) -> list[Tensor]:
            before, row, valid = list(formal[: len(begin)]), formal[len(begin)], formal[len(begin) + 1 :]
            after = step(row, before)
            if not valid:
                return [*after, after[0]]
            kept = [b.Where(valid[0], new, old) for new, old in zip(after, before, strict=True)]
            return [*kept, b.Where(valid[0], after[0], 0)]

        extents = x.dim(1), node.input(2).dim(2)
        slots = [Tensor("state", x.dtype, extents) for _ in begin] + [Tensor("row", x.dtype, (x.dim(1), x.dim(2)))]
        given = [x]
        if inside is not None:
            slots.append(Tensor("valid", inside.dtype, (x.dim(1), 1)))
            given.append(inside)
        made = b.op(
            "Scan", *begin, *given, outputs=len(begin) + 1, body=b.body(slots, body), num_scan_inputs=len(given),
            scan_input_directions=[int(backwards)] * len(given), scan_output_directions=[int(backwards)],
        )  # fmt: skip
        return list(made)

    runs = [run(d, *each) for d, each in enumerate(zip(directions(node), activations(b, node, count), strict=True))]

    def joined(parts: Sequence[Tensor], axis: int, order: Sequence[int]) -> Tensor:
        stacked = [b.Unsqueeze(p, [axis]) for p in parts]
        whole = stacked[0] if len(stacked) == 1 else b.Concat(*stacked, axis=axis)
        return b.transpose(replace(whole, shape=None), order) if batch_first else whole

    *finals, hidden = zip(*runs, strict=True)
    return joined(hidden, 1, [2, 0, 1, 3]), *(joined(final, 0, [1, 0, 2]) for final in finals)
