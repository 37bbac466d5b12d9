"""The recipe for other engines in docs/scale.md, as such an engine uses it: its parts pickled, and called with record batches."""

from __future__ import annotations

import pickle
import re
from typing import Any

import numpy as np
import pyarrow as pa

from onnxplain import Explainer
from tests.support.paths import FIXTURES, ROOT


def test_map_in_arrow() -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "RecordBatch" in b)
    made: dict[str, Any] = {}
    exec(block, made)
    made["explainer"] = pickle.loads(pickle.dumps(made["explainer"]))
    rows = np.load(FIXTURES / "cancer" / "data.npz")["features"]
    names = [f"f{i}" for i in range(30)]
    batches = pa.table(dict(zip(names, rows.T, strict=True))).to_batches(max_chunksize=7)
    found = pa.Table.from_batches(list(made["explained"](batches)))
    wanted = Explainer(FIXTURES / "cancer" / "model.onnx", "input-x-gradient")(rows).attribution
    np.testing.assert_allclose(np.stack([c.to_numpy() for c in found.columns], axis=1), wanted, rtol=1e-5, atol=1e-7)
