"""Evaluation: how far an explanation deserves trust, measured on any ONNX model."""
