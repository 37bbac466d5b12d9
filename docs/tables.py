"""The pictures of docs/tables.md: `python docs/tables.py`. Tumours of scikit-learn's data set, the model of fixtures/cancer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

from onnxplain import Explainer

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write them beside the page."""
    data = load_breast_cancer()
    names, rows = [str(n) for n in data.feature_names], data.data.astype(np.float32)
    sample = np.random.default_rng(0).choice(len(rows), 150, replace=False)
    settings = {"background": rows[sample[100:]], "labels": ["malignant", "benign"]}
    model = ROOT / "fixtures" / "cancer" / "model.onnx"
    values = Explainer(model, "kernel-shap", **settings)(rows[sample[:100]], 0)
    pairs = Explainer(model, "k-sii", **settings)(rows[sample[:6]], 0)
    values.save(ROOT / "docs" / "tables_beeswarm.png", form="beeswarm", features=names, most=10, dpi=110)
    values.save(ROOT / "docs" / "tables_waterfall.png", form="waterfall", features=names, samples=[1], most=10, dpi=110)
    pairs.save(ROOT / "docs" / "tables_network.png", form="network", features=names, most=12, dpi=110)


if __name__ == "__main__":
    main()
