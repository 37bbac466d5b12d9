"""Attention followed through the layers, against the matrices of the papers, made in numpy of the weights that the model returns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, attention_heads, generate, plan, rewrite, verify
from onnxplain.cli.main import main
from onnxplain.errors import InputError, LayerError, MethodError, OutputError
from tests.support.models import model, node
from tests.support.paths import FIXTURES

IDS = np.array([[5, 9, 2, 30, 7, 11], [8, 1, 44, 3, 0, 0]])
FEEDS = {"input_ids": IDS, "attention_mask": np.array([[1] * 6, [1, 1, 1, 1, 0, 0]])}
LAYERS = {"reviews": ["val_91", "val_170"], "gpt2": ["val_134", "val_232"], "llama": ["val_227", "val_403"]}
TARGETS: dict[str, Any] = {"reviews": [1, 0], "gpt2": [(5, 42), (3, 17)], "llama": [(5, 42), (2, 17)]}
READ = {"gpt2": [5, 3], "llama": [5, 2]}


def path(name: str) -> str:
    return str(FIXTURES / name / "model.onnx")


def layers(name: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The weights of the softmaxes, and the gradients there, [samples, heads, tokens, tokens] in float64."""
    found = Explainer(path(name), "gradient", layer=LAYERS[name], expose=["explained"], providers="cpu")(FEEDS, TARGETS[name])
    outputs = [np.asarray(found.outputs[n], np.float64) for n in LAYERS[name]]
    return outputs, [np.asarray(found.attributions[n], np.float64) for n in LAYERS[name]]


def read(name: str, matrix: np.ndarray) -> np.ndarray:
    """The rows of the position explained; of the classifier, which takes a mean, the mean over the tokens that are no padding."""
    if name in READ:
        return matrix[np.arange(2), READ[name]]
    attended = FEEDS["attention_mask"]
    return np.einsum("nq,nqk->nk", attended / attended.sum(axis=1, keepdims=True), matrix)


@pytest.mark.parametrize("name", LAYERS)
def test_rollout_is_the_product_of_the_layers(name: str) -> None:
    """R ← (½ I + ½ mean_h A) · R from the first layer on: Abnar and Zuidema, eq. 1."""
    found = Explainer(path(name), "attention-rollout", providers="cpu")(FEEDS, TARGETS[name])
    matrix = np.tile(np.eye(6), (2, 1, 1))
    for weights in layers(name)[0]:
        matrix = (0.5 * np.eye(6) + 0.5 * weights.mean(axis=1)) @ matrix
    assert found.attribution == pytest.approx(read(name, matrix), abs=1e-5)
    assert found.attribution.sum(axis=1) == pytest.approx(1, abs=1e-5)  # shares
    assert found.attribution.shape == IDS.shape


@pytest.mark.parametrize("name", LAYERS)
def test_what_raises_the_score_is_followed(name: str) -> None:
    """R ← R + Ā · R with Ā = mean_h (A ⊙ ∇A)⁺: Chefer, Gur and Wolf, eqs. 5 and 6, from R = I, which is taken off."""
    found = Explainer(path(name), "attention-gradient-rollout", providers="cpu")(FEEDS, TARGETS[name])
    matrix = np.tile(np.eye(6), (2, 1, 1))
    for weights, slopes in zip(*layers(name), strict=True):
        matrix = matrix + np.maximum(weights * slopes, 0).mean(axis=1) @ matrix
    wanted = read(name, matrix - np.eye(6))
    assert found.attribution == pytest.approx(wanted, abs=1e-5 * np.abs(wanted).max())
    assert np.abs(wanted).max() > 0
    assert found.attribution.min() >= -1e-7


@pytest.mark.parametrize("method", ["attention-rollout", "attention-gradient-rollout"])
def test_files_texts_and_generation(method: str) -> None:
    """A file for other hosts gives the same; texts have words; what is generated comes from what was before."""
    made = rewrite(path("reviews"), method, target="input")
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (name,) = [o.name for o in session.get_outputs() if o.name.endswith("_attribution")]
    found = Explainer(path("reviews"), method, providers="cpu")(FEEDS, 1)
    assert session.run([name], {**FEEDS, "target": np.array([1])})[0] == pytest.approx(found.attribution, abs=1e-6)
    assert verify(made, path("reviews")).ok
    text = Explainer(path("reviews"), method, providers="cpu")("A fine film")
    assert [u.text for u in text.text_units()[0]] == ["A", "fine", "film"]
    tokens = generate(path("gpt2"), [5, 9, 2, 30], method, new_tokens=2, providers="cpu")
    alone = Explainer(path("gpt2"), method, providers="cpu")(tokens.tokens[None, :-1], [(4, int(tokens.generated[1]))])
    assert tokens.matrix[1] == pytest.approx(alone.attribution[0], abs=1e-5)


@pytest.mark.parametrize("form", ["Attention", "com.microsoft.MultiHeadAttention", "com.microsoft.Attention"])
def test_fused_attention_is_written_out(form: str) -> None:
    """One layer of two heads, whose weights are the softmax of q · k / √(size of a head), read at all three tokens."""
    random, ids = np.random.default_rng(0), np.array([[1, 2, 3], [4, 5, 6]])
    arrays = {"table": (9, 8), "w": (8, 3), "qkv": (8, 24), "bias": (24,)}
    weights = {name: random.standard_normal(shape).astype(np.float32) for name, shape in arrays.items()}
    domain, _, op = form.rpartition(".")
    if not domain:  # the standard's own, of operator set 23
        fused = node("Attention", "e e e", "a", q_num_heads=2, kv_num_heads=2)
    elif op == "Attention":
        fused = node(op, "e qkv bias", "a", domain=domain, num_heads=2)
    else:
        fused = node(op, "e e e", "a", domain=domain, num_heads=2)
    nodes = [node("Gather", "table ids", "e"), fused, node("MatMul", "a w", "z"), node("ReduceMean", "z one", "y", keepdims=0)]
    kinds = {"ids": onnx.TensorProto.INT64}
    made = model(nodes, {"ids": ["n", "t"]}, {"y": ["n", 3]}, {**weights, "one": np.array([1])}, kinds=kinds)
    made.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    if not domain:
        made.opset_import[0].version, made.ir_version = 23, 10
    e = weights["table"][ids].astype(np.float64)
    projected = e @ weights["qkv"] + weights["bias"] if op == "Attention" and domain else np.concatenate([e, e, e], axis=-1)
    q, k = (np.moveaxis(projected[..., at : at + 8].reshape(2, 3, 2, 4), 2, 1) for at in (0, 8))
    powers = np.exp(q @ np.swapaxes(k, 2, 3) / 2)
    mean = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=1)
    found = Explainer(made, "attention-rollout", providers="cpu")(ids, 1)
    assert found.attribution == pytest.approx((0.5 * np.eye(3) + 0.5 * mean).mean(axis=1), abs=1e-5)


def test_every_head_is_shown(tmp_path: Path) -> None:
    """Weights and gradients of each layer, by the tensors of the softmaxes; files hold them, a picture shows a sample."""
    found = attention_heads(path("reviews"), FEEDS, TARGETS["reviews"], providers="cpu")
    weights, slopes = layers("reviews")
    for made, wanted in ((found.weights, weights), (found.gradients, slopes)):
        assert [np.asarray(a) for a in made.values()] == [pytest.approx(a, abs=1e-6) for a in wanted]
    assert found.tokens[0] == ["5", "9", "2", "30", "7", "11"]
    text = attention_heads(path("reviews"), ["$$ fine film", "bad"], labels=["negative", "positive"], target="positive")
    assert list(text.tokens[1][:3]) == ["[CLS]", "bad", "[SEP]"]
    saved = [text.save(tmp_path / f"heads.{end}", 1) for end in ("png", "npz", "json")]
    with np.load(saved[1]) as file:
        name = next(iter(text.weights))
        assert np.array_equal(file[f"weights/{name}"], text.weights[name])
    assert np.array(json.loads(saved[2].read_text())["gradients"][name]) == pytest.approx(text.gradients[name])
    with pytest.raises(InputError, match="there is no sample 2: there are 2"):
        text.plot(2)
    with pytest.raises(OutputError, match=r"attention is written as \.png, \.npz, \.json"):
        text.save(tmp_path / "heads.gif")
    with pytest.raises(MethodError, match="no self-attention"):
        attention_heads(FIXTURES / "digits" / "model.onnx", np.zeros((1, 1, 8, 8), np.float32))


def test_the_command_shows_heads(tmp_path: Path) -> None:
    run = CliRunner()
    done = run.invoke(main, ["attention", path("reviews"), "A fine film", "--provider", "cpu"])
    assert done.exit_code == 0, done.output
    assert done.output.count("layer 2, head") == 4
    given = ["attention", path("reviews"), "A fine film", "-t", "0", "--score", "loss", "-o", str(tmp_path / "heads.png")]
    assert run.invoke(main, given).exit_code == 0
    np.savez(tmp_path / "x.npz", **FEEDS)
    assert "sample 1: " in run.invoke(main, ["attention", path("reviews"), str(tmp_path / "x.npz")]).output


def test_padding_gets_nothing() -> None:
    for method in ("attention-rollout", "attention-gradient-rollout"):
        assert not Explainer(path("reviews"), method, providers="cpu")(FEEDS, 1).attribution[1, 4:].any()


@pytest.mark.parametrize("method", ["attention-rollout", "attention-gradient-rollout"])
def test_what_has_no_attention_is_refused(method: str) -> None:
    with pytest.raises(MethodError, match="attention is between tokens, and no input of integers"):
        Explainer(FIXTURES / "digits" / "model.onnx", method)
    table = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    nodes = [node("Gather", "table ids", "rows"), node("ReduceSum", "rows one", "y", keepdims=0)]
    int64 = onnx.TensorProto.INT64
    plain = model(nodes, {"ids": ["n", "t"]}, {"y": ["n", 3]}, {"table": table, "one": np.array([1])}, kinds={"ids": int64})
    with pytest.raises(MethodError, match="no self-attention that is written as a softmax"):
        Explainer(plain, method)
    assert "no self-attention" in plan(plain, method).problem
    with pytest.raises(MethodError, match="explains the tokens, no layers"):
        Explainer(path("reviews"), method, layer="val_91")
    with pytest.raises(LayerError, match="no input 'x'"):
        Explainer(path("reviews"), method, inputs=["x"])


def test_several_sequences_are_refused() -> None:
    """Attention of a decoder to an encoder is between different tokens."""
    random = np.random.default_rng(0)
    nodes = [
        node("Gather", "table input_ids", "q"), node("Gather", "other decoder_ids", "k"),
        node("Unsqueeze", "q one", "q4"), node("Unsqueeze", "k one", "k4"), node("Transpose", "k4", "kt", perm=[0, 1, 3, 2]),
        node("MatMul", "q4 kt", "s"), node("Softmax", "s", "a", axis=-1), node("MatMul", "a k4", "m"),
        node("ReduceSum", "m axes", "y", keepdims=0),
    ]  # fmt: skip
    weights = {
        "table": random.standard_normal((9, 3)).astype(np.float32), "other": random.standard_normal((8, 3)).astype(np.float32),
        "one": np.array([1]), "axes": np.array([1, 2]),
    }  # fmt: skip
    kinds = dict.fromkeys(("input_ids", "decoder_ids"), onnx.TensorProto.INT64)
    crossed = model(nodes, {"input_ids": ["n", "t"], "decoder_ids": ["n", "u"]}, {"y": ["n", 3]}, weights, kinds=kinds)
    with pytest.raises(MethodError, match="attention is between t and u, as of a decoder to an encoder"):
        Explainer(crossed, "attention-rollout")
