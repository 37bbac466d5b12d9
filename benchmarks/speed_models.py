"""The architectures of the benchmark, with random weights: what a network costs does not depend on them.

`python benchmarks/speed_models.py NAME FOLDER` writes NAME.onnx, NAME.pt and NAME.npz (eight samples, and the target of each).
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

OPSET = 18
SAMPLES = 8
TOKENS = 128
"""Length of a text."""


def vgg16() -> nn.Module:
    """Simonyan, Zisserman 2014, configuration D."""
    layers: list[nn.Module] = []
    inside = 3
    for outside in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if outside:
            layers += [nn.Conv2d(inside, outside, 3, padding=1), nn.ReLU()]
            inside = outside
        else:
            layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(512 * 7 * 7, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)]
    return nn.Sequential(*layers, nn.Flatten(), *head)


def digits() -> nn.Module:
    """The network of fixtures/digits."""
    layers = [nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(24 * 4 * 4, 10))


def of_timm(name: str, **options: object) -> Callable[[], nn.Module]:
    """An architecture by its name in timm."""

    def make() -> nn.Module:
        import timm

        return timm.create_model(name, pretrained=False, **options)

    return make


class Text(nn.Module):
    """BERT-base for two classes, as a function of tokens and mask, or of embedded tokens."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification

        self.model = BertForSequenceClassification(BertConfig())

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    def embed(self, input_ids: Tensor) -> Tensor:
        """The vectors that tokens look up [n, tokens, 768]."""
        return self.model.bert.embeddings.word_embeddings(input_ids)

    def from_embedded(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        """The logits of embedded tokens."""
        return self.model(inputs_embeds=embedded, attention_mask=attention_mask).logits


MODELS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": of_timm("resnet50"),
    "vgg16": vgg16,
    "vit-b16": of_timm("vit_base_patch16_224"),
    "bert-base": Text,
    "mobilenetv3": of_timm("mobilenetv3_large_100"),
    "convnext-tiny": of_timm("convnext_tiny", ls_init_value=0.5),
    "digits": digits,
}
NORMS = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


@torch.no_grad()
def randomize(model: nn.Module) -> nn.Module:
    """Weights under which neither signal nor gradient dies out, in eval mode: He's for convolutions, norms around 1."""
    convolutional = sum(isinstance(m, nn.Conv2d) for m in model.modules()) > 1
    for module in model.modules():
        if isinstance(module, NORMS):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
        if convolutional and isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
    return model.eval().requires_grad_(False)


def samples(name: str, model: nn.Module) -> dict[str, np.ndarray]:
    """Eight samples by input name; every picture and text is another."""
    random = np.random.default_rng(0)
    if name == "bert-base":
        ids = random.integers(1000, 30000, (SAMPLES, TOKENS))
        return {"input_ids": ids, "attention_mask": np.ones((SAMPLES, TOKENS), np.int64)}
    shape = (SAMPLES, 1, 8, 8) if name == "digits" else (SAMPLES, 3, 224, 224)
    return {"image": random.standard_normal(shape).astype(np.float32).clip(-4, 4)}


def load(name: str, folder: Path) -> nn.Module:
    """The model with the weights that were exported."""
    model = MODELS[name]()
    model.load_state_dict(torch.load(folder / f"{name}.pt", weights_only=True))
    return model.eval().requires_grad_(False)


def export(name: str, folder: Path) -> None:
    """Write the weights, the samples and the ONNX file, with a free batch size, by torch.onnx.export(dynamo=True)."""
    torch.manual_seed(0)
    model = randomize(MODELS[name]())
    arrays = samples(name, model)
    tensors = tuple(torch.from_numpy(a) for a in arrays.values())
    with torch.no_grad():
        target = model(*tensors).argmax(1).numpy()
    torch.save(model.state_dict(), folder / f"{name}.pt")
    np.savez(folder / f"{name}.npz", target=target, **arrays)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, tensors, folder / f"{name}.part", dynamo=True, opset_version=OPSET, input_names=list(arrays),
            output_names=["logits"], dynamic_shapes=tuple({0: batch} for _ in arrays), external_data=False, verbose=False,
        )  # fmt: skip
    (folder / f"{name}.part").replace(folder / f"{name}.onnx")


if __name__ == "__main__":
    export(sys.argv[1], Path(sys.argv[2]))
