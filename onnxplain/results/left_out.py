"""The inputs that an explanation leaves out, in words."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["left_out_in_words"]

NAMED = 3
"""Inputs that are named where many are left out for one reason."""


def left_out_in_words(reasons: Mapping[str, str]) -> list[str]:
    """One line per reason, with the inputs it holds for.

    Args:
        reasons: by the name of an input, why it gets no attribution.
    """
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(f"'{name}'")
    return [f"{_listed(some)}: {reason}" for reason, some in names.items()]


def _listed(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names) if more < 2 else f"{', '.join(names[:NAMED])} and {more} more"
