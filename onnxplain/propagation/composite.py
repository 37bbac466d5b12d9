"""Composites: which rule serves which call. Stateless data; the first entry that matches wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase

from onnxplain.analysis.canonize import GROUPINGS, Grouping
from onnxplain.analysis.canonize.gelu import group_gelus
from onnxplain.analysis.layer_depth import NOWHERE, Layers, Place, find_layers
from onnxplain.errors import MethodError, nearest
from onnxplain.ir.node import Call
from onnxplain.ir.ops import OpTraits, traits_of
from onnxplain.ir.registry import ROLES, OpSpec, Registry, Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.observer import Observer
from onnxplain.propagation.rule import RelevanceRule

__all__ = ["GRADIENT", "Choice", "Chosen", "Composite", "Where", "effective_role"]


TRAITS = (*(f.name for f in fields(OpTraits)), "lets_through")
"""The facts that a condition can name."""


@dataclass(frozen=True)
class Where:
    """A condition on nodes. Empty fields match everything; a node has to meet all given ones.

    Linear layers are counted along the dataflow between the model's inputs and the target.

    Attributes:
        operators: operator names with their domains: "Conv", "com.microsoft.FastGelu".
        roles: keys of `onnxplain.ir.registry.ROLES`, as the node plays them: a MatMul with one constant operand is linear, a Mul
            with one scales.
        names: shell patterns for node names.
        scopes: shell patterns for module scopes.
        first: only linear layers with no other linear layer before them.
        last: only linear layers with no other linear layer behind them.
        traits: facts about operators, fields of `OpTraits` or "lets_through": one that any of them is claimed of.
        depth: only nodes with at least and at most so many linear layers up to them; negative numbers count from the deepest.

    Raises:
        MethodError: there is no such role or trait, or the depth goes from high to low.

    Example:
        >>> from onnxplain import Where
        >>> print(Where(operators=("Conv",), depth=(1, 3)))
        operator Conv, linear layer 1 to 3
    """

    operators: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    first: bool = False
    last: bool = False
    depth: tuple[int, int] | None = None
    traits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = [role for role in self.roles if role not in ROLES]
        if unknown:
            raise MethodError(f"no role '{unknown[0]}'; {nearest(unknown[0], ROLES)}")
        strange = [name for name in self.traits if name not in TRAITS]
        if strange:
            raise MethodError(f"no trait '{strange[0]}'; {nearest(strange[0], TRAITS)}")
        if self.depth is not None:
            low, high = self.depth
            if low > high and (low < 0) == (high < 0):
                raise MethodError(f"a depth goes from the lower to the higher, found [{low}, {high}]")

    def matches(self, call: Call, role: str, place: Place = NOWHERE, deepest: int = 0, traits: OpTraits | None = None) -> bool:
        """Whether a node meets the condition.

        Args:
            call: the node.
            role: the role it plays.
            place: where it stands among the linear layers.
            deepest: how many linear layers lie behind one another at most.
            traits: the facts about its operator; None for those of the standard.

        Returns:
            True where it meets all given fields.
        """
        facts = traits_of(call.op, call.domain) if traits is None else traits
        return (
            (not self.operators or call.operator in self.operators or _origin(call) in self.operators)
            and (not self.roles or role in self.roles)
            and (not self.traits or any(getattr(facts, name) for name in self.traits))
            and (not self.names or any(fnmatchcase(call.name, pattern) for pattern in self.names))
            and (not self.scopes or any(fnmatchcase(call.scope, pattern) for pattern in self.scopes))
            and (not self.first or place.first)
            and (not self.last or place.last)
            and (self.depth is None or self._within(place.depth, deepest))
        )

    def _within(self, depth: int, deepest: int) -> bool:
        assert self.depth is not None
        low, high = (d if d >= 0 else deepest + 1 + d for d in self.depth)
        return deepest > 0 and low <= depth <= high

    def __str__(self) -> str:
        given = {"operator": self.operators, "role": self.roles, "trait": self.traits, "name": self.names, "scope": self.scopes}
        parts = [f"{k} {' or '.join(v)}" for k, v in given.items() if v]
        parts += ["first linear layer"] * self.first + ["last linear layer"] * self.last
        if self.depth is not None:
            parts.append(f"linear layer {self.depth[0]} to {self.depth[1]}")
        return ", ".join(parts) or "every call"


@dataclass(frozen=True)
class Composite:
    """An ordered choice of rules: the first entry whose condition a node meets serves it.

    Attributes:
        name: what it is called in plans and messages.
        entries: pairs of condition and rule.
        canonize: group nodes that form one operation before rules are chosen (see `onnxplain.analysis.canonize`).
        strict: whether a node that no entry matches has no rule. Otherwise its operator's gradient rule serves it.
        expands: operators that are written in smaller ones first.
        float32: walk half-precision nodes in float32.
        groups: further groupings, besides those of `canonize`.
        own: how many of the first entries are the user's. One of these that serves no node is reported.

    Source: Montavon, Binder, Lapuschkin, Samek, Müller 2019, "Layer-wise relevance propagation: an overview" (rules by layer).

    Example:
        >>> from onnxplain import Composite, Where
        >>> from onnxplain.propagation.lrp.linear_rules import epsilon, z_plus
        >>> entries = [(Where(operators=("Conv",)), z_plus()), (Where(roles=("linear",)), epsilon(1e-6))]
        >>> Composite("mine", entries).needs_places
        False
    """

    name: str
    entries: Sequence[tuple[Where, Rule]] = field(default=())
    canonize: bool = False
    strict: bool = False
    expands: tuple[str, ...] = ()
    float32: bool = False
    groups: tuple[Grouping, ...] = ()
    own: int = 0

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The groupings to apply, in this order."""
        return (*GROUPINGS, *self.groups) if self.canonize else self.groups

    @property
    def needs_places(self) -> bool:
        """Whether a condition asks where a node stands among the linear layers."""
        return any(where.first or where.last or where.depth is not None for where, _ in self.entries)

    def choose(self, registry: Registry, call: Call, layers: Layers | None = None) -> Chosen | None:
        """Choose the rule for a node.

        Args:
            registry: the operators' own rules.
            call: the node.
            layers: where nodes stand among the linear layers; None where no condition asks for that.

        Returns:
            The rule and the reason; None where there is no rule.
        """
        spec = registry.find(call)
        role, facts = effective_role(call, spec), registry.traits(call)
        place, deepest = (NOWHERE, 0) if layers is None else (layers.place(call), layers.depth)
        for where, rule in self.entries:
            if where.matches(call, role, place, deepest, facts) and _meant(where, rule, role, facts):
                # A composite's rule sends messages in the shapes of the inputs: nothing is summed behind it.
                own = _unregistered(call, rule) if spec is None else replace(spec, broadcasts=False)
                return Chosen(rule, own, str(where), where)
        if spec is None or self.strict:
            return None
        return Chosen(spec.rule, spec, "gradient of the operator")


@dataclass(frozen=True)
class Chosen:
    """A rule with the registry's entry of its operator, the reason it was chosen, and the entry's condition."""

    rule: Rule
    spec: OpSpec
    reason: str
    where: Where | None = None


GRADIENT = Composite("gradient", groups=(group_gelus,))
"""Every call is served by its operator's gradient rule."""


@dataclass(frozen=True)
class Choice:
    """A composite over a registry, for one walk: which rule serves which call, and what is known of the calls around it.

    `layers` are the places of the walk's calls, `nonnegative` tells which tensors are provably not below zero,
    `one_sided` those whose messages are zero wherever they are below zero. `scored` says that seeds are zero where their
    targets are. `observer` is told of each call what came in and what went out. `twins` are what tensors are at the baseline, of
    those that differ there, where the composite's rules compare with one; the calls `there` make them.
    """

    composite: Composite
    registry: Registry
    layers: Layers = field(default_factory=Layers)
    nonnegative: Callable[[Tensor], bool] = lambda tensor: False
    one_sided: Callable[[Tensor], bool] = lambda tensor: False
    scored: bool = False
    observer: Observer | None = None
    twins: dict[Tensor, Tensor] = field(default_factory=dict)
    there: Sequence[Call] = ()
    _known: dict[Call, Chosen | None] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, call: Call) -> Chosen | None:
        """The rule of a call, None where there is none."""
        if call not in self._known:
            self._known[call] = self.composite.choose(self.registry, call, self.layers)
        return self._known[call]

    def heard(self, call: Call) -> tuple[int, ...] | None:
        """The inputs that a call's rule sends messages to; None where it may be all."""
        chosen = self(call)
        rule = None if chosen is None else chosen.rule
        return rule.inputs_served(call) if isinstance(rule, RelevanceRule) else None

    def over(self, calls: Sequence[Call], nonnegative: Callable[[Tensor], bool]) -> Choice:
        """The same choice with the places that these live calls have, where a condition asks for them."""
        layers = find_layers(calls, self.is_layer) if self.composite.needs_places else self.layers
        return replace(self, layers=layers, nonnegative=nonnegative)

    def is_layer(self, call: Call) -> bool:
        """Whether a call is a linear layer: a linear map with weights that mix elements."""
        spec = self.registry.find(call)
        return spec is not None and effective_role(call, spec) == "linear" and not spec.traits.weightless


def effective_role(call: Call, spec: OpSpec | None) -> str:
    """The role a call plays: that of its operator, but a product with one live operand is linear in it, and a linear map
    whose weights are live too is a product."""
    if spec is None:
        return ""
    live = sum(call.wants(i) for i in range(len(call.inputs)))
    if spec.role == "bilinear" and live <= 1:
        return "linear"
    if spec.role == "product" and live <= 1:
        return "scale"
    if spec.role == "select" and spec.traits.piecewise_linear and live <= 1:  # ReLU6 and its kin
        return "elementwise"
    if spec.role == "linear" and spec.weight is not None and call.wants(spec.weight) and call.wants(0):
        return "bilinear"
    return spec.role


def _meant(where: Where, rule: Rule, role: str, facts: OpTraits) -> bool:
    """Whether an entry means a call that it matches. A rule for linear maps serves these alone, and one that takes weights
    apart those that have some, unless the entry names operators, traits or roles."""
    if not (isinstance(rule, RelevanceRule) and rule.for_linear_maps) or where.operators or where.traits:
        return True
    if rule.splits_weights and facts.weightless:
        return False
    return bool(where.roles) or role == "linear"


def _origin(call: Call) -> str:
    """The operator that a compound call is built around: the product of a linear map."""
    return call.parts[0].operator if call.parts and call.op == "Linear" else ""


def _unregistered(call: Call, rule: Rule) -> OpSpec:
    return OpSpec(call.op, call.domain, call.version, rule, "function", traits=traits_of(call.op, call.domain))
