"""Whether an operator is written as the standard has it: its name, its attributes, how many inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onnxplain.errors import RuleError, nearest
from onnxplain.ir.schema import Signature, operators_of

__all__ = ["check_form"]

MANY = 1000
"""Inputs that no operator takes but one that takes any number."""


def check_form(
    op: str, known: Signature | None, opset: int, inputs: Sequence[object], attributes: Iterable[str], outputs: int
) -> None:
    """Refuse an operator of the standard's domain that is not written as the standard has it.

    Args:
        op: its name.
        known: its signature in the operator set; None where it has no such operator.
        opset: the version of the operator set, for the message.
        inputs: what it is applied to, None for what is left out.
        attributes: the names of the attributes that are given.
        outputs: how many outputs are asked for.

    Raises:
        RuleError: there is no such operator or attribute, or there are too few or too many inputs or outputs. The message names
            the nearest name or the right number.
    """
    if known is None:
        raise RuleError(f"there is no operator '{op}' in opset {opset}; {nearest(op, operators_of(opset))}")
    for name in attributes:
        if name not in known.attributes:
            raise RuleError(f"{op} has no attribute '{name}' in opset {opset}; {nearest(name, known.attributes)}")
    least, most = known.inputs
    last = max((i + 1 for i, t in enumerate(inputs) if t is not None), default=0)
    missing = next((i for i in range(least) if i >= last or inputs[i] is None), None)
    if last > most:
        raise RuleError(f"{op} takes {_count(least, most)} in opset {opset}, found {last}")
    if missing is not None:
        raise RuleError(f"{op} takes {_count(least, most)} in opset {opset}; input {missing} is left out")
    if outputs > known.outputs[1]:
        raise RuleError(f"{op} has at most {known.outputs[1]} outputs in opset {opset}; {outputs} are asked for")


def _count(least: int, most: int) -> str:
    number = f"{least}" if least == most else f"{least} or more" if most > MANY else f"{least} to {most}"
    return f"{number} input" if number == "1" else f"{number} inputs"
