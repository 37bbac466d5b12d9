"""Generation with a language model, and the attribution of every generated token to the tokens before it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.analysis.score import find_score
from onnxplain.analysis.token_tables import most_positions
from onnxplain.errors import InputError, MethodError, MissingDependencyError
from onnxplain.explain.explainer import Explainer
from onnxplain.explain.text_front import TokenizerLike, no_tokenizer
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.io.text.tokenizer import Tokenizer, tokenizer_beside
from onnxplain.ir.graph import Graph
from onnxplain.method.registry import find_method
from onnxplain.results.generation import Generation
from onnxplain.results.width import over_width
from onnxplain.runtime.decoder import Decoder, Sampling
from onnxplain.runtime.decoder_inputs import TOKENS, decoder_inputs, head_sizes
from onnxplain.runtime.progress import track
from onnxplain.runtime.session import Providers, Session

__all__ = ["generate"]

Array = np.ndarray[Any, Any]


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
    sampling = Sampling(temperature, seed, frozenset(stop))
    if chunk < 1 or new_tokens < 1:
        raise InputError(f"chunk and new_tokens must be at least 1, not {chunk} and {new_tokens}")
    if find_method(method).overall:
        raise MethodError(f"method '{method}' speaks of all samples together, not of single tokens")
    speller = _Speller.of(source, tokenizer, (prompt, continuation))
    ids = speller.ids(prompt, "prompt")
    given = None if continuation is None else speller.ids(continuation, "continuation")
    heads = head_sizes(source.model)
    options = {"inputs": [TOKENS], **options, "expose": ("score", *options.get("expose", ()))}
    explainer = Explainer(model, method, providers=providers, threads=threads, progress=False, batch_size=chunk, **options)
    if "positions" not in explainer.about:
        raise InputError(
            "the model is no language model: its score is not [samples, positions, vocabulary] of the input 'input_ids'"
        )
    vocabulary = int(explainer.about["score"]["shape"][2])
    speller = speller.fitting(vocabulary)
    for name, some in (("prompt", ids), ("continuation", given)):
        if some is not None and (some.min() < 0 or some.max() >= vocabulary):
            raise InputError(f"{name}: token ids lie between 0 and {vocabulary - 1}, found {some.min()} to {some.max()}")
    graph, output = explainer.prepared_graph, explainer.about["output"]
    _check_length(_positions(graph), len(ids), new_tokens if given is None else len(given), given is not None)
    session = Session(source.model, providers, folder=source.folder, threads=threads)
    # operators: the one that makes probabilities, of which draws need the logarithms
    probabilities = find_score(graph, output, "logit").activation == "Softmax"
    decoder = Decoder(session, Graph(source.copy().model), output, heads, probabilities=probabilities)
    if given is None:
        given = decoder.continued(ids, new_tokens, sampling, progress)
    tokens = np.concatenate([ids, given])
    if texts and len(texts) != len(tokens):
        raise InputError(f"expected a text for each of the {len(tokens)} tokens, got {len(texts)}")
    ahead = len(given) > 1 and decoder.looks_ahead(tokens[:-1])
    del session, decoder  # a large model is held once, not twice
    matrix, scores = _explained(explainer, tokens, len(ids), chunk, heads, ahead, progress)
    return Generation(tokens, len(ids), matrix, scores, explainer.about, list(texts) or speller.texts(tokens))


@dataclass(frozen=True)
class _Speller:
    """Ids of texts, and texts of ids.

    Attributes:
        tokenizer: None where there is none, or none that can be read and nothing was given that needs it.
        needed: whether a text was given, or the tokenizer itself.
    """

    tokenizer: Tokenizer | None
    needed: bool

    @classmethod
    def of(cls, source: Source, given: TokenizerLike | None, asked: Sequence[Any]) -> _Speller:
        """The tokenizer that was given, or the one beside the model."""
        needed = given is not None or any(isinstance(text, str) for text in asked)
        place = given if given is not None else tokenizer_beside(source.folder)
        if place is None and needed:
            raise InputError(no_tokenizer(source.folder))
        try:
            return cls(place if place is None or isinstance(place, Tokenizer) else Tokenizer.read(place), needed)
        except (InputError, MissingDependencyError) as error:
            if needed:
                raise
            return cls._without(error)

    @classmethod
    def _without(cls, why: Exception) -> _Speller:
        """Ids were given, and the tokenizer that happens to lie there would only have told what they read."""
        warnings.warn(f"tokens are shown by their numbers: {why}", UserWarning, stacklevel=4)
        return cls(None, False)

    def fitting(self, vocabulary: int) -> _Speller:
        """The same, if the tokenizer is of as many tokens as the model scores."""
        if self.tokenizer is not None:
            try:
                self.tokenizer.check_rows(vocabulary, TOKENS)
            except InputError as error:
                if self.needed:
                    raise
                return self._without(error)
        return self

    def ids(self, given: str | Sequence[int] | Array, name: str) -> Array:
        """Token ids, int64 [tokens]; a continuation is spelled without special tokens."""
        if isinstance(given, str):
            assert self.tokenizer is not None
            (encoded,) = self.tokenizer.encode([given], special=name == "prompt")
            if not len(encoded):
                raise InputError(f"the {name} {given!r} has no tokens")
            return np.array(encoded.ids, np.int64)
        ids = np.asarray(given)
        if ids.ndim != 1 or not ids.size or ids.dtype.kind not in "iu":
            raise InputError(
                f"the {name} must be one text, or a list of token ids, at least one; got {ids.dtype} {list(ids.shape)}"
            )
        return ids.astype(np.int64)

    def texts(self, tokens: Array) -> list[str]:
        """What each token reads; nothing where nobody knows."""
        return [] if self.tokenizer is None else [self.tokenizer.piece(int(i)) for i in tokens]


def _positions(graph: Graph) -> int | None:
    """How many tokens the model has positions for; None where nothing says."""
    inputs = {t.name: t for t in graph.inputs}
    return most_positions(graph, inputs[TOKENS], inputs.get("position_ids"))


def _check_length(most: int | None, prompt: int, more: int, given: bool) -> None:
    """Refuse what the model has no positions for. The last token is predicted only, and needs none.

    Raises:
        InputError: the tokens are too many.
    """
    if most is None or prompt + more - 1 <= most:
        return
    room = most + 1 - prompt
    advice = "shorten the prompt" if room < 1 else "shorten them" if given else f"ask for at most {room} new tokens"
    what = f"a continuation of {more}" if given else f"{more} new ones"
    raise InputError(f"{prompt} tokens and {what} are too many for the model, which has {most} positions: {advice}")


def _explained(
    explainer: Explainer, tokens: Array, prompt: int, chunk: int, heads: Mapping[str, int], ahead: bool, progress: bool | None
) -> tuple[Array, Array]:
    """The matrix target × source, and the score of every target. The last token is a target only, and goes through no model.

    Targets share a run, where each has copies of all tokens, if no position looks `ahead`; else each has only those before it.
    """
    places = np.arange(prompt - 1, len(tokens) - 1)
    rows, scores = [], []
    step = 1 if ahead else chunk
    for start in track(range(0, len(places), step), f"{explainer.method} of {len(places)} tokens", progress):
        part = places[start : start + step]
        known = tokens[: part[-1] + 1] if ahead else tokens[:-1]
        feeds = decoder_inputs(explainer.inputs, np.tile(known, (len(part), 1)), heads)
        found = explainer(feeds, [(int(p), int(tokens[p + 1])) for p in part])
        values = found.attribution
        if values.ndim == 3:
            values = over_width(values, bool(found.about["method_info"].get("per_unit")))
        rows.append(np.pad(values, ((0, 0), (0, len(tokens) - 1 - len(known)))))
        explained = np.asarray(found.outputs[explainer.about["score"]["tensor"]])
        scores.append(explained[np.arange(len(part)), part, tokens[part + 1]])
    matrix = np.concatenate(rows)
    matrix[np.arange(matrix.shape[1]) > places[:, None]] = 0  # exact zeros of a causal model may have the sign of a minus
    return matrix, np.concatenate(scores)
