"""Where the samples lie in every tensor: an axis of an input followed through the graph as far as nothing mixes its slices."""
