"""tree-shap against all coalitions, run by the model itself."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxplain import Explainer
from onnxplain.method.trees import deep_emit
from tests.support.random_trees import ALL, ORDERED, Draft, Plan, draw, newer, older, rows

FORMS = {"older": older, "newer": newer}


def against_all_coalitions(
    plan: Plan, form: str, seed: int, *, nan: bool = False, count: int = 6, table: int | str = "64MB"
) -> None:
    rng = np.random.default_rng(seed)
    draft = draw(rng, plan)
    nan = nan and any(n[5] for n in draft.nodes)
    model = FORMS[form](draft, plan, rng)
    background, x = rows(rng, plan, 5, nan=nan), rows(rng, plan, count, nan=nan)
    found = Explainer(model, "tree-shap", background=background, table=table, providers="cpu")(x, target="all")
    every = Explainer(model, "exact-shapley", background=background, providers="cpu")(x, target="all")
    tolerance = 1e-9 if plan.double and form == "newer" else 2e-6
    assert found.attribution == pytest.approx(every.attribution, abs=tolerance)
    assert np.abs(found.delta).max() < 5e-6
    assert found.facts["base_value"] == pytest.approx(every.facts["base_value"], abs=5e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ALL)
def test_every_mode(mode: str, form: str) -> None:
    for seed in range(2):
        against_all_coalitions(Plan(modes=(mode,)), form, seed)


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_missing_values_go_where_nodes_say(form: str, double: bool) -> None:
    for seed in range(4):
        against_all_coalitions(Plan(modes=ALL, missing=True, double=double, trees=4), form, seed, nan=True)


def test_sets_of_values() -> None:
    for seed in range(4):
        plan = Plan(modes=("BRANCH_MEMBER", "BRANCH_LEQ"), values=(1.0, 2.0, 3.0, 5.0, 6.0), missing=seed % 2 == 1)
        against_all_coalitions(plan, "newer", seed, nan=plan.missing)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    form=st.sampled_from(sorted(FORMS)),
    features=st.integers(1, 5),
    trees=st.integers(1, 6),
    depth=st.integers(0, 5),
    outputs=st.integers(1, 3),
    modes=st.sampled_from([("BRANCH_LEQ",), ("BRANCH_LT",), ORDERED, ALL]),
    missing=st.booleans(),
    double=st.booleans(),
    aggregate=st.sampled_from(["SUM", "AVERAGE"]),
    table=st.sampled_from(["64MB", 200, 0]),
)
def test_random_ensembles(
    seed: int,
    form: str,
    features: int,
    trees: int,
    depth: int,
    outputs: int,
    modes: tuple[str, ...],
    missing: bool,
    double: bool,
    aggregate: str,
    table: int | str,
) -> None:
    plan = Plan(features, trees, depth, outputs, modes, missing, double, aggregate=aggregate)
    against_all_coalitions(plan, form, seed, nan=missing, count=3, table=table)


def path_dependent(draft: Draft, plan: Plan, data: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Lundberg et al. 2020, algorithm 1, summed over all coalitions: [features], for trees of BRANCH_LEQ and one output."""
    nodes = {(n[0], n[1]): n for n in draft.nodes}
    weights = {(t, n): w for t, n, _, w in draft.leaves}

    def expected(key: tuple[int, int], rows: np.ndarray, known: frozenset[int]) -> float:
        tree, _, mode, feature, value, _, true, false = nodes[key]
        if mode == "LEAF":
            return weights[key]
        if feature in known:
            way = true if x[feature] <= np.float32(value) else false
            held = rows[:, feature] <= np.float32(value)
            return expected((tree, way), rows[held if way == true else ~held], known)
        held = rows[:, feature] <= np.float32(value)
        both = [((tree, true), rows[held]), ((tree, false), rows[~held])]
        return sum(len(part) / len(rows) * expected(child, part, known) for child, part in both if len(part))

    count, made = plan.features, np.zeros(plan.features)
    for coalition in range(1 << count):
        known = frozenset(f for f in range(count) if coalition >> f & 1)
        before = sum(expected((t, 0), data, known) for t in range(plan.trees))
        for f in range(count):
            if f not in known:
                after = sum(expected((t, 0), data, known | {f}) for t in range(plan.trees))
                made[f] += (after - before) / (count * comb(count - 1, len(known)))
    return made


@pytest.mark.parametrize("table", ["64MB", 0])
@pytest.mark.parametrize("seed", range(4))
def test_path_dependent_values(seed: int, table: int | str) -> None:
    rng = np.random.default_rng(seed)
    plan = Plan(features=3, trees=3, depth=3, values=(-1.0, 0.0, 0.3, 1.0), base=False)
    draft, data = draw(rng, plan), rows(rng, plan, 4000)
    x = rows(rng, plan, 5)
    found = Explainer(older(draft, plan, rng), "tree-shap", data=data, table=table, providers="cpu")(x)
    expected = np.array([path_dependent(draft, plan, data, row) for row in x])
    assert found.attribution == pytest.approx(expected, abs=2e-6)
    assert np.abs(found.delta).max() < 5e-6


@pytest.mark.parametrize("kind", ["background", "data"])
def test_leaves_without_tables_a_few_at_a_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    plan = Plan(features=6, trees=4, depth=5, outputs=2)
    model, x = older(draw(rng, plan), plan, rng), rows(rng, plan, 7)
    given = {kind: rows(rng, plan, 9 if kind == "background" else 20000)}
    tables = Explainer(model, "tree-shap", providers="cpu", **given)(x)
    monkeypatch.setattr(deep_emit, "ELEMENTS", 40)
    summed = Explainer(model, "tree-shap", table=0, providers="cpu", **given)
    assert "Scan" in {n.op_type for n in summed.model.graph.node}
    assert summed(x).attribution == pytest.approx(tables.attribution, abs=2e-6)
