"""Translation validation, the long part: ONNX's own cases in every version of their operators, in other forms, optimized; many made
graphs."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.passes.test_translation import STRATEGIES, assert_kept
from tests.support.translation import Untestable, validate
from tests.support.translation_corpus import Case, fixtures, onnx_cases
from tests.support.translation_forms import FORMS

pytestmark = pytest.mark.slow

SHARDS = 4

EXCEPTIONS = {
    "attention_4d_with_past_and_present_qk_matmul_bias": "masked products: ONNX Runtime's kernel has the lowest number, the standard −∞",
    "affine_grid_2d_expanded": "the standard's body gives Range a vector, which ONNX Runtime takes as long as it does not see it",
    "affine_grid_2d_align_corners_expanded": "the same",
    "attention_23_boolmask_fullymasked": "double: ONNX Runtime has the operator's body from an older standard",
    "attention_23_fullymasked_qk_matmul_output": "double: ONNX Runtime has the operator's body from an older standard",
    "attention_4d_causal_nonpad": "double: ONNX Runtime has the operator's body from an older standard",
}
"""Cases of which ONNX Runtime and the standard make different things, and what."""


def sample(shard: int, of: int, cases: Iterable[Case], part: int = 1) -> list[Case]:
    """One of several equal shares of the cases, and of that only one in `part`."""
    return [c for c in cases if zlib.crc32(c.name.encode()) % (of * part) == shard * part]


def faults_in(cases: Iterable[Case], level: str = "plain", form: Callable[[Case], Case | None] = lambda case: case) -> list[str]:
    """What passes changed; says nothing of cases that ONNX Runtime does not run."""
    found, seen = [], Counter[str]()
    for case in cases:
        made = None if case.name.startswith(tuple(EXCEPTIONS)) else form(case)
        if made is None:
            continue
        try:
            changed, difference = validate(made.model, made.feeds, level=level, tolerance=made.tolerance)
        except Untestable:
            continue
        seen.update(changed)
        found += [f"{made.name}: {difference}"] if difference else []
    assert sum(seen.values()) > 50  # passes were run, and did something
    return found


@pytest.mark.parametrize("shard", range(SHARDS))
def test_cases_of_every_version(shard: int) -> None:
    assert not faults_in(sample(shard, SHARDS, onnx_cases()))


@pytest.mark.parametrize("shard", range(2))
def test_cases_as_they_come_optimized(shard: int) -> None:
    assert not faults_in(sample(shard, 2, (c for c in onnx_cases() if "@" not in c.name), 2), "optimized")


@pytest.mark.parametrize("form", FORMS)
def test_cases_in_other_forms(form: str) -> None:
    assert not faults_in(sample(0, 1, onnx_cases(), 8), form=FORMS[form])


@pytest.mark.parametrize("level", ["plain", "optimized"])
def test_fixtures(level: str) -> None:
    assert not faults_in(fixtures(), level)


@pytest.mark.parametrize("level", ["plain", "optimized"])
@pytest.mark.parametrize("kind", STRATEGIES)
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_made_graphs(kind: str, level: str, data: Any) -> None:
    assert_kept(data.draw(STRATEGIES[kind]()), level)
