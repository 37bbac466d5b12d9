"""The reference of the sweep: gradients by PyTorch's autograd."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common.torch_tools import tensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from benchmarks.architectures import Arrays

__all__ = ["error", "gradient"]


class Watched(TorchFunctionMode):
    """Hands what is looked up in a table to `leaf`; with `double`, what insists on float32 (norms, softmax) gets float64."""

    def __init__(self, double: bool, table: Tensor | None, leaf: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.double, self.table, self.leaf = double, table, leaf

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is nn.functional.embedding and args[1] is self.table:
            return self.leaf(func(*args, **kwargs))
        if not self.double:
            return func(*args, **kwargs)
        if func is torch.Tensor.float:
            return args[0].double()
        wide = {key: torch.float64 if value is torch.float32 else value for key, value in kwargs.items()}
        return func(*(torch.float64 if value is torch.float32 else value for value in args), **wide)


def gradient(
    model: nn.Module,
    inputs: Arrays,
    embedding: str | None,
    dtype: torch.dtype,
    target: Tensor | None = None,
    step: float = 0.0,
) -> tuple[np.ndarray, Tensor]:
    """Gradient, by autograd, of each sample's target, by default the top element (of the last position), and the target.

    `step` moves the explained values at random by about this share of themselves.
    """
    model = copy.deepcopy(model).to(dtype)
    leaves: list[Tensor] = []

    def leaf(value: Tensor) -> Tensor:
        moved = value.detach() * (1 + step * torch.randn_like(value)) if step else value.detach()
        leaves.append(moved.requires_grad_())
        return leaves[-1]

    arguments = [value.to(dtype) if value.is_floating_point() else value for value in tensors(inputs)]
    if embedding is None:
        arguments = [leaf(value) for value in arguments]
    with Watched(dtype is torch.float64, model.get_parameter(embedding) if embedding else None, leaf):
        values = model(*arguments)
    if target is None:
        last = values[:, -1] if values.ndim == 3 else values.flatten(1)
        target = last.argmax(1) + values[0].numel() - last.shape[1]
    (found,) = torch.autograd.grad(values.flatten(1).gather(1, target[:, None]).sum(), leaves)
    return found.double().numpy(), target


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference relative to the largest gradient, of the worst sample."""
    if found.shape != expected.shape:
        raise ValueError(f"attribution of shape {found.shape}, gradient of shape {expected.shape}")
    differences, sizes = (np.abs(a).reshape(len(a), -1).max(1) for a in (found - expected, expected))
    return float((differences / sizes).max())
