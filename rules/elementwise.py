"""Functions of each element alone, and arithmetic with broadcasting.

y is the node's own output: where the derivative can be written with it, nothing is computed twice. Operators without a
CUDA kernel (Cosh, Sinh, Tan, Atan, Mean, …) are not emitted.
"""

from math import pi, sqrt

from onnxplain import Builder, Messages, Node, RuleError, Tensor, rule
from onnxplain.rulekit.stand_ins import stands_in

# -- arithmetic --------------------------------------------------------------------------------------------------------


@rule("Add", role="sum", broadcasts=True)
def add(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz, dy = dz"""
    return dz, dz


@rule("Sub", role="sum", broadcasts=True)
def sub(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz, dy = −dz"""
    return dz, b.Neg(dz)


@rule("Mul", role="product", broadcasts=True)
def mul(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz · y, dy = dz · x"""
    x, y = node.inputs
    return b.Mul(dz, y), b.Mul(dz, x)


@rule("Div", role="product", broadcasts=True)
def div(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz / y, dy = −dz · z / y"""
    _, y = node.inputs
    dx = b.Div(dz, y)
    return dx, b.Neg(b.Mul(dx, node.y))


@rule("Pow", role="elementwise", broadcasts=True)
def power(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz · y · x^(y−1), dy = dz · z · log x; dx = 0 where y = 0, and dy = 0 where x ≤ 0"""
    x, y = node.input(0), b.cast(node.input(1), node.input(0))
    exponents = b.value(node.input(1))
    lower = x if exponents is not None and (exponents == 2).all() else b.Pow(x, b.Sub(y, 1))
    dx = b.Mul(dz, b.Mul(y, lower))
    if exponents is None or (exponents == 0).any():
        dx = b.Where(b.Equal(y, 0), 0, dx)  # 0 · 0⁻¹ is no number
    positive = b.Greater(x, 0)
    dy = b.Where(positive, b.Mul(dz, b.Mul(node.y, b.Log(b.Where(positive, x, 1)))), 0)
    return dx, dy


@rule("Mod", role="elementwise", broadcasts=True)
def mod(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz, dy = −dz · q with the quotient q = (x − z) / y rounded"""
    x, y = node.inputs
    return dz, b.Neg(b.Mul(dz, b.Round(b.Div(b.Sub(x, node.y), y))))


@rule("Sum", role="sum", broadcasts=True)
def sum_(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = dy"""
    return (dy,) * len(node.inputs)


@rule("Mean", role="sum", broadcasts=True)
def mean(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = dy / n"""
    n = len(node.inputs)
    return (b.Mul(dy, 1 / n),) * n


@rule("Max", "Min", role="select", broadcasts=True)
def extremum(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dxᵢ = dy where xᵢ is the extremum, else 0; of equal ones the first gets it all."""
    messages, rest = [], dy
    for x in node.inputs[:-1]:
        hit = b.Equal(x, node.y)
        messages.append(b.Where(hit, rest, 0))
        rest = b.Where(hit, 0, rest)
    return (*messages, rest)


@rule("Clip", role="select", broadcasts=True)
def clip(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy where low < x < high; a bound gets dy where it is the result."""
    _, low, high = node.inputs
    dx, dlow, dhigh = dy, None, None
    if high is not None:
        top = b.GreaterOrEqual(node.y, high)
        dx, dhigh = b.Where(top, 0, dx), b.Where(top, dy, 0)
    if low is not None:
        bottom = b.LessOrEqual(node.y, low)
        dx, dlow = b.Where(bottom, 0, dx), b.Where(bottom, dx, 0)
    return dx, dlow, dhigh


@rule("Where", role="select", broadcasts=True)
def where(b: Builder, node: Node, dz: Tensor) -> Messages:
    """dx = dz where the condition holds, else 0; dy the other way round."""
    condition = node.input(0)
    return None, b.Where(condition, dz, 0), b.Where(condition, 0, dz)


# -- the identity in other clothes -------------------------------------------------------------------------------------


@rule("Identity", "Cast", role="layout")
def identity(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy, in the type of x"""
    return dy


@rule("CastLike", role="layout")
def cast_like(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy, in the type of x; where it lets an approximation stand for what it approximates, dx goes to the latter"""
    return (None, dy) if stands_in(node) else (dy, None)


@rule("Dropout", role="elementwise")
def dropout(b: Builder, node: Node, dy: Tensor, dmask: None) -> Messages:
    """dx = dy; in training mode dy / (1 − ratio) where the mask kept x, else 0."""
    _, ratio, training = node.inputs
    known = b.value(training)
    if training is None or (known is not None and not known.any()):
        return dy, None, None
    mask = node.outputs[1]
    if mask is None:
        raise RuleError("dropout in training mode without its mask as an output; export the model in inference mode")
    scale = b.Where(training, b.Reciprocal(b.Sub(1, 0.5 if ratio is None else b.cast(ratio, dy))), 1)
    return b.Where(mask, b.Mul(dy, b.cast(scale, dy)), 0), None, None


# -- smooth functions --------------------------------------------------------------------------------------------------


@rule("Neg", role="elementwise")
def neg(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = −dy"""
    return b.Neg(dy)


@rule("Abs", role="elementwise")
def abs_(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · sign x"""
    return b.Mul(dy, b.Sign(node.x))


@rule("Reciprocal", role="elementwise")
def reciprocal(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = −dy · y²"""
    return b.Neg(b.Mul(dy, b.Mul(node.y, node.y)))


@rule("Sqrt", role="elementwise")
def sqrt_(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / 2y"""
    return b.Div(dy, b.Mul(node.y, 2))


@rule("Exp", role="elementwise")
def exp(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · y"""
    return b.Mul(dy, node.y)


@rule("Log", role="elementwise")
def log(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / x"""
    return b.Div(dy, node.x)


@rule("Sin", role="elementwise")
def sin(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · cos x"""
    return b.Mul(dy, b.Cos(node.x))


@rule("Cos", role="elementwise")
def cos(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = −dy · sin x"""
    return b.Neg(b.Mul(dy, b.Sin(node.x)))


@rule("Tan", role="elementwise")
def tan(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · (1 + y²)"""
    return b.Mul(dy, b.Add(b.Mul(node.y, node.y), 1))


@rule("Asin", role="elementwise")
def asin(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / √(1 − x²)"""
    return b.Div(dy, b.Sqrt(b.Sub(1, b.Mul(node.x, node.x))))


@rule("Acos", role="elementwise")
def acos(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = −dy / √(1 − x²)"""
    return b.Neg(b.Div(dy, b.Sqrt(b.Sub(1, b.Mul(node.x, node.x)))))


@rule("Atan", role="elementwise")
def atan(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / (1 + x²)"""
    return b.Div(dy, b.Add(b.Mul(node.x, node.x), 1))


@rule("Sinh", role="elementwise")
def sinh(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · cosh x = dy · (eˣ + e⁻ˣ) / 2"""
    return b.Mul(dy, b.Mul(b.Add(b.Exp(node.x), b.Exp(b.Neg(node.x))), 0.5))


@rule("Cosh", role="elementwise")
def cosh(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · sinh x = dy · y · tanh x"""
    return b.Mul(dy, b.Mul(node.y, b.Tanh(node.x)))


@rule("Tanh", role="elementwise")
def tanh(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · (1 − y²)"""
    return b.Mul(dy, b.Sub(1, b.Mul(node.y, node.y)))


@rule("Asinh", role="elementwise")
def asinh(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / √(x² + 1)"""
    return b.Div(dy, b.Sqrt(b.Add(b.Mul(node.x, node.x), 1)))


@rule("Acosh", role="elementwise")
def acosh(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / √(x² − 1)"""
    return b.Div(dy, b.Sqrt(b.Sub(b.Mul(node.x, node.x), 1)))


@rule("Atanh", role="elementwise")
def atanh(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy / (1 − x²)"""
    return b.Div(dy, b.Sub(1, b.Mul(node.x, node.x)))


@rule("Erf", role="elementwise")
def erf(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · 2/√π · e^(−x²)"""
    return b.Mul(dy, b.Mul(b.Exp(b.Neg(b.Mul(node.x, node.x))), 2 / sqrt(pi)))


@rule("Sigmoid", role="elementwise")
def sigmoid(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · y · (1 − y)"""
    return b.Mul(dy, b.Mul(node.y, b.Sub(1, node.y)))


# -- derivative zero ---------------------------------------------------------------------------------------------------


@rule("Sign", "Floor", "Ceil", "Round", role="zero")
@rule("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf", role="zero")
@rule("And", "Or", "Xor", "Not", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", role="zero")
@rule("RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", role="zero")
def constant(b: Builder, node: Node, *dy: Tensor | None) -> Messages:
    """dx = 0: steps, comparisons, logic, and what is drawn at random"""
    return (None,) * len(node.inputs)
