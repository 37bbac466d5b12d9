"""Translation validation of groupings: a compound node computes from what it reads what the nodes computed that it stands for, and
is what its name says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeAlias

import numpy as np
import pytest

import onnxplain.analysis.canonize as canonizing
from onnxplain.analysis.canonize import GROUPINGS, Grouping, canonize
from onnxplain.analysis.canonize.gelu import group_gelus
from onnxplain.analysis.canonize.neuron import group_neurons
from onnxplain.analysis.canonize.norm import group_norms
from onnxplain.analysis.canonize.silu import group_silus
from onnxplain.analysis.liveness import liveness
from onnxplain.builder.builder import Builder
from onnxplain.ir.graph import Graph
from onnxplain.ir.node import Node
from onnxplain.ir.registry import load_registry
from onnxplain.passes import prepare
from tests.support.models import model, node
from tests.support.translation import copied, run
from tests.support.translation_corpus import Case, fixtures

Array: TypeAlias = "np.ndarray[Any, Any]"

COMPOUND = "onnxplain"

ORDERS: tuple[tuple[Grouping, ...], ...] = (
    (group_gelus, group_silus),
    GROUPINGS,
    (group_norms, *GROUPINGS),
    (*GROUPINGS, group_neurons),
)
"""The groupings that composites use together."""


def test_every_grouping_is_validated() -> None:
    found = set()
    for info in iter_modules(canonizing.__path__):
        module = import_module(f"{canonizing.__name__}.{info.name}")
        found |= {getattr(module, name) for name in module.__all__ if name.startswith("group_")}
    assert found == {grouping for order in ORDERS for grouping in order}


class Compounds:
    """The compounds of a model, each of which can be applied to inputs of its own."""

    def __init__(self, case: Case, groupings: tuple[Grouping, ...]) -> None:
        registry, model = load_registry(), copied(case.model)
        prepare(model, registry)
        graph = Graph(model)
        b = Builder(graph)
        targets = [t for t in graph.outputs if t.is_float][:1]
        sources = [t for t in graph.inputs if t.is_float] or [n.y for n in graph.nodes if n.op == "Gather" and n.y.is_float][:1]
        live = liveness(graph.nodes, sources, targets, registry.role)
        nodes = canonize(live.nodes, graph.nodes, (*sources, *targets), b.value, b.is_constant, registry.traits, groupings)
        self.nodes = [c for c in nodes if c.domain == COMPOUND]
        self.reads = [[t for t in c.inputs if t is not None and not b.is_constant(t)] for c in self.nodes]
        given, self.again = {}, []
        for i, (compound, reads) in enumerate(zip(self.nodes, self.reads, strict=True)):
            given |= {(i, t.name): replace(t, name=f"given{i}/{t.name}") for t in reads}
            inputs = [None if t is None else given.get((i, t.name), t) for t in compound.inputs]
            self.again.append(b.replay(compound, inputs).y.name)
        known = {t.name for t in (*graph.outputs, *graph.inputs)}
        shown = {t.name: t for c, reads in zip(self.nodes, self.reads, strict=True) for t in (c.y, *reads) if t.name not in known}
        emitted = [t for node in b.nodes for t in node.outputs if t.name in self.again]
        before = {o.name for o in graph.model.graph.output}
        self.plain = copied(Graph(copied(model)).finish([], {}, list(shown.values())))
        self.model = graph.finish(b.nodes, b.constants, emitted, inputs=list(given.values()))
        del self.model.graph.output[: len(before)]
        self.given, self.feeds = given, case.feeds

    def values(self) -> dict[str, Array]:
        """What the model has at the inputs and outputs of compounds."""
        made = dict(zip([o.name for o in self.plain.graph.output], run(self.plain, self.feeds), strict=True))
        return {**made, **self.feeds}

    def applied(self, inputs: Sequence[Mapping[str, Array]]) -> list[Array]:
        """What each compound makes of its inputs, by name."""
        feeds = {self.given[i, name].name: value for i, each in enumerate(inputs) for name, value in each.items()}
        wanted = {i.name for i in self.model.graph.input}
        return run(self.model, {k: v for k, v in {**self.feeds, **feeds}.items() if k in wanted})


def assert_reads_all(compound: Node) -> None:
    """Whatever its parts read that carries messages comes from its inputs."""
    made = {t.name for part in compound.parts for t in part.outputs if t is not None}
    reads = {t.name for p in compound.parts for k, t in enumerate(p.inputs) if t is not None and p.needs_input_grad(k)}
    assert reads - made <= {t.name for t in compound.inputs if t is not None}


def near(found: Array, expected: Array, what: str) -> None:
    size = float(np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * size + 1e-30, err_msg=what)


def validate(case: Case, groupings: tuple[Grouping, ...]) -> Counter[str]:
    """Compounds are functions of what they read, and what their names say."""
    whole = Compounds(case, groupings)
    if not whole.nodes:
        return Counter()
    values, random = whole.values(), np.random.default_rng(0)
    inputs = [{t.name: values[t.name] for t in reads} for reads in whole.reads]
    drawn = [
        {k: np.where(random.random(v.shape) < 0.5, v, v[::-1] * 0.5 + 0.3).astype(v.dtype) for k, v in each.items()}
        for each in inputs
    ]
    middle = [
        {k: ((v + other[k]) / 2).astype(v.dtype) for k, v in each.items()} for each, other in zip(inputs, drawn, strict=True)
    ]
    doubled = [
        {k: v * 2 if "signal" in c.attributes and c.input(c["signal"]).name == k else v for k, v in each.items()}
        for c, each in zip(whole.nodes, inputs, strict=True)
    ]
    made = [whole.applied(each) for each in (inputs, drawn, middle, doubled)]
    for i, (compound, own) in enumerate(zip(whole.nodes, inputs, strict=True)):
        assert_reads_all(compound)
        again, other, between, twice = (run_of[i] for run_of in made)
        what = f"{case.name}: {compound}"
        near(again, values[compound.y.name], what)
        x = own.get(compound.x.name)
        if compound.op == "Linear":
            near(between, (again + other) / 2, f"{what} is not linear")
        elif compound.op == "Softmax":
            e = np.exp(x - x.max(compound["axis"], keepdims=True))
            near(again, e / e.sum(compound["axis"], keepdims=True), what)
        elif compound.op == "Gelu":
            inner = np.vectorize(math.erf)(compound["scale"] * x.astype(np.float64))
            near(again, compound["factor"] * x * (1 + inner), what)
        elif compound.op in ("Gate", "GatedUnit", "Normalize", "Attend"):
            near(twice, 2 * again, f"{what} is not linear in its signal")
        elif compound.op in ("Activation", "Function", "Shift") and x.shape == again.shape:
            same = drawn[i][compound.x.name] == x
            np.testing.assert_array_equal(other[same], again[same], err_msg=f"{what} is no function of each element")
    return Counter(c.op for c in whole.nodes)


QUICK = ("bert/model_legacy", "llama/model", "mobilenet/model", "lrp_relu_forms/model", "gpt2/model_legacy", "digits/model")


@pytest.mark.parametrize("groupings", ORDERS, ids=lambda order: order[-1].__name__)
def test_compounds_of_fixtures(groupings: tuple[Grouping, ...]) -> None:
    found = Counter[str]()
    for case in fixtures():
        if case.name.removeprefix("fixture ") in QUICK:
            found += validate(case, groupings)
    assert found


@pytest.mark.slow
@pytest.mark.parametrize("groupings", ORDERS, ids=lambda order: order[-1].__name__)
def test_compounds_of_all_fixtures(groupings: tuple[Grouping, ...]) -> None:
    found = sum((validate(case, groupings) for case in fixtures()), Counter[str]())
    wanted = {"Gelu"} if groupings == ORDERS[0] else {"Linear", "Activation", "Shift", "Gate", "GatedUnit", "Normalize", "Attend"}
    assert wanted <= set(found)


def test_softmax_in_its_spellings() -> None:
    for axis in (-1, 1, 2):
        nodes = [
            node("ReduceMax", "x axes", "m"), node("Sub", "x m", "d"), node("Exp", "d", "e"), node("ReduceSum", "e axes", "s"),
            node("Div", "e s", "p"), node("Mul", "p p", "y"),
        ]  # fmt: skip
        made = model(nodes, {"x": ["n", 3, 4]}, {"y": None}, {"axes": np.array([axis])})
        x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
        assert validate(Case("softmax", made, {"x": x}), GROUPINGS)["Softmax"] == 1
