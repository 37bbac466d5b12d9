"""Runs a model in ONNX Runtime: sessions, inputs made and checked, scores read."""
