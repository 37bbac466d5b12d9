"""Time black-box methods against SHAP, Captum, LIME and DIANNA on the same ONNX models: `python benchmarks/blackbox.py`.

Every package explains the same samples with as many forward passes, on one thread; Captum at several batch sizes, of which 1 is
its default. Printed is the fastest of several runs that take turns, in seconds, and how many times longer than ours each takes.
The packages are those of fixtures/requirements-blackbox.txt, and dianna; one that is not installed is left out and said so.
Sessions are made beforehand, except where DIANNA gets the file: it makes its own within the call.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from onnxplain import Explainer

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
CANCER = FIXTURES / "cancer" / "model.onnx"
DIGITS = FIXTURES / "digits" / "model.onnx"
CAPTUM_BATCHES = (1, 64, 512)
PLAIN: dict[str, Any] = {"providers": "cpu", "threads": 1, "progress": False}

Case = tuple[str, Callable[[], Any], dict[str, Callable[[], Any]]]


def timed(runs: Sequence[Callable[[], Any]], times: int) -> list[float]:
    """The shortest time of each run; they take turns, after one round that does not count. Short runs get more rounds."""

    def once(run: Callable[[], Any]) -> float:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            run()
            return time.perf_counter() - start

    first = max(once(run) for run in runs)
    rounds = times if first > 1 else 10 * times
    return [min(taken) for taken in zip(*([once(run) for run in runs] for _ in range(rounds)), strict=True)]


def function(path: Path, output: str, name: str) -> Callable[[Any], Any]:
    """The model as a function of one array, as the packages want it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(x: Any) -> Any:
        made = session.run([output], {name: np.asarray(x, np.float32)})[0]
        return np.array([list(row.values()) for row in made]) if isinstance(made, list) else made

    return run


def shap_cases(rows: np.ndarray) -> list[Case]:
    """KernelSHAP of a table, one background row and 2,048 + 2·30 coalitions; and with twenty background rows."""
    import shap

    run = function(CANCER, "probabilities", "features")
    made: list[Case] = []
    for background in (rows[:1], rows[:20]):
        explainer = shap.KernelExplainer(run, background)
        ours = Explainer(CANCER, "kernel-shap", background=background, score="probability", **PLAIN)
        title = f"kernel-shap, 30 columns, {len(background)} background rows, 8 samples"
        made.append(
            (
                title,
                lambda o=ours: o(rows[-8:]),
                {"shap": lambda e=explainer: e.shap_values(rows[-8:], silent=True, l1_reg=False)},
            )
        )
    return made


def captum_cases(images: np.ndarray) -> list[Case]:
    """Perturbations of pictures."""
    import captum.attr
    import torch

    run = function(DIGITS, "logits", "image")

    def forward(x: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(run(x.numpy()))

    x = torch.from_numpy(images)
    groups = np.arange(64).reshape(1, 8, 8) // 4
    mask = torch.from_numpy(groups[None])
    made: list[Case] = []

    def add(title: str, method: str, options: dict[str, Any], theirs: Callable[[int], Any], batches: tuple[int, ...]) -> None:
        ours = Explainer(DIGITS, method, **PLAIN, **options)
        made.append((title, lambda: ours(images, 3), {f"captum, {b} at a time": lambda b=b: theirs(b) for b in batches}))

    count = len(images)
    ablation, windows = captum.attr.FeatureAblation(forward), captum.attr.Occlusion(forward)
    sampling, shap = captum.attr.ShapleyValueSampling(forward), captum.attr.KernelShap(forward)
    local = captum.attr.Lime(forward)
    add(f"feature-ablation, 64 pixels, {count} samples", "feature-ablation", {},
        lambda b: ablation.attribute(x, target=3, perturbations_per_eval=b), CAPTUM_BATCHES)  # fmt: skip
    add(f"occlusion, 49 windows, {count} samples", "occlusion", {"window": 2, "stride": 1},
        lambda b: windows.attribute(x, (1, 2, 2), strides=1, target=3, perturbations_per_eval=b), CAPTUM_BATCHES)  # fmt: skip
    add(f"shapley-sampling, 25 orders of 64 pixels, {count} samples", "shapley-sampling", {"samples": 25},
        lambda b: sampling.attribute(x, target=3, n_samples=25, perturbations_per_eval=b), CAPTUM_BATCHES)  # fmt: skip
    add(f"kernel-shap, 16 groups, 1,000 coalitions, {count} samples", "kernel-shap", {"groups": groups, "samples": 1000},
        lambda b: [shap.attribute(x[i : i + 1], target=3, feature_mask=mask, n_samples=1000, perturbations_per_eval=b)
                   for i in range(count)], (1, 512))  # fmt: skip
    add(f"lime, 16 groups, 1,000 copies, {count} samples", "lime", {"groups": groups, "samples": 1000},
        lambda b: [local.attribute(x[i : i + 1], target=3, feature_mask=mask, n_samples=1000, perturbations_per_eval=b)
                   for i in range(count)], (1, 512))  # fmt: skip
    return made


def dianna_cases(images: np.ndarray) -> list[Case]:
    """RISE of pictures."""
    import dianna

    run = function(DIGITS, "logits", "image")
    x, count = images[:4], min(4, len(images))
    ours = Explainer(DIGITS, "rise", samples=1000, cells=4, **PLAIN)

    def rise(model: Any) -> Any:
        settings = {"n_masks": 1000, "feature_res": 4, "p_keep": 0.5, "batch_size": 1000}
        labels = {"axis_labels": {0: "channels"}, "labels": [3]}
        return [dianna.explain_image(model, image, "RISE", **labels, **settings) for image in x]

    return [
        (
            f"rise, 1,000 masks, {count} samples",
            lambda: ours(x, 3),
            {"dianna": lambda: rise(run), "dianna, from the file": lambda: rise(str(DIGITS))},
        )
    ]


def lime_cases(rows: np.ndarray) -> list[Case]:
    """LIME of a table, 5,000 copies, quartiles."""
    import lime.lime_tabular

    run = function(CANCER, "probabilities", "features")
    explainer = lime.lime_tabular.LimeTabularExplainer(rows.astype(np.float64), random_state=0, feature_selection="none")
    ours = Explainer(CANCER, "lime", samples=5000, background=rows, score="probability", **PLAIN)
    few = rows[-8:].astype(np.float64)

    def theirs() -> Any:
        return [explainer.explain_instance(row, run, num_features=30, num_samples=5000) for row in few]

    return [("lime, 30 columns, 5,000 copies, 8 samples", lambda: ours(rows[-8:], 1), {"lime": theirs})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="runs that count")
    times = parser.parse_args().times
    images = np.load(FIXTURES / "digits" / "data.npz")["image"][:8]
    some = np.load(FIXTURES / "cancer" / "data.npz")["features"]
    rows = np.concatenate([some * f for f in (1, 0.9, 1.1)]).astype(np.float32)[:30]
    cases: list[Case] = []
    for package, make, data in (
        ("shap", shap_cases, rows),
        ("captum", captum_cases, images),
        ("dianna", dianna_cases, images),
        ("lime", lime_cases, rows),
    ):
        if find_spec(package) is None:
            print(f"{package} is not installed: left out")
        else:
            cases += make(data)
    print(f"{'case':66} {'ours, s':>9}   others: seconds, times ours")
    for title, ours, others in cases:
        mine, *theirs = timed([ours, *others.values()], times)
        said = ", ".join(f"{name} {t:.3f} s, {t / mine:.1f} ×" for name, t in zip(others, theirs, strict=True))
        print(f"{title:66} {mine:9.4f}   {said}", flush=True)


if __name__ == "__main__":
    main()
