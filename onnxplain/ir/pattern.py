"""Patterns of nodes, written like the formulas that they recognize.

    x = var("x")
    negative = -x | x * -1 | 0 - x
    sigmoid = 1 / (1 + op.Exp(negative))

`match` returns what the names stand for, or why there is no match. A pattern used twice stands for one tensor both times.
Operands of commutative operators are tried in any order, alternatives (`|`) from left to right, and every choice is taken back
where the rest does not fit. Patterns know tensors and nodes only through a `View`, so that they fit nodes as they lie in a file
and the nodes of a backward pass alike. Nothing here recurses: a pattern may be as deep as a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from types import EllipsisType
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from onnxplain.ir.ops import traits_of
from onnxplain.ir.view import View

__all__ = ["Match", "NoMatch", "Pattern", "behind", "constant", "match", "number", "op", "product", "var"]

V = TypeVar("V")
N = TypeVar("N")


@dataclass(frozen=True)
class Match(Generic[V, N]):
    """A pattern found: what its names stand for.

    Attributes:
        values: the tensors by the names of variables.
        numbers: the numbers by their names.
        named: the nodes by the names that they were given.
        nodes: all matched nodes, each once, the last one first.
    """

    values: Mapping[str, V] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    named: Mapping[str, N] = field(default_factory=dict)
    nodes: tuple[N, ...] = ()
    _made: Mapping[int, V] = field(default_factory=dict)

    def __getitem__(self, name: str) -> V:
        """The tensor that a variable stands for."""
        return self.values[name]


@dataclass(frozen=True)
class NoMatch:
    """No match, and why: what was in the way of the attempt that came furthest. It counts as false."""

    reason: str

    def __bool__(self) -> Literal[False]:
        return False


@dataclass(frozen=True)
class _Goal(Generic[V]):
    """A pattern that a tensor has to match; `room` is the rank that a number may have without adding axes, None for any."""

    pattern: Pattern
    value: V | None
    room: int | None = None


_Way: TypeAlias = "tuple[list[_Goal[Any]], Match[Any, Any]]"
"""One way on: what is to be matched next, and what has been found."""


class Pattern:
    """What a tensor may be. Arithmetic with patterns and numbers makes patterns of Add, Sub, Mul, Div, Pow and Neg."""

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        """The ways in which a tensor can be this, in the order to try them, or why there is none."""
        raise NotImplementedError

    def __or__(self, other: Pattern) -> Pattern:
        mine, its = (p.options if isinstance(p, _Either) else (p,) for p in (self, other))
        return _Either((*mine, *its))

    def __add__(self, other: Operand) -> _Node:
        return op.Add(self, other)

    def __radd__(self, other: Operand) -> _Node:
        return op.Add(other, self)

    def __sub__(self, other: Operand) -> _Node:
        return op.Sub(self, other)

    def __rsub__(self, other: Operand) -> _Node:
        return op.Sub(other, self)

    def __mul__(self, other: Operand) -> _Node:
        return op.Mul(self, other)

    def __rmul__(self, other: Operand) -> _Node:
        return op.Mul(other, self)

    def __truediv__(self, other: Operand) -> _Node:
        return op.Div(self, other)

    def __rtruediv__(self, other: Operand) -> _Node:
        return op.Div(other, self)

    def __pow__(self, other: Operand) -> _Node:
        return op.Pow(self, other)

    def __neg__(self) -> _Node:
        return op.Neg(self)


Operand: TypeAlias = "Pattern | float"


@dataclass(frozen=True, eq=False)
class _Var(Pattern):
    label: str

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        if self.label not in found.values:
            return [([], replace(found, values={**found.values, self.label: goal.value}))]
        if found.values[self.label] == goal.value:
            return [([], found)]
        return f"'{view.name(goal.value)}' and '{view.name(found.values[self.label])}' are two tensors, both {self.label}"


NUMBERS_IN_A_ROW = 3
"""Numbers that a product is multiplied with one after the other, at most. A longer chain is no spelling of anything, and would
be gone through again from each of its nodes."""


def _fits(values: np.ndarray[Any, Any], room: int | None) -> bool:
    """Whether a constant is a single number and has no more axes than there is room for."""
    return values.size == 1 and values.dtype.kind in "fiuV" and (room is None or values.ndim <= room)  # V: bfloat16 and its kin


@dataclass(frozen=True, eq=False)
class _Number(Pattern):
    value: float | None = None
    label: str = ""

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        values = view.constant(goal.value)
        wanted = "a number" if self.value is None else f"the number {self.value:g}"
        if values is None or not _fits(values, goal.room):
            return f"'{view.name(goal.value)}' is not {wanted}"
        given = values.reshape(())
        if self.value is not None and given != (self.value if given.dtype.kind in "iu" else given.dtype.type(self.value)):
            return f"'{view.name(goal.value)}' is {float(given):g}, not {self.value:g}"
        return [([], replace(found, numbers={**found.numbers, self.label: float(given)}) if self.label else found)]


@dataclass(frozen=True, eq=False)
class _Constant(Pattern):
    label: str

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        if not view.is_constant(goal.value):
            return f"'{view.name(goal.value)}' is no constant"
        return _Var(self.label).ways(view, goal, found)


@dataclass(frozen=True, eq=False)
class _Behind(Pattern):
    operators: tuple[str, ...]
    pattern: Pattern
    label: str = ""

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        values = {**found.values, self.label: goal.value} if self.label else found.values
        direct: _Way = ([replace(goal, pattern=self.pattern)], replace(found, values=values))
        node = view.maker(goal.value)
        if node is None or view.operator(node) not in self.operators:
            return [direct]
        further = replace(self, label="")
        return [direct, ([_Goal(further, view.inputs(node)[0])], replace(found, values=values, nodes=_with(found.nodes, node)))]


@dataclass(frozen=True, eq=False)
class _Either(Pattern):
    options: tuple[Pattern, ...]

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        return [([replace(goal, pattern=option)], found) for option in self.options]


@dataclass(frozen=True, eq=False)
class _Node(Pattern):
    operators: tuple[str, ...]
    inputs: tuple[Pattern, ...]
    more: bool = False
    label: str = ""
    alone: bool = False

    def named(self, label: str) -> _Node:
        """The same, its node to be found under a name."""
        return replace(self, label=label)

    def only_here(self) -> _Node:
        """The same, where nothing else reads the result."""
        return replace(self, alone=True)

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        value = goal.value
        if id(self) in found._made:
            same = found._made[id(self)] == value
            return [([], found)] if same else f"'{view.name(value)}' is not '{view.name(found._made[id(self)])}', made alike"
        node = view.maker(value)
        wanted = " or ".join(self.operators)
        if node is None:
            return f"'{view.name(value)}' is not made by {wanted}, nor by any node seen here"
        if view.operator(node) not in self.operators:
            return f"'{view.name(value)}' is made by {view.operator(node)}, not {wanted}"
        if self.alone and view.is_shared(value):
            return f"'{view.name(value)}' is read elsewhere too"
        given = list(view.inputs(node))
        while given and given[-1] is None:
            given.pop()
        if len(given) < len(self.inputs) or (len(given) > len(self.inputs) and not self.more):
            return f"{view.operator(node)} that makes '{view.name(value)}' has {len(given)} inputs, not {len(self.inputs)}"
        after = replace(
            found,
            nodes=_with(found.nodes, node),
            named={**found.named, self.label: node} if self.label else found.named,
            _made={**found._made, id(self): value},
        )
        orders = _orders(view, self.inputs, given) if traits_of(view.operator(node)).commutative else [self.inputs]
        return [(list(_operands(view, order, given)), after) for order in orders]


def _orders(view: View[Any, Any], patterns: Sequence[Pattern], given: Sequence[Any]) -> list[tuple[Pattern, ...]]:
    """The orders of operands that commute, first those with constants where numbers are wanted."""

    def astray(order: Sequence[Pattern]) -> int:
        wanted = [v for p, v in zip(order, given, strict=False) if isinstance(p, _Number | _Constant)]
        return sum(v is None or not view.is_constant(v) for v in wanted)

    return sorted(permutations(patterns), key=astray)


def _with(nodes: tuple[N, ...], node: N) -> tuple[N, ...]:
    return nodes if any(known is node for known in nodes) else (*nodes, node)


def _operands(view: View[Any, Any], patterns: Sequence[Pattern], given: Sequence[Any]) -> Iterator[_Goal[Any]]:
    """The operands of a node to be matched; a number must fit beside the largest of the others."""
    for i, pattern in enumerate(patterns):
        others = [_rank(view, v) for j, v in enumerate(given) if j != i and v is not None]
        yield _Goal(pattern, given[i], max(others, default=0))


def _rank(view: View[Any, Any], value: Any) -> int:
    """The number of a tensor's axes, 0 where it is unknown."""
    return len(view.shape(value) or ())


@dataclass(frozen=True, eq=False)
class _Product(Pattern):
    factors: tuple[Pattern, ...]
    label: str
    met: int = 0
    """The numbers on the way here, in a row."""

    def ways(self, view: View[Any, Any], goal: _Goal[Any], found: Match[Any, Any]) -> list[_Way] | str:
        direct: list[_Way] = [([replace(goal, pattern=self.factors[0])], found)] if len(self.factors) == 1 else []
        node = view.maker(goal.value)
        kind = "" if node is None else view.operator(node)
        if kind not in ("Mul", "Div"):  # operators: the ways to write a product with a number
            return direct or f"'{view.name(goal.value)}' is no product"
        after = replace(found, nodes=_with(found.nodes, node))
        left, right = view.inputs(node)
        return [*direct, *self._rescaled(view, kind, (left, right), after), *self._split(kind, (left, right), after)]

    def _rescaled(self, view: View[Any, Any], kind: str, operands: tuple[Any, Any], found: Match[Any, Any]) -> Iterator[_Way]:
        """The product is that of the factors, times or divided by a number."""
        if self.met == NUMBERS_IN_A_ROW:
            return
        for value, other in (operands, operands[::-1])[: 2 if kind == "Mul" else 1]:
            given = view.constant(other)
            if given is None or not _fits(given, _rank(view, value)) or (kind == "Div" and not given.item()):
                continue
            number = float(given.item()) if kind == "Mul" else 1 / float(given.item())
            numbers = {**found.numbers, self.label: found.numbers.get(self.label, 1.0) * number}
            yield [_Goal(replace(self, met=self.met + 1), value)], replace(found, numbers=numbers)

    def _split(self, kind: str, operands: tuple[Any, Any], found: Match[Any, Any]) -> Iterator[_Way]:
        """One operand is the product of some factors, the other that of the others."""
        if kind != "Mul":
            return
        first, *others = self.factors
        for chosen in range(2 ** len(others) - 1):  # the first factor's companions, not all others
            mine = (first, *(f for i, f in enumerate(others) if chosen >> i & 1))
            its = tuple(f for i, f in enumerate(others) if not chosen >> i & 1)
            for one, other in (operands, operands[::-1]):
                yield [_Goal(_Product(mine, self.label), one), _Goal(_Product(its, self.label), other)], found


class _Operators:
    """`op.Exp(x)`: what the operator Exp makes of x. `op["Mul", "Div"](x, y)`: one of these. A last input `...` stands for any
    further ones, or none."""

    def __getattr__(self, operator: str) -> Callable[..., _Node]:
        return self[operator]

    def __getitem__(self, operators: str | tuple[str, ...]) -> Callable[..., _Node]:
        names = (operators,) if isinstance(operators, str) else operators

        def made(*inputs: Operand | EllipsisType) -> _Node:
            given = [i for i in inputs if not isinstance(i, EllipsisType)]
            patterns = tuple(i if isinstance(i, Pattern) else _Number(float(i)) for i in given)
            return _Node(names, patterns, more=len(given) < len(inputs))

        return made


op = _Operators()


def var(name: str) -> Pattern:
    """Any tensor; the same one wherever the name stands."""
    return _Var(name)


def constant(name: str) -> Pattern:
    """Any constant, of whatever size; the same one wherever the name stands."""
    return _Constant(name)


def behind(operators: Sequence[str], pattern: Pattern, name: str = "") -> Pattern:
    """A pattern, or what any number of operators make of it, one after the other.

    Args:
        operators: those that may follow; the pattern is their first operand.
        pattern: what comes before them.
        name: what to find the last tensor under.
    """
    return _Behind(tuple(operators), pattern, name)


def number(name: str = "", value: float | None = None) -> Pattern:
    """A constant of one element that adds no axes to what it is combined with.

    Args:
        name: what to find it under.
        value: what it has to be in its own precision; any by default.
    """
    return _Number(value, name)


def product(*factors: Pattern, number: str) -> Pattern:
    """The factors and any numbers, multiplied in any order, divisions by numbers among them.

    Args:
        factors: patterns, at least one; those that come first are matched first.
        number: what to find the product of the numbers under; it is absent where there are none.
    """
    return _Product(factors, number)


def match(view: View[V, N], pattern: Pattern, value: V | None) -> Match[V, N] | NoMatch:
    """Match a tensor with a pattern.

    Args:
        view: of the graph.
        pattern: what the tensor should be.
        value: the tensor.

    Returns:
        The match, or the reason why there is none.
    """
    start: Match[V, N] = Match()
    choices: list[tuple[Any, Match[V, N], int]] = [((_Goal(pattern, value), None), start, 0)]
    furthest, reason = -1, ""
    while choices:
        goals, found, met = choices.pop()
        if goals is None:
            return found
        goal, rest = goals
        ways = "an input is left out" if goal.value is None else goal.pattern.ways(view, goal, found)
        if isinstance(ways, str):
            if met > furthest:
                furthest, reason = met, ways
            continue
        for following, after in reversed(ways):
            todo = rest
            for each in reversed(following):
                todo = (each, todo)
            choices.append((todo, after, met + 1))
    return NoMatch(reason)
