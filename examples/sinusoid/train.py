"""Make the data and train the model of the sinusoid study: model.onnx, test.npz, about.json.

Needs torch and onnxscript, which the study itself does not: python examples/sinusoid/train.py [seed] [folder]
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
from torch import nn

FOLDER = Path(__file__).resolve().parent
SEED = 20
SIGNAL, DUMMY, LENGTH = 8, 8, 96
"""Channels that hold the sinusoid, channels that do not, and time steps."""
CYCLES = (4, 6, 8, 10)
"""Classes: periods of the sinusoid over the whole length, each give or take JITTER."""
JITTER = 0.5
AMPLITUDES = (0.05, 0.5)
STEP = 1 / 32
"""Samples are stored as whole multiples of this, as an 8-bit converter would."""
TRAIN, TEST, EPOCHS, BATCH = 4000, 300, 20, 64

Array = np.ndarray[Any, Any]


def weights(random: np.random.Generator) -> Array:
    """The amplitude of the sinusoid in each channel, of either sign; 0 in the dummy channels."""
    drawn = random.uniform(*AMPLITUDES, SIGNAL) * random.choice((-1, 1), SIGNAL)
    return np.concatenate([drawn, np.zeros(DUMMY)])


def samples(random: np.random.Generator, weight: Array, count: int) -> dict[str, Array]:
    """Signals as int8 in units of STEP [n, channels, time], and class, periods and phase of each sinusoid [n].

    White noise fills every channel up to a mean square of 1, so that no channel stands out by its power.
    """
    label = np.arange(count) % len(CYCLES)
    cycles = np.array(CYCLES)[label] + random.uniform(-JITTER, JITTER, count)
    phase = random.uniform(0, 2 * np.pi, count)
    angle = phase[:, None] + 2 * np.pi * cycles[:, None] * np.arange(LENGTH) / LENGTH
    noise = random.standard_normal((count, len(weight), LENGTH)) * np.sqrt(1 - weight**2 / 2)[:, None]
    signal = weight[:, None] * np.sin(angle)[:, None] + noise
    whole = np.clip(np.round(signal / STEP), -127, 127).astype(np.int8)
    return {"signal": whole, "label": label, "periods": cycles, "phase": phase}


def network() -> nn.Module:
    """Three convolutions, each as long as a fast period; the mean over time; one linear layer."""
    return nn.Sequential(
        nn.Conv1d(SIGNAL + DUMMY, 12, 9, padding=4),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(12, 16, 9, padding=4),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(16, 16, 9, padding=4),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(16, len(CYCLES)),
    )


def tensor(data: dict[str, Array]) -> torch.Tensor:
    """Signals as the model takes them: float32, mean square 1."""
    return torch.from_numpy(data["signal"].astype(np.float32) * np.float32(STEP))


def trained(data: dict[str, Array]) -> nn.Module:
    """The network after Adam with a step that falls to zero on a cosine."""
    model = network()
    x, label = tensor(data), torch.from_numpy(data["label"])
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = nn.functional.cross_entropy(model(x[batch]), label[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        schedule.step()
        print(f"epoch {epoch + 1:2}  loss {total / len(x):.4f}", flush=True)
    return model.eval()


def accuracy(model: nn.Module, data: dict[str, Array]) -> float:
    """The share of samples whose top class is theirs."""
    with torch.no_grad():
        return float((model(tensor(data)).argmax(1).numpy() == data["label"]).mean())


def make(seed: int, folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    random = np.random.default_rng(seed)
    weight = weights(random)
    train, test = samples(random, weight, TRAIN), samples(random, weight, TEST)
    model = trained(train)
    program = torch.onnx.export(
        model, (tensor(test)[:2],), input_names=["signal"], output_names=["logits"], opset_version=18, dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )  # fmt: skip
    assert program is not None
    exported = program.model_proto
    for node in exported.graph.node:
        del node.metadata_props[:]  # where the exporter found its own files on this machine
    onnx.save(exported, folder / "model.onnx")
    np.savez_compressed(folder / "test.npz", weight=weight, step=np.float32(STEP), **test)
    about = {
        "made_by": "examples/sinusoid/train.py",
        "seed": seed,
        "versions": {"python": platform.python_version(), **{m: version(m) for m in ("torch", "onnx", "onnxscript", "numpy")}},
        "train_samples": TRAIN,
        "train_accuracy": round(accuracy(model, train), 4),
        "test_samples": TEST,
        "test_accuracy": round(accuracy(model, test), 4),
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(about, indent=2))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    make(int(arguments[0]) if arguments else SEED, Path(arguments[1]) if len(arguments) > 1 else FOLDER)
