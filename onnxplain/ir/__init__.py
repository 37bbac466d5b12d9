"""The graph as immutable data - nodes, tensors, facts about operators; knows ONNX, not explanations."""
