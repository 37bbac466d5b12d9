"""Facts about operators: each claim is checked with the standard's own evaluator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

from onnxplain.ir.ops import STANDARD, OpTraits
from tests.support.operator_samples import Array, Sample, draw, evaluate, sample

# -- each claim is true ------------------------------------------------------------------------------------------------

UNTRIED = frozenset({
    "SequenceInsert", "ConcatFromSequence", "SequenceAt", "SequenceErase", "SequenceLength", "SequenceEmpty",
    "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "Upsample", "If", "Loop", "Scan", "SequenceMap",
    "Multinomial",
})  # fmt: skip
"""Operators on sequences, integers or graphs, of which no numeric claim is tried, and one that ONNX Runtime alone has, where every
session draws the same."""

Case = tuple[str, OpTraits, Sample, list[Array]]


def run(case: Case, inputs: list[Array] | None = None) -> Array:
    op, _, given, drawn = case
    return np.asarray(evaluate(op, given, drawn if inputs is None else inputs))


def with_operand(case: Case, place: int, value: Array) -> list[Array]:
    return [value if i == place else x for i, x in enumerate(case[3])]


def claimed_operands(case: Case, which: str) -> list[int]:
    """The operands that a fact is about."""
    given = case[2]
    return given.operands if which in ("all", "each", "together") else [0]


def is_zero_at_zero(case: Case) -> None:
    for place in case[2].operands if case[1].linear_in == "each" else [0]:
        assert not run(case, with_operand(case, place, np.zeros_like(case[3][place]))).any()


def is_zero_below_zero(case: Case) -> None:
    assert not run(case, with_operand(case, 0, -np.abs(case[3][0]))).any()


def is_nonnegative(case: Case) -> None:
    for scale in (0.1, 1, 30):
        assert not (run(case, [scale * x if i in case[2].operands else x for i, x in enumerate(case[3])]) < 0).any()


def keeps_nonnegative(case: Case) -> None:
    which = claimed_operands(case, case[1].keeps_nonnegative)
    assert not (run(case, [np.abs(x) if i in which else x for i, x in enumerate(case[3])]) < 0).any()


def is_within_one(case: Case) -> None:
    for scale in (0.1, 1, 30):
        made = run(case, [scale * x for x in case[3]])
        assert ((made >= 0) & (made <= 1)).all()


def is_finite(case: Case) -> None:
    numbers = np.array([0.0, -0.0, 1e-30, -1e-30, 1.0, -1.0, 1e6, -1e6, 1e18, -1e18])
    inputs = [numbers[np.arange(x.size).reshape(x.shape) % 10 if x.size else 0] if i in case[2].operands else x for i, x in enumerate(case[3])]  # fmt: skip
    made = run(case, [np.asarray(x) for x in inputs])
    assert made.dtype.kind in "biu" or np.isfinite(made).all()
    mine = run(case)
    assert mine.dtype.kind in "biu" or np.isfinite(mine).all()


def on_a_line(case: Case, low: float = -9, high: float = 9) -> tuple[Array, Array]:
    """The first operand from low to high, the others 0.5, and the results."""
    at = np.linspace(low, high, 6 * 301)
    if case[0] == "Where":  # as it bends a line: by a condition on it
        return at, np.asarray(evaluate("Where", Sample((at > 0, at.shape, ())), [at > 0, at, np.array(0.5)]))
    given = Sample((at.shape, *[() if isinstance(i, tuple) else i for i in case[2].inputs[1:]]), case[2].attributes)
    settings = [np.array(0.5) if isinstance(i, tuple) else np.ravel(i)[:1].reshape(()) for i in given.inputs[1:]]
    return at, np.asarray(evaluate(case[0], given, [at, *settings]))


def is_piecewise_linear(case: Case) -> None:
    at, made = on_a_line(case)
    bends = np.abs(np.diff(made, 2)) > 1e-9
    assert bends.mean() < 0.01
    assert len(np.unique(np.round(np.diff(made) / np.diff(at), 6))) <= 6


def is_affine(case: Case) -> None:
    which = case[1].linear_in
    random = np.random.default_rng(1)
    groups = [[place] for place in case[2].operands] if which == "each" else [claimed_operands(case, which)]
    for places in groups:
        other = [random.standard_normal(x.shape) if i in places else x for i, x in enumerate(case[3])]
        between = [0.3 * x + 0.7 * o if i in places else x for i, (x, o) in enumerate(zip(case[3], other, strict=True))]
        np.testing.assert_allclose(run(case, between), 0.3 * run(case) + 0.7 * run(case, other), rtol=1e-5, atol=1e-6)


def multiplies(case: Case) -> None:
    bias = [np.zeros_like(x) if i > 1 else x for i, x in enumerate(case[3])]
    for place in (0, 1):
        assert not run(case, [np.zeros_like(x) if i == place else x for i, x in enumerate(bias)]).any()


def moves_elements(case: Case, which: str = "") -> None:
    which = which or case[1].moves_elements
    pool = np.concatenate([np.ravel(case[3][i]) for i in claimed_operands(case, which)])
    made = run(case)
    assert made.size
    single = made.dtype == np.float32
    assert np.isin(made, pool.astype(np.float32) if single else pool).all()


def selects_elements(case: Case) -> None:
    moves_elements(case, case[1].selects_elements)


def keeps_order(case: Case) -> None:
    np.testing.assert_array_equal(run(case).ravel(), case[3][0].ravel())


def recodes(case: Case) -> None:
    np.testing.assert_array_equal(run(case), case[3][0])


def quantizes(case: Case) -> None:
    if case[0] != "DequantizeLinear":
        assert run(case).dtype.kind in "iu"
    else:
        np.testing.assert_allclose(run(case), case[3][0] * case[3][1])


def is_elementwise(case: Case) -> None:
    """One operand's element moves, and the results elsewhere stay."""
    before = run(case)
    for place in claimed_operands(case, case[1].elementwise):
        x = case[3][place].copy()
        assert before.shape == np.broadcast_shapes(*(np.shape(v) for v in case[3]))
        where = tuple(0 for _ in x.shape)
        x[where] = ~x[where] if x.dtype == bool else x[where] + x.dtype.type(3)
        changed = run(case, with_operand(case, place, x)) != before
        changed &= ~np.isnan(before) if before.dtype.kind == "f" else True
        changed[where] = False
        assert not changed.any()


def commutes(case: Case) -> None:
    np.testing.assert_array_equal(run(case), run(case, case[3][::-1]))


def shape_only(case: Case) -> None:
    if not case[1].random:
        np.testing.assert_array_equal(run(case), run(case, with_operand(case, 0, 1 - case[3][0])))


def is_random(case: Case) -> None:
    assert any((run(case) != run(case)).any() for _ in range(3))


def makes_logits_probabilities(case: Case) -> None:
    made, x = run(case), case[3][0]
    if case[0] == "Sigmoid":
        np.testing.assert_allclose(np.log(made / (1 - made)), x)
    else:
        logs = made if (made < 0).all() else np.log(made)
        np.testing.assert_allclose(np.diff(logs, axis=-1), np.diff(x, axis=-1))


def has_unbounded_slope(case: Case) -> None:
    step = 1e-13
    near = [step, -2 * step] if case[1].unbounded_slope == "at zero" else [300.0, 1 - 10 * step, 1 + 10 * step]
    place = 1 if case[1].linear_in == "first" else 0  # of a quotient the divisor
    inputs = [np.full(2, 0.5) for _ in case[3]]
    slopes = []
    for at in near:
        inputs[place] = np.array([at, at + max(step, at * step)])
        low, high = evaluate(case[0], Sample(tuple(x.shape for x in inputs), case[2].attributes), inputs)
        slopes.append(abs(high - low) / float(np.diff(inputs[place])[0]))
    assert np.nanmax(slopes) > 1e4


def slope(case: Case, place: float) -> float:
    at, made = on_a_line(case)
    return float(np.interp(place, (at[1:] + at[:-1]) / 2, np.diff(made) / np.diff(at)))


def is_activation(case: Case) -> None:
    _, made = on_a_line(case)
    kind = case[1].activation
    assert np.abs(np.diff(made, 2)).max() > 1e-6
    if kind in ("rectifier", "smooth"):
        assert slope(case, 2) > 0.5
        assert abs(slope(case, -8)) < 0.2 * slope(case, 2)
    if kind == "squash":
        assert slope(case, 0) > 0
        assert max(abs(slope(case, 8)), abs(slope(case, -8))) < 0.1 * slope(case, 0)
    if kind == "rectifier":
        is_piecewise_linear(case)


def convolves(case: Case) -> None:
    """What lies one place further makes what lies one place further."""
    x = np.zeros_like(case[3][0])
    x[:, :, 1, 1] = 1
    moved = np.roll(x, (1, 1), (2, 3))
    settings = [np.zeros_like(v) if i > 1 and np.ndim(v) == 4 else v for i, v in enumerate(case[3])]
    one, other = (run(case, [v, *settings[1:]]) for v in (x, moved))
    np.testing.assert_allclose(other[:, :, 1:, 1:], one[:, :, :-1, :-1], atol=1e-9)


def reduces(case: Case) -> None:
    assert run(case).ndim == case[3][0].ndim - 1


def pools(case: Case) -> None:
    made = run(case)
    assert made.ndim == 4
    assert made.shape[1] == case[3][0].shape[1]
    assert made.shape[2] < case[3][0].shape[2]


def channels_first(case: Case) -> None:
    """Samples lie along the first axis: in another order they make the same results in that order."""
    x = case[3][0]
    settings = [v[::-1] if np.ndim(v) == 4 and i > 0 and case[0] == "DeformConv" else v for i, v in enumerate(case[3])]
    if case[0] == "DeformConv":
        settings[1] = case[3][1]
    np.testing.assert_allclose(run(case, [x[::-1], *settings[1:]]), run(case)[::-1], rtol=1e-6, atol=1e-9)


def keeps_rank(case: Case) -> None:
    assert run(case).ndim == case[3][0].ndim


def input_ranks(case: Case) -> None:
    """ONNX Runtime takes operands of these ranks and refuses others."""
    assert all(r is None or r == np.ndim(x) for r, x in zip(case[1].input_ranks, case[3], strict=False))
    assert by_onnx_runtime(case, case[3])
    for place, rank in enumerate(case[1].input_ranks[: len(case[3])]):
        assert rank is None or not by_onnx_runtime(case, with_operand(case, place, case[3][place][None]))


def by_onnx_runtime(case: Case, inputs: list[Array]) -> bool:
    """Whether ONNX Runtime runs a node."""
    feeds = {f"x{i}": np.asarray(x, np.float32) for i, x in enumerate(inputs)}
    node = helper.make_node(case[0], list(feeds), ["y"], **case[2].attributes)
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name, x in feeds.items()]
    graph = helper.make_graph([node], "call", kinds, [onnx.ValueInfoProto(name="y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    try:
        ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    except (InvalidArgument, Fail):
        return False
    return True


def output_rank(case: Case) -> None:
    assert run(case).ndim == case[1].output_rank


def parameters(case: Case) -> None:
    schema = onnx.defs.get_schema(case[0])
    assert all(i < len(schema.inputs) or schema.inputs[-1].option.name == "Variadic" for i in case[1].parameters)


def runs_subgraphs(case: Case) -> None:
    kinds = {a.type.name for a in onnx.defs.get_schema(case[0]).attributes.values()}
    assert "GRAPH" in kinds


def makes_sequence(case: Case) -> None:
    schema = onnx.defs.get_schema(case[0])
    assert all("seq(" in t for out in schema.outputs for t in out.types)


CHECKS: dict[str, Callable[[Case], None]] = {
    "elementwise": is_elementwise,
    "activation": is_activation,
    "piecewise_linear": is_piecewise_linear,
    "linear_in": is_affine,
    "multiplies": multiplies,
    "convolves": convolves,
    "moves_elements": moves_elements,
    "keeps_order": keeps_order,
    "selects_elements": selects_elements,
    "recodes": recodes,
    "quantizes": quantizes,
    "commutative": commutes,
    "zero_at_zero": is_zero_at_zero,
    "zero_below_zero": is_zero_below_zero,
    "nonnegative": is_nonnegative,
    "keeps_nonnegative": keeps_nonnegative,
    "within_one": is_within_one,
    "finite": is_finite,
    "unbounded_slope": has_unbounded_slope,
    "of_logits": makes_logits_probabilities,
    "shape_only": shape_only,
    "random": is_random,
    "pools": pools,
    "reduces": reduces,
    "channels_first": channels_first,
    "keeps_rank": keeps_rank,
    "input_ranks": input_ranks,
    "output_rank": output_rank,
}
"""What a claim means, in numbers."""

BY_SCHEMA: dict[str, Callable[[Case], None]] = {
    "parameters": parameters,
    "runs_subgraphs": runs_subgraphs,
    "makes_sequence": makes_sequence,
}
"""What a claim means, in the standard's schema."""

NO_NUMBERS = frozenset({"weightless", "recurrent", "mixes_axes", "keeps_blocks"})
"""Facts of which no number tells: what counts as a weight, as a state, as the meaning of an axis; and one about a runtime."""


def case_of(op: str, traits: OpTraits, *, drawn: bool = True) -> Case:
    given = sample(op, traits)
    return op, traits, given, draw(given, np.random.default_rng(0)) if drawn else []


def claimed(fact: str) -> list[str]:
    return [op for op, traits in STANDARD.items() if "." not in op and getattr(traits, fact) not in (False, "", (), None)]


def test_every_fact_is_checked_or_says_why_not() -> None:
    assert {f.name for f in fields(OpTraits)} == CHECKS.keys() | BY_SCHEMA.keys() | NO_NUMBERS
    assert all(onnx.defs.has(op) for op in STANDARD if "." not in op)
    assert all(claimed(fact) for fact in (*CHECKS, *BY_SCHEMA, *NO_NUMBERS))


@pytest.mark.parametrize("fact", CHECKS)
def test_claims_are_true(fact: str) -> None:
    wrong = []
    for op in claimed(fact):
        if op in UNTRIED:
            continue
        try:
            CHECKS[fact](case_of(op, STANDARD[op]))
        except Exception as error:  # every wrong claim is listed, with its operator
            wrong.append(f"{op}: {type(error).__name__} {error}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("fact", BY_SCHEMA)
def test_claims_agree_with_the_schema(fact: str) -> None:
    for op in claimed(fact):
        BY_SCHEMA[fact](case_of(op, STANDARD[op], drawn=False))


FALSE: dict[str, tuple[str, OpTraits]] = {
    "elementwise": ("Softmax", OpTraits(elementwise="first")),
    "activation": ("Sin", OpTraits(elementwise="first", activation="squash")),
    "piecewise_linear": ("Tanh", OpTraits(elementwise="first", piecewise_linear=True)),
    "linear_in": ("Relu", OpTraits(linear_in="together")),
    "multiplies": ("Add", OpTraits(elementwise="all", multiplies=True)),
    "convolves": ("DepthToSpace", OpTraits(convolves=True)),
    "moves_elements": ("Neg", OpTraits(moves_elements="first")),
    "keeps_order": ("Transpose", OpTraits(keeps_order=True)),
    "selects_elements": ("AveragePool", OpTraits(selects_elements="first")),
    "recodes": ("Round", OpTraits(recodes=True)),
    "quantizes": ("Floor", OpTraits(quantizes=True)),
    "commutative": ("Sub", OpTraits(elementwise="all", commutative=True)),
    "zero_at_zero": ("Exp", OpTraits(zero_at_zero=True)),
    "zero_below_zero": ("LeakyRelu", OpTraits(zero_below_zero=True)),
    "nonnegative": ("Elu", OpTraits(nonnegative=True)),
    "keeps_nonnegative": ("Neg", OpTraits(keeps_nonnegative="first")),
    "within_one": ("Softplus", OpTraits(within_one=True)),
    "finite": ("Reciprocal", OpTraits(finite=True)),
    "unbounded_slope": ("Tanh", OpTraits(unbounded_slope="at zero")),
    "of_logits": ("Hardmax", OpTraits(of_logits=True)),
    "shape_only": ("Identity", OpTraits(shape_only=True)),
    "random": ("Identity", OpTraits(random=True)),
    "pools": ("LRN", OpTraits(pools=True)),
    "reduces": ("Softmax", OpTraits()),
    "channels_first": ("ReverseSequence", OpTraits(channels_first=True)),
    "keeps_rank": ("Flatten", OpTraits(keeps_rank=True)),
    "input_ranks": ("MatMul", OpTraits(input_ranks=(1, 1))),
    "output_rank": ("Shape", OpTraits(output_rank=2)),
}
"""Claims that are not true."""


@pytest.mark.parametrize("fact", CHECKS)
def test_a_false_claim_is_caught(fact: str) -> None:
    op, traits = FALSE[fact]
    with pytest.raises(AssertionError):
        CHECKS[fact](case_of(op, traits))
