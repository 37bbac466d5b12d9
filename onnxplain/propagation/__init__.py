"""How a message passes a node: the backward pass and its rule families, gradients, LRP and DeepLIFT."""
