"""LSTM, GRU and RNN, with every attribute.

The forward stays as it is. Backward, the gates of all steps are computed at once, since the hidden states are outputs;
only what is sequential by nature is a loop: the cell states of an LSTM (elementwise) and the messages on the states (one
matrix product a step). Memory is linear in the number of steps.

In formulas H₋, C₋ are the states before a step, ∘ is the elementwise product, and a message on a quantity q is written ∂q.
Where a sequence has ended, the state stays: its messages pass unchanged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain import Builder, Extents, Messages, Node, Tensor, rule
from onnxplain.rulekit.rnn_activations import Activation, activations, directions, pick


@rule("RNN", role="function")
def rnn(b: Builder, node: Node, dy: Tensor | None, dh: Tensor | None) -> Messages:
    """H = f(z), z = X·Wᵀ + H₋·Rᵀ + b: ∂z = ∂H ∘ f′(z), ∂H₋ = ∂z·R"""

    def backward(run: Run) -> Back:
        (f,) = run.functions
        _, slope = f(run.inner(run.before))
        slope = run.where_valid(slope, 0)

        def step(states: list[Tensor], rows: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
            (at,), (d, s, keep) = states, rows
            at = run.joined(at, d)
            dz = b.Mul(at, s)
            return [run.passed(b.MatMul(dz, run.r), at, keep)], [dz]

        (dh0,), (dz,) = run.loop([run.dh], [run.dy, slope, run.kept], step, backwards=True)
        return Back(dz, dz, [(dz, run.before)], dh0)

    return recurrent(b, node, dy, dh, None, backward, count=1)


@rule("GRU", role="function")
def gru(b: Builder, node: Node, dy: Tensor | None, dh: Tensor | None) -> Messages:
    """H = (1 − u) ∘ g(zₕ) + u ∘ H₋ with u = f(zᵤ), r = f(zᵣ) and zₕ = X·Wₕᵀ + (r ∘ H₋)·Rₕᵀ + b, or X·Wₕᵀ + r ∘ (H₋·Rₕᵀ + b):
    ∂zₕ = ∂H ∘ (1 − u) ∘ g′, ∂zᵤ = ∂H ∘ (H₋ − g) ∘ f′, ∂zᵣ = ∂r ∘ f′, ∂H₋ = ∂H ∘ u + what comes through R
    """

    def backward(run: Run) -> Back:
        f, g = run.functions
        xu, xr, xh = b.Split(run.outer, num_outputs=3, axis=-1, outputs=3)
        w_ur, rh = run.rows(run.r, 0, 2), run.rows(run.r, 2, 3)
        bias = run.bias(1)
        if bias is not None:
            b_ur, bh = run.rows(bias, 0, 2), run.rows(bias, 2, 3)
        inner = b.MatMul(run.before, b.transpose(w_ur, [1, 0]))
        hu, hr = b.Split(inner if bias is None else b.Add(inner, b_ur), num_outputs=2, axis=-1, outputs=2)
        (u, du), (r, dr) = f(b.Add(xu, hu)), f(b.Add(xr, hr))
        late = bool(node["linear_before_reset"])  # the reset gate comes after the matrix product
        mixed = run.before if late else b.Mul(r, run.before)
        hh = b.MatMul(mixed, b.transpose(rh, [1, 0]))
        hh = hh if bias is None else b.Add(hh, bh)
        h, slope = g(b.Add(xh, b.Mul(r, hh) if late else hh))
        through_h = run.where_valid(b.Mul(b.Sub(1, u), slope), 0)
        through_u = run.where_valid(b.Mul(b.Sub(run.before, h), du), 0)
        u = run.where_valid(u, 1)

        def early_step(states: list[Tensor], rows: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
            (at,), (d, ut, ht, uh, rt, rs) = states, rows
            at = run.joined(at, d)
            dzh = b.Mul(at, ht)
            mix = b.MatMul(dzh, rh)
            dz = b.Concat(b.Mul(at, uh), b.Mul(mix, rs), axis=-1)
            before = b.Add(b.Add(b.Mul(at, ut), b.Mul(mix, rt)), b.MatMul(dz, w_ur))
            return [before], [dz, dzh]

        def late_step(states: list[Tensor], rows: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
            (at,), (d, ut, all_t) = states, rows
            at = run.joined(at, d)
            dz = b.Mul(b.Concat(at, at, at, axis=-1), all_t)
            return [b.Add(b.Mul(at, ut), b.MatMul(dz, run.r))], [dz, at]

        if not late:
            reset = run.where_valid(b.Mul(run.before, dr), 0)
            (dh0,), (dz_ur, dzh) = run.loop([run.dh], [run.dy, u, through_h, through_u, r, reset], early_step, backwards=True)
            dz = b.Concat(dz_ur, dzh, axis=-1)
            return Back(dz, dz, [(dz_ur, run.before), (dzh, mixed)], dh0)
        through_r = b.Mul(b.Mul(through_h, hh), dr)
        all_inner = b.Concat(through_u, through_r, b.Mul(through_h, r), axis=-1)
        (dh0,), (inner_dz, at) = run.loop([run.dh], [run.dy, u, all_inner], late_step, backwards=True)
        dz_ur, _ = b.Split(inner_dz, b.Concat(b.Mul(run.hidden, 2), run.hidden, axis=0), axis=-1, outputs=2)
        return Back(b.Concat(dz_ur, b.Mul(at, through_h), axis=-1), inner_dz, [(inner_dz, run.before)], dh0)

    return recurrent(b, node, dy, dh, None, backward, count=2)


@rule("LSTM", role="function")
def lstm(b: Builder, node: Node, dy: Tensor | None, dh: Tensor | None, dc: Tensor | None) -> Messages:
    """C = φ ∘ C₋ + i ∘ g(z_c), H = o ∘ h(C) with i, φ = f(z + p ∘ C₋), o = f(z + p ∘ C):
    ∂zₒ = ∂H ∘ h ∘ f′, ∂C += ∂H ∘ o ∘ h′ + ∂zₒ ∘ pₒ, ∂zᵢ = ∂C ∘ g ∘ f′, ∂z_φ = ∂C ∘ C₋ ∘ f′, ∂z_c = ∂C ∘ i ∘ g′,
    ∂C₋ = ∂C ∘ φ + ∂zᵢ ∘ pᵢ + ∂z_φ ∘ p_φ, ∂H₋ = ∂z·R
    """
    coupled = bool(node["input_forget"])  # φ = 1 − i

    def backward(run: Run) -> Back:
        f, g, h = run.functions
        zi, zo, zf, zc = b.Split(run.inner(run.before), num_outputs=4, axis=-1, outputs=4)
        new, dnew = g(zc)
        peepholes = run.peepholes()

        def gates(zi: Tensor, zf: Tensor, cell: Tensor | None) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
            if peepholes is not None and cell is not None:
                zi, zf = b.Add(zi, b.Mul(cell, peepholes[0])), b.Add(zf, b.Mul(cell, peepholes[2]))
            i, di = f(zi)
            return (i, di), ((b.Sub(1, i), di) if coupled else f(zf))

        def cell_step(states: list[Tensor], rows: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
            (cell,), (a, c, n, keep) = states, rows
            if n is None:  # without peepholes the gates are known: C = a ∘ C₋ + c
                after = b.Add(b.Mul(a, cell), c)
                return [after], [after]
            (i, _), (phi, _) = gates(a, c, cell)
            after = b.Add(b.Mul(phi, cell), b.Mul(i, n))
            after = after if keep is None else b.Add(b.Mul(keep, cell), b.Mul(b.Sub(1, keep), after))
            return [after], [after]

        if peepholes is None:
            (i, di), (phi, dphi) = gates(zi, zf, None)
            known: list[Tensor | None] = [run.where_valid(phi, 1), run.where_valid(b.Mul(i, new), 0), None, None]
            _, (cells,) = run.loop([run.c0], known, cell_step)
            before = run.shifted(cells, run.c0)
        else:
            _, (cells,) = run.loop([run.c0], [zi, zf, new, run.kept], cell_step)
            before = run.shifted(cells, run.c0)
            (i, di), (phi, dphi) = gates(zi, zf, before)
            zo = b.Add(zo, b.Mul(cells, peepholes[1]))
        o, do = f(zo)
        out, dout = h(cells)
        to_o, to_c = b.Mul(out, do), b.Mul(o, dout)
        to_i = b.Mul(b.Sub(new, before) if coupled else new, di)
        to_f = b.zeros_like(zf) if coupled else b.Mul(before, dphi)
        if peepholes is not None:
            to_c = b.Add(to_c, b.Mul(to_o, peepholes[1]))
            phi = b.Add(phi, b.Mul(to_i, peepholes[0]))
            phi = phi if coupled else b.Add(phi, b.Mul(to_f, peepholes[2]))
        to_all = run.where_valid(b.Concat(to_i, to_o, to_f, b.Mul(i, dnew), axis=-1), 0)
        phi, to_c = run.where_valid(phi, 1), run.where_valid(to_c, 0)

        def step(states: list[Tensor], rows: list[Any]) -> tuple[list[Tensor], list[Tensor]]:
            (at, cell), (d, c_t, all_t, phi_t, keep) = states, rows
            at = run.joined(at, d)
            cell = b.Add(cell, b.Mul(at, c_t))
            dz = b.Mul(b.Concat(cell, at, cell, cell, axis=-1), all_t)
            return [run.passed(b.MatMul(dz, run.r), at, keep), b.Mul(cell, phi_t)], [dz]

        (dh0, dc0), (dz,) = run.loop([run.dh, run.dc], [run.dy, to_c, to_all, phi, run.kept], step, backwards=True)
        dp = None
        if peepholes is not None:
            dzi, dzo, dzf, _ = b.Split(dz, num_outputs=4, axis=-1, outputs=4)
            seen = b.Concat(b.Mul(dzi, before), b.Mul(dzo, cells), b.Mul(dzf, before), axis=-1)
            dp = b.ReduceSum(seen, [0, 1], keepdims=0)
        return Back(dz, dz, [(dz, run.before)], dh0, dc0, dp)

    return recurrent(b, node, dy, dh, dc, backward, count=3)


# -- what they share ---------------------------------------------------------------------------------------------------

END = np.iinfo(np.int64).max

Step = Callable[["list[Tensor]", "list[Any]"], "tuple[list[Tensor], list[Tensor]]"]
"""States and rows (the arrays over time at one step, None for those left out) to the next states and to rows of new arrays."""


@dataclass(frozen=True)
class Back:
    """What the backward of one direction finds: messages on X·Wᵀ + b and H·Rᵀ + b for all steps, those on blocks of rows of
    R·… with what these were multiplied with, and those on the initial states and the peepholes."""

    outer: Tensor
    inner: Tensor
    products: list[tuple[Tensor, Tensor]]
    dh0: Tensor
    dc0: Tensor | None = None
    dp: Tensor | None = None


class Run:
    """One direction of a recurrent node: its arrays, [steps, batch, …]."""

    def __init__(self, b: Builder, node: Node, d: int, arrays: dict[str, Tensor | None], functions: list[Activation]) -> None:
        self.b, self.functions = b, functions
        self.reverse = directions(node)[d]

        def own(name: str, axis: int = 0) -> Tensor | None:
            return pick(b, arrays[name], d, axis)

        x, w, r, y = arrays["x"], own("w"), own("r"), own("y", 1)
        assert x is not None
        assert w is not None
        assert r is not None
        assert y is not None
        self.x, self.w, self.r = x, w, r
        self._biases, self._peepholes = own("b"), own("p")
        self.hidden = b.dim(node.input(2), 2)
        extents = Extents.of(b, x).at(1).then(Extents.of(b, node.input(2)).at(2))
        zeros = b.Expand(b.const(0.0, x.dtype), extents.operand)
        self.h0, self.c0 = own("h") or zeros, own("c") or zeros
        self.dh, self.dc = own("dh") or zeros, own("dc") or zeros
        lens = arrays["lens"]
        self.valid: Tensor | None = None
        self.kept: Tensor | None = None
        if lens is not None:
            numbers = b.Range(0, b.Squeeze(b.dim(x, 0), [0]), 1)
            inside = b.Less(b.Unsqueeze(numbers, [1]), b.Unsqueeze(b.Cast(lens, to=7), [0]))
            self.valid = b.Unsqueeze(inside, [2])
            self.kept = b.cast(b.Not(self.valid), x)
        dy = own("dy", 1)
        self.dy = None if dy is None else self.where_valid(dy, 0)
        self.before = self.shifted(y if self.valid is None else b.Where(self.valid, y, self.h0), self.h0)

    def where_valid(self, x: Tensor, otherwise: float) -> Tensor:
        """An array over time, replaced where the sequence has ended."""
        return x if self.valid is None else self.b.Where(self.valid, x, otherwise)

    def shifted(self, states: Tensor, first: Tensor) -> Tensor:
        """The states before each step, from those after it and the first."""
        first = self.b.Unsqueeze(first, [0])
        if self.reverse:
            return self.b.Concat(self.b.Slice(states, [1], [END], [0]), first, axis=0)
        return self.b.Concat(first, self.b.Slice(states, [0], [-1], [0]), axis=0)

    def joined(self, message: Tensor, of_output: Tensor | None) -> Tensor:
        """The message on a state: that from the step after it and that on the output."""
        return message if of_output is None else self.b.Add(message, of_output)

    def passed(self, message: Tensor, at: Tensor, keep: Tensor | None) -> Tensor:
        """A message on the state before: that on the state itself where the sequence has ended."""
        return message if keep is None else self.b.Add(message, self.b.Mul(keep, at))

    def rows(self, x: Tensor, first: int, last: int) -> Tensor:
        """The rows of a weight or bias that belong to some of the gates."""
        ends = [self.b.Mul(self.hidden, n) if n else self.b.const([0]) for n in (first, last)]
        made: Tensor = self.b.Slice(x, *ends, [0])
        return made

    def bias(self, which: int) -> Tensor | None:
        """The bias on X·Wᵀ (0) or on H·Rᵀ (1)."""
        if self._biases is None:
            return None
        made: Tensor = self.b.Split(self._biases, num_outputs=2, axis=0, outputs=2)[which]
        return made

    def peepholes(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """The weights from the cell to the gates: input, output, forget."""
        if self._peepholes is None:
            return None
        i, o, f = self.b.Split(self._peepholes, num_outputs=3, axis=0, outputs=3)
        return i, o, f

    @property
    def outer(self) -> Tensor:
        """X·Wᵀ + b"""
        product: Tensor = self.b.MatMul(self.x, self.b.transpose(self.w, [1, 0]))
        bias = self.bias(0)
        return product if bias is None else self.b.Add(product, bias)

    def inner(self, before: Tensor) -> Tensor:
        """X·Wᵀ + H₋·Rᵀ + b"""
        total: Tensor = self.b.Add(self.outer, self.b.MatMul(before, self.b.transpose(self.r, [1, 0])))
        bias = self.bias(1)
        return total if bias is None else self.b.Add(total, bias)

    def loop(
        self, states: Sequence[Tensor], rows: Sequence[Tensor | None], step: Step, *, backwards: bool = False
    ) -> tuple[list[Tensor], list[Tensor]]:
        """A Scan over time, from the last step to the first on demand; the last states, and the arrays the steps made."""
        b = self.b
        given = [row for row in rows if row is not None]
        stacked = 0

        def body(*formal: Tensor) -> list[Tensor]:
            nonlocal stacked
            items = iter(formal[len(states) :])
            after, made = step(list(formal[: len(states)]), [None if row is None else next(items) for row in rows])
            stacked = len(made)
            return [*after, *made]

        slots = [Tensor("state", s.dtype, (None, None)) for s in states]
        slots += [Tensor("row", row.dtype, (None, None)) for row in given]
        subgraph = b.body(slots, body)
        onward = int(backwards != self.reverse)
        found = b.op(
            "Scan", *states, *given, outputs=len(states) + stacked, body=subgraph, num_scan_inputs=len(given),
            scan_input_directions=[onward] * len(given), scan_output_directions=[onward] * stacked,
        )  # fmt: skip
        return list(found[: len(states)]), list(found[len(states) :])


def recurrent(
    b: Builder,
    node: Node,
    dy: Tensor | None,
    dh: Tensor | None,
    dc: Tensor | None,
    backward: Callable[[Run], Back],
    *,
    count: int,
) -> Messages:
    """The messages on all inputs, from the backward of each direction; `count` functions serve each direction.

    ∂X = Σ ∂z·W, ∂W = ∂zᵀ·X, ∂R = ∂zᵀ·H₋, ∂b = Σ ∂z
    """
    x, w, r = (node.input(i) for i in range(3))
    bias, lens, h, c, p = (*node.inputs[3:], None, None)[:5]
    batch_first = bool(node["layout"])
    y = node.outputs[0]
    if y is None:
        y = b.op(node.op, *node.inputs, **node.attributes)

    def ordered(t: Tensor | None, perm: Sequence[int]) -> Tensor | None:
        return t if t is None or not batch_first else b.transpose(t, perm)

    state, steps, sequence = [1, 0, 2], [1, 0, 2], [1, 2, 0, 3]
    arrays = {"x": ordered(x, steps), "w": w, "r": r, "b": bias, "p": p, "lens": lens, "y": ordered(y, sequence)}
    arrays |= {"h": ordered(h, state), "c": ordered(c, state), "dy": ordered(dy, sequence)}
    arrays |= {"dh": ordered(dh, state), "dc": ordered(dc, state)}
    runs = [Run(b, node, d, arrays, functions) for d, functions in enumerate(activations(b, node, count))]
    backs = [backward(run) for run in runs]

    def stacked(messages: Sequence[Tensor | None]) -> Tensor | None:
        known = [b.Unsqueeze(m, [0]) for m in messages if m is not None]
        return None if not known else known[0] if len(known) == 1 else b.Concat(*known, axis=0)

    def total(m: Tensor) -> Tensor:
        made: Tensor = b.ReduceSum(m, [0, 1], keepdims=0)
        return made

    dx = b.total([b.MatMul(back.outer, run.w) for run, back in zip(runs, backs, strict=True)])
    dw = stacked([product(b, back.outer, run.x) for run, back in zip(runs, backs, strict=True)])
    blocks = [[product(b, m, seen) for m, seen in back.products] for back in backs]
    dr = stacked([block[0] if len(block) == 1 else b.Concat(*block, axis=0) for block in blocks])
    dbias = stacked([b.Concat(total(back.outer), total(back.inner), axis=0) for back in backs])
    dh0, dc0 = (ordered(stacked(messages), state) for messages in ([k.dh0 for k in backs], [k.dc0 for k in backs]))
    found = (ordered(dx, steps), dw, dr, dbias, None, dh0, dc0, stacked([back.dp for back in backs]))
    return found[: len(node.inputs)]


def product(b: Builder, message: Tensor, x: Tensor) -> Tensor:
    """mᵀ·x, summed over all steps and samples."""
    rows = b.Flatten(message, axis=2)
    made: Tensor = b.MatMul(b.Transpose(rows, perm=[1, 0]), b.Flatten(x, axis=2))
    return made
