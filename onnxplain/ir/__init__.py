"""The graph as immutable data: nodes, tensors, operator facts. Knows ONNX, not explanations."""
