"""Measures the cost of explanations: the model and the explained models, each in a process of its own."""
