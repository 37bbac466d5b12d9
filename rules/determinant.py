"""The determinant."""

from onnxplain import Builder, Messages, Node, Tensor, rule


@rule("Det", role="function")
def det(b: Builder, node: Node, dy: Tensor) -> Messages:
    """dx = dy · cofactors: (−1)^(i+j) times the determinant without row i and column j. No inverse, so x may be singular."""
    x = node.x
    n = b.Squeeze(b.dim(x, -1), [0])
    numbers = b.Range(0, n, 1)
    kept = b.Range(0, b.Sub(n, 1), 1)
    # Row i of `others` holds all numbers but i.
    others = b.Add(b.Unsqueeze(kept, [0]), b.cast(b.GreaterOrEqual(b.Unsqueeze(kept, [0]), b.Unsqueeze(numbers, [1])), n))
    rows = b.Gather(x, others, axis=x.rank - 2)  # […, i, n − 1, n]
    minors = b.Gather(rows, others, axis=x.rank)  # […, i, n − 1, j, n − 1]
    lead = range(x.rank - 2)
    i, row, j, column = range(x.rank - 2, x.rank + 2)
    minors = b.Transpose(minors, perm=[*lead, i, j, row, column])
    parity = b.Mod(b.Add(b.Unsqueeze(numbers, [0]), b.Unsqueeze(numbers, [1])), 2)
    signs = b.cast(b.Sub(1, b.Mul(parity, 2)), x)
    return b.Mul(b.Unsqueeze(dy, [-1, -2]), b.Mul(signs, b.Det(minors)))
