"""Train the network of an arm with two joints and write it as model.onnx; needs PyTorch, which the study does not.

x = sin θ₁ + sin(θ₁ + θ₂), y = cos θ₁ + cos(θ₁ + θ₂), angles between −π and π, 50,000 samples.

Run: python examples/arm/train.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

SAMPLES, EPOCHS, BATCH, SEED = 50_000, 120, 500, 0


def arm(angles: torch.Tensor) -> torch.Tensor:
    """Where the hand is: [n, 2]."""
    first, both = angles[:, 0], angles.sum(dim=1)
    return torch.stack([first.sin() + both.sin(), first.cos() + both.cos()], dim=1)


def train() -> tuple[nn.Sequential, float]:
    """A network of one ReLU and one tanh layer, and its root mean square error on angles it has not seen."""
    torch.manual_seed(SEED)
    angles = (torch.rand(SAMPLES, 2) * 2 - 1) * torch.pi
    fresh = (torch.rand(20_000, 2) * 2 - 1) * torch.pi
    network = nn.Sequential(nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 64), nn.Tanh(), nn.Linear(64, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * (SAMPLES // BATCH), eta_min=1e-6)
    for _ in range(EPOCHS):
        for rows in torch.randperm(SAMPLES).split(BATCH):
            optimizer.zero_grad()
            loss = (network(angles[rows]) - arm(angles[rows])).square().mean()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return network, float((network(fresh) - arm(fresh)).square().mean().sqrt())


def exported(network: nn.Sequential) -> onnx.ModelProto:
    """The network as ONNX."""
    layers = [network[i] for i in (0, 2, 4)]
    weights = {
        f"{k}{i}": v.detach().numpy() for i, layer in enumerate(layers, 1) for k, v in (("W", layer.weight), ("b", layer.bias))
    }
    nodes = [
        helper.make_node("Gemm", ["angles", "W1", "b1"], ["z1"], name="z1", transB=1),
        helper.make_node("Relu", ["z1"], ["relu"], name="relu"),
        helper.make_node("Gemm", ["relu", "W2", "b2"], ["z2"], name="z2", transB=1),
        helper.make_node("Tanh", ["z2"], ["tanh"], name="tanh"),
        helper.make_node("Gemm", ["tanh", "W3", "b3"], ["hand"], name="hand", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "arm",
        [helper.make_tensor_value_info("angles", onnx.TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("hand", onnx.TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


if __name__ == "__main__":
    network, error = train()
    print(f"root mean square error on 20,000 new samples: {error:.4f}")
    if error > 0.01:
        raise SystemExit("expected at most 0.01; nothing was written")
    made = exported(network)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, Path(__file__).parent / "model.onnx")
