"""DeepLIFT: multipliers against a reference input."""
