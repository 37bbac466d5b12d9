"""rewrite: a model in, a model out that also returns its explanation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from onnxplain._version import __version__
from onnxplain.analysis.cam_layer import map_layer
from onnxplain.analysis.explained import Explained, find_layer_inputs, find_layers, find_origins, find_sources
from onnxplain.analysis.score import Score, find_score
from onnxplain.analysis.target import Target, TargetLike, emit_seed, nan_beyond, parse_target
from onnxplain.analysis.tensor_names import resolve, resolved
from onnxplain.builder.builder import Builder
from onnxplain.errors import MethodError, ModelError, TargetError
from onnxplain.io.reader import ModelLike, Source, read
from onnxplain.ir.gc import collector_at_rest
from onnxplain.ir.graph import Graph
from onnxplain.ir.registry import Registry, load_registry
from onnxplain.ir.tensor import Tensor, same_dim
from onnxplain.method.attribution import all_seeds, attributions
from onnxplain.method.context import Baseline, Job
from onnxplain.method.masks import Masks, emit_masks
from onnxplain.method.registry import Lands, Method, graph_method
from onnxplain.passes import expanded, prepared, simplified
from onnxplain.passes.lowering import lowered
from onnxplain.passes.microbatch import check_rows, in_batches, samples_of
from onnxplain.passes.parts import sum_parts
from onnxplain.propagation.composite import Composite

__all__ = ["CONTRACT", "METADATA_KEY", "Rewritten", "Rules", "rewrite", "rewrite_source"]

METADATA_KEY = "onnxplain"
"""The key of `metadata_props` under which an explained model describes itself."""

CONTRACT = 1
"""The version of the contract an explained model follows: raised when a host has to change (docs/contract.md)."""

Rules = "str | Path | Iterable[str | Path] | None"


class Watching(Protocol):
    """Looks at a walk: `start` before it, with `job.watch` and `job.b.notes` to set, `finish` after it, with `job.reports`."""

    def start(self, job: Job) -> None: ...
    def finish(self, job: Job) -> None: ...


@dataclass(frozen=True)
class Rewritten:
    """An explained model with what is known about it; `about` is what its metadata says."""

    model: onnx.ModelProto
    about: dict[str, Any]
    source: Source


def rewrite(
    model: ModelLike,
    method: str = "gradient",
    *,
    target: TargetLike = None,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    layer: str | Sequence[str] | None = None,
    baseline: Baseline = None,
    score: str = "logit",
    mask: Masks | None = None,
    only_attribution: bool = False,
    batch_size: int | None = None,
    rules: str | Path | Iterable[str | Path] | None = None,
    **options: Any,
) -> onnx.ModelProto:
    """Write a model that returns its prediction and its explanation.

    The backward pass (or the repeated forward passes) of the method become nodes of the graph. The result holds standard
    operators only and runs wherever ONNX Runtime runs; docs/contract.md says what a host may rely on.

    Args:
        model: a path, the bytes of a file, or a ModelProto, which is left as it is.
        method: a name from `onnxplain.methods()`.
        target: what to explain. None: each sample's top prediction. An index. A tuple with one choice per axis of the output,
            where ":" sums over an axis and "top" takes the greatest. {index: weight}: a contrast. "all": every element.
            "input": one index per sample, given at run time. "seed": an arbitrary vector, given at run time.
        output: the output (or inner tensor) to explain; None for the first one that carries scores.
        inputs: the inputs to explain; None for all that the output depends on.
        layer: explain inner tensors instead of inputs: tensor names, node names, operators with their number ("Conv:-1"), or
            module scopes. Methods that need a layer besides the inputs take it from here (`onnxplain methods NAME` says so).
        baseline: the reference input, for methods that compare with one: a number, an array, "input" for one given at run
            time, or a mapping from input names to these.
        score: "logit" explains what goes into a final softmax or sigmoid, "probability" the output as it is.
        mask: what may pass at a layer, by the layer's name: the numbers of the channels to keep, an array to multiply with, or
            "input" for one given at run time.
        only_attribution: leave the model's own outputs out, for hosts that have the prediction already.
        batch_size: samples per run. The file then loops over the batch, so many samples at a time, which bounds its memory but
            not the size of a batch. None runs all samples at once.
        rules: folders with rule files of your own.
        **options: the method's own options; `onnxplain methods NAME` lists them.

    Returns:
        The explained model. Its inputs are the model's own, then those that the target, the baseline or an option asks for at
        run time. Its outputs are the model's own, then one `<name>_attribution` per explained tensor in the tensor's shape and
        type. With target="all" an attribution has one more axis, after that of the samples, which counts the targets.

    Raises:
        OnnxplainError: one of its subclasses. The message says what was expected, what was found and what to do.

    Example:
        >>> from onnxplain import rewrite
        >>> explained = rewrite("fixtures/digits/model.onnx", "saliency", target="input")
        >>> [i.name for i in explained.graph.input]
        ['image', 'target']
        >>> [o.name for o in explained.graph.output]
        ['logits', 'image_attribution']
    """
    wanted = [layer] if isinstance(layer, str) else layer
    return rewrite_source(
        read(model, hold=True), method, target=target, output=output, inputs=inputs, layer=wanted, baseline=baseline, score=score,
        mask=mask, only_attribution=only_attribution, batch_size=batch_size, registry=load_registry(rules), options=options,
        whole=True,
    ).model  # fmt: skip


@collector_at_rest
def rewrite_source(
    source: Source,
    method: str = "gradient",
    *,
    target: TargetLike = None,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    layer: Sequence[str] | None = None,
    baseline: Baseline = None,
    score: str = "logit",
    mask: Masks | None = None,
    only_attribution: bool = False,
    batch_size: int | None = None,
    registry: Registry | None = None,
    options: dict[str, Any] | None = None,
    expose: Sequence[str] = (),
    watching: Watching | None = None,
    whole: bool = False,
) -> Rewritten:
    """As `rewrite`, for a model already read, which is used up. The inner tensors named in `expose` become outputs too,
    "score" stands for the tensor the walk starts from and "explained" for those that get an attribution; `watching` is told of
    every call of the walk, and may report more. With `whole`, weights held in the model's file are put into the result."""
    found = graph_method(method)
    chosen = found.checked(options or {})
    if baseline is not None and not found.compares(chosen):
        raise MethodError(f"method '{method}' compares with no baseline; leave --baseline out or choose another method")
    parsed = parse_target(target)
    registry = registry or load_registry()
    _refuse_explained(source)
    source = prepared(source, registry)
    output = None if output is None else resolve(source.model, output)
    layer, expose = (
        resolved(source.model, layer),
        [e if e in ("score", "explained") else resolve(source.model, e) for e in expose],
    )
    masked = {name: resolve(source.model, name) for name in mask or {}}
    source = simplified(expanded(source, found.expands(options or {}), registry), (output, *layer, *masked.values(), *expose))
    graph = Graph(source.model)
    b = Builder(graph)
    scored = find_score(graph, output, score)
    lands, picks = found.landing(chosen)
    explained, layers = explained_tensors(graph, scored, inputs, layer, registry, found.name, lands, picks=picks)
    batched = is_batched(graph, scored.tensor)
    run_time: dict[str, Tensor] = {}
    job = Job(graph, b, registry, explained, scored.tensor, scored.tensor, scored.ranked, batched, baseline, layers=layers)
    samples = None if batch_size is None else samples_of(job, batch_size)
    job.origins = find_origins(graph, scored.tensor, registry.role)
    job.layer_inputs = find_layer_inputs(graph, explained, inputs, registry.role)
    job.masks = emit_masks(job, mask or {}, masked)
    if watching is not None:
        watching.start(job)
    with b.scope("onnxplain/target"):
        if parsed.kind == "all":
            job.basis = all_seeds(job)
        else:
            job.seed = _seed(job, parsed, run_time)
    made = attributions(job, found, chosen)
    if watching is not None:
        watching.finish(job)
    if "target" in run_time:
        with b.scope("onnxplain/target"):
            made = [nan_beyond(b, a, job.target, run_time["target"], batched=batched) for a in made]
            job.reports = {k: nan_beyond(b, r, job.target, run_time["target"], batched=batched) for k, r in job.reports.items()}
    shown_at = layers if lands == "layer" else explained
    if lands == "map":
        shown_at = tuple(replace(e, tensor=layers[0].tensor, kind="map") for e in explained)
    names = [graph.fresh(f"{e.name}_attribution") for e in shown_at]
    results = [_named(b, t, n) for t, n in zip(made, names, strict=True)]
    reports = {name: graph.fresh(name) for name in job.reports}
    results += [_named(b, t, reports[name]) for name, t in job.reports.items()]
    extra = [*run_time.values(), *job.extra_inputs.values()]
    words = {"score": [scored.tensor], "explained": [e.tensor for e in explained]}
    shown = [t for name in expose for t in words.get(name) or [graph.tensor(name)]]
    own = set() if only_attribution else {t.name for t in graph.outputs}
    results += [t for t in dict.fromkeys(shown) if t.name not in own]
    model = graph.finish(lowered(b), b.constants, results, inputs=extra, alone=only_attribution)
    if sum_parts(model):
        source = replace(source, passes=(*(source.passes or ()), "sum-parts"))
    if samples is not None:
        check_rows(job)
        chosen_at = (run_time["target"].name,) if "target" in run_time else ()
        model = in_batches(model, replace(samples, chosen=chosen_at))
    if whole and source.held is not None:  # while a thread still computes the digest, which is asked for next
        source.held.embed(model)
    about = describe(found, chosen, parsed, scored, shown_at, names, source, batched, run_time, job)
    about |= {"reports": reports, "batch_size": batch_size}
    write_metadata(model, about)
    return Rewritten(model, about, source)


def explained_tensors(
    graph: Graph, scored: Score, inputs: Sequence[str] | None, layer: Sequence[str] | None, registry: Registry, method: str,
    lands: Lands = "explained", *, picks: bool = False,
) -> tuple[tuple[Explained, ...], tuple[Explained, ...]]:  # fmt: skip
    """The tensors that a method explains, inputs or layers, and the layers that it looks at beside them.

    Raises:
        MethodError: the method needs a layer, or just one, and that is not what was named.
    """
    layers = find_layers(graph, scored.tensor, layer, registry.role) if layer else ()
    if lands == "explained":
        return layers or find_sources(graph, scored.tensor, inputs, registry.role), ()
    sources = find_sources(graph, scored.tensor, inputs, registry.role)
    if (lands != "layer" and len(layers) > 1) or not (layers or picks):
        count = "needs a layer" if lands == "layer" else "goes through one layer"
        named = ", ".join(f"'{e.name}'" for e in layers) or "none"
        raise MethodError(f"method '{method}' {count}, as --layer Relu:-1 (onnxplain plan lists them); named: {named}")
    if not picks:
        return sources, layers
    source, picked = map_layer(graph, scored.tensor, sources, layers[0] if layers else None, registry.role)
    return (source,), (picked,)


def is_batched(graph: Graph, target: Tensor) -> bool:
    """Whether the first axis of the explained output counts samples.

    It does when it has the extent of an input's first axis. An extent that nothing is known of is taken for samples, unless
    neither the output nor any input has further axes.
    """
    if not target.shape:
        return False
    shapes = [t.shape for t in graph.inputs if t.shape]
    mine = target.shape[0]
    if not shapes or any(same_dim(shape[0], mine) for shape in shapes):
        return len(target.shape) > 1 or bool(shapes)
    return not isinstance(mine, int) and (len(target.shape) > 1 or any(len(shape) > 1 for shape in shapes))


def _seed(job: Job, target: Target, run_time: dict[str, Tensor]) -> Tensor:
    y = job.target
    if y.shape is None:
        raise TargetError(
            f"the rank of '{y.name}' is unknown; re-export the model with shape information or explain another output"
        )
    if target.kind == "seed":
        run_time["seed"] = replace(y, name=job.graph.fresh("seed"))
        return job.b.given(run_time["seed"], y)
    if target.kind == "input":
        run_time["target"] = Tensor(job.graph.fresh("target"), np.dtype(np.int64), ("targets",))
        return emit_seed(job.b, y, target, ranked=job.ranked, batched=job.batched, chosen=run_time["target"])
    return emit_seed(job.b, y, target, ranked=job.ranked, batched=job.batched)


def _named(b: Builder, tensor: Tensor, name: str) -> Tensor:
    with b.scope("onnxplain"):
        return b.rename(tensor, name)


def _refuse_explained(source: Source) -> None:
    if any(p.key == METADATA_KEY for p in source.model.metadata_props):
        raise MethodError(
            f"{source.name} is an explained model already; explain the original (onnxplain inspect shows what it holds)"
        )


def describe(
    method: Method, options: dict[str, Any], target: Target, scored: Score, explained: Sequence[Explained],
    names: Sequence[str], source: Source, batched: bool, run_time: dict[str, Tensor], job: Job,
) -> dict[str, Any]:  # fmt: skip
    """What the metadata of an explained model says."""
    baseline = job.baseline if isinstance(job.baseline, int | float | str) else None if job.baseline is None else "baked in"
    return {
        "contract": CONTRACT,
        "version": __version__,
        "method": method.name,
        "method_info": method.info,
        "options": {k: _in_words(v) for k, v in options.items()},
        "axioms": list(method.promises(options)),
        "target": str(target),
        "output": scored.output,
        "score": {
            "tensor": scored.tensor.name,
            "kind": scored.kind,
            "activation": scored.activation,
            "shape": None if scored.tensor.shape is None else list(scored.tensor.shape),
        },
        "batched": batched,
        "baseline": baseline,
        "attributions": {
            name: {"explains": e.name, "tensor": e.tensor.name, "kind": e.kind} for name, e in zip(names, explained, strict=True)
        },
        "run_time_inputs": {
            **{key: t.name for key, t in run_time.items()},
            **{
                kind: {name: t.name for (k, name), t in job.extra_inputs.items() if k == kind}
                for kind in dict.fromkeys(k for k, _ in job.extra_inputs)
            },
        },
        "source_sha256": source.sha256,
        "passes": list(source.passes or ()),
    }


def write_metadata(model: onnx.ModelProto, about: dict[str, Any]) -> None:
    """Put the description of an explained model into its metadata."""
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps(about, ensure_ascii=False, sort_keys=False)


def _in_words(value: Any) -> str | int | float | None:
    """An option's value as the metadata tells it: numbers and words as they are, composites by name."""
    value = value.item() if isinstance(value, np.generic) else value.name if isinstance(value, Composite) else value
    return value if isinstance(value, str | int | float | None) else "baked in"


def read_metadata(model: onnx.ModelProto) -> dict[str, Any] | None:
    """What an explained model says of itself; None for other models.

    Raises:
        ModelError: it is no JSON object.
    """
    for entry in model.metadata_props:
        if entry.key == METADATA_KEY:
            try:
                found = json.loads(entry.value)
            except json.JSONDecodeError as error:
                raise ModelError(f"the metadata '{METADATA_KEY}' is damaged: no JSON ({error}); write the file again") from None
            if not isinstance(found, dict):
                raise ModelError(f"the metadata '{METADATA_KEY}' is damaged: expected an object; write the file again")
            return found
    return None
