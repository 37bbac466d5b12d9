"""A worker of the benchmark: explanations by PyTorch, Captum and Zennit, `python benchmarks/speed_torch.py MODEL FOLDER THREADS`.

A case is {"tool", "method", "batch"}, and for path methods "steps" and "chunk". A run goes from arrays in memory to an array in
memory. Weights take no gradients, and every tool is told the target.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from speed_models import Text, load
from torch import Tensor, nn

from onnxplain.bench.machine import versions
from onnxplain.bench.serving import Run, serve

BOX = (-4.0, 4.0)
"""Bounds of the pixels for the box rule."""
EPSILON = 1e-6
"""The stabilizer of every rule."""

Explain = Callable[[Tensor, Tensor], Tensor]
"""Attribution of a batch at its targets."""


class Peer:
    """One model and its samples."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.model = name, load(name, folder)
        with np.load(folder / f"{name}.npz") as data:
            self.data = {key: data[key] for key in data.files}

    def function(self, batch: int) -> tuple[nn.Module | Callable[[Tensor], Tensor], Callable[[], Tensor], Tensor]:
        """The model as a function of what is explained, what makes that, and the target."""
        target = torch.from_numpy(self.data["target"][:batch])
        arrays = {key: np.ascontiguousarray(a[:batch]) for key, a in self.data.items() if key != "target"}
        if isinstance(self.model, Text):
            model, ids, mask = self.model, arrays["input_ids"], torch.from_numpy(arrays["attention_mask"])
            return lambda e: model.from_embedded(e, mask[: len(e)]), lambda: model.embed(torch.from_numpy(ids)), target
        return self.model, lambda: torch.from_numpy(arrays["image"]), target

    def make(self, case: dict[str, Any]) -> Run:
        """What explains the batch of a case."""
        function, value, target = self.function(case["batch"])
        explain = TOOLS[case["tool"]](function, case)
        return lambda: {"attribution": explain(value(), target).detach().numpy()}


def gradient(function: Callable[[Tensor], Tensor], x: Tensor, target: Tensor) -> Tensor:
    """∂ of each sample's target by x."""
    x = x.detach().requires_grad_()
    (found,) = torch.autograd.grad(function(x).gather(1, target[:, None]).sum(), x)
    return found


def by_torch(function: Any, case: dict[str, Any]) -> Explain:
    """Autograd; the gradient times the input for the method of that name."""
    if case["method"] == "forward":
        return torch.no_grad()(lambda x, target: function(x))
    return partial(gradient, function)


def by_compile(function: Any, case: dict[str, Any]) -> Explain:
    """The same, with forward and backward compiled by inductor."""
    return partial(gradient, torch.compile(function, dynamic=False))


def by_captum(function: Any, case: dict[str, Any]) -> Explain:
    """Captum's class of the method."""
    from captum import attr

    method = case["method"]
    if method == "gradient":
        return lambda x, target: attr.Saliency(function).attribute(x, target=target, abs=False)
    if method == "input-x-gradient":
        return lambda x, target: attr.InputXGradient(function).attribute(x, target=target)
    if method == "integrated-gradients":
        return lambda x, target: attr.IntegratedGradients(function).attribute(
            x, target=target, n_steps=case["steps"], internal_batch_size=case["chunk"]
        )
    if method == "smoothgrad":
        return lambda x, target: attr.NoiseTunnel(attr.Saliency(function)).attribute(
            x, target=target, nt_type="smoothgrad", nt_samples=case["steps"], nt_samples_batch_size=case["chunk"], stdevs=1.0,
            abs=False,
        )  # fmt: skip
    if method == "lrp-epsilon":
        return captum_lrp(function)
    raise ValueError(f"Captum has no {method}")


def captum_lrp(model: nn.Module) -> Explain:
    """Captum's LRP with the ε rule at linear layers; pooling and Flatten pass the gradient."""
    from captum.attr import LRP
    from captum.attr._utils.lrp_rules import EpsilonRule

    if not isinstance(model, nn.Sequential):
        raise TypeError("Captum's LRP takes networks whose layers are modules, each used once")
    model = copy.deepcopy(model)

    def explain(x: Tensor, target: Tensor) -> Tensor:
        for module in model:  # Captum takes the rules away after every call
            if not isinstance(module, nn.ReLU):
                exact = isinstance(module, nn.MaxPool2d | nn.Flatten)
                module.rule = EpsilonRule(epsilon=1e-30 if exact else EPSILON)
                module.rule.STABILITY_FACTOR = 1e-30 if exact else EPSILON
        return LRP(model).attribute(x.clone(), target=target)

    return explain


def by_zennit(model: nn.Module, case: dict[str, Any]) -> Explain:
    """Zennit's composite of the method, with its canonizer for BatchNormalization and, in residual networks, its Sum."""
    from zennit import composites, rules
    from zennit.attribution import Gradient
    from zennit.types import Linear

    base = composites.layer_map_base(EPSILON)

    def everywhere(rule: Any) -> Any:
        return composites.LayerMapComposite(layer_map=[*base, (Linear, rule)])

    makers: dict[str, Callable[[], Any]] = {
        "lrp-epsilon": lambda: everywhere(rules.Epsilon(epsilon=EPSILON)),
        "lrp-alpha2-beta1": lambda: everywhere(rules.AlphaBeta(alpha=2.0, beta=1.0, stabilizer=EPSILON)),
        "lrp-epsilon-plus": composites.EpsilonPlus,
        "lrp-epsilon-alpha2-beta1": composites.EpsilonAlpha2Beta1,
        "lrp-epsilon-gamma-box": lambda: composites.EpsilonGammaBox(low=torch.tensor(BOX[0]), high=torch.tensor(BOX[1])),
    }
    composite = makers[case["method"]]()
    model = copy.deepcopy(model)  # canonizers change it
    composite.canonizers = zennit_canonizers(model)
    attributor = Gradient(model=model, composite=composite)

    def start(output: Tensor, target: Tensor) -> Tensor:
        return nn.functional.one_hot(target, output.shape[1]) * output

    def explain(x: Tensor, target: Tensor) -> Tensor:
        return attributor(x, partial(start, target=target))[1]

    attributor.__enter__()  # canonized once, as in Zennit's examples
    return explain


def zennit_canonizers(model: nn.Module) -> list[Any]:
    """BatchNormalization merged into the layer before it; the sums of timm's residual blocks as Zennit's Sum."""
    from zennit.canonizers import AttributeCanonizer, SequentialMergeBatchNorm
    from zennit.layer import Sum

    def block(name: str, module: nn.Module) -> dict[str, Any] | None:
        if type(module).__name__ != "Bottleneck":
            return None
        return {"forward": partial(residual, module), "canonizer_sum": Sum()}

    return [SequentialMergeBatchNorm(), AttributeCanonizer(block)]


def residual(block: Any, x: Tensor) -> Tensor:
    """A block of ResNet-50, with its sum as a module."""
    y = block.act1(block.bn1(block.conv1(x)))
    y = block.act2(block.bn2(block.conv2(y)))
    y = block.bn3(block.conv3(y))
    shortcut = x if block.downsample is None else block.downsample(x)
    return block.act3(block.canonizer_sum(torch.stack([y, shortcut], dim=-1)))


TOOLS: dict[str, Callable[[Any, dict[str, Any]], Explain]] = {
    "torch": by_torch,
    "compile": by_compile,
    "captum": by_captum,
    "zennit": by_zennit,
}


def main(name: str, folder: str, threads: str) -> None:
    """Serve."""
    torch.set_num_threads(int(threads))
    peer = Peer(name, Path(folder))
    serve(peer.make, versions=versions("torch", "captum", "zennit", "timm", "transformers"))


if __name__ == "__main__":
    main(*sys.argv[1:])
