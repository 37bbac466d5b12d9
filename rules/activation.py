"""Activation functions, and Softmax with its kin. Each is safe far out: no 0 · ∞, no ∞ − ∞.

At a kink the derivative is the one from the left, as in PyTorch.
"""

from math import log, pi, sqrt

from onnxplain import Builder, Messages, Node, Tensor, rule


@rule("Relu", role="elementwise")
def relu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where y > 0, which is where x > 0, else 0"""
    return b.where_positive(node.y, dy)


@rule("LeakyRelu", role="elementwise")
def leaky_relu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x > 0, else α · dy"""
    return b.Where(b.Greater(node.x, 0), dy, b.Mul(dy, node["alpha"]))


@rule("PRelu", role="elementwise", broadcasts=True)
def prelu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x > 0, else slope · dy; dslope = 0 where x > 0, else x · dy"""
    x, slope = node.inputs
    positive = b.Greater(x, 0)
    return b.Where(positive, dy, b.Mul(dy, slope)), b.Where(positive, 0, b.Mul(dy, x))


@rule("ThresholdedRelu", role="elementwise")
def thresholded_relu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x > α, else 0"""
    return b.Where(b.Greater(node.x, node["alpha"]), dy, 0)


@rule("Shrink", role="elementwise")
def shrink(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where |x| > λ, else 0"""
    return b.Where(b.Greater(b.Abs(node.x), node["lambd"]), dy, 0)


@rule("Elu", role="elementwise")
def elu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x > 0, else dy · α eˣ = dy · (y + α)"""
    return b.Where(b.Greater(node.x, 0), dy, b.Mul(dy, b.Add(node.y, node["alpha"])))


@rule("Selu", role="elementwise")
def selu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · γ where x > 0, else dy · γα eˣ = dy · (y + γα)"""
    gamma = node["gamma"]
    return b.Mul(dy, b.Where(b.Greater(node.x, 0), gamma, b.Add(node.y, gamma * node["alpha"])))


@rule("Celu", role="elementwise")
def celu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x > 0, else dy · e^(x/α) = dy · (y/α + 1)"""
    return b.Where(b.Greater(node.x, 0), dy, b.Mul(dy, b.Add(b.Div(node.y, node["alpha"]), 1)))


@rule("HardSigmoid", role="elementwise")
def hard_sigmoid(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = α · dy where 0 < y < 1, else 0"""
    inside = b.And(b.Greater(node.y, 0), b.Less(node.y, 1))
    return b.Where(inside, b.Mul(dy, node["alpha"]), 0)


@rule("HardSwish", role="elementwise")
def hard_swish(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where x ≥ 3, 0 where x ≤ −3, between them dy · (x/3 + ½)"""
    x = node.x
    between = b.Mul(dy, b.Add(b.Mul(x, 1 / 3), 0.5))
    return b.Where(b.GreaterOrEqual(x, 3), dy, b.Where(b.LessOrEqual(x, -3), 0, between))


@rule("Softplus", role="elementwise")
def softplus(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · σ(x)"""
    return b.Mul(dy, b.Sigmoid(node.x))


@rule("Softsign", role="elementwise")
def softsign(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / (1 + |x|)²"""
    below = b.Add(b.Abs(node.x), 1)
    return b.Div(b.Div(dy, below), below)


@rule("Mish", role="elementwise")
def mish(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · (t + x · (1 − t²) · σ(x)) with t = tanh(softplus x)"""
    t = b.Tanh(b.Softplus(node.x))
    bend = b.Mul(b.Sub(1, b.Mul(t, t)), b.Sigmoid(node.x))
    return b.Mul(dy, b.Add(t, b.Mul(node.x, bend)))


@rule("Swish", role="elementwise")
def swish(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · (s + αx · s · (1 − s)) with s = σ(αx)"""
    scaled = b.Mul(node.x, node["alpha"])
    s = b.Sigmoid(scaled)
    return b.Mul(dy, b.Add(s, b.Mul(scaled, b.Mul(s, b.Sub(1, s)))))


@rule("Gelu", role="elementwise")
def gelu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · (Φ(x) + x · φ(x)), Φ and φ the standard normal distribution and density, or the tanh approximation"""
    slope = _tanh_gelu_slope(b, node.x) if node["approximate"] == "tanh" else _gelu_slope(b, node.x, 1 / sqrt(2), 0.5)
    return b.Mul(dy, slope)


@rule("Gelu", role="elementwise", domain="onnxplain")
def written_gelu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = k · x · (1 + erf(cx)): dx = dy · k · (1 + erf(cx) + cx · 2/√π · exp(−(cx)²))"""
    return b.Mul(dy, _gelu_slope(b, node.x, node["scale"], node["factor"]))


@rule("Silu", role="elementwise", domain="onnxplain")
def written_silu(b: Builder, node: Node, dy: Tensor) -> Messages:
    """y = x · σ(αx): dx = dy · (σ(αx) + αy (1 − σ(αx)))"""
    gate = next(part.y for part in node.parts if part.op == "Sigmoid")
    return b.Mul(dy, b.Add(gate, b.Mul(b.Mul(node.y, node["scale"]), b.Sub(1, gate))))


def _gelu_slope(b: Builder, x: Tensor, scale: float, factor: float) -> Tensor:
    """The same with 2/√π within the exponential: every operator is a pass over memory."""
    u = b.Mul(x, scale)
    density = b.Exp(b.Sub(log(2 / sqrt(pi)), b.Mul(u, u)))
    return b.Mul(b.Add(b.Add(b.Erf(u), 1), b.Mul(u, density)), factor)


def _tanh_gelu_slope(b: Builder, x: Tensor) -> Tensor:
    """½(1 + t) + ½x (1 − t²) u′ with t = tanh u, u = √(2/π) (x + 0.044715 x³). Beyond ±10 it is constant: t = ±1."""
    c, cubic = sqrt(2 / pi), 0.044715
    x = b.Clip(x, -10.0, 10.0)
    square = b.Mul(x, x)
    t = b.Tanh(b.Mul(b.Mul(x, b.Add(b.Mul(square, cubic), 1)), c))
    du = b.Add(b.Mul(square, 3 * cubic * c), c)
    bend = b.Mul(b.Mul(x, b.Sub(1, b.Mul(t, t))), du)
    return b.Mul(b.Add(b.Add(t, 1), bend), 0.5)


@rule("Softmax", role="softmax")
def softmax(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = y · (dy − Σ dy · y), but 0 in rows of NaN: models mend these (all scores −∞), so nothing comes through."""
    weighted = b.Mul(dy, node.y)
    dx = b.Sub(weighted, b.Mul(node.y, b.ReduceSum(weighted, [node["axis"]], keepdims=1)))
    if b.is_product(node.x):
        return dx
    return b.Where(b.IsNaN(b.Slice(node.y, [0], [1], [node["axis"]])), 0, dx)


@rule("LogSoftmax", role="softmax")
def log_softmax(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy − eʸ · Σ dy"""
    return b.Sub(dy, b.Mul(b.Exp(node.y), b.ReduceSum(dy, [node["axis"]], keepdims=1)))


@rule("Hardmax", role="zero")
def hardmax(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = 0"""
    return None
