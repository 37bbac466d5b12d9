"""The attention of a model on an input: weights of every head, and gradients there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.analysis.attention import attention_weights
from onnxplain.analysis.target import TargetLike
from onnxplain.explain.explainer import Explainer
from onnxplain.explain.text_front import TokenizerLike
from onnxplain.io.reader import ModelLike, read
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import load_registry
from onnxplain.passes import prepared
from onnxplain.results.attention_heads import AttentionHeads
from onnxplain.results.explanation import Explanation
from onnxplain.results.prediction import target_name
from onnxplain.runtime.decoder_inputs import TOKENS
from onnxplain.runtime.session import Providers

__all__ = ["attention_heads"]


def attention_heads(
    model: ModelLike,
    x: Any,
    target: TargetLike = None,
    *,
    tokenizer: TokenizerLike | None = None,
    providers: Providers = None,
    threads: int | None = None,
    labels: Sequence[str] = (),
    score: str = "logit",
    output: str | None = None,
) -> AttentionHeads:
    """The weights with which tokens look at each other, of every layer and head, and how the score depends on them.

    Fused attention is written out first; everything else is as in `Explainer`, whose layers the weights are.

    Args:
        model: a path, the bytes of a file, or a ModelProto.
        x: texts, or arrays, as an `Explainer` takes them.
        target: what the gradients are of, as an `Explainer` takes it.
        tokenizer: as in `onnxplain.Explainer`.
        providers: "auto", "cpu", "cuda", or ONNX Runtime's own list.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        labels: names of the classes, for targets.
        score: as in `onnxplain.rewrite`.
        output: as in `onnxplain.rewrite`.

    Returns:
        The weights and gradients, and what the tokens read.

    Raises:
        MethodError: the model has no self-attention.
        OnnxplainError: the model, the input or the target do not fit, as in `onnxplain.Explainer`.

    Example:
        >>> import numpy as np
        >>> import onnxplain
        >>> found = onnxplain.attention_heads("fixtures/gpt2/model.onnx", np.array([[5, 9, 2, 30]]), (3, 42))
        >>> [bool(np.allclose(array.sum(axis=-1), 1)) for array in found.weights.values()]
        [True, True]
    """
    names = [t.name for t in attention_weights(Graph(prepared(read(model), load_registry(None)).model))]
    explainer = Explainer(
        model, "gradient", layer=names, expose=["explained"], tokenizer=tokenizer, providers=providers, threads=threads,
        labels=labels, score=score, output=output,
    )  # fmt: skip
    found = explainer(x, target)
    weights = {name: np.asarray(found.outputs[name]) for name in names}
    count = len(next(iter(weights.values())))
    told = [target_name(found, i) for i in range(count)]
    return AttentionHeads(weights, dict(found.attributions), _tokens(found, weights[names[0]]), found.about, told)


def _tokens(found: Explanation, weights: np.ndarray[Any, Any]) -> list[list[str]]:
    """What the tokens of each sample read: pieces of a text, ids, or else their places."""
    if found.texts:
        return [list(text.pieces) for text in found.texts]
    ids = found.inputs.get(TOKENS)
    if isinstance(ids, np.ndarray) and ids.shape == (len(weights), weights.shape[-1]):
        return [[str(int(i)) for i in row] for row in ids]
    return [[str(i) for i in range(weights.shape[-1])]] * len(weights)
