"""Composites: which rule serves which call. Stateless data; the first entry that matches wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from onnxplain.call import Call
from onnxplain.registry import OpSpec, Registry, Rule

__all__ = ["GRADIENT", "Chosen", "Composite", "Where"]


@dataclass(frozen=True)
class Where:
    """A condition on calls. Empty fields match everything; all given fields must match.

    `names` and `scopes` are shell patterns on node names and module scopes.
    """

    operators: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def matches(self, call: Call, spec: OpSpec | None) -> bool:
        """Whether a call meets the condition."""
        return (
            (not self.operators or call.operator in self.operators)
            and (not self.roles or (spec is not None and spec.role in self.roles))
            and (not self.names or any(fnmatchcase(call.name, pattern) for pattern in self.names))
            and (not self.scopes or any(fnmatchcase(call.scope, pattern) for pattern in self.scopes))
        )

    def __str__(self) -> str:
        given = {"operator": self.operators, "role": self.roles, "name": self.names, "scope": self.scopes}
        return ", ".join(f"{k} {' or '.join(v)}" for k, v in given.items() if v) or "every call"


@dataclass(frozen=True)
class Composite:
    """An ordered choice of rules. Calls that no entry matches are served by their operator's gradient rule."""

    name: str
    entries: Sequence[tuple[Where, Rule]] = field(default=())

    def choose(self, registry: Registry, call: Call) -> Chosen | None:
        """The rule for a call and the reason; None where neither the composite nor the registry has one."""
        spec = registry.find(call)
        for where, rule in self.entries:
            if where.matches(call, spec):
                return Chosen(rule, spec or _unregistered(call, rule), str(where))
        if spec is None:
            return None
        return Chosen(spec.rule, spec, "gradient of the operator")


@dataclass(frozen=True)
class Chosen:
    """A rule with the registry's entry of its operator and the reason it was chosen."""

    rule: Rule
    spec: OpSpec
    reason: str


GRADIENT = Composite("gradient")
"""Every call is served by its operator's gradient rule."""


def _unregistered(call: Call, rule: Rule) -> OpSpec:
    return OpSpec(call.op, call.domain, call.version, rule, "function")
