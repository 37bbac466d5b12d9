"""Where the samples lie in every tensor, followed through the graph as far as nothing mixes them."""
