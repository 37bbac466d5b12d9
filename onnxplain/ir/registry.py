"""The rule registry: which function gives the gradient of which operator.

Rule files are executed, never imported. The files of the package's own `rules` folder come first, those of the user's
folders after them, so that a user's rule for the same operator version wins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.ops import UNKNOWN, Operation, OpTraits, traits_of
from onnxplain.ir.tensor import Tensor

__all__ = ["ROLES", "Expansion", "Messages", "OpSpec", "Registry", "Rule", "expansion", "load_registry", "rule"]

Messages: TypeAlias = "Tensor | None | tuple[Tensor | None, ...]"
"""What a rule returns: one message, or None for "provably zero", per input; a single message for one-input operators."""

Rule: TypeAlias = Callable[..., Messages]
"""`(builder, node, *messages) -> Messages`, with one message (or None) per output of the operator."""

ROLES = {
    "linear": "linear in one operand, the others being weights and biases (Conv, Gemm)",
    "bilinear": "a sum of products of operands, linear in each (MatMul, Einsum)",
    "product": "a product or quotient of elements (Mul, Div)",
    "sum": "a sum or mean of its inputs' elements (Add, AveragePool, ReduceMean)",
    "layout": "moves elements without changing them (Reshape, Transpose, Concat)",
    "select": "passes on chosen elements (MaxPool, Gather, Max, Clip)",
    "elementwise": "a function of each element alone (Relu, Exp, Tanh)",
    "norm": "normalizes by statistics of its own input (LayerNormalization)",
    "softmax": "normalizes exponentials (Softmax, LogSoftmax)",
    "zero": "has derivative zero wherever it has one (Floor, Sign, ArgMax)",
    "straight-through": "has no useful derivative; the identity stands in for it (QuantizeLinear)",
    "control": "runs subgraphs (If, Loop, Scan)",
    "scale": "a product with a constant: what a product plays with one live operand",
    "gate": "a signal times a gate, or divided by a statistic of itself (found in the dataflow)",
    "function": "anything else",
}
"""The roles an operator can have; relevance rules for whole classes of operators are chosen by role."""

R = TypeVar("R", bound=Callable[..., Messages])


@dataclass(frozen=True)
class OpSpec:
    """The registry's entry for one operator, from one version of it on.

    Attributes:
        op: the operator's name.
        domain: its operator-set domain, "" for the standard's.
        since: the first operator version the entry holds for.
        rule: the gradient rule.
        role: a key of `ROLES`.
        broadcasts: whether messages have the shape of the output, and the backward pass sums them over broadcast axes.
        core: how many trailing axes do not broadcast. With 2 (MatMul) a message has the output's batch axes, then the input's
            own last two.
        weight: the index of the weight input, None where there is none.
        bias: the index of the bias input, None where there is none.
        source: the rule file.
        traits: facts about the operator.
    """

    op: str
    domain: str
    since: int
    rule: Rule
    role: str
    broadcasts: bool = False
    core: int = 0
    weight: int | None = None
    bias: int | None = None
    source: str = ""
    traits: OpTraits = UNKNOWN

    @property
    def operator(self) -> str:
        """The operator with its domain."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass(frozen=True)
class Expansion:
    """How an operator is written in other, standard ones.

    Attributes:
        op: the operator's name.
        domain: its operator-set domain.
        write: `(builder, node) -> outputs`.
        inputs: how many inputs the operator has, -1 for any number.
        outputs: how many outputs it has, -1 for any number.
        defaults: the values of attributes that a node leaves out.
        source: the rule file.
        approximates: whether the operator's own kernel rounds where this does not, so that the prediction has to stay its own.
    """

    op: str
    domain: str
    write: Callable[..., Tensor | tuple[Tensor | None, ...]]
    inputs: int
    outputs: int
    defaults: dict[str, Any]
    source: str = ""
    approximates: bool = False

    @property
    def operator(self) -> str:
        """The operator with its domain."""
        return f"{self.domain}.{self.op}" if self.domain else self.op


@dataclass
class Registry:
    """The rules and expansions of operators, by version.

    Attributes:
        entries: gradient rules, by domain and operator, the oldest version first.
        detached: rules with statistics of the input held constant, likewise.
        expansions: expansions that are always applied, as of operators outside the standard.
        on_demand: expansions that are applied only for composites that name the operator.
        folders: where rules beside the package's own were read from, in order.
    """

    entries: dict[tuple[str, str], list[OpSpec]] = field(default_factory=dict)
    detached: dict[tuple[str, str], list[OpSpec]] = field(default_factory=dict)
    expansions: dict[tuple[str, str], Expansion] = field(default_factory=dict)
    on_demand: dict[tuple[str, str], Expansion] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()

    def __reduce__(self) -> tuple[Callable[..., Registry], tuple[tuple[Path, ...]]]:
        """Rule files are executed, so their functions have no importable names: a pickle holds the folders."""
        return load_registry, (self.folders,)

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Registry:
        """A registry of its own, with the same rules in it."""
        entries, detached = ({key: list(specs) for key, specs in table.items()} for table in (self.entries, self.detached))
        return Registry(entries, detached, dict(self.expansions), dict(self.on_demand), self.folders)

    def __copy__(self) -> Registry:
        return replace(self)

    def add(self, spec: OpSpec, *, detached: bool = False) -> None:
        """Enter an operator version; a later entry for the same version replaces the earlier."""
        table = self.detached if detached else self.entries
        versions = table.setdefault((spec.domain, spec.op), [])
        versions[:] = sorted([s for s in versions if s.since != spec.since] + [spec], key=lambda s: s.since)

    def find(self, node: Node) -> OpSpec | None:
        """The newest entry not newer than the node's operator version."""
        return self.entry(node.op, node.domain, node.version)

    def entry(self, op: str, domain: str, version: int) -> OpSpec | None:
        """The newest entry not newer than an operator version."""
        return next((s for s in reversed(self.entries.get((domain, op), ())) if s.since <= version), None)

    def find_detached(self, node: Node) -> OpSpec | None:
        """The entry for the derivative with statistics held constant."""
        fitting = [s for s in self.detached.get((node.domain, node.op), ()) if s.since <= node.version]
        return fitting[-1] if fitting else None

    def role(self, node: Node) -> str:
        """The role of the node's operator; "" where the registry has no entry."""
        spec = self.find(node)
        return "" if spec is None else spec.role

    def traits(self, node: Operation) -> OpTraits:
        """The facts about a node's operator: the standard's, or what the rule files declare of all its versions alike."""
        known = traits_of(node.op, node.domain)
        versions = self.entries.get((node.domain, node.op), ()) if known is UNKNOWN else ()
        return _agreed([spec.traits for spec in versions]) if versions else known

    def __iter__(self) -> Iterator[OpSpec]:
        for key in sorted(self.entries):
            yield from self.entries[key]


def _agreed(versions: Sequence[OpTraits]) -> OpTraits:
    """What all of them claim."""
    first, *others = versions
    if all(other == first for other in others):
        return first
    names = [f.name for f in fields(OpTraits)]
    return OpTraits(**{n: getattr(first, n) for n in names if all(getattr(o, n) == getattr(first, n) for o in others)})


_loading: ContextVar[tuple[Registry, str] | None] = ContextVar("_loading", default=None)


def rule(
    *operators: str,
    role: str,
    domain: str = "",
    since: int = 1,
    broadcasts: bool = False,
    core: int = 0,
    weight: int | None = None,
    bias: int | None = None,
    detached: bool = False,
    traits: OpTraits | None = None,
) -> Callable[[R], R]:
    """Enter the decorated function as the gradient rule of operators.

    The function gets the builder, the node and one message per output of the operator, and returns one message per input, or None
    for an input that provably gets none. It counts only in a rule file: a file of the folder `rules` or of one given as `rules=`.

    Args:
        *operators: names of the operators the function serves.
        role: what kind of operation it is, a key of `ROLES`.
        domain: the operator-set domain, "" for the standard's.
        since: the first operator version the rule is right for. Where semantics changed, write one rule per meaning.
        broadcasts: messages have the output's shape, and the backward pass sums them over broadcast axes.
        core: how many trailing axes do not broadcast.
        weight: index of the weight input of a linear operator.
        bias: index of its bias input.
        detached: whether this is not the gradient, but what remains of it with statistics of the input (such as the mean square
            of a norm) held constant. Relevance propagation uses it.
        traits: facts about the operators, such as `OpTraits(nonnegative=True)`, for analyses that ask. Those of standard
            operators are known.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        RuleError: there is no such role, or traits are given for a standard operator.

    Example:
        >>> from onnxplain import OpTraits, rule
        >>> bend = OpTraits(elementwise="first", activation="rectifier", nonnegative=True)
        >>> @rule("MyRelu", role="elementwise", domain="my.domain", traits=bend)
        ... def my_relu(b, node, dy):
        ...     '''dx = dy where x > 0, else 0'''
        ...     return b.Where(b.Greater(node.x, 0), dy, 0)
        >>> my_relu.__doc__
        'dx = dy where x > 0, else 0'
    """
    if role not in ROLES:
        raise RuleError(f"unknown role '{role}' for {', '.join(operators)}; known: {', '.join(ROLES)}")
    standard = [op for op in operators if traits_of(op, domain) is not UNKNOWN]
    if traits is not None and standard:
        raise RuleError(f"the facts about {', '.join(standard)} are the standard's; a rule declares traits of its own operators")

    def register(function: R) -> R:
        current = _loading.get()
        if current is not None:
            registry, path = current
            for op in operators:
                facts = traits_of(op, domain) if traits is None else traits
                spec = OpSpec(op, domain, since, function, role, broadcasts, core, weight, bias, path, facts)
                registry.add(spec, detached=detached)
        return function

    return register


def expansion(
    *operators: str,
    domain: str,
    inputs: int = 1,
    outputs: int = 1,
    on_demand: bool = False,
    approximates: bool = False,
    **defaults: Any,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated function as the meaning of operators in standard ones. Rules then serve these.

    The function gets the builder and the node and returns the node's outputs. It counts only in a rule file.

    Args:
        *operators: names of the operators the function serves.
        domain: their operator-set domain.
        inputs: how many inputs they have, optional ones included; -1 for any number.
        outputs: how many outputs they have, optional ones included.
        on_demand: whether only composites that name the operators (`Composite.expands`) have them written out.
        approximates: whether the operator's own kernel rounds where the function does not (int8 arithmetic, tables). The
            model's nodes then keep making its prediction; the backward pass goes through what the function writes, and reads what
            they made.
        **defaults: the values of attributes that a node leaves out.

    Returns:
        A decorator that returns the function unchanged.

    Example:
        >>> from onnxplain import expansion
        >>> @expansion("Swish", domain="my.domain", beta=1.0)
        ... def swish(b, node):
        ...     '''y = x · σ(β x)'''
        ...     return b.Mul(node.x, b.Sigmoid(b.Mul(node.x, node["beta"])))
        >>> swish.__name__
        'swish'
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        current = _loading.get()
        if current is not None:
            registry, path = current
            for op in operators:
                table = registry.on_demand if on_demand else registry.expansions
                table[domain, op] = Expansion(op, domain, function, inputs, outputs, defaults, path, approximates)
        return function

    return register


def own_rules() -> Path:
    """The folder of the package's own rules: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "rules", package.parent / "rules"):
        if folder.is_dir():
            return folder
    raise RuleError(f"the rules folder is missing beside {package}; reinstall onnxplain")


def load_registry(rules: str | Path | Iterable[str | Path] | None = None) -> Registry:
    """The registry: the package's own rules, then those of other folders, which win.

    Args:
        rules: folders with rule files; None for none besides the package's own.

    Returns:
        The registry. It is made once for each choice of folders.

    Raises:
        RuleError: a folder does not exist or a rule file fails; the message names the file.
    """
    extra = [] if rules is None else [rules] if isinstance(rules, str | Path) else list(rules)
    return _load(tuple(str(Path(folder).resolve()) for folder in extra))


@lru_cache(maxsize=16)
def _load(extra: tuple[str, ...]) -> Registry:
    registry = Registry(folders=tuple(map(Path, extra)))
    for folder in (own_rules(), *registry.folders):
        if not folder.is_dir():
            raise RuleError(f"no rules folder at {folder}; --rules takes a folder of Python files")
        for path in sorted(folder.glob("*.py")):
            _execute(path, registry)
    return registry


def _execute(path: Path, registry: Registry) -> None:
    token = _loading.set((registry, str(path)))
    try:
        spec = importlib.util.spec_from_file_location(f"onnxplain-rules:{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    except RuleError:
        raise
    except Exception as error:
        raise RuleError(f"rule file {path} failed: {type(error).__name__}: {error}") from error
    finally:
        _loading.reset(token)
