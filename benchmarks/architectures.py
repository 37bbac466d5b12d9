"""The architectures of the sweep: of timm as they are published, of transformers with tiny configurations; weights are random."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from common.architectures import normal, scramble
from torch import Tensor, nn

__all__ = ["CASES", "Arrays", "Case", "import_timm", "made"]

Arrays = dict[str, np.ndarray]


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
