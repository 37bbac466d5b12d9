"""Time exact SHAP values of tree ensembles against shap, LightGBM and XGBoost: `python benchmarks/trees.py [--out FILE]`.

Every model is trained here on a table of normal numbers, and written by its converter. tree-shap's file runs in ONNX Runtime;
beside it run shap's TreeExplainer of both kinds and, where the library has them, its own contributions (pred_contrib, along
paths). All explain the same rows, take turns, and the fastest of several runs counts, in microseconds a row. The largest
difference from theirs is told beside. The packages are those of fixtures/requirements-trees.txt.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime as ort
import shap
import xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from skl2onnx import to_onnx
from sklearn.datasets import make_regression
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

from onnxplain import rewrite

warnings.filterwarnings("ignore")

Array = np.ndarray[Any, Any]
Run = Callable[[], Array]

ROWS = 2000
BATCH = 64
"""Rows in one run of a file: what they need then stays in the caches of the processor."""


def table(features: int) -> tuple[Array, Array]:
    """Rows with their truth."""
    x, y = make_regression(ROWS, features, n_informative=min(features, 15), noise=5.0, random_state=0)
    return x.astype(np.float32), y


def trained(kind: str, trees: int, depth: int, x: Array, y: Array) -> tuple[Any, onnx.ModelProto]:
    """A model and its file."""
    features = x.shape[1]
    types = [("x", ToolsFloat([None, features]))]
    if kind == "xgboost":
        model = xgboost.XGBRegressor(n_estimators=trees, max_depth=depth, n_jobs=1).fit(x, y)
        return model, onnxmltools.convert_xgboost(model, initial_types=types, target_opset=15)
    if kind == "lightgbm":
        model = lightgbm.LGBMRegressor(n_estimators=trees, max_depth=depth, num_leaves=2**depth, verbose=-1, n_jobs=1).fit(x, y)
        return model, onnxmltools.convert_lightgbm(model, initial_types=types, target_opset=15)
    if kind == "forest":
        model = RandomForestRegressor(trees, max_depth=depth, bootstrap=False, max_features=0.5, n_jobs=1, random_state=0)
    else:
        model = GradientBoostingRegressor(n_estimators=trees, max_depth=depth, random_state=0)
    model.fit(x, y)
    return model, to_onnx(model, x[:1], target_opset={"": 18, "ai.onnx.ml": 3})


def in_file(model: onnx.ModelProto, x: Array, threads: int, **options: Any) -> tuple[Run, dict[str, float]]:
    """Our run, with the seconds that writing takes and the size of the file."""
    start = time.perf_counter()
    made = rewrite(model, "tree-shap", only_attribution=True, delta=False, **options)
    data = made.SerializeToString()
    facts = {"written": time.perf_counter() - start, "megabytes": len(data) / 1e6}
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    session = ort.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, next(o.name for o in session.get_outputs() if o.name.endswith("_attribution"))

    def run() -> Array:
        parts = [session.run([output], {name: x[i : i + BATCH]})[0] for i in range(0, len(x), BATCH)]
        return np.concatenate(parts)

    return run, facts


def others(kind: str, model: Any, x: Array, background: Array) -> dict[str, Run]:
    """What shap and the library itself do."""
    every = shap.maskers.Independent(background, max_samples=len(background))  # shap takes 100 of the rows where nothing is said
    against = shap.TreeExplainer(model, every, feature_perturbation="interventional")
    made: dict[str, Run] = {
        "shap, interventional": lambda: np.asarray(against.shap_values(x, check_additivity=False)),
    }
    paths = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
    if kind == "xgboost":
        matrix, booster = xgboost.DMatrix(x), model.get_booster()
        made["own, path-dependent"] = lambda: booster.predict(matrix, pred_contribs=True)[:, :-1]
    elif kind == "lightgbm":
        made["own, path-dependent"] = lambda: model.booster_.predict(x, pred_contrib=True)[:, :-1]
    if kind != "lightgbm":  # there shap calls the library
        made["shap, path-dependent"] = lambda: np.asarray(paths.shap_values(x, check_additivity=False))
    return made


def fastest(runs: Sequence[Run], seconds: float) -> list[float]:
    """The shortest time of each run; they take turns until so many seconds are over, three times at least."""
    best = [float("inf")] * len(runs)
    begun, rounds = time.perf_counter(), 0
    while rounds < 3 or (time.perf_counter() - begun < seconds and rounds < 50):
        for i, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[i] = min(best[i], time.perf_counter() - start)
        rounds += 1
    return best


def measured(
    kind: str, trees: int, depth: int, features: int, *, rows: int, background: int, threads: int, seconds: float
) -> dict[str, Any]:
    """One line of the table."""
    x, y = table(features)
    model, file = trained(kind, trees, depth, x, y)
    chosen, usual = x[:rows], x[ROWS - background :]
    found: dict[str, Any] = {
        "kind": kind, "trees": trees, "depth": depth, "features": features, "rows": rows, "background": background,
        "threads": threads,
    }  # fmt: skip
    runs: dict[str, Run] = {}
    for name, options in (("interventional", {"background": usual}), ("path-dependent", {"data": x})):
        try:
            run, facts = in_file(file, chosen, threads, **options)
        except Exception as error:
            found[f"{name}, refused"] = str(error)
            continue
        runs[name] = run
        found.update({f"{name}, {key}": value for key, value in facts.items()})
    runs |= others(kind, model, chosen, usual)
    found.update(zip(runs, [t / rows * 1e6 for t in fastest(list(runs.values()), seconds)], strict=True))
    pairs = {f"{who}, {how}": how for how in ("interventional", "path-dependent") for who in ("shap", "own")}
    for theirs, ours in pairs.items():
        if ours in runs and theirs in runs:
            mine, other = runs[ours](), runs[theirs]()
            found[f"{ours}, off {theirs}"] = float(np.abs(mine - other).max() / np.abs(other).max())
    return found


CASES = (
    *(("gradient boosting", 100, depth, 20) for depth in (4, 6, 8)),
    ("gradient boosting", 500, 6, 20),
    *(("xgboost", 100, depth, 20) for depth in (4, 6, 8)),
    ("xgboost", 500, 6, 20),
    ("xgboost", 100, 6, 200),
    *(("lightgbm", 100, depth, 20) for depth in (4, 6, 8)),
    ("forest", 50, 10, 20),
)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("trees.json"))
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--background", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    lines = []
    for kind, trees, depth, features in CASES:
        if given.only not in f"{kind} {trees} {depth} {features}":
            continue
        line = measured(
            kind, trees, depth, features, rows=given.rows, background=given.background, threads=given.threads,
            seconds=given.seconds,
        )  # fmt: skip
        print(json.dumps({k: round(v, 7) if isinstance(v, float) else v for k, v in line.items()}), flush=True)
        lines.append(line)
        given.out.write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
