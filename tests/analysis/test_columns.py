"""Columns are followed to where they act: what a tensor is said to depend on is what changes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxplain.analysis.columns import ColumnFlow
from onnxplain.ir.graph import Graph
from onnxplain.ir.ops import standard_traits

RNG = np.random.default_rng(0)
HEAD = '<ir_version: 8, opset_import: ["" : 18, "ai.onnx.ml" : 3]>'
PICKED = "<int64[2] i = {2, 0}>"
WEIGHTS = "<float[3, 4] w = {1, 0, 0, 0, 2, 0, 0, 1, 0, 0, 3, 1}>"
TABLE = "<float[5, 2] t = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, int64[1] last = {2}>"
AXIS = "<int64[1] one = {1}, int64[2] flat = {0, -1}, int64[2] wide = {-1, 12}>"

GRAPHS = {
    "scaler": "(float[n, 3] x) => (y) { y = ai.onnx.ml.Scaler <offset = [1.0, 2.0, 3.0], scale = [2.0, 3.0, 4.0]> (x) }",
    "imputer": "(float[n, 3] x) => (y) { y = ai.onnx.ml.Imputer <imputed_value_floats = [1.0, 2.0, 3.0]> (x) }",
    "normalizer": '(float[n, 3] x) => (y) { y = ai.onnx.ml.Normalizer <norm = "L1"> (x) }',
    "selected": f"(float[n, 3] x) => (y) {PICKED} {{ y = ai.onnx.ml.ArrayFeatureExtractor (x, i) }}",
    "gathered": f"(float[n, 3] x) => (y) {PICKED} {{ y = Gather <axis = 1> (x, i) }}",
    "joined": f"(float[n, 3] x) => (y) {PICKED} {{ a = Gather <axis = 1> (x, i)  y = Concat <axis = -1> (a, x) }}",
    "product": f"(float[n, 3] x) => (y) {WEIGHTS} {{ y = MatMul (x, w) }}",
    "affine": f"(float[n, 3] x) => (y) {WEIGHTS} {{ y = Gemm <alpha = 0.5> (x, w) }}",
    "one hot": (
        f"(float[n, 3] x) => (y) {AXIS} {{ r = Round (x)  h = ai.onnx.ml.OneHotEncoder <cats_int64s = [0, 1, 2, 3]> (r)  "
        "y = Reshape (h, wide) }"
    ),
    "looked up": f"(float[n, 3] x) => (y) {TABLE} {{ r = Abs (x)  i = Cast <to = 7> (r)  y = Gather (t, i) }}",
    "summed": f"(float[n, 3] x) => (y) {AXIS} {{ y = ReduceSum (x, one) }}",
    "by the shape": f"(float[n, 3] x) => (y) {AXIS} {{ s = Shape (x)  y = Reshape (x, s) }}",
    "greatest": f"(float[n, 3] x) => (y) {AXIS} {{ y = ReduceMax (x, one) }}",
    "two greatest": "(float[n, 3] x) => (float[n, 2] y) <int64[1] k = {2}> { y, i = TopK (x, k) }",
    "dropped out": f"(float[n, 3] x) => (y) {PICKED} {{ d = Dropout (x)  y = Gather <axis = 1> (d, i) }}",
    "greater": "(float[n, 3] x, float[n, 1] z) => (y) { y = Max (x, z) }",
    "softmax": "(float[n, 3] x) => (float[n, 3] y) { y = Softmax (x) }",
    "where": "(float[n, 3] x, float[n, 1] z) => (y) { c = IsNaN (x)  y = Where (c, z, x) }",
    "vector": "(float[n, 3] x, float[n, 1] z) => (y) { y = ai.onnx.ml.FeatureVectorizer <inputdimensions = [3, 1]> (x, z) }",
}


def dependent(model: onnx.ModelProto, name: str) -> np.ndarray[Any, Any]:
    """Which columns change each element of the output, found by changing one at a time in many random rows."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found: Any = None
    for _ in range(40):
        x = {i.name: RNG.uniform(0, 4, (1, i.shape[1])).astype(np.float32) for i in session.get_inputs()}
        if name in ("imputer", "where"):
            x["x"][RNG.random((1, 3)) < 0.5] = np.nan
        (before,) = session.run(None, x)
        if found is None:
            found = np.frompyfunc(lambda _: frozenset(), 1, 1)(before)
        for key, values in x.items():
            for column in range(values.shape[1]):
                other = values.copy()
                other[0, column] = RNG.uniform(0, 4)
                (after,) = session.run(None, {**x, key: other})
                for place in zip(*np.nonzero(~((before == after) | (np.isnan(before) & np.isnan(after)))), strict=True):
                    found[place] = found[place] | {(key, column)}
    return np.asarray(found, object)


@pytest.mark.parametrize("name", GRAPHS)
def test_columns_are_those_that_change_a_tensor(name: str) -> None:
    text = GRAPHS[name].replace("=> (y)", "=> (float[n, m] y)" if name != "looked up" else "=> (float[n, m, k] y)")
    model = onnx.parser.parse_model(HEAD + "g " + text)
    flow = ColumnFlow(Graph(model), standard_traits)
    claimed = flow.of(flow.graph.outputs[0])
    assert claimed is not None
    measured = dependent(model, name)
    assert claimed.shape == measured.shape
    assert claimed.tolist() == measured.tolist()


def test_what_cannot_be_followed_is_not_claimed() -> None:
    model = onnx.parser.parse_model(HEAD + "g (float[n, t] x) => (float[n, t] y) { y = Neg (x) }")
    flow = ColumnFlow(Graph(model), standard_traits)
    assert flow.of(flow.graph.outputs[0]) is None
