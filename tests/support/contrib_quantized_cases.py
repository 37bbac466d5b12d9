"""ONNX Runtime's own operators on integers, and what they do to real numbers: one row a form that occurs in files."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.support.contrib_cases import MASK2, Arrays, Call, drawn, positive, real


def scale(value: float) -> Any:
    return np.array(value, np.float32)


def byte(value: int) -> Any:
    return np.array(value, np.uint8)


X = drawn(60, 200, 2, 3, 6, 6, dtype=np.uint8)
IN: dict[str, Any] = {"s": scale(0.05), "z": byte(128)}
OUT: dict[str, Any] = {"ys": scale(0.07), "yz": byte(110)}
SIDE: dict[str, Any] = {"v": drawn(60, 200, 2, 3, 6, 6, dtype=np.uint8), "vs": scale(0.04), "vz": byte(120)}
POOL: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
FIXED = ("s", "z", "ys", "yz")
SIDE_FIXED = (*FIXED, "vs", "vz")


def quantized(op: str, form: str, inputs: Arrays, attributes: Arrays | None = None, fixed: tuple[str, ...] = FIXED) -> Call:
    return Call(op, form, inputs, attributes or {}, fixed=fixed)


QUANTIZED = [
    quantized("QLinearAdd", "plain", {"x": X, **IN, **SIDE, **OUT}, fixed=SIDE_FIXED),
    quantized("QLinearMul", "plain", {"x": X, **IN, **SIDE, **OUT | {"ys": scale(0.15)}}, fixed=SIDE_FIXED),
    quantized("QLinearSigmoid", "plain", {"x": X, **IN, "ys": scale(1 / 256), "yz": byte(0)}),
    quantized("QLinearLeakyRelu", "plain", {"x": X, **IN, **OUT}, {"alpha": 0.2}),
    quantized("QLinearSoftmax", "last", {"x": X, **IN, "ys": scale(1 / 256), "yz": byte(0)}, {"axis": -1, "opset": 13}),
    quantized("QLinearSoftmax", "old", {"x": X, **IN, "ys": scale(1 / 256), "yz": byte(0)}, {"axis": 2, "opset": 11}),
    quantized("QLinearConcat", "plain", {"ys": OUT["ys"], "yz": OUT["yz"], "x": X, **IN, **SIDE}, {"axis": 1}, SIDE_FIXED),
    quantized("QLinearAveragePool", "first", {"x": X, **IN, **OUT}, POOL),
    quantized("QLinearAveragePool", "last", {"x": X, **IN, **OUT}, {**POOL, "channels_last": 1}),
    quantized("QLinearGlobalAveragePool", "first", {"x": X, **IN, **OUT}),
    quantized("QLinearGlobalAveragePool", "last", {"x": X, **IN, **OUT}, {"channels_last": 1}),
    quantized("QLinearWhere", "plain", {"c": drawn(0, 2, 2, 3, 6, 6, dtype=bool), "x": X, **IN, **SIDE, **OUT}, fixed=SIDE_FIXED),
    quantized("QLinearConv", "last", {"x": X, **IN, "w": drawn(0, 255, 4, 6, 3, 3, dtype=np.uint8), "ws": scale(0.02),
              "wz": byte(120), **OUT}, {"kernel_shape": [3, 3], "channels_last": 1}, (*FIXED, "w", "ws", "wz")),
    quantized("NhwcMaxPool", "plain", {"x": X}, POOL, fixed=()),
]  # fmt: skip

W = drawn(0, 255, 6, 5, dtype=np.uint8)
COLUMNS: dict[str, Any] = {"w": W, "ws": positive(5) / 50, "wz": drawn(100, 140, 5, dtype=np.uint8)}
WHOLE: dict[str, Any] = {"w": W, "ws": scale(0.02), "wz": byte(120)}
A: dict[str, Any] = {"a": drawn(0, 255, 2, 3, 6, dtype=np.uint8)}


def to_float(form: str, w: Any, **more: Any) -> Call:
    inputs = {**A, "w": w["w"], "s": scale(0.05), "ws": w["ws"], "z": byte(128), "wz": w["wz"], **more}
    return Call("MatMulIntegerToFloat", form, inputs, {}, fixed=("w", "s", "ws", "z", "wz"))


def packed_attention(form: str, outputs: tuple[str, ...] = ("y",), past: Any = None, **attributes: Any) -> Call:
    inputs = {
        "x": drawn(0, 255, 2, 4, 12, dtype=np.uint8), "w": drawn(0, 255, 12, 36, dtype=np.uint8), "b": real(36), "s": scale(0.01),
        "ws": scale(0.01), "mask": MASK2 if past is None else None, "z": byte(128), "wz": byte(120), "past": past,
    }  # fmt: skip
    fixed = ("w", "s", "ws", "z", "wz")
    return Call("QAttention", form, inputs, {"num_heads": 3, **attributes}, outputs, fixed, tolerance=1e-4)


FLOAT_FROM_INTEGERS = [
    to_float("whole", WHOLE),
    to_float("columns", COLUMNS, bias=real(5)),
    packed_attention("mask"),
    packed_attention("past", ("y", "present"), real(2, 2, 3, 5, 4), unidirectional=1),
    Call("DynamicQuantizeMatMul", "whole", {"a": real(2, 3, 6), **WHOLE}, fixed=("w", "ws", "wz")),
    Call("DynamicQuantizeMatMul", "columns", {"a": real(2, 3, 6), **COLUMNS, "b": real(5)}, fixed=("w", "ws", "wz")),
    Call("DequantizeLinear", "plain", {"x": X, **IN}, fixed=("s", "z")),
    Call("DequantizeLinear", "axis", {"x": X, "s": positive(3), "z": drawn(100, 140, 3, dtype=np.uint8)}, {"axis": 1},
         fixed=("s", "z")),
]  # fmt: skip
