"""Generated tokens: what is generated, and that each row of the matrix is the explanation of that token alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from click.testing import CliRunner

from onnxplain import Explainer, generate
from onnxplain.cli.main import main
from onnxplain.errors import InputError
from onnxplain.results.generation import Generation

MODEL = "fixtures/gpt2/model.onnx"
PROMPT = [5, 9, 2, 30]


def greedy(count: int) -> list[int]:
    """A plain loop over the model without any cache."""
    session, ids = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"]), list(PROMPT)
    for _ in range(count):
        logits = session.run(["logits"], {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)})[0]
        ids.append(int(np.asarray(logits)[0, -1].argmax()))
    return ids


@pytest.mark.parametrize("method", ["input-x-gradient", "attnlrp", "occlusion"])
def test_each_row_is_the_explanation_of_one_token(method: str) -> None:
    options = {"baseline": 0} if method == "occlusion" else {}
    made = generate(MODEL, PROMPT, method, new_tokens=5, chunk=2, providers="cpu", **options)
    assert made.tokens.tolist() == greedy(5)
    single = Explainer(MODEL, method, providers="cpu", inputs=["input_ids"], **options)
    for target, position in enumerate(made.positions):
        ids = made.tokens[None, : position + 1]  # nothing after the position, unlike the teacher-forced pass
        alone = single({"input_ids": ids, "attention_mask": np.ones_like(ids)}, (int(position), int(made.generated[target])))
        wanted = alone.attribution[0] if alone.attribution.ndim == 2 else alone.attribution[0].sum(axis=1)
        assert made.matrix[target, : position + 1] == pytest.approx(wanted, abs=1e-5)
        assert not made.matrix[target, position + 1 :].any()


def test_a_given_continuation_is_explained() -> None:
    made = generate(MODEL, PROMPT, continuation=[7, 8], providers="cpu")
    assert made.generated.tolist() == [7, 8]
    assert made.matrix.shape == (2, 5)


def test_draws_follow_the_seed() -> None:
    one, same, other = (
        generate(MODEL, PROMPT, new_tokens=6, temperature=2.0, seed=s, providers="cpu").tokens.tolist() for s in (1, 1, 2)
    )
    assert one == same != other


def test_generation_ends_at_a_stop_token() -> None:
    third = greedy(3)[len(PROMPT)]
    assert generate(MODEL, PROMPT, new_tokens=5, stop=[third], providers="cpu").generated.tolist() == [third]


@pytest.mark.parametrize(("prompt", "said"), [([], "at least one"), ([1.5], "list of token ids"), ([64], "between 0 and 63")])
def test_what_is_no_prompt_is_refused(prompt: list[int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        generate(MODEL, prompt, providers="cpu")


def test_the_command_writes_every_form(tmp_path: Path) -> None:
    outs = [tmp_path / f"made.{end}" for end in ("npz", "json", "csv", "png", "html")]
    given = ["generate", MODEL, "5,9,2,30", "-m", "attnlrp", "-n", "3", "--provider", "cpu"]
    done = CliRunner().invoke(main, [*given, *(a for o in outs for a in ("-o", str(o)))])
    assert done.exit_code == 0, done.output
    told = json.loads(outs[1].read_text())
    assert np.array(told["matrix"]) == pytest.approx(np.load(outs[0])["matrix"])
    assert len(outs[2].read_text().splitlines()) == 1 + 4 + 5 + 6
    assert outs[3].stat().st_size > 1000
    assert 'data-t="2"' in outs[4].read_text()


def test_a_page_shows_tokens_as_they_are(tmp_path: Path) -> None:
    """Whatever they are: the page's own marks too."""
    texts = ["%DATA%", "%WORDS%", "%METHOD%", "<b>"]
    made = Generation(np.arange(4), 2, np.ones((2, 4)), np.ones(2), {"method": "%WORDS%"}, texts)
    page = made.save(tmp_path / "a.html").read_text(encoding="utf-8")
    for text in ("%DATA%", "%WORDS%", "%METHOD%", "&lt;b&gt;"):
        assert f">{text}<small>" in page
    assert page.count("%WORDS%") == 2
    assert page.count('"values"') == 1
