"""Facts proven of a graph: what is explained, the score, layers, signs. Emits nothing."""
