"""Classical machine learning operators (ai.onnx.ml) with a derivative, and those whose derivative is zero.

They take features of any number type; messages are given in the type of the features, which only then are live.
"""

from math import pi, sqrt
from typing import Any

import numpy as np

from onnxplain import Builder, Extents, Messages, Node, RuleError, Tensor, expansion, rule
from onnxplain.rulekit import scatter as placing

ML = "ai.onnx.ml"

Array = np.ndarray[Any, Any]

# -- features ----------------------------------------------------------------------------------------------------------


@rule("Scaler", role="elementwise", domain=ML)
def scaler(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = (x − offset) · scale, so dx = dy · scale"""
    return b.Mul(dy, b.const(np.array(node.get("scale", [1.0])), dy.dtype))


@expansion("Normalizer", domain=ML, norm="MAX")
def normalizer(b: Builder, node: Node) -> Tensor:
    """y = x / n with the maximum or a norm of each row for n; a row where that is zero stays.

    Written out, for ONNX Runtime's own kernel loses the signs (L2) where it may overwrite its input: as soon as the shapes
    around it are known.
    """
    x, how = b.cast(node.x, b.const(0.0)), node["norm"]
    measure = b.ReduceMax if how == "MAX" else b.ReduceL1 if how == "L1" else b.ReduceL2
    n = measure(x, [-1], keepdims=1)
    return b.Div(x, b.Where(b.Equal(n, 0), 1, n))


@rule("Imputer", role="select", domain=ML)
def imputer(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x is not replaced, else 0"""
    x = node.x
    value = node.get("replaced_value_float", 0.0)
    return b.Where(b.IsNaN(x) if np.isnan(value) else b.Equal(x, value), 0, dy)


@rule("FeatureVectorizer", role="layout", domain=ML)
def feature_vectorizer(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Each input gets the part of dy it filled, as wide as said: what was cut off gets zero."""
    messages: list[Tensor | None] = []
    start = 0
    for i, (x, width) in enumerate(zip(node.inputs, node["inputdimensions"], strict=True)):
        part = None
        if x is not None and node.needs_input_grad(i):
            own = Extents(b, b.dim(x, 1)) if x.rank > 1 else Extents(b, [1])
            part = b.Slice(dy, [start], [start + width], [1])
            less, more = own - width, Extents(b, [width]) - own
            if less.known != (0,):
                part = b.Slice(b.Pad(part, Extents(b, [0]).then(less.at_least(0)).operand, None, [1]), [0], own.operand, [1])
            part = part if more.known == (0,) and x.rank > 1 else b.reshape(part, x)
        messages.append(part)
        start += width
    return tuple(messages)


@rule("ArrayFeatureExtractor", role="select", domain=ML)
def array_feature_extractor(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = Σ dy over the places an element of the last axis was copied to"""
    x, positions = node.input(0), b.Reshape(node.input(1), [-1])
    m = b.Reshape(dy, [-1]) if x.rank == 1 else dy
    return placing.sum_at(b, m, positions, b.dim(x, -1), x.rank - 1, x.rank), None


@rule(
    *("Binarizer", "TreeEnsemble", "TreeEnsembleClassifier", "TreeEnsembleRegressor"),
    *("LabelEncoder", "OneHotEncoder", "CategoryMapper"),
    role="zero",
    domain=ML,
)
def zero(b: Builder, node: Node, *_: Tensor | None) -> Messages:
    """Thresholds and tables: constant wherever there is a derivative."""
    return None


# -- linear models -----------------------------------------------------------------------------------------------------


@rule("LinearRegressor", role="linear", domain=ML)
def linear_regressor(b: Builder, node: Node, dy: Tensor) -> Messages:
    """Y = X·Cᵀ + b: dX = dY·C"""
    coefficients = np.array(node["coefficients"]).reshape(node["targets"], -1)
    return _through(b, node, _scores(b, node, dy, node.y, len(coefficients)), coefficients)


@rule("LinearClassifier", role="linear", domain=ML)
def linear_classifier(b: Builder, node: Node, _: Tensor | None, dz: Tensor) -> Messages:
    """Scores S = X·Cᵀ + b, transformed: dX = dS·C. The label has no derivative."""
    flat, count = np.array(node["coefficients"]), len(node.get("intercepts") or ()) or _labels(node)
    if isinstance(node.x.dim(-1), int):
        count = len(flat) // node.x.dim(-1)  # type: ignore[operator]
    return _through(b, node, _scores(b, node, dz, node.output(1), count), flat.reshape(count, -1))


def _labels(node: Node) -> int:
    return max(len(node.get("classlabels_ints") or ()), len(node.get("classlabels_strings") or ()), 1)


def _through(b: Builder, node: Node, ds: Tensor, coefficients: Array) -> Tensor:
    """dX = dS·C in the shape of X, which may be a single row."""
    dx = b.MatMul(ds, b.const(coefficients, ds.dtype))
    return b.reshape(dx, node.x) if node.x.rank == 1 else dx


def _scores(b: Builder, node: Node, dz: Tensor, z: Tensor, count: int) -> Tensor:
    """The message on so many scores, given that on z, which post_transform makes of them.

    A classifier of two classes with one score s gives [−s, s], or [1 − s, s], or [σ(−s), σ(s)].
    """
    how = node["post_transform"]
    dz, z = b.cast(dz, node.x), b.cast(z, node.x)
    if count == 1 and "Classifier" in node.op and how != "PROBIT":
        ds = b.MatMul(dz, b.const(np.array([[-1.0], [1.0]]), dz.dtype))
        return b.Mul(ds, b.ReduceProd(z, [-1], keepdims=1)) if how == "LOGISTIC" else ds
    if count == 1 and how != "NONE":
        raise RuleError(f"post_transform {how} of a single score: runtimes differ; export it without")
    if how == "LOGISTIC":
        return b.Mul(dz, b.Mul(z, b.Sub(1, z)))
    if how in ("SOFTMAX", "SOFTMAX_ZERO"):
        return b.Mul(z, b.Sub(dz, b.ReduceSum(b.Mul(dz, z), [-1], keepdims=1)))
    if how == "PROBIT":  # z = Φ⁻¹(s)
        return b.Mul(dz, b.Mul(b.Exp(b.Div(b.Mul(z, z), 2)), sqrt(2 * pi)))
    return dz


# -- support vector machines -------------------------------------------------------------------------------------------


@rule("SVMRegressor", role="function", domain=ML)
def svm_regressor(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = c·K + ρ with the kernel K of x and each support vector: dK = dy · c"""
    if node.get("one_class", 0):
        return None  # the side of a boundary
    ds = _scores(b, node, dy, node.y, 1)
    coefficients = np.array(node["coefficients"]).reshape(1, -1)
    if not node.get("n_supports", 0):
        return _through(b, node, ds, coefficients)
    return _kernel_message(b, node, _through_kernel(b, ds, coefficients), node["n_supports"])


@rule("SVMClassifier", role="function", domain=ML)
def svm_classifier(b: Builder, node: Node, _: Tensor | None, dz: Tensor) -> Messages:
    """Scores of each pair of classes, S = K·Aᵀ + ρ, and of these the class scores or probabilities. Labels have none."""
    z, classes = node.output(1), _labels(node)
    counts = list(node.get("vectors_per_class") or ())
    if not sum(counts):
        coefficients = np.array(node["coefficients"]).reshape(classes, -1)
        return _through(b, node, _scores(b, node, dz, z, classes), coefficients)
    matrix = _pairwise(np.array(node["coefficients"]).reshape(-1, sum(counts)), counts)
    if not node.get("prob_a"):
        ds = _scores(b, node, dz, z, len(matrix))
    elif node["post_transform"] == "NONE":
        kernel = _kernel(b, node, sum(counts))[0]
        scores = b.Add(b.MatMul(kernel, b.const(matrix.T, kernel.dtype)), b.const(np.array(node["rho"]), kernel.dtype))
        ds = _coupled(b, node, b.cast(dz, node.x), scores, classes)
    else:
        raise RuleError(f"post_transform {node['post_transform']} of probabilities; export it without")
    return _kernel_message(b, node, _through_kernel(b, ds, matrix), sum(counts))


def _pairwise(coefficients: Array, counts: list[int]) -> Array:
    """What each support vector adds to the score of each pair of classes [pairs, vectors]."""
    ends = np.cumsum(counts)
    of = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    rows = []
    for i in range(len(counts)):
        for j in range(i + 1, len(counts)):
            row = np.zeros(sum(counts))
            row[of[i]], row[of[j]] = coefficients[j - 1, of[i]], coefficients[i, of[j]]
            rows.append(row)
    return np.array(rows)


def _through_kernel(b: Builder, ds: Tensor, matrix: Array) -> Tensor:
    return b.MatMul(ds, b.const(matrix, ds.dtype))


def _kernel(b: Builder, node: Node, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The kernel of each row with each support vector [rows, vectors], what it is a function of, and the vectors."""
    x, kind = node.x, node["kernel_type"]
    gamma, shift, degree = (node.get("kernel_params") or [0.0, 0.0, 0.0])[:3]
    vectors = np.array(node["support_vectors"]).reshape(count, -1)
    v = b.const(vectors, x.dtype)
    products = b.MatMul(x, b.const(vectors.T, x.dtype))
    if kind == "LINEAR":
        return products, products, v
    if kind == "RBF":
        squares = b.Add(b.ReduceSumSquare(x, [-1], keepdims=1), b.const((vectors**2).sum(1), x.dtype))
        distance = b.Sub(squares, b.Mul(products, 2))
        return b.Exp(b.Mul(distance, -gamma)), distance, v
    u = b.Add(b.Mul(products, gamma), shift)
    return b.Tanh(u) if kind == "SIGMOID" else b.Pow(u, b.const(float(int(degree)), x.dtype)), u, v


def _kernel_message(b: Builder, node: Node, dk: Tensor, count: int) -> Tensor:
    """The message on x, given that on its kernels with the support vectors v.

    linear: Σ dK · v. rbf: −2γ · Σ dK · K · (x − v). poly, sigmoid: γ · Σ dK · K'(u) · v with u = γ · x·v + shift.
    """
    x, kind = node.x, node["kernel_type"]
    kernel, u, v = _kernel(b, node, count)
    gamma, _, degree = (node.get("kernel_params") or [0.0, 0.0, 0.0])[:3]
    if kind == "LINEAR":
        dx = b.MatMul(dk, v)
    elif kind == "RBF":
        m = b.Mul(b.Mul(dk, kernel), -2 * gamma)
        dx = b.Sub(b.Mul(x, b.ReduceSum(m, [-1], keepdims=1)), b.MatMul(m, v))
    else:
        n = int(degree)
        slope = b.Sub(1, b.Mul(kernel, kernel)) if kind == "SIGMOID" else b.Mul(b.Pow(u, b.const(n - 1.0, x.dtype)), float(n))
        dx = b.MatMul(b.Mul(b.Mul(dk, slope), gamma), v)
    return b.reshape(dx, x) if x.rank == 1 else dx


def _coupled(b: Builder, node: Node, dp: Tensor, scores: Tensor, k: int) -> Tensor:
    """The message on the scores of pairs, given that on the class probabilities p they are coupled to.

    With the probability r_ij = σ(−a s − b) of class i among i and j, p minimizes pᵀQp / 2 among Σ p = 1, where
    Q_tt = Σ_s r_st² and Q_ts = −r_st r_ts. So Q v + μ = dp with Σ v = 0, and dQ = −v pᵀ. Runtimes find p by iteration, to
    within 0.005 / k; here it is exact, and so is its derivative.
    """
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    upper, lower = (np.zeros((len(pairs), k * k)) for _ in range(2))
    for n, (i, j) in enumerate(pairs):
        upper[n, i * k + j] = lower[n, j * k + i] = 1
    a = b.const(np.array(node["prob_a"]), dp.dtype)
    r = b.Sigmoid(b.Neg(b.Add(b.Mul(scores, a), b.const(np.array(node["prob_b"]), dp.dtype))))
    flat = b.Add(b.MatMul(r, b.const(upper, r.dtype)), b.MatMul(b.Sub(1, r), b.const(lower, r.dtype)))
    whole = b.Reshape(flat, [-1, k, k])
    turned = b.Transpose(whole, perm=[0, 2, 1])
    diagonal = b.Mul(b.ReduceSum(b.Mul(whole, whole), [1], keepdims=1), b.const(np.eye(k), r.dtype))
    q = b.Sub(diagonal, b.Mul(whole, turned))
    # Q + 1 has the same solution and is positive definite: Gauss and Jordan need no pivots.
    right = b.Concat(b.Unsqueeze(dp, [2]), b.full_like(b.Unsqueeze(dp, [2]), 1), axis=2)
    solved = _solve(b, b.Concat(b.Add(q, 1), right, axis=2), k)
    raw, ones = b.Slice(solved, [k], [k + 1], [2]), b.Slice(solved, [k + 1], [k + 2], [2])
    p = b.Div(ones, b.ReduceSum(ones, [1], keepdims=1))  # [rows, k, 1], as is v
    v = b.Sub(raw, b.Mul(b.ReduceSum(raw, [1], keepdims=1), p))
    vp = b.MatMul(v, b.Transpose(p, perm=[0, 2, 1]))
    both = b.Add(vp, b.Transpose(vp, perm=[0, 2, 1]))
    own = b.Mul(b.Transpose(b.Mul(v, p), perm=[0, 2, 1]), -2)
    dr = b.Reshape(b.Add(b.Mul(own, whole), b.Mul(both, turned)), [-1, k * k])
    dr = b.MatMul(dr, b.const((upper - lower).T, r.dtype))
    return b.Mul(b.Mul(dr, b.Neg(a)), b.Mul(r, b.Sub(1, r)))


def _solve(b: Builder, system: Tensor, k: int) -> Tensor:
    """A positive definite system [rows, k, k + …] with its left part made the unit matrix."""
    for t in range(k):
        row = b.Slice(system, [t], [t + 1], [1])
        row = b.Div(row, b.Slice(row, [t], [t + 1], [2]))
        column = b.Sub(b.Slice(system, [t], [t + 1], [2]), b.const(np.eye(k)[:, t : t + 1], system.dtype))
        # Row t becomes `row`, for its factor is system_tt − 1: row · system_tt − row · (system_tt − 1).
        system = b.Sub(system, b.Mul(column, row))
    return system
