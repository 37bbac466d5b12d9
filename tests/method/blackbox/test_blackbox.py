"""Black-box methods: the axioms they promise, exact results where mathematics gives them, and refusals."""

from __future__ import annotations

import tracemalloc
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, Explanation, check, plan, rewrite
from onnxplain.cli.main import main
from onnxplain.errors import InputError, LayerError, MethodError, TargetError
from onnxplain.method.blackbox.kernel import coalitions
from onnxplain.method.blackbox.rise import _enlarge, smooth_masks
from onnxplain.method.registry import all_methods
from tests.support.models import model, node, run
from tests.support.paths import FIXTURES

DIGITS = FIXTURES / "digits" / "model.onnx"

SHAPLEY = ("exact-shapley", "kernel-shap", "shapley-sampling")
DOUBLE = onnx.TensorProto.DOUBLE

SLOPE = np.array([[1.0, -2.0, 0.5, 0.0, 3.0, 0.25]]).T
POINTS = np.random.default_rng(3).normal(size=(4, 6))
ORIGIN = np.linspace(-1, 1, 6)


def linear(dtype: int = DOUBLE) -> onnx.ModelProto:
    """y = x·w + 1, in float64."""
    kind = np.float64 if dtype == DOUBLE else np.float32
    weights = {"w": SLOPE.astype(kind), "b": np.ones(1, kind)}
    return model([node("Gemm", "x w b", "y")], {"x": ["n", 6]}, {"y": ["n", 1]}, weights, kinds={"x": dtype, "y": dtype})


def game() -> onnx.ModelProto:
    """y = x0·x1 + x1·x2·x3 + x4², in float64: x5 is a dummy; several features act together."""
    nodes = [
        node("Split", "x", "x0 x1 x2 x3 x4 x5", axis=1, num_outputs=6),
        node("Mul", "x0 x1", "a"),
        node("Mul", "x1 x2", "b0"),
        node("Mul", "b0 x3", "b"),
        node("Mul", "x4 x4", "c"),
        node("Add", "a b", "d"),
        node("Add", "d c", "y"),
    ]
    return model(nodes, {"x": ["n", 6]}, {"y": ["n", 1]}, kinds={"x": DOUBLE, "y": DOUBLE})


def value(x: np.ndarray) -> np.ndarray:
    """The same function in numpy."""
    return x[..., 0] * x[..., 1] + x[..., 1] * x[..., 2] * x[..., 3] + x[..., 4] ** 2


def shapley_by_orders(x: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Shapley values from all 720 orders, an oracle that knows neither coalitions nor weights."""
    result = np.zeros(6)
    for order in permutations(range(6)):
        now = base.copy()
        for i in order:
            before = value(now)
            now[i] = x[i]
            result[i] += value(now) - before
    return result / 720


# -- Shapley values ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["exact-shapley", "kernel-shap"])
def test_shapley_values_are_exact_where_all_coalitions_run(method: str) -> None:
    made = Explainer(game(), method, baseline=ORIGIN)(POINTS)
    expected = np.stack([shapley_by_orders(x, ORIGIN) for x in POINTS])
    np.testing.assert_allclose(made.attribution, expected, atol=1e-10)
    np.testing.assert_allclose(made.facts["base_value"], value(ORIGIN))


@pytest.mark.parametrize("method", SHAPLEY)
def test_shapley_axioms(method: str) -> None:
    """Efficiency, dummy, and symmetry between the factors x2 and x3 where they are equal in input and baseline."""
    x = POINTS.copy()
    x[:, 3] = x[:, 2]
    base = ORIGIN.copy()
    base[3] = base[2]
    options = {"samples": 6000, "antithetic": True} if method == "shapley-sampling" else {}
    made = Explainer(game(), method, baseline=base, **options)(x)
    attribution = made.attribution
    np.testing.assert_allclose(attribution.sum(axis=1), value(x) - value(base), atol=1e-6)
    assert made.delta is not None
    assert np.abs(made.delta).max() < 1e-6
    np.testing.assert_allclose(attribution[:, 5], 0, atol=1e-9)
    slack = 5 * made.facts["standard_error"].max() if "standard_error" in made.facts else 1e-9
    np.testing.assert_allclose(attribution[:, 2], attribution[:, 3], atol=slack)


def test_linearity_of_exact_shapley() -> None:
    """The values of a contrast are the contrast of the values."""
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    explainer = Explainer(DIGITS, "exact-shapley", groups="segments", parts=9)
    everything = explainer(images, "all")
    contrast = explainer(images, {3: 1, 5: -1})
    np.testing.assert_allclose(contrast.attribution, everything.attribution[:, 3] - everything.attribution[:, 5], atol=1e-9)
    assert everything.facts["group_values"].shape == (3, 10, 9)


def test_sampling_converges_to_the_exact_values() -> None:
    exact = Explainer(game(), "exact-shapley", baseline=ORIGIN)(POINTS).attribution
    errors = []
    for samples in (20, 2000):
        made = Explainer(game(), "shapley-sampling", baseline=ORIGIN, samples=samples)(POINTS)
        errors.append(np.abs(made.attribution - exact).max())
        assert np.all(np.abs(made.attribution - exact) <= 5 * made.facts["standard_error"] + 1e-9)
    assert errors[1] < errors[0] / 4


def test_kernel_shap_converges_to_the_exact_values() -> None:
    """Ten features do not fit into 200 coalitions; more coalitions come nearer."""
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    settings: dict[str, Any] = {"groups": np.arange(64).reshape(1, 8, 8) // 6, "score": "logit"}
    exact = Explainer(DIGITS, "exact-shapley", **settings)(images).facts["group_values"]
    gaps = [
        np.abs(Explainer(DIGITS, "kernel-shap", samples=n, **settings)(images).facts["group_values"] - exact).max()
        for n in (60, 400, 2046)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-5


@pytest.mark.parametrize("count", [2, 3, 5, 8, 13, 20, 41])
def test_coalitions_are_paired_and_weigh_one(count: int) -> None:
    masks, weights = coalitions(count, 500, np.random.default_rng(0))
    assert len(np.unique(np.packbits(masks, axis=1), axis=0)) == len(masks) <= 500
    sizes = masks.sum(axis=1)
    assert sizes.min() >= 1
    assert sizes.max() <= count - 1
    np.testing.assert_allclose(weights.sum(), 1 if 2**count - 2 > 500 else weights.sum())
    for size in range(1, count):  # as heavy as their complements
        np.testing.assert_allclose(weights[sizes == size].sum(), weights[sizes == count - size].sum())


# -- linear models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["feature-ablation", "occlusion", *SHAPLEY])
def test_linear_models_are_recovered_exactly(method: str) -> None:
    options: dict[str, Any] = {"window": 1} if method == "occlusion" else {}
    made = Explainer(linear(), method, baseline=ORIGIN, **options)(POINTS)
    np.testing.assert_allclose(made.attribution, (POINTS - ORIGIN) * SLOPE[:, 0], atol=1e-10)


def test_lime_recovers_a_linear_model() -> None:
    made = Explainer(linear(), "lime", baseline=ORIGIN, ridge=0.0)(POINTS)
    np.testing.assert_allclose(made.attribution, (POINTS - ORIGIN) * SLOPE[:, 0], atol=1e-9)
    np.testing.assert_allclose(made.facts["r2"], 1)
    np.testing.assert_allclose(made.facts["intercept"], (ORIGIN @ SLOPE + 1)[0])
    assert made.delta is None


def test_lime_on_rows_of_data_recovers_a_linear_model() -> None:
    data = np.random.default_rng(0).normal(size=(200, 6)) * np.arange(1, 7)
    made = Explainer(linear(), "lime", background=data, bins=None, ridge=0.0, kernel_width=20.0)(POINTS)
    np.testing.assert_allclose(made.attribution, np.tile(SLOPE[:, 0] * data.std(axis=0), (4, 1)), atol=1e-8)


def test_permutation_of_a_linear_model() -> None:
    """The mean over rows is the input's distance from the rows' mean, but for the draw."""
    data = np.random.default_rng(0).normal(size=(50, 6))
    made = Explainer(linear(), "permutation", background=data, samples=4000)(POINTS)
    np.testing.assert_allclose(made.attribution, (POINTS - data.mean(axis=0)) * SLOPE[:, 0], atol=0.2)
    many = Explainer(linear(), "feature-ablation", background=data)(POINTS)
    np.testing.assert_allclose(many.attribution, (POINTS - data.mean(axis=0)) * SLOPE[:, 0], atol=1e-10)


def test_permutation_over_a_data_set() -> None:
    x = np.random.default_rng(0).normal(size=(400, 6))
    y = x @ SLOPE + 1
    made = Explainer(linear(), "permutation", overall=True, truth=y, loss="squared", samples=40)(x)
    assert made.attribution.shape == (1, 6)
    np.testing.assert_allclose(made.facts["loss"], 0, atol=1e-20)
    # E (w (x − x'))² = 2 w² Var x for independent rows
    np.testing.assert_allclose(made.attribution[0], 2 * SLOPE[:, 0] ** 2 * x.var(axis=0), rtol=0.1, atol=1e-12)
    assert made.target is None
    assert not made.inputs


@pytest.mark.parametrize("method", ["ice", "partial-dependence"])
def test_curves_of_a_linear_model_are_lines(method: str) -> None:
    x = np.random.default_rng(0).normal(size=(30, 6))
    made = Explainer(linear(), method, points=7)(x)
    count = 30 if method == "ice" else 1
    grid, curves = made.facts["grid"], made.facts["curves"]
    assert curves.shape == (count, 7, 6)
    slopes = np.diff(curves, axis=1) / np.diff(grid, axis=1)
    np.testing.assert_allclose(slopes, np.broadcast_to(SLOPE[:, 0], slopes.shape), atol=1e-8)
    np.testing.assert_allclose(made.attribution, np.abs(SLOPE[:, 0]) * grid.std(axis=1), atol=1e-9)
    if method == "partial-dependence":
        rest = x.mean(axis=0) @ SLOPE[:, 0] + 1 - x.mean(axis=0) * SLOPE[:, 0]
        np.testing.assert_allclose(curves[0], grid[0] * SLOPE[:, 0] + rest, atol=1e-9)


def test_rise_ranks_the_weights_of_a_linear_model() -> None:
    """E[f(x ∘ M) M_i] / p for M with independent entries is f's mean plus (1 − p) w_i x_i: only the last term tells features apart."""
    x = np.ones((1, 64), np.float32)
    weights = np.random.default_rng(0).normal(size=(64, 1)).astype(np.float32)
    made = Explainer(
        model([node("MatMul", "x w", "y")], {"x": ["n", 64]}, {"y": ["n", 1]}, {"w": weights}), "rise", cells=64, samples=6000
    )(x)
    assert np.corrcoef(made.attribution[0], weights[:, 0])[0, 1] > 0.9


# -- windows, groups, pictures ---------------------------------------------------------------------------------------------


def test_occlusion_by_brute_force() -> None:
    """Windows of 3×2 with strides 2×1 over pictures, one by one."""
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    made = Explainer(DIGITS, "occlusion", window=(3, 2), stride=(2, 1), baseline=0.25)(image, 3)
    whole = run(onnx.load(DIGITS), {"image": image})["logits"][:, 3]
    total, times = np.zeros(image.shape), np.zeros((8, 8))
    for top in range(0, 7, 2):
        for left in range(7):
            covered = image.copy()
            covered[:, :, top : top + 3, left : left + 2] = 0.25
            lost = whole - run(onnx.load(DIGITS), {"image": covered})["logits"][:, 3]
            total[:, :, top : top + 3, left : left + 2] += lost[:, None, None, None]
            times[top : top + 3, left : left + 2] += 1
    np.testing.assert_allclose(made.attribution, total / times, atol=1e-5)


def test_groups_come_and_go_together() -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    groups = np.full((1, 8, 8), -1)
    groups[:, :4] = 7
    groups[:, 6:] = 2
    made = Explainer(DIGITS, "feature-ablation", groups=groups)(image, 1)
    whole = run(onnx.load(DIGITS), {"image": image})["logits"][:, 1]
    for rows, column in ((slice(0, 4), 1), (slice(6, 8), 0)):
        gone = image.copy()
        gone[:, :, rows] = 0
        lost = whole - run(onnx.load(DIGITS), {"image": gone})["logits"][:, 1]
        np.testing.assert_allclose(
            made.attribution[:, 0, rows], np.broadcast_to(lost[:, None, None], (2, rows.stop - rows.start, 8)), atol=1e-5
        )
        np.testing.assert_allclose(made.facts["group_values"][:, column], lost, atol=1e-5)
    assert (made.attribution[:, :, 4:6] == 0).all()
    np.testing.assert_array_equal(np.unique(made.facts["groups"]), [-1, 0, 1])


def test_lime_on_groups_of_ones_own() -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    made = Explainer(DIGITS, "lime", groups=np.arange(64).reshape(1, 8, 8) // 16)(image)
    assert made.facts["group_values"].shape == (2, 4)


def test_superpixels_differ_from_picture_to_picture() -> None:
    pytest.importorskip("skimage", reason="superpixels need scikit-image")
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    made = Explainer(DIGITS, "lime", parts=6, samples=200)(image)
    groups = made.facts["groups"]
    assert groups.shape == image.shape
    assert (groups[0] != groups[1]).any()
    for i in range(3):
        for g in range(int(groups[i].max()) + 1):
            inside = made.attribution[i][groups[i] == g]
            np.testing.assert_array_equal(inside, np.full_like(inside, made.facts["group_values"][i, g]))


def test_batches_and_neighbours_change_nothing() -> None:
    """A sample's explanation does not depend on the samples beside it, nor on how many copies run at once."""
    image = np.load(FIXTURES / "digits" / "data.npz")["image"]
    for name, found in all_methods().items():
        if (
            not found.needs_baseline or not found.forward_only or name == "d-rise"
        ):  # others look at all samples, none, or detections
            continue
        coalitions = name in (*SHAPLEY, "lime", "banzhaf", "owen") or "order" in {o.name for o in found.options}
        options: dict[str, Any] = {"groups": "segments", "parts": 8} if coalitions else {}
        options |= {"hierarchy": "halves"} if name == "owen" else {}
        options |= {"samples": 70} if any(o.name == "samples" for o in found.options) else {}
        whole = Explainer(DIGITS, name, **options)(image[:7])
        alone = Explainer(DIGITS, name, chunk=5, **options)(image[2:4])
        again = Explainer(DIGITS, name, batch_size=3, **options)(image[:7])
        np.testing.assert_allclose(alone.attribution, whole.attribution[2:4], atol=2e-5, err_msg=name)
        np.testing.assert_allclose(again.attribution, whole.attribution, atol=2e-5, err_msg=name)


def test_time_is_the_longer_axis_of_a_series() -> None:
    series = np.load(FIXTURES / "lstm" / "data.npz")["sequence"]  # [n, time, channels]
    made = Explainer(FIXTURES / "lstm" / "model.onnx", "lime", parts=4, samples=50)(series)
    groups = made.facts["groups"]
    assert (groups == groups[:, :, :1]).all()
    assert list(np.unique(groups)) == [0, 1, 2, 3]
    other = Explainer(FIXTURES / "lstm" / "model.onnx", "lime", parts=5, samples=50, axes=[2])(series).facts["groups"]
    assert (other == other[:, :1]).all()


def test_seeds() -> None:
    def made(seed: int) -> Explanation:
        return Explainer(game(), "shapley-sampling", baseline=ORIGIN, seed=seed)(POINTS)

    np.testing.assert_array_equal(made(1).attribution, made(1).attribution)
    assert (made(1).attribution != made(2).attribution).any()


# -- models of every kind ---------------------------------------------------------------------------------------------


def test_targets_of_every_form() -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    explainer = Explainer(DIGITS, "feature-ablation", groups="segments", parts=4)
    everything = explainer(image, "all").attribution
    top = run(onnx.load(DIGITS), {"image": image})["logits"].argmax(axis=1)
    chosen: dict[Any, np.ndarray] = {
        4: everything[:, 4],
        (":",): everything.sum(axis=1),
        "3-5": everything[:, 3] - everything[:, 5],
    }
    for target, expected in chosen.items():
        np.testing.assert_allclose(explainer(image, target).attribution, expected, atol=1e-9, err_msg=str(target))
    default = explainer(image)
    np.testing.assert_array_equal(default.target, top)
    np.testing.assert_allclose(default.attribution, everything[np.arange(3), top], atol=1e-9)
    np.testing.assert_allclose(explainer(image, [1, 2, -1]).attribution, everything[[0, 1, 2], [1, 2, top[2]]], atol=1e-9)
    cotangent = np.random.default_rng(0).normal(size=(3, 10))
    np.testing.assert_allclose(
        explainer(image, cotangent=cotangent).attribution, np.einsum("nt,ntcij->ncij", cotangent, everything), atol=1e-8
    )


@pytest.mark.parametrize("target", [(0, 3, 4), (1, ":", ":"), ("top", 2, ":"), (":", "top", "top"), "top"])
def test_targets_of_outputs_with_axes_agree_with_gradients(target: Any) -> None:
    """A map of scores y = x·w: ablation must name the same element that the gradient's seed does."""
    nodes = [node("Mul", "x w", "y")]
    made = model(nodes, {"x": ["n", 2, 4, 5]}, {"y": ["n", 2, 4, 5]}, {"w": np.float32(2)})
    x = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype(np.float32)
    expected = Explainer(made, "input-x-gradient")(x, target)
    found = Explainer(made, "feature-ablation")(x, target)
    np.testing.assert_allclose(found.attribution, expected.attribution, atol=1e-5)


def test_fixed_batch_and_no_samples() -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:5]
    expected = Explainer(DIGITS, "feature-ablation")(image).attribution
    fixed = onnx.load(DIGITS)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 4
    np.testing.assert_allclose(Explainer(fixed, "feature-ablation")(image).attribution, expected, atol=1e-5)
    plain = model(
        [node("Mul", "x w", "p"), node("ReduceSum", "p", "y", keepdims=0)],
        {"x": [4]},
        {"y": []},
        {"w": np.arange(4, dtype=np.float32)},
    )
    for method in ("exact-shapley", "kernel-shap", "feature-ablation"):
        made = Explainer(plain, method, baseline=np.ones(4, np.float32))(np.full(4, 3, np.float32), ())
        np.testing.assert_allclose(made.attribution, [0, 2, 4, 6], atol=1e-5)


def test_several_inputs_share_the_score() -> None:
    made = model([node("Mul", "a b", "y")], {"a": ["n", 1], "b": ["n", 1]}, {"y": ["n", 1]})
    feeds = {"a": np.array([[2.0], [3]], np.float32), "b": np.array([[5.0], [7]], np.float32)}
    found = Explainer(made, "exact-shapley")(feeds)
    np.testing.assert_allclose(found.attributions["a"], [[5], [10.5]])
    np.testing.assert_allclose(found.attributions["b"], [[5], [10.5]])
    only = Explainer(made, "exact-shapley", inputs=["a"])(feeds)
    assert list(only.attributions) == ["a"]
    np.testing.assert_allclose(only.attributions["a"], [[10], [21]])
    groups = {"a": np.array([0]), "b": np.array([0])}
    together = Explainer(made, "exact-shapley", groups=groups)(feeds)
    np.testing.assert_allclose(together.facts["group_values"], [[10], [21]])


def test_tokens_need_the_id_of_an_absent_one() -> None:
    table = np.arange(20, dtype=np.float32).reshape(10, 2)
    nodes = [node("Gather", "t ids", "e"), node("ReduceSum", "e axes", "y", keepdims=0)]
    made = model(
        nodes,
        {"ids": ["n", "tokens"]},
        {"y": ["n", 2]},
        {"t": table, "axes": np.array([1])},
        kinds={"ids": onnx.TensorProto.INT64},
    )
    ids = np.array([[3, 9, 1], [2, 2, 0]])
    with pytest.raises(MethodError, match="padding token"):
        Explainer(made, "lime")(ids)
    found = Explainer(made, "kernel-shap", baseline=0)(ids, 1)
    np.testing.assert_allclose(found.attribution, table[ids, 1] - table[0, 1], atol=1e-5)
    local = Explainer(made, "lime", baseline=0, ridge=0.0)(ids, 1)
    np.testing.assert_allclose(local.attribution, table[ids, 1] - table[0, 1], atol=1e-5)


# -- facts, files, the command line --------------------------------------------------------------------------------------------


def test_facts_are_cut_and_saved(tmp_path: Path) -> None:
    made = Explainer(game(), "shapley-sampling", baseline=ORIGIN)(POINTS)
    part = made[1:3]
    np.testing.assert_array_equal(part.facts["standard_error"], made.facts["standard_error"][1:3])
    with np.load(made.save(tmp_path / "made.npz")) as file:
        np.testing.assert_array_equal(file["standard_error"], made.facts["standard_error"])
        np.testing.assert_array_equal(file["base_value"], made.facts["base_value"])
    assert made.to_dict()["facts"]["base_value"] == made.facts["base_value"].tolist()


def test_on_the_command_line(tmp_path: Path) -> None:
    table = FIXTURES / "cancer" / "cancer_samples.csv"
    out = CliRunner().invoke(main, ["explain", str(FIXTURES / "cancer" / "model.onnx"), str(table), "-m", "lime"])
    assert out.exit_code == 0, out.output
    assert "R²" in out.output
    groups = tmp_path / "groups.npy"
    np.save(groups, np.arange(30) // 3)
    given = [f"groups={groups}", "seed=1"]
    options = [part for g in given for part in ("--option", g)]
    file = tmp_path / "out.npz"
    command = [
        "explain",
        str(FIXTURES / "cancer" / "model.onnx"),
        str(table),
        "-m",
        "exact-shapley",
        *options[:2],
        "-o",
        str(file),
    ]
    out = CliRunner().invoke(main, command)
    assert out.exit_code == 0, out.output
    with np.load(file) as made:
        assert made["group_values"].shape == (5, 10)
    assert "kernel-shap" in CliRunner().invoke(main, ["methods"]).output


def test_what_forward_passes_cannot_do_is_refused() -> None:
    with pytest.raises(MethodError, match="no single graph holds"):
        rewrite(DIGITS, "lime")
    with pytest.raises(MethodError, match="no single graph holds"):
        plan(DIGITS, "kernel-shap")
    with pytest.raises(MethodError, match="no single graph holds"):
        check(DIGITS, "rise")
    with pytest.raises(MethodError, match="no single graph holds"):
        Explainer(DIGITS, "smoothgrad", inner="lime")
    with pytest.raises(MethodError, match="no single graph holds"):
        _ = Explainer(DIGITS, "lime").model
    with pytest.raises(MethodError, match="no option 'sampels'"):
        Explainer(DIGITS, "lime", sampels=3)
    with pytest.raises(MethodError, match="leave layer out"):
        Explainer(DIGITS, "lime", layer="relu")


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("exact-shapley", {}, "at most 12"),
        ("kernel-shap", {"samples": 100}, "128 samples, got 100"),
        ("kernel-shap", {"groups": "colours"}, "unknown"),
        ("kernel-shap", {"groups": np.zeros((3, 3), int)}, "do not fit"),
        ("kernel-shap", {"groups": np.zeros((8, 8))}, "whole numbers"),
        ("kernel-shap", {"groups": np.full((8, 8), -1)}, "nothing to explain"),
        ("kernel-shap", {"background": np.zeros((5, 8, 8))}, "rows of data like the input"),
        ("kernel-shap", {"background": np.zeros((5, 1, 8, 8)), "baseline": 0}, "not both"),
        ("kernel-shap", {"chunk": 0}, "at least 1"),
        ("occlusion", {"window": 9}, "longer than"),
        ("occlusion", {"window": 2, "stride": 3}, "never be covered"),
        ("occlusion", {"window": (2, 2, 2)}, "one per axis"),
        ("occlusion", {"axes": (0, 1)}, "axis 0 counts samples"),
        ("permutation", {"truth": [1, 2, 3]}, "overall=True"),
        ("permutation", {"overall": True, "truth": [1]}, "one per sample"),
        ("permutation", {"overall": True, "truth": [1, 2, 3], "loss": "hinge"}, "unknown"),
        ("rise", {"probability": 0}, "between 0 and 1"),
        ("lime", {"samples": 1}, "from 2 on"),
        ("lime", {"groups": "columns", "background": np.zeros((9, 1, 8, 8)), "categorical": [64]}, "counted from 0"),
        ("ice", {"grid": "odd"}, "unknown"),
        ("ice", {"points": 1}, "at least 2"),
    ],
)  # fmt: skip
def test_bad_options_are_refused(method: str, options: dict[str, Any], words: str) -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    with pytest.raises((MethodError, InputError), match=words):
        Explainer(DIGITS, method, **options)(image)


def test_bad_inputs_are_refused() -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:3]
    explainer = Explainer(DIGITS, "feature-ablation")
    with pytest.raises(TargetError, match="out of range"):
        explainer(image, 10)
    with pytest.raises(TargetError, match="one index per sample"):
        explainer(image, [1, 2])
    with pytest.raises(TargetError, match="shape of the explained output"):
        explainer(image, cotangent=np.ones((3, 4)))
    with pytest.raises(InputError, match="no samples"):
        explainer(image[:0])
    with pytest.raises(MethodError, match="given its baseline"):
        Explainer(DIGITS, "lime", baseline=0)(image, baseline=1)
    with pytest.raises(InputError, match="at least 2 samples"):
        Explainer(DIGITS, "permutation")(image[:1])
    with pytest.raises(LayerError, match="no input"):
        Explainer(DIGITS, "lime", inputs=["picture"])
    log = model([node("Log", "x", "y")], {"x": ["n", 3]}, {"y": ["n", 3]})
    with pytest.raises(InputError, match="NaN or infinity for a perturbed input"):
        Explainer(log, "feature-ablation")(np.ones((1, 3), np.float32))


def test_samples_that_do_not_stay_apart_are_refused() -> None:
    """A model that only works on one sample, though it says it takes any number."""
    nodes = [node("ReduceSum", "x last", "sums", keepdims=1), node("Slice", "sums zero one", "y")]
    weights = {"last": np.array([1]), "zero": np.array([0]), "one": np.array([1])}
    made = model(nodes, {"x": ["n", 3]}, {"y": ["n", 1]}, weights)
    x = np.array([[1, 2, 3]], np.float32)
    with pytest.raises(InputError, match=r"'y' \[1, 1\] for 3 samples: its axis 0 does not.*sample_axis={'y': None}"):
        Explainer(made, "feature-ablation")(x)
    found = Explainer(made, "feature-ablation", sample_axis={"y": None})(x)
    np.testing.assert_allclose(found.attribution, x)


def test_copies_are_never_in_memory_all_at_once() -> None:
    """12,288 copies of a picture of 12,288 numbers are 600 MB; batches of 64 are 3 MB."""
    made = model([node("GlobalAveragePool", "x", "p"), node("Flatten", "p", "y")], {"x": ["n", 3, 64, 64]}, {"y": ["n", 3]})
    x = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    explainer = Explainer(made, "feature-ablation", chunk=64, threads=1)
    tracemalloc.start()
    found = explainer(x, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6
    np.testing.assert_allclose(found.attribution[0, 1], x[0, 1] / 64**2, atol=1e-6)


@pytest.mark.parametrize("centred", [True, False])
def test_rise_by_brute_force(centred: bool) -> None:
    image = np.load(FIXTURES / "digits" / "data.npz")["image"][:2]
    made = Explainer(DIGITS, "rise", samples=30, cells=3, probability=0.4, centred=centred, seed=5, chunk=7)(image, 3)
    masks = smooth_masks(np.random.default_rng(5).spawn(2), 30, [8, 8], 3, 0.4)
    total = np.zeros((2, 8, 8))
    for mask in masks:
        scores = run(onnx.load(DIGITS), {"image": (image * mask).astype(np.float32)})["logits"][:, 3]
        total += scores[:, None, None] * (mask - (0.4 if centred else 0))
    np.testing.assert_allclose(made.attribution[:, 0], total / (30 * 0.4), atol=1e-4)


def test_masks_of_rise_are_enlarged_as_skimage_does() -> None:
    transform = pytest.importorskip("skimage.transform", reason="compares with scikit-image")
    grid = np.random.default_rng(0).random((5, 5))
    wide = _enlarge(23, 5, 5, 0) @ grid @ _enlarge(17, 4, 5, 0).T
    expected = transform.resize(grid, (30, 24), order=1, mode="reflect", anti_aliasing=False)
    np.testing.assert_allclose(wide, expected[:23, :17], atol=1e-12)
    shifted = _enlarge(23, 5, 5, 3) @ grid @ _enlarge(17, 4, 5, 2).T
    np.testing.assert_allclose(shifted, expected[3:26, 2:19], atol=1e-12)


def test_masks_of_rise_do_not_depend_on_how_many_are_drawn_at_once() -> None:
    whole = smooth_masks(np.random.default_rng(3).spawn(2), 12, [9, 14], 4, 0.5)
    pair = np.random.default_rng(3).spawn(2)
    parts = [smooth_masks(pair, n, [9, 14], 4, 0.5) for n in (5, 1, 6)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert abs(smooth_masks(pair, 2000, [9, 14], 4, 0.3).mean() - 0.3) < 0.01
