"""Where the samples lie in what products, windows, norms and recurrent layers make."""

from __future__ import annotations

from onnxplain.analysis.sample_flow.place import Place, State
from onnxplain.analysis.sample_flow.reading import Reading, SampleRule, SampleStates

__all__ = ["PRODUCTS"]


def _convolved(weight: int, beside: tuple[int, ...] = ()) -> SampleRule:
    """A convolution of input 0 with the kernel at input `weight`; what is `beside` them may have the samples first too."""

    def rule(n: Reading) -> SampleStates:
        x = n.place(0)
        if x is None or not n.only(0, *beside):
            return n.unknown()
        if x.axis == 0:
            return x if all((p := n.place(i)) is None or p == x for i in beside) else n.unknown()
        if x.axis == 1:
            return n.mixed() if n.node.get("group", 1) == 1 else n.unknown()
        return _window(n, x, n.dim(weight, x.axis))

    return rule


def _pooled(n: Reading) -> SampleStates:
    """A pooling: a window over all axes after the channels."""
    x = n.place(0)
    if x is None or not n.only(0):
        return n.unknown()
    if x.axis < 2:
        return x
    kernel = n.node.get("kernel_shape")
    return n.mixed() if kernel is None else _window(n, x, int(kernel[x.axis - 2]))


def _window(n: Reading, x: Place, width: int | str | None) -> State:
    """A window along the axis of the samples: only one that is as wide as a sample leaves them apart."""
    if width != 1:
        return n.mixed() if isinstance(width, int) else n.unknown()
    out, before = n.out(), n.dim(0, x.axis)
    return x if out is not None and before is not None and out[x.axis] == before else n.unknown()


def _channels_first(kept: tuple[int, ...], *, beyond: bool = False) -> SampleRule:
    """What works on [samples, channels, places …]: which axes it leaves apart, and whether those of places `beyond` them."""

    def rule(n: Reading) -> SampleStates:
        x = n.place(0)
        if x is None or not n.only(0):
            return n.unknown()
        return x if x.axis in kept or (beyond and x.axis > 1) else n.mixed()

    return rule


def _matrix_product(left: int = 0, right: int = 1) -> SampleRule:
    """A matrix product of two operands, with what is quantized beside them."""

    def rule(n: Reading) -> SampleStates:
        ranks = n.rank(left), n.rank(right)
        a, b = n.place(left), n.place(right)
        if not n.only(left, right) or ranks[0] is None or ranks[1] is None:
            return n.unknown()
        if (a is not None and a.axis == ranks[0] - 1) or (b is not None and b.axis == max(ranks[1] - 2, 0)):
            return n.mixed()  # summed over
        wide = max(ranks[0], ranks[1], 2)
        # Behind a row that is multiplied with a matrix there is no axis for it.
        after = (ranks[0] == 1) + (ranks[1] == 1)
        rank = wide - after
        places: list[Place] = []
        if a is not None:
            from_end = ranks[0] - a.axis
            places.append(a.at(rank - 2 + (ranks[1] == 1) if from_end == 2 else wide - from_end))
        if b is not None:
            from_end = ranks[1] - b.axis
            places.append(b.at(rank - 1 if from_end == 1 else wide - from_end))
        return places[0] if len(set(places)) == 1 else n.mixed()

    return rule


def _general_product(n: Reading) -> SampleStates:
    """Gemm: A · B + C, each factor transposed or not."""
    a, b, c = n.place(0), n.place(1), n.place(2)
    rows, columns = (1 if n.node.get("transA") else 0), (0 if n.node.get("transB") else 1)
    if (a is not None and a.axis != rows) or (b is not None and b.axis != columns):
        return n.mixed()
    places = [p.at(axis) for p, axis in ((a, 0), (b, 1)) if p is not None]
    if c is not None:
        places.append(c.at(c.axis + 2 - (n.rank(2) or 2)))
    return places[0] if len(set(places)) == 1 else n.mixed()


def _contracted(n: Reading) -> SampleStates:
    """Einsum: the letter of the samples has to be one, and in the result."""
    text = n.node["equation"]
    text = (text.decode() if isinstance(text, bytes) else str(text)).replace(" ", "")
    terms, arrow, result = text.partition("->")
    if "." in text or not arrow:
        return n.unknown()
    letters, places = set(), []
    for i, term in enumerate(terms.split(",")):
        found = n.place(i)
        if found is not None:
            if term.count(term[found.axis]) > 1:
                return n.unknown()
            letters.add(term[found.axis])
            places.append(found.at(0))
    if len(letters) != 1 or len(set(places)) != 1:
        return n.mixed()
    (letter,) = letters
    return places[0].at(result.index(letter)) if letter in result else n.mixed()


def _from_axis(n: Reading) -> SampleStates:
    """A norm over all axes from one on."""
    x, rank = n.place(0), n.rank(0)
    if x is None or rank is None or not n.only(0):
        return n.unknown()
    return x if x.axis < int(n.node.get("axis", -1)) % rank else n.mixed()


def _statistics(n: Reading) -> SampleStates:
    """A norm over the axes that an attribute names, or, of a batch, over none."""
    x = n.place(0)
    if x is None or not n.only(0) or n.node.get("training_mode"):
        return n.unknown()
    return n.mixed() if x.axis in [int(a) % (n.rank(0) or 1) for a in n.node.get("axes") or ()] else x


def _recurrent(n: Reading) -> SampleStates:
    """LSTM, GRU and RNN: [time, samples, features], states [directions, samples, features]; or, in layout 1, samples first."""
    first = int(n.node.get("layout") or 0) == 1
    wanted = {0: 0 if first else 1, 4: 0, 5: 0 if first else 1, 6: 0 if first else 1}
    if not n.only(*wanted):
        return n.unknown()
    places = [p for i in wanted if (p := n.place(i)) is not None]
    if any(n.place(i) is not None and n.place(i) != places[0].at(axis) for i, axis in wanted.items()):
        return n.mixed()
    states = places[0].at(0 if first else 1)
    return [places[0].at(0 if first else 2), states, states][: len(n.node.outputs)]


def _attention(n: Reading) -> SampleStates:
    """Attention: samples first in queries, keys, values, pasts, and in a mask of four axes."""
    places = {p for i in n.tagged() if (p := n.place(i)) is not None}
    if any(p.axis != 0 for p in places):
        return n.mixed()
    mask = n.rank(3)
    return n.unknown() if n.place(3) is not None and mask != 4 else next(iter(places))


def _grid(n: Reading) -> SampleStates:
    """What reads images [samples, …] at places [samples, …]."""
    places = {p for i in n.tagged() if (p := n.place(i)) is not None}
    return next(iter(places)) if {p.axis for p in places} == {0} and len(places) == 1 else n.unknown()


# operators: a rule for each
PRODUCTS: dict[str, SampleRule] = {
    **dict.fromkeys(("Conv", "ConvTranspose", "ConvInteger"), _convolved(1)),
    "QLinearConv": _convolved(3),
    "DeformConv": _convolved(1, (2, 4)),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pooled),
    **dict.fromkeys(("GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"), _channels_first((0, 1))),
    "InstanceNormalization": _channels_first((0, 1)),
    "GroupNormalization": _channels_first((0,)),
    "LRN": _channels_first((0,), beyond=True),
    **dict.fromkeys(("BatchNormalization", "MeanVarianceNormalization"), _statistics),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _from_axis),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _matrix_product()),
    "QLinearMatMul": _matrix_product(0, 3),
    "Gemm": _general_product,
    "Einsum": _contracted,
    **dict.fromkeys(("LSTM", "GRU", "RNN", "com.microsoft.DynamicQuantizeLSTM"), _recurrent),
    "Attention": _attention,
    "GridSample": _grid,
}
"""By operator, with its domain: where the samples lie in products, windows, norms and recurrent layers."""
