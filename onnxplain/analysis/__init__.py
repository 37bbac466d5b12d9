"""Facts proven of a graph - the score, what is explained, layers, signs - with nothing emitted."""
