"""Products: relevance written as factor · rest, as R = x · ∇, keeps its two factors known until something needs the product.

Relevance on a tensor is what the tensor contributes: R = y · m. A denominator that meets it is mostly y itself, and then
R / (y + ε sign y) = m · |y| / (|y| + ε): a message times a factor that the forward pass alone decides. Shares of one tensor add
up as x · m₁ + x · m₂ = x · (m₁ + m₂), and an operator that only moves elements moves m. Products that nothing reads are never
computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

from onnxplain.builder.lazy_scatter import Moves
from onnxplain.ir.graph import Graph
from onnxplain.ir.tensor import Tensor

__all__ = ["STABILIZER", "Products", "Sign"]

STABILIZER = 1e-6
"""The ε of denominators where none is named."""

Sign: TypeAlias = Literal["", "positive", "negative", "rectified", "capped"]
"""What is known of a denominator: nothing; not below or not above zero; or this where the message is not zero (elsewhere it
counts as zero)."""


class Products(Moves):
    """Emits products whose two factors stay known, and simplifies what is made of them.

    Args:
        graph: the graph to write into.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self._products: dict[str, tuple[Tensor, Tensor]] = {}

    def product(self, factor: Tensor, rest: Tensor) -> Tensor:
        """A product of two tensors of one shape whose factors stay known.

        Args:
            factor: the first factor.
            rest: the second factor.

        Returns:
            factor · rest.

        Example:
            >>> made = b.product(x, b.full_like(x, 2))
            >>> b.value(b.maker(b.cofactor(made, x)).inputs[0])
            array(2., dtype=float32)
        """
        made = self.know(self.Mul(factor, rest))
        self._products[made.name] = factor, self.know(rest)
        return made

    def cofactor(self, message: Tensor | None, factor: Tensor | None) -> Tensor | None:
        """The other factor of a product.

        Args:
            message: what may be a product of `product`.
            factor: the factor to leave out.

        Returns:
            The other factor; None where the message is no product with this factor.

        Example:
            >>> m = b.Neg(x)
            >>> b.cofactor(b.product(x, m), x) == m, b.cofactor(m, x)
            (True, None)
        """
        known = None if message is None else self._products.get(message.name)
        return known[1] if known is not None and factor is not None and known[0].name == factor.name else None

    def joined(self, tensors: Sequence[Tensor], add: Callable[[Sequence[Tensor]], Tensor]) -> list[Tensor]:
        """The terms of a sum, with products that have a factor in common made one.

        Args:
            tensors: the terms.
            add: adds up tensors of one shape.

        Returns:
            Terms with the same sum, as many or fewer.

        Example:
            >>> terms = [b.product(x, b.Neg(x)), b.product(x, b.Abs(x))]
            >>> len(b.joined(terms, b.total))
            1
        """
        shared: dict[tuple[str, bool], list[Tensor]] = {}
        for t in tensors:
            factor, _ = self._products.get(t.name, (None, None))
            shared.setdefault((t.name, False) if factor is None else (factor.name, True), []).append(t)
        made: list[Tensor] = []
        for (_, common), terms in shared.items():
            if common and len(terms) > 1:
                products = [self._products[t.name] for t in terms]
                terms = [self.product(products[0][0], add([rest for _, rest in products]))]
            made += terms
        return made

    def quotient(self, message: Tensor, z: Tensor, epsilon: float, sign: Sign = "", *, times: int = 1) -> Tensor:
        """A message divided by a stabilized denominator: message / (times · z + ε·sign(z)), with sign(0) = +1.

        Args:
            message: the numerator.
            z: the denominator.
            epsilon: ε; 0 counts as 10⁻⁶.
            sign: what is known of the sign of `z`, beyond what is known of it as a tensor of the model.
            times: a factor of the denominator.

        Returns:
            The quotient, in the shape of `z`.

        Raises:
            RuleError: no backward pass is under way, and `sign` does not say the sign.

        Example:
            >>> size = b.Abs(x)
            >>> run(b.quotient(x, size, 1e-6, "positive")).round(3)
            array([[ 1., -1.,  1.],
                   [-1.,  1., -1.]], dtype=float32)
        """
        sign = sign or ("positive" if self.nonnegative(z) else "rectified" if self.rectified(z) else "")
        known = self._products.get(message.name)
        if known is not None:
            factor, rest = known
            if factor.name == z.name:
                return self.know(self._share(rest, z, epsilon, times, signed=sign != "positive"))
            maker = self.graph.producer(factor)
            if maker is not None and maker.operator == "Relu" and maker.x.name == z.name:
                return self.know(self._share(rest, factor, epsilon, times))
        whole = z if times == 1 else self.know(self.Mul(z, times))
        return self.know(self.Div(message, self.stabilize(whole, epsilon, sign)))

    def _share(self, rest: Tensor, z: Tensor, epsilon: float, times: int, *, signed: bool = False) -> Tensor:
        """rest · |z| / (times · |z| + ε)"""
        moved = self.before(rest, z)
        if moved is not None:
            return moved.move(self._share(moved.message, moved.y, epsilon, times, signed=signed))
        size = self.know(self.Abs(z)) if signed else z
        whole = size if times == 1 else self.know(self.Mul(size, times))
        ratio = self.know(self.Div(size, self.stabilize(whole, epsilon, "positive")))
        return self.know(self.Mul(rest, ratio))

    def stabilize(self, z: Tensor, epsilon: float, sign: Sign = "") -> Tensor:
        """A denominator that is never zero: z + ε·sign(z), with sign(0) = +1.

        Args:
            z: the denominator.
            epsilon: ε; 0 counts as 10⁻⁶.
            sign: what is known of the sign of `z`.

        Returns:
            The stabilized denominator.

        Source: Montavon, Binder, Lapuschkin, Samek, Müller 2019, "Layer-wise relevance propagation: an overview", eq. 2 (LRP-ε).

        Example:
            >>> run(b.stabilize(b.const([0.0, 2.0, -2.0]), 0.5))
            array([ 0.5,  2.5, -2.5], dtype=float32)
        """
        epsilon = epsilon or STABILIZER
        if sign == "":
            return self.know(self.Add(z, self.Where(self.Less(z, 0), -epsilon, self.const(epsilon, z.dtype))))
        if sign in ("rectified", "capped"):
            z = self.know(self.Relu(z) if sign == "rectified" else self.Min(z, 0))
        return self.know(self.Add(z, -epsilon if sign in ("negative", "capped") else epsilon))
