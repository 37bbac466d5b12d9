"""Train the networks of the tutorial study: model.onnx, strided.onnx, about.json.

Needs torch and onnxscript, which the study itself does not: python examples/tutorial/train.py [MNIST.npz FOLDER]
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from digits import Digits, load, moved
from torch import nn

FOLDER = Path(__file__).resolve().parent
SEED, UPDATES, BATCH, SHIFT = 0, 1500, 64, 4

Array = np.ndarray[Any, Any]


def tutorial() -> nn.Module:
    """What the tutorial asks of a network to be explained: sums for pooling, one dense layer, dropout before it."""
    return nn.Sequential(
        nn.Conv2d(1, 10, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(10, 25, 5), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(25, 60, 4), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(60, 10),
    )  # fmt: skip


def strided() -> nn.Module:
    """A network whose first layer takes steps of four pixels, so that its explanations show a grid."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 6, stride=4), nn.ReLU(),
        nn.Conv2d(24, 32, 3), nn.ReLU(), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(512, 10),
    )  # fmt: skip


def trained(model: nn.Module, digits: Digits) -> nn.Module:
    """The network after Adam on shifted digits; its biases are kept at or below zero, but for those of the last layer at zero."""
    random = np.random.default_rng(SEED)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, UPDATES)
    layers = [m for m in model if isinstance(m, nn.Conv2d | nn.Linear)]
    for update in range(UPDATES):
        chosen = random.integers(0, len(digits.train), BATCH)
        shifts = random.integers(-SHIFT, SHIFT + 1, (BATCH, 2))
        x = np.stack([moved(digits.train[i], *by) for i, by in zip(chosen, shifts, strict=True)])
        loss = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(digits.train_label[chosen]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for layer in layers:
                assert layer.bias is not None
                layer.bias.clamp_(max=0)
            layers[-1].bias.zero_()
        if update % 250 == 249:
            print(f"update {update + 1:5}  loss {loss.item():.4f}", flush=True)
    return model.eval()


def accuracy(model: nn.Module, x: Array, label: Array) -> float:
    """The share of pictures whose top class is theirs."""
    with torch.no_grad():
        return float((model(torch.from_numpy(x)).argmax(1).numpy() == label).mean())


def export(model: nn.Module, x: Array, path: Path) -> None:
    """Write the model, any number of pictures at a time."""
    program = torch.onnx.export(
        model, (torch.from_numpy(x[:2]),), input_names=["image"], output_names=["logits"], opset_version=18, dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert program is not None
    exported = program.model_proto
    for node in exported.graph.node:
        del node.metadata_props[:]  # where the exporter found its own files on this machine
    onnx.save(exported, path)


def make(file: Path | None, folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    digits = load(file)
    about: dict[str, Any] = {
        "made_by": "examples/tutorial/train.py",
        "seed": SEED,
        "data": digits.name,
        "versions": {"python": platform.python_version(), **{m: version(m) for m in ("torch", "onnx", "onnxscript", "numpy")}},
        "train_samples": len(digits.train),
        "test_samples": len(digits.test),
    }
    for name, network in (("model", tutorial), ("strided", strided)):
        torch.manual_seed(SEED)
        model = trained(network(), digits)
        export(model, digits.test, folder / f"{name}.onnx")
        about[name] = {
            "parameters": sum(p.numel() for p in model.parameters()),
            "test_accuracy": round(accuracy(model, digits.test, digits.test_label), 4),
        }
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(about, indent=2))


if __name__ == "__main__":
    arguments = [Path(a) for a in sys.argv[1:]]
    make(*arguments) if len(arguments) == 2 else make(None, FOLDER)
