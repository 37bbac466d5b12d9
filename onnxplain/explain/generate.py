"""Generation with a language model, and the attribution of every generated token to the tokens before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from onnxplain.errors import InputError, MethodError
from onnxplain.explain.explainer import Explainer
from onnxplain.explain.text_front import TokenizerLike, no_tokenizer
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.io.text.tokenizer import Tokenizer, tokenizer_beside
from onnxplain.ir.graph import Graph
from onnxplain.method.registry import find_method
from onnxplain.results.generation import Generation
from onnxplain.results.width import over_width
from onnxplain.runtime.decoder_inputs import TOKENS, decoder_inputs, head_sizes, presents
from onnxplain.runtime.progress import track
from onnxplain.runtime.session import Providers, Session

__all__ = ["generate"]


def generate(
    model: ModelLike,
    prompt: str | Sequence[int] | np.ndarray[Any, Any],
    method: str = "gradient",
    *,
    new_tokens: int = 20,
    continuation: str | Sequence[int] | None = None,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Sequence[int] = (),
    chunk: int = 8,
    providers: Providers = None,
    threads: int | None = None,
    progress: bool | None = None,
    texts: Sequence[str] = (),
    tokenizer: TokenizerLike | None = None,
    **options: Any,
) -> Generation:
    """Continue a prompt, and explain every generated token by the tokens before it.

    Generation runs the model with its cache where the file has one. Then the tokens go through one explained model,
    teacher-forced, `chunk` targets at a time; the target is chosen at run time, so that one file and one session serve all.

    Args:
        model: a language model: a path, the bytes of a file, or a ModelProto.
        prompt: a text, or token ids.
        method: a name from `onnxplain.methods()`.
        new_tokens: how many tokens to generate.
        continuation: a text, or token ids, to explain instead of generating any.
        temperature: 0 takes the top token; otherwise tokens are drawn from the softmax of logits / temperature.
        seed: of the draws.
        stop: token ids after which generation ends.
        chunk: targets explained at a time, which bounds the memory.
        providers: "auto", "cpu", "cuda", or ONNX Runtime's own list.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        progress: whether to show a progress bar; None shows it on a terminal.
        texts: the text of each token of prompt and continuation, for pictures and pages; a tokenizer knows them.
        tokenizer: a tokenizer.json, its folder, or a `Tokenizer`; None takes the one beside the model.
        **options: those of `onnxplain.Explainer`, and the method's own.

    Returns:
        The tokens and the matrix target × source. Attributions to rows of the embedding are added up for each token; those of
        methods that give slopes, such as gradients, are taken together by their norm.

    Raises:
        InputError: the prompt is no list of ids that the model knows, or the model takes inputs that do not follow from it.
        MethodError: the method describes all samples together.

    Example:
        >>> import onnxplain
        >>> made = onnxplain.generate("fixtures/gpt2/model.onnx", [5, 9, 2, 30], "input-x-gradient", new_tokens=3)
        >>> made.matrix.shape
        (3, 6)
    """
    source = read(model)
    speller = _tokenizer(source, tokenizer, prompt, continuation)
    ids = _checked(_spelled(prompt, speller), "prompt")
    if chunk < 1 or new_tokens < 1:
        raise InputError(f"chunk and new_tokens must be at least 1, not {chunk} and {new_tokens}")
    if find_method(method).overall:
        raise MethodError(f"method '{method}' speaks of all samples together, not of single tokens")
    heads = head_sizes(source.model)
    options = {"inputs": [TOKENS], **options}
    explainer = Explainer(model, method, providers=providers, threads=threads, progress=False, batch_size=chunk, **options)
    if "positions" not in explainer.about:
        raise InputError(
            "the model is no language model: its score is not [samples, positions, vocabulary] of the input 'input_ids'"
        )
    vocabulary = int(explainer.about["score"]["shape"][2])
    given = None if continuation is None else _checked(_spelled(continuation, speller, special=False), "continuation")
    for name, some in (("prompt", ids), ("continuation", given)):
        if some is not None and (some.min() < 0 or some.max() >= vocabulary):
            raise InputError(f"{name}: token ids lie between 0 and {vocabulary - 1}, found {some.min()} to {some.max()}")
    if given is None:
        session = Session(source.model, providers, folder=source.folder, threads=threads)
        decoder = _Decoder(session, Graph(source.copy().model), explainer.about["output"], heads)
        given = decoder.continued(ids, new_tokens, temperature, np.random.default_rng(seed), frozenset(stop), progress)
    tokens = np.concatenate([ids, given])
    if speller is not None and not texts:
        texts = [speller.piece(int(i)) if i < speller.size else str(i) for i in tokens]
    if texts and len(texts) != len(tokens):
        raise InputError(f"expected a text for each of the {len(tokens)} tokens, got {len(texts)}")
    matrix, scores = _explained(explainer, tokens, len(ids), chunk, heads, progress)
    return Generation(tokens, len(ids), matrix, scores, explainer.about, list(texts))


def _tokenizer(source: Source, given: TokenizerLike | None, *texts: Any) -> Tokenizer | None:
    """The tokenizer: the one given, or the one beside the model; None where there is none, and no text needs it."""
    place = given if given is not None else tokenizer_beside(source.folder)
    if place is None:
        if any(isinstance(t, str) for t in texts):
            raise InputError(no_tokenizer(source.folder))
        return None
    return place if isinstance(place, Tokenizer) else Tokenizer.read(place)


def _spelled(given: Any, tokenizer: Tokenizer | None, *, special: bool = True) -> Any:
    """The ids of a text; ids as they are."""
    if not isinstance(given, str):
        return given
    assert tokenizer is not None
    (encoded,) = tokenizer.encode([given], special=special)
    return np.array(encoded.ids, np.int64)


def _checked(given: Any, name: str) -> np.ndarray[Any, Any]:
    ids = np.asarray(given)
    if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
        raise InputError(f"the {name} must be a list of token ids, at least one; got {ids.dtype} {list(ids.shape)}")
    return ids.astype(np.int64)


class _Decoder:
    """Runs a model token by token."""

    def __init__(self, session: Session, graph: Graph, output: str, heads: dict[str, int]) -> None:
        self._session, self._inputs, self._heads, self._output = session, graph.inputs, heads, output
        self._presents = presents(graph)

    def continued(
        self, ids: np.ndarray[Any, Any], count: int, temperature: float, random: np.random.Generator, stop: frozenset[int],
        progress: bool | None,
    ) -> np.ndarray[Any, Any]:  # fmt: skip
        """The tokens that follow."""
        made: list[int] = []
        feeds = decoder_inputs(self._inputs, ids[None], self._heads)
        for _ in track(range(count), "generation", progress):
            found = self._session.run(feeds, [self._output, *self._presents.values()])
            made.append(_next(np.asarray(found[self._output])[0, -1], temperature, random))
            if made[-1] in stop:
                break
            feeds = self._following(np.concatenate([ids, made]), found)
        return np.array(made, np.int64)

    def _following(self, ids: np.ndarray[Any, Any], found: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """The inputs of the next step: the newest token alone where the file has a cache, else all tokens."""
        feeds = decoder_inputs(self._inputs, ids[None], self._heads)
        if not self._presents:
            return feeds
        for name in (TOKENS, "position_ids", "token_type_ids"):
            if name in feeds:
                feeds[name] = np.ascontiguousarray(feeds[name][:, -1:])
        if "cache_position" in feeds:
            feeds["cache_position"] = feeds["cache_position"][-1:]
        if "use_cache_branch" in feeds:
            feeds["use_cache_branch"] = np.ones(1, bool)
        return feeds | {past: found[present] for past, present in self._presents.items()}


def _next(logits: np.ndarray[Any, Any], temperature: float, random: np.random.Generator) -> int:
    if temperature <= 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return int(random.choice(len(weights), p=weights / weights.sum()))


def _explained(
    explainer: Explainer, tokens: np.ndarray[Any, Any], prompt: int, chunk: int, heads: dict[str, int], progress: bool | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:  # fmt: skip
    """The matrix target × source, and the score of every target. The last token is a target only, and goes through no model."""
    places = np.arange(prompt - 1, len(tokens) - 1)
    rows, scores = [], []
    for start in track(range(0, len(places), chunk), f"{explainer.method} of {len(places)} tokens", progress):
        part = places[start : start + chunk]
        copies = np.tile(tokens[:-1], (len(part), 1))
        found = explainer(decoder_inputs(explainer.inputs, copies, heads), [(int(p), int(tokens[p + 1])) for p in part])
        values = found.attribution
        if values.ndim == 3:
            values = over_width(values, bool(found.about["method_info"].get("per_unit")))
        rows.append(values)
        output = np.asarray(found.outputs[explainer.about["output"]])
        scores.append(output[np.arange(len(part)), part, tokens[part + 1]])
    matrix = np.concatenate(rows)
    matrix[np.arange(matrix.shape[1]) > places[:, None]] = 0  # exact zeros of a causal model may have the sign of a minus
    return matrix, np.concatenate(scores)
