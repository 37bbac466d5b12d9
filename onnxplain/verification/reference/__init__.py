"""ONNX's reference evaluator, completed so that it can be differenced in float64."""
