"""Sweep over published architectures: export, explain, compare with autograd in float64; makes docs/architectures.md.

`python benchmarks/sweep.py [NAME ...]` needs torch, timm and transformers. Without names every architecture runs; with names
these run and the other rows stay. Nothing is downloaded: the weights are random, the transformers configurations are tiny.
Every architecture runs in a process of its own, under a time limit, so that none stops the others.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import datetime
import importlib
import io
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fixtures"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import onnx
import onnx.inliner
import torch
from common.architectures import normal, scramble
from common.fixture import Export
from common.torch_tools import export_dynamo, export_legacy, tensors
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import onnxplain

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "architectures.md"
ROWS = ROOT / "out" / "architectures.json"
PACKAGES = ["torch", "timm", "transformers", "onnx", "onnxscript", "onnxruntime", "onnx-graphsurgeon", "numpy"]
SECONDS = 150
"""What one architecture may take."""
AIM = 1e-4
"""Largest relative error that the table is meant to show."""
STEP, MOVES = 1e-6, 12
"""Where an error is larger: how far, relatively, and how often the input is moved to see whether the gradient jumps by itself."""
Arrays = dict[str, np.ndarray]


# -- the architectures -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """One architecture: the model, its inputs, and the table whose rows are explained where the inputs are tokens."""

    make: Callable[[], tuple[nn.Module, Arrays, str | None]]
    family: str


def picture(name: str, size: int = 64, **options: Any) -> Case:
    """A timm model for ten classes; `size` is the side of the pictures."""

    def make() -> tuple[nn.Module, Arrays, str | None]:
        model = import_timm().create_model(name, pretrained=False, num_classes=10, **options)
        return model, {"image": normal(1, 2, model.default_cfg["input_size"][0], size, size)}, None

    return Case(make, "timm")


class Text(nn.Module):
    """A language model as a function of its tensors, without the containers and caches around them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return output(self.model(input_ids=input_ids, attention_mask=attention_mask))


class Signal(nn.Module):
    """A model of pictures or sound as a function of them."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, values: Tensor) -> Tensor:
        return output(self.model(values))


def output(found: Any) -> Tensor:
    """The logits of a transformers output, the last hidden state where there are none."""
    return found.logits if "logits" in found else found.last_hidden_state


SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "pad_token_id": 0,
}


def transformer(kind: str, head: str, **options: Any) -> tuple[nn.Module, str]:
    """A small transformers model by model type and head, and the name of its token table within Text.

    An option that is None is left out of SMALL. A model of float input has no such table: "".
    """
    library = importlib.import_module("transformers")
    config = library.AutoConfig.for_model(kind, **{key: value for key, value in (SMALL | options).items() if value is not None})
    model = getattr(library, f"AutoModel{head}").from_config(config)
    if kind in FLOATS:
        return model, ""
    table = model.get_input_embeddings().weight
    return model, next(f"model.{name}" for name, parameter in model.named_parameters() if parameter is table)


def encoder(kind: str, head: str = "ForSequenceClassification", **options: Any) -> Case:
    """A text classifier, the second sentence padded; or with the head "" the bare encoder."""

    def make() -> tuple[nn.Module, Arrays, str | None]:
        model, embedding = transformer(kind, head, **options)
        ids = np.random.default_rng(2).integers(3, 64, (2, 8))
        mask = np.ones_like(ids)
        mask[1, 6:] = 0
        return Text(model), {"input_ids": ids * mask, "attention_mask": mask}, embedding

    return Case(make, "transformers")


def decoder(kind: str, **options: Any) -> Case:
    """A language model, explained at the top word of the last position."""

    def make() -> tuple[nn.Module, Arrays, str | None]:
        model, embedding = transformer(kind, "ForCausalLM", use_cache=False, **options)
        ids = np.random.default_rng(3).integers(3, 64, (2, 8))
        return Text(model), {"input_ids": ids, "attention_mask": np.ones_like(ids)}, embedding

    return Case(make, "transformers")


def signal(kind: str, shape: tuple[int, ...], head: str = "ForImageClassification", **options: Any) -> Case:
    """A transformers model of float input."""

    def make() -> tuple[nn.Module, Arrays, str | None]:
        return Signal(transformer(kind, head, **options)[0]), {"values": normal(4, *shape)}, None

    return Case(make, "transformers")


FLOATS = "vit deit beit dinov2 swin segformer poolformer mobilevit cvt wav2vec2 audio-spectrogram-transformer".split()
RGB = (2, 3, 32, 32)
PATCHES: dict[str, Any] = {"image_size": 32, "patch_size": 8}
GROUPED: dict[str, Any] = {"num_key_value_heads": 2}
CASES: dict[str, Case] = {
    **{
        name: picture(name)
        for name in (
            "resnet18 resnet26d resnet50 seresnet18 skresnet18 ecaresnet26t resnext26ts res2net50_14w_8s densenet121 dla34 "
            "mobilenetv2_050 mobilenetv3_small_100 mobilenetv4_conv_small mobileone_s0 efficientnet_b0 tf_efficientnet_b0 "
            "tinynet_e ghostnet_050 lcnet_035 mnasnet_small regnetx_002 regnety_002 repvgg_a0 nf_resnet26 rexnet_100 "
            "convnext_atto convnextv2_atto inception_next_atto hgnetv2_b0 starnet_s1 mambaout_femto selecsls42 cspresnet50 "
            "poolformer_s12 fastvit_t8 repvit_m0_9 edgenext_xx_small mobilevit_xxs mobilevitv2_050 efficientvit_b0 pvt_v2_b0"
        ).split()
    },
    **{
        name: picture(name, img_size=64)
        for name in (
            "vit_tiny_patch16_224 deit_tiny_patch16_224 mixer_s16_224 resmlp_12_224 gmlp_ti16_224 xcit_nano_12_p16_224 "
            "cait_xxs24_224 convit_tiny levit_128s coat_lite_tiny visformer_tiny"
        ).split()
    },
    "vgg11_bn": picture("vgg11_bn", 32),
    "inception_v3": picture("inception_v3", 96),
    "hrnet_w18_small": picture("hrnet_w18_small"),
    "swin_tiny_patch4_window7_224": picture("swin_tiny_patch4_window7_224", img_size=64, window_size=4),
    "swinv2_tiny_window8_256": picture("swinv2_tiny_window8_256", img_size=64, window_size=4),
    "eva02_tiny_patch14_224": picture("eva02_tiny_patch14_224", 56, img_size=56),
    "sequencer2d_s": picture("sequencer2d_s", 56, layers=(1, 1, 1, 1)),
    "botnet26t_256": picture("botnet26t_256", 64, img_size=64),
    "lambda_resnet26t": picture("lambda_resnet26t", 64),
    **{name: encoder(name) for name in "bert electra albert convbert mpnet ernie modernbert".split()},
    "squeezebert": encoder("squeezebert", embedding_size=32),
    **{name: encoder(name, pad_token_id=1) for name in "roberta camembert xlm-roberta".split()},
    "distilbert": encoder("distilbert", dim=32, n_layers=2, n_heads=4, hidden_dim=64),
    "deberta": encoder("deberta"),
    "deberta-v2": encoder("deberta-v2", relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=8),
    "funnel": encoder("funnel", num_hidden_layers=None, d_model=32, n_head=4, d_head=8, d_inner=64, block_sizes=[1, 1]),
    "xlnet": encoder("xlnet", max_position_embeddings=None, d_model=32, n_layer=2, n_head=4, d_inner=64),
    "fnet": encoder("fnet"),
    "t5 encoder": encoder("t5", "ForTextEncoding", d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
    "gpt2": decoder("gpt2", n_embd=32, n_layer=2, n_head=4, n_positions=64),
    "gpt_neo": decoder("gpt_neo", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], window_size=4),
    "gptj": decoder("gptj", n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    "opt": decoder("opt", ffn_dim=64, word_embed_proj_dim=32),
    "bloom": decoder("bloom", n_layer=2, n_head=4),
    "falcon": decoder("falcon"),
    "mamba": decoder("mamba", state_size=4),
    **{name: decoder(name) for name in "gpt_neox phi".split()},
    **{name: decoder(name, **GROUPED) for name in "stablelm llama mistral qwen2 cohere olmo2 granite starcoder2 glm".split()},
    **{name: decoder(name, head_dim=8, **GROUPED) for name in "gemma gemma2 gemma3_text qwen3 smollm3".split()},
    "mixtral": decoder("mixtral", _experts_implementation="eager", num_local_experts=4, num_experts_per_tok=2, **GROUPED),
    **{name: signal(name, RGB, **PATCHES) for name in ("vit", "beit", "dinov2")},
    "deit": signal("deit", RGB, architectures=["DeiTForImageClassification"], **PATCHES),
    "swin": signal(
        "swin",
        RGB,
        image_size=32,
        patch_size=2,
        embed_dim=16,
        depths=[1, 1],
        num_heads=[2, 2],
        window_size=4,
        num_attention_heads=None,
        num_hidden_layers=None,
    ),
    "segformer": signal("segformer", RGB, depths=[1] * 4, hidden_sizes=[8, 16, 24, 32], num_attention_heads=[1, 2, 2, 4]),
    "poolformer": signal("poolformer", RGB, depths=[1] * 4, hidden_sizes=[8, 16, 24, 32]),
    "mobilevit": signal("mobilevit", (2, 3, 64, 64), image_size=64, hidden_sizes=[16, 24, 32], neck_hidden_sizes=[8] * 7),
    "cvt": signal("cvt", RGB, embed_dim=[8, 16, 32], num_heads=[1, 2, 4], depth=[1, 2, 3]),
    "wav2vec2": signal(
        "wav2vec2",
        (2, 800),
        "ForAudioClassification",
        conv_dim=[16] * 3,
        conv_stride=[5, 2, 2],
        conv_kernel=[10, 3, 3],
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
    ),
    "audio-spectrogram-transformer": signal(
        "audio-spectrogram-transformer", (2, 64, 32), "ForAudioClassification", max_length=64, num_mel_bins=32, **PATCHES
    ),
}


class Anything(type):
    """A class whose every attribute is its own name."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class Stub(ModuleType):
    """A module that has every class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})


def import_timm() -> Any:
    """timm, also where torchvision is not installed: its models use no more of it than a class in isinstance."""
    try:
        importlib.import_module("torchvision")
        names: list[str] = []
    except ImportError:
        names = ["", ".datasets", ".ops", ".ops.misc", ".transforms", ".transforms.functional"]
    stubs = {f"torchvision{name}": Stub(f"torchvision{name}") for name in names}
    for name, module in stubs.items():
        sys.modules[name] = module
        if "." in name:
            parent, _, child = name.rpartition(".")
            setattr(stubs[parent], child, module)
    try:
        return importlib.import_module("timm")
    finally:
        for name in stubs:
            del sys.modules[name]


@torch.no_grad()
def made(case: Case) -> tuple[nn.Module, Arrays, str | None]:
    """The architecture with weights that let every part of it act, the blocks behind tiny or constant scales included."""
    torch.manual_seed(0)
    model, inputs, embedding = case.make()
    scramble(model)
    for parameter in model.parameters():
        if parameter.numel() > 1 and (parameter.abs().max() < 1e-2 or parameter.std() == 0):
            nn.init.uniform_(parameter, 0.1, 0.5)
    return model.eval().requires_grad_(False), inputs, embedding


# -- both gradients --------------------------------------------------------------------------------------------------


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


# -- one row ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One line of the table; `problem` says what went wrong, if anything did."""

    name: str
    family: str
    exporter: str = ""
    before: int = 0
    after: int = 0
    seconds: float = 0.0
    error: float | None = None
    noise: float | None = None
    kink: float | None = None
    problem: str = ""


def export(model: nn.Module, inputs: Arrays) -> tuple[onnx.ModelProto, str]:
    """By the current exporter, with a batch axis if it can; else by the old one."""
    fixed: dict[str, dict[int, str]] = {name: {} for name in inputs}
    attempts: dict[str, Callable[[], Export]] = {
        "dynamo": lambda: export_dynamo(model, inputs, "logits"),
        "dynamo, fixed batch": lambda: export_dynamo(model, inputs, "logits", fixed),
        "legacy": lambda: export_legacy(model, inputs, "logits"),
    }
    reasons: list[str] = []
    for name, attempt in attempts.items():
        found = attempted(attempt)
        if not isinstance(found, str):
            return onnx.inliner.inline_local_functions(found.model), name
        reasons.append(f"{name}: {found}")
    raise RuntimeError("not exported: " + "; ".join(reasons))


def attempted(attempt: Callable[[], Export]) -> Export | str:
    """The export, or what went wrong."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            return attempt()
    except Exception as failure:
        return told(failure)


def told(failure: Exception) -> str:
    """An error in one line, without the folders of this machine."""
    words = " ".join(f"{type(failure).__name__}: {failure}".split())
    return re.sub(r"(/[\w.+-]+){2,}/", "…/", words)[:400]


def measure(name: str) -> Row:
    """Export one architecture, explain it and compare."""
    torch.set_num_threads(1)
    row = Row(name, CASES[name].family)
    try:
        model, inputs, embedding = made(CASES[name])
        expected, target = gradient(model, inputs, embedding, torch.float64)
        if not np.isfinite(expected).all() or not np.abs(expected).reshape(len(expected), -1).any(1).all():
            raise ValueError("the reference gradient vanishes or is not finite")
        noise = error(gradient(model, inputs, embedding, torch.float32, target)[0], expected)
        exported, exporter = export(model, inputs)
        row = replace(row, exporter=exporter, before=len(exported.graph.node), noise=noise)
        start = time.process_time()
        explained = onnxplain.rewrite(exported)
        row = replace(row, seconds=time.process_time() - start, after=len(explained.graph.node))
        explanation = onnxplain.Explainer(exported, providers="cpu", threads=1)(inputs, target.tolist())
        row = replace(row, error=error(explanation.attributions[next(iter(inputs))], expected))
        if row.error is not None and not row.error <= AIM:
            near = (gradient(model, inputs, embedding, torch.float64, target, STEP)[0] for _ in range(MOVES))
            row = replace(row, kink=max(error(found, expected) for found in near))
        return row
    except Exception as failure:
        return replace(row, problem=told(failure))


def measure_apart(name: str) -> Row:
    """The same in a process of its own, forked so that the packages are imported once."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=lambda: there.send(measure(name)))
    process.start()
    there.close()
    try:
        if here.poll(SECONDS):
            row: Row = here.recv()
            return row
        return Row(name, CASES[name].family, problem=f"not finished in {SECONDS} s")
    except EOFError:
        process.join()
        return Row(name, CASES[name].family, problem=f"the process ended with status {process.exitcode}")
    finally:
        process.kill()
        process.join()


# -- the table -------------------------------------------------------------------------------------------------------


def line(row: Row) -> str:
    """One line of the table."""

    def number(value: float | None) -> str:
        return "" if value is None else f"{value:.1e}"

    nodes = f"{row.before} → {row.after or '?'}" if row.before else ""
    seconds = f"{row.seconds:.2f}" if row.after else ""
    result = number(row.error) if row.error is not None else row.problem.replace("|", "\\|")
    cells = [row.name, row.family, row.exporter, nodes, seconds, result, number(row.noise), number(row.kink)]
    return f"| {' | '.join(cells)} |"


def page(rows: list[Row], versions: dict[str, str]) -> str:
    """docs/architectures.md."""
    errors = {row.name: row.error for row in rows if row.error is not None}
    worst = max(errors, key=errors.__getitem__, default="")
    above = [name for name, value in errors.items() if not value <= AIM]
    failed = [row.name for row in rows if row.error is None]
    waiting = [name for name in CASES if name not in {row.name for row in rows}]
    summary = [
        f"{len(rows)} architectures, {len(errors)} compared, {len(errors) - len(above)} within {AIM:.0e}."
        + (f" Worst: {worst}, {errors[worst]:.1e}." if worst else ""),
        *([f"Above {AIM:.0e}: {', '.join(above)}."] if above else []),
        *([f"Without a number: {', '.join(failed)}."] if failed else []),
        *([f"Not run for this table: {', '.join(waiting)}."] if waiting else []),
    ]
    return "\n".join(
        [
            "# Architectures",
            "",
            "Made by `python benchmarks/sweep.py`, never by hand. Architectures of timm and transformers, with random",
            "weights and small inputs, exported by PyTorch, explained, and compared with PyTorch's autograd in float64.",
            "Language models are explained at the embedding, from the top word of the last position; all others from",
            "the top output, at their input or embedding.",
            "",
            "*Error* is the largest difference relative to the largest gradient, for the worse of two samples, in float32",
            "on ONNX Runtime. *torch float32* is the same error of PyTorch's own autograd in float32: the noise of the",
            "model itself. Nodes are those of the exported and of the explained graph; seconds are the CPU time of rewriting.",
            f"*Moved*, given where the error exceeds {AIM:.0e}: how much, at most, the float64 gradient itself changes when the",
            f"input is moved at random by {STEP:.0e} of itself, {MOVES} times. Where this is as large as the error, the input",
            "lies at a kink (a ReLU at zero, a tie in a pool, a switch of experts) or where float32 cannot resolve the slope.",
            "",
            *summary,
            "",
            ", ".join(f"{name} {number}" for name, number in versions.items()) + f"; {datetime.date.today().isoformat()}.",
            "",
            "| architecture | from | exporter | nodes | seconds | error | torch float32 | moved |",
            "|---|---|---|---|---|---|---|---|",
            *map(line, rows),
            "",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="*", help="; ".join(CASES))
    parser.add_argument("--until", metavar="HH:MM", default="99", help="begin nothing after this time")
    arguments = parser.parse_args()
    if unknown := set(arguments.name) - set(CASES):
        parser.error(f"no such architecture: {', '.join(sorted(unknown))}")
    versions = {"onnxplain": onnxplain.__version__} | {name: version(name) for name in PACKAGES}
    stored = json.loads(ROWS.read_text()) if ROWS.exists() else {}
    kept = stored["rows"] if arguments.name and stored.get("versions") == versions else []
    rows = {row["name"]: Row(**row) for row in kept}
    import_timm()
    importlib.import_module("transformers")
    export_dynamo(nn.Linear(2, 2), {"x": normal(0, 2, 2)}, "y")  # imports the exporter
    for name in arguments.name or CASES:
        if f"{datetime.datetime.now():%H:%M}" >= arguments.until:
            break
        rows[name] = measure_apart(name)
        print(line(rows[name]), flush=True)
        ordered = [rows[key] for key in CASES if key in rows]
        ROWS.parent.mkdir(exist_ok=True)
        ROWS.write_text(json.dumps({"versions": versions, "rows": [asdict(row) for row in ordered]}, indent=1))
        TABLE.write_text(page(ordered, versions))


if __name__ == "__main__":
    main()
