"""What a relevance rule says of itself, beside what it does: its name and formula, and facts the backward pass relies on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from onnxplain.builder.builder import Builder
from onnxplain.ir.node import Node
from onnxplain.ir.registry import Messages, Rule
from onnxplain.ir.tensor import Tensor

__all__ = ["NamedRule", "RelevanceRule", "named", "rule_name"]

Kept = Callable[..., list[Tensor]]
"""What constant operands absorb: a function of builder, node and messages."""


class RelevanceRule:
    """A rule with a name, a formula and a source, as `onnxplain plan` shows them.

    Called as every rule: `(builder, node, *messages) -> one message (or None) per input`. A plain function is a rule too; nothing
    is known of it but what it does.
    """

    name: str
    formula: str
    source: str

    @property
    def factors_input(self) -> bool:
        """Whether an input element that is zero gets nothing."""
        return False

    @property
    def passes(self) -> bool:
        """Whether elements of the input get the relevance of the output elements they become."""
        return False

    @property
    def for_linear_maps(self) -> bool:
        """Whether it serves linear maps alone."""
        return False

    @property
    def splits_weights(self) -> bool:
        """Whether it takes other weights than the operator's own, and so needs an operator that has some."""
        return False

    def inputs_served(self, node: Node) -> tuple[int, ...] | None:
        """The inputs that it sends messages to; None where it may be all. What makes the others lies off the way."""
        return None

    def bias_relevance(self, b: Builder, node: Node, *messages: Tensor | None) -> list[Tensor]:
        """What the node's bias absorbs of the messages, to be summed; nothing where it has none or hands all on."""
        return []

    def __call__(self, b: Builder, node: Node, *messages: Tensor | None) -> Messages:
        raise TypeError(f"{type(self).__name__} does not say what it sends: define __call__")


@dataclass(frozen=True)
class NamedRule(RelevanceRule):
    """A function as a relevance rule."""

    name: str
    formula: str
    source: str
    rule: Rule
    factors: bool = False
    passing: bool = False
    only: Callable[[Node], Sequence[int]] | None = None
    kept: Kept | None = None

    @property
    def factors_input(self) -> bool:
        """Whether an input element that is zero gets nothing."""
        return self.factors

    @property
    def passes(self) -> bool:
        """Whether elements of the input get the relevance of the output elements they become."""
        return self.passing

    def inputs_served(self, node: Node) -> tuple[int, ...] | None:
        """The inputs that it sends messages to; None where it may be all."""
        return None if self.only is None else tuple(self.only(node))

    def bias_relevance(self, b: Builder, node: Node, *messages: Tensor | None) -> list[Tensor]:
        """What the node's constant operands absorb of the messages, to be summed."""
        return [] if self.kept is None else self.kept(b, node, *messages)

    def __call__(self, b: Builder, node: Node, *messages: Tensor | None) -> Messages:
        return self.rule(b, node, *messages)


def named(
    name: str,
    formula: str,
    source: str,
    *,
    factors_input: bool = False,
    passes: bool = False,
    only: Callable[[Node], Sequence[int]] | None = None,
    kept: Kept | None = None,
) -> Callable[[Rule], NamedRule]:
    """Make a function a relevance rule with the name, formula and source it is shown with.

    Args:
        name: as tables show it.
        formula: what it sends, in one line.
        source: where it was published.
        factors_input: whether an input element that is zero gets nothing.
        passes: whether elements of the input get the relevance of the output elements they become.
        only: the inputs that it sends messages to, where these are not all.
        kept: what constant operands absorb of the messages, as tensors to be summed.
    """
    return lambda rule: NamedRule(name, formula, source, rule, factors_input, passes, only, kept)


def rule_name(rule: Rule) -> str:
    """The name that tables show: a relevance rule's own, or that of the function."""
    name = rule.name if isinstance(rule, RelevanceRule) else getattr(rule, "__name__", "")
    return name.rstrip("_")
