"""A worker of the benchmark: AttnLRP by LXT, `python benchmarks/speed_lxt.py MODEL FOLDER THREADS`.

LXT 2.1 has patches for BERT of transformers < 5. For vision transformers it has CP-LRP alone: its functions for AttnLRP are put
into timm's network. A case is {"tool", "method", "batch"}.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parent.parent))

import torch
from lxt.efficient import monkey_patch
from lxt.efficient.patches import layer_norm_forward, patch_method, wrap_attention_forward
from lxt.efficient.rules import identity_rule_implicit
from speed_torch import Peer, gradient
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from onnxplain.bench.machine import versions
from onnxplain.bench.serving import Run, serve


def attend(module: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    """timm's self-attention, with LXT's wrapper around the attention itself."""
    n, tokens, width = x.shape
    q, k, v = module.qkv(x).reshape(n, tokens, 3, module.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    attended = wrap_attention_forward(lambda _, q, k, v: scaled_dot_product_attention(q, k, v))(None, q, k, v)
    return module.proj(attended.transpose(1, 2).reshape(n, tokens, width))


def patch(name: str) -> None:
    """LXT's rules, put into classes."""
    if name == "bert-base":
        import transformers
        from lxt.efficient.models import bert
        from transformers.models.bert import modeling_bert

        monkey_patch(modeling_bert, bert.attnLRP)
        transformers.BertForSequenceClassification = modeling_bert.BertForSequenceClassification
        return
    from timm.layers import LayerNorm
    from timm.models.vision_transformer import Attention

    patch_method(layer_norm_forward, LayerNorm)
    patch_method(layer_norm_forward, nn.LayerNorm)
    Attention.forward = attend


def main(name: str, folder: str, threads: str) -> None:
    """Serve."""
    torch.set_num_threads(int(threads))
    patch(name)
    peer = Peer(name, Path(folder))
    for module in peer.model.modules():
        if isinstance(module, nn.GELU):
            module.forward = partial(identity_rule_implicit, nn.functional.gelu)

    def make(case: dict[str, Any]) -> Run:
        if case["method"] != "attnlrp":
            raise ValueError(f"LXT has no {case['method']}")
        function, value, target = peer.function(case["batch"])

        def explain() -> dict[str, Any]:
            x = value()
            return {"attribution": (x * gradient(function, x, target)).detach().numpy()}

        return explain

    serve(make, versions=versions("torch", "lxt", "timm", "transformers"))


if __name__ == "__main__":
    main(*sys.argv[1:])
