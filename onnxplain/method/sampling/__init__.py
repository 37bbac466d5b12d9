"""Many points per sample in one graph: chunks, loops, noise, quadrature."""
