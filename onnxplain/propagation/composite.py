"""Composites: which rule serves which node. Stateless data; the first entry that matches wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase

from onnxplain.analysis.canonize import GROUPINGS, Grouping
from onnxplain.analysis.canonize.gelu import group_gelus
from onnxplain.analysis.canonize.norm import group_norms
from onnxplain.analysis.canonize.silu import group_silus
from onnxplain.analysis.layer_depth import NOWHERE, LayerPosition, LayerPositions, layer_positions
from onnxplain.errors import MethodError, nearest
from onnxplain.ir.node import Node
from onnxplain.ir.ops import OpTraits, traits_of
from onnxplain.ir.registry import ROLES, OpSpec, Registry, Rule
from onnxplain.ir.tensor import Tensor
from onnxplain.propagation.observer import Observer
from onnxplain.propagation.rule import RelevanceRule

__all__ = ["GRADIENT", "Composite", "NodePattern", "RuleSelector", "SelectedRule", "effective_role"]


TRAITS = (*(f.name for f in fields(OpTraits)), "lets_through")
"""The facts that a condition can name."""


# operators: those that relevance and multipliers go through in smaller ones
EXPANDED = (
    *("LSTM", "GRU", "RNN", "QLinearConv", "QLinearMatMul", "MatMulInteger", "ConvInteger"),
    *("ai.onnx.ml.LinearClassifier", "ai.onnx.ml.LinearRegressor"),
)
"""Operators that have a gradient as a whole, and are written out for rules that treat their parts each in its own way."""


@dataclass(frozen=True)
class NodePattern:
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
        >>> from onnxplain import NodePattern
        >>> print(NodePattern(operators=("Conv",), depth=(1, 3)))
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

    def matches(
        self, node: Node, role: str, position: LayerPosition = NOWHERE, deepest: int = 0, traits: OpTraits | None = None
    ) -> bool:
        """Whether a node meets the condition.

        Args:
            node: the node.
            role: the role it plays.
            position: where it stands among the linear layers.
            deepest: how many linear layers lie behind one another at most.
            traits: the facts about its operator; None for those of the standard.

        Returns:
            True where it meets all given fields.
        """
        facts = traits_of(node.op, node.domain) if traits is None else traits
        return (
            (not self.operators or node.operator in self.operators or _origin(node) in self.operators)
            and (not self.roles or role in self.roles)
            and (not self.traits or any(getattr(facts, name) for name in self.traits))
            and (not self.names or any(fnmatchcase(node.name, pattern) for pattern in self.names))
            and (not self.scopes or any(fnmatchcase(node.scope, pattern) for pattern in self.scopes))
            and (not self.first or position.first)
            and (not self.last or position.last)
            and (self.depth is None or self._within(position.depth, deepest))
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
        return ", ".join(parts) or "every node"


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
        norms: group norms that are written in several operators, for a rule that serves them as a whole.
        own: how many of the first entries are the user's. One of these that serves no node is reported.

    Source: Montavon, Binder, Lapuschkin, Samek, Müller 2019, "Layer-wise relevance propagation: an overview" (rules by layer).

    Example:
        >>> from onnxplain import Composite, NodePattern
        >>> from onnxplain.propagation.lrp.linear_rules import epsilon, z_plus
        >>> entries = [(NodePattern(operators=("Conv",)), z_plus()), (NodePattern(roles=("linear",)), epsilon(1e-6))]
        >>> Composite("mine", entries).needs_positions
        False
    """

    name: str
    entries: Sequence[tuple[NodePattern, Rule]] = field(default=())
    canonize: bool = False
    strict: bool = False
    expands: tuple[str, ...] = ()
    float32: bool = False
    groups: tuple[Grouping, ...] = ()
    norms: bool = False
    own: int = 0

    @property
    def groupings(self) -> tuple[Grouping, ...]:
        """The groupings to apply, in this order."""
        first = (group_norms,) if self.norms else ()
        return (*first, *GROUPINGS, *self.groups) if self.canonize else self.groups

    @property
    def needs_positions(self) -> bool:
        """Whether a condition asks where a node stands among the linear layers."""
        return any(where.first or where.last or where.depth is not None for where, _ in self.entries)

    def choose(self, registry: Registry, node: Node, layers: LayerPositions | None = None) -> SelectedRule | None:
        """Choose the rule for a node.

        Args:
            registry: the operators' own rules.
            node: the node.
            layers: where nodes stand among the linear layers; None where no condition asks for that.

        Returns:
            The rule and the reason; None where there is no rule.
        """
        spec = registry.find(node)
        role, facts = effective_role(node, spec), registry.traits(node)
        position, deepest = (NOWHERE, 0) if layers is None else (layers.position(node), layers.depth)
        for where, rule in self.entries:
            if where.matches(node, role, position, deepest, facts) and _meant(where, rule, role, facts):
                # A composite's rule sends messages in the shapes of the inputs: nothing is summed behind it.
                own = _unregistered(node, rule) if spec is None else replace(spec, broadcasts=False)
                return SelectedRule(rule, own, str(where), where)
        if spec is None or self.strict:
            return None
        return SelectedRule(spec.rule, spec, "gradient of the operator")


@dataclass(frozen=True)
class SelectedRule:
    """A rule with the registry's entry of its operator, the reason it was chosen, and the entry's condition."""

    rule: Rule
    spec: OpSpec
    reason: str
    where: NodePattern | None = None


GRADIENT = Composite("gradient", groups=(group_gelus, group_silus))
"""Every node is served by its operator's gradient rule."""


@dataclass(frozen=True)
class RuleSelector:
    """A composite over a registry, for one backward pass: which rule serves which node, and what is known of the nodes around it.

    `layers` are the places of the backward pass's nodes, `nonnegative` tells which tensors are provably not below zero,
    `rectified` those whose messages are zero wherever they are below zero. `scored` says that target messages are zero where
    their targets are. `observer` is told of each node what came in and what went out. `references` are what tensors are at the
    baseline, of those that differ there, where the composite's rules compare with one; the nodes `reference_nodes` make them.
    """

    composite: Composite
    registry: Registry
    layers: LayerPositions = field(default_factory=LayerPositions)
    nonnegative: Callable[[Tensor], bool] = lambda tensor: False
    finite: Callable[[Tensor], bool] = lambda tensor: False
    rectified: Callable[[Tensor], bool] = lambda tensor: False
    scored: bool = False
    observer: Observer | None = None
    references: dict[Tensor, Tensor] = field(default_factory=dict)
    reference_nodes: Sequence[Node] = ()
    _known: dict[Node, SelectedRule | None] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, node: Node) -> SelectedRule | None:
        """The rule of a node, None where there is none."""
        if node not in self._known:
            self._known[node] = self.composite.choose(self.registry, node, self.layers)
        return self._known[node]

    def inputs_served(self, node: Node) -> tuple[int, ...] | None:
        """The inputs that a node's rule sends messages to; None where it may be all."""
        chosen = self(node)
        rule = None if chosen is None else chosen.rule
        return rule.inputs_served(node) if isinstance(rule, RelevanceRule) else None

    def for_nodes(self, nodes: Sequence[Node], nonnegative: Callable[[Tensor], bool]) -> RuleSelector:
        """The same choice with the places that these live nodes have, where a condition asks for them."""
        layers = layer_positions(nodes, self.is_layer) if self.composite.needs_positions else self.layers
        return replace(self, layers=layers, nonnegative=nonnegative)

    def is_layer(self, node: Node) -> bool:
        """Whether a node is a linear layer: a linear map with weights that mix elements."""
        spec = self.registry.find(node)
        return spec is not None and effective_role(node, spec) == "linear" and not spec.traits.weightless


def effective_role(node: Node, spec: OpSpec | None) -> str:
    """The role a node plays: that of its operator, but a product with one live operand is linear in it, and a linear map
    whose weights are live too is a product."""
    if spec is None:
        return ""
    live = sum(node.needs_input_grad(i) for i in range(len(node.inputs)))
    if spec.role == "bilinear" and live <= 1:
        return "linear"
    if spec.role == "product" and live <= 1:
        return "scale"
    if spec.role == "select" and spec.traits.piecewise_linear and live <= 1:  # ReLU6 and its kin
        return "elementwise"
    if spec.role == "linear" and spec.weight is not None and node.needs_input_grad(spec.weight) and node.needs_input_grad(0):
        return "bilinear"
    return spec.role


def _meant(where: NodePattern, rule: Rule, role: str, facts: OpTraits) -> bool:
    """Whether an entry means a node that it matches. A rule for linear maps serves these alone, and one that takes weights
    apart those that have some, unless the entry names operators, traits or roles."""
    if not (isinstance(rule, RelevanceRule) and rule.for_linear_maps) or where.operators or where.traits:
        return True
    if rule.splits_weights and facts.weightless:
        return False
    return bool(where.roles) or role == "linear"


def _origin(node: Node) -> str:
    """The operator that a compound node is built around: the product of a linear map."""
    return node.parts[0].operator if node.parts and node.op == "Linear" else ""


def _unregistered(node: Node, rule: Rule) -> OpSpec:
    return OpSpec(node.op, node.domain, node.version, rule, "function", traits=traits_of(node.op, node.domain))
