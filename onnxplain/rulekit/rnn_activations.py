"""The activation functions of LSTM, GRU and RNN, as their attributes name them: values and slopes."""

from __future__ import annotations

from dataclasses import dataclass

from onnxplain.builder.builder import Builder
from onnxplain.errors import RuleError
from onnxplain.ir.node import Node
from onnxplain.ir.tensor import Tensor

__all__ = ["Activation", "activations", "directions", "pick"]

PARAMETERS: dict[str, tuple[list[float | None], list[float | None]]] = {
    "elu": ([1.0], []),
    "leakyrelu": ([0.01], []),
    "thresholdedrelu": ([None], []),
    "affine": ([None], [None]),
    "scaledtanh": ([None], [None]),
    "hardsigmoid": ([0.2], [0.5]),
}
"""Defaults of alpha and beta for the functions that have them; None where runtimes do not agree on one."""

# operators: the activations that the standard names by default
DEFAULT_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@dataclass(frozen=True)
class Activation:
    """An activation function of a recurrent operator, and its slope.

    Attributes:
        b: where nodes are emitted.
        name: its name, in lower case.
        alpha: its first parameter, where it has one.
        beta: its second parameter, where it has one.
        clip: its input is clipped to [−clip, clip]; None for no clipping.

    Example:
        >>> from onnxplain.rulekit.rnn_activations import Activation
        >>> value, slope = Activation(b, "relu", 0.0, 0.0, None)(x)
        >>> run(slope)
        array([[1., 0., 1.],
               [0., 1., 0.]], dtype=float32)
    """

    b: Builder
    name: str
    alpha: float
    beta: float
    clip: float | None

    def __call__(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The value f(z) and the slope f′(z)."""
        if not self.clip:
            return self._value(z), self._slope(z)
        inside = self.b.Clip(z, -self.clip, self.clip)
        return self._value(inside), self.b.Where(self.b.Less(self.b.Abs(z), self.clip), self._slope(inside), 0)

    def value(self, z: Tensor) -> Tensor:
        """The value f(z).

        Args:
            z: the input.

        Returns:
            A tensor in its shape.

        Raises:
            RuleError: there is no such activation function.
        """
        return self._value(self.b.Clip(z, -self.clip, self.clip) if self.clip else z)

    def _value(self, z: Tensor) -> Tensor:
        b, alpha, beta = self.b, self.alpha, self.beta
        match self.name:
            case "sigmoid":
                return b.Sigmoid(z)
            case "tanh":
                return b.Tanh(z)
            case "relu":
                return b.Relu(z)
            case "softsign":
                return b.Div(z, b.Add(b.Abs(z), 1))
            case "softplus":
                return b.Softplus(z)
            case "elu":
                return b.Elu(z, alpha=alpha)
            case "leakyrelu":
                return b.LeakyRelu(z, alpha=alpha)
            case "thresholdedrelu":
                return b.Where(b.Greater(z, alpha), z, 0)
            case "affine":
                return b.Add(b.Mul(z, alpha), beta)
            case "scaledtanh":
                return b.Mul(b.Tanh(b.Mul(z, beta)), alpha)
            case "hardsigmoid":
                return b.HardSigmoid(z, alpha=alpha, beta=beta)
        known = ", ".join(["sigmoid", "tanh", "relu", "softsign", "softplus", *PARAMETERS])
        raise RuleError(f"unknown activation '{self.name}'; known: {known}")

    def _slope(self, z: Tensor) -> Tensor:
        """At a kink the slope from the left."""
        b, alpha, beta, y = self.b, self.alpha, self.beta, self._value(z)
        match self.name:
            case "sigmoid":
                return b.Mul(y, b.Sub(1, y))
            case "tanh":
                return b.Sub(1, b.Mul(y, y))
            case "relu":
                return b.cast(b.Greater(z, 0), z)
            case "softsign":
                below = b.Add(b.Abs(z), 1)
                return b.Reciprocal(b.Mul(below, below))
            case "softplus":
                return b.Sigmoid(z)
            case "elu":
                return b.Where(b.Greater(z, 0), 1, b.Add(y, alpha))
            case "leakyrelu":
                return b.Where(b.Greater(z, 0), 1, b.const(alpha, z.dtype))
            case "thresholdedrelu":
                return b.cast(b.Greater(z, alpha), z)
            case "affine":
                return b.full_like(z, alpha)
            case "scaledtanh":
                t = b.Tanh(b.Mul(z, beta))
                return b.Mul(b.Sub(1, b.Mul(t, t)), alpha * beta)
        inside = b.And(b.Greater(y, 0), b.Less(y, 1))
        return b.Mul(b.cast(inside, z), alpha)


def directions(node: Node) -> list[bool]:
    """In which directions a recurrent node reads its sequence.

    Args:
        node: an LSTM, GRU or RNN.

    Returns:
        For each direction, whether it goes from the last step to the first.

    Example:
        >>> from onnxplain.rulekit.rnn_activations import directions
        >>> directions({"direction": "bidirectional"})
        [False, True]
    """
    return {"forward": [False], "reverse": [True]}.get(node["direction"], [False, True])


def activations(b: Builder, node: Node, count: int) -> list[list[Activation]]:
    """The activation functions of a recurrent node.

    Each takes its alpha and beta, if it has them, from the front of the node's lists. As in ONNX Runtime, the input of all of
    them is clipped, except for the last one of an LSTM.

    Args:
        b: where nodes are emitted.
        node: an LSTM, GRU or RNN.
        count: how many functions a direction has.

    Returns:
        For each direction its functions.

    Raises:
        RuleError: a parameter is missing for which runtimes have different defaults.

    Example:
        >>> from onnxplain.ir.node import Node
        >>> from onnxplain.rulekit.rnn_activations import activations
        >>> lstm = Node("LSTM", "", 14, "lstm", "", (x,), (y,), {"direction": "forward"})
        >>> [f.name for f in activations(b, lstm, 3)[0]]
        ['sigmoid', 'tanh', 'tanh']
    """
    total = len(directions(node))
    names = node.get("activations") or DEFAULT_ACTIVATIONS[node.op] * total
    alphas, betas = list(node.get("activation_alpha") or ()), list(node.get("activation_beta") or ())
    clip = node.get("clip")
    made: list[Activation] = []
    for n, name in enumerate(names[: count * total]):
        takes = PARAMETERS.get(name.lower(), ([], []))
        values = [
            float(given.pop(0)) if given else default
            for defaults, given in zip(takes, (alphas, betas), strict=True)
            for default in defaults
        ]
        if None in values:
            raise RuleError(f"activation {name} without its alpha or beta, for which runtimes have different defaults; give both")
        alpha, beta = (*(v for v in values if v is not None), 0.0, 0.0)[:2]
        made.append(Activation(b, name.lower(), alpha, beta, None if n % count == 2 else clip))
    return [made[d * count : (d + 1) * count] for d in range(total)]


def pick(b: Builder, x: Tensor | None, d: int, axis: int) -> Tensor | None:
    """One direction of an array.

    Args:
        b: where nodes are emitted.
        x: the array; None for an optional one left out.
        d: the number of the direction.
        axis: the axis that counts directions.

    Returns:
        The array without that axis; None for None.

    Example:
        >>> from onnxplain.rulekit.rnn_activations import pick
        >>> run(pick(b, x, 1, 0))
        array([-4.,  5., -6.], dtype=float32)
    """
    if x is None:
        return None
    made: Tensor = b.Squeeze(x, [axis]) if x.dim(axis) == 1 else b.Gather(x, d, axis=axis)
    return made
