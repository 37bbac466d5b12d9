"""Job: what a run over a data set consists of. It is sent to other processes and knows how to explain a part."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onnxplain.analysis.target import TargetLike
from onnxplain.errors import InputError, OnnxplainError, OutputError
from onnxplain.explain.explainer import Explainer
from onnxplain.io.datasets.dataset import Array, Block, DataSet, Problem
from onnxplain.io.writer import write_file
from onnxplain.results.explanation import Explanation
from onnxplain.results.streams.columns import joined_columns, sample_columns
from onnxplain.results.streams.sink import Sink
from onnxplain.results.summary.summary import Summary

__all__ = ["Job", "Part"]


@dataclass
class Part:
    """What became of a part so far."""

    number: int
    columns: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] | None = None
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """A run over a data set.

    Attributes:
        explainers: by label, all of the same model.
        data: the samples.
        target: what is explained of each.
        target_column: a kept column that says which index is explained of each sample, in place of `target`.
        sink: where results go.
        work: the folder for parts and what is told of them.
        batch: samples in one run.
        size: samples in a part.
        stop: whether a sample that cannot be read or explained ends the run.
        cohort: a kept column by which the summary tells cohorts apart.
        features: the names of a sample's elements, where they are known.
    """

    explainers: Mapping[str, Explainer]
    data: DataSet
    target: TargetLike
    target_column: str | None
    sink: Sink
    work: Path
    batch: int
    size: int
    stop: bool
    cohort: str | None
    features: Sequence[str] | None

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-self.data.count // self.size)

    def is_done(self, part: int) -> bool:
        """Whether a part was finished by this run or one before."""
        return self.mark(part).exists()

    def mark(self, part: int) -> Path:
        """The file that says that a part is finished, of which samples, and those it lacks."""
        return self.work / f"{part:06}.json"

    def span(self, part: int) -> tuple[int, int]:
        """The numbers of a part's first sample, and of the first behind it."""
        return part * self.size, min((part + 1) * self.size, self.data.count)

    def is_true(self, part: int) -> bool:
        """Whether the samples of a finished part are what they were."""
        return bool(self._told(part)["samples"] == self.data.fingerprint(*self.span(part)))

    def _told(self, part: int) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.mark(part).read_bytes())
        return told

    def blocks(self, part: int) -> Iterator[Block | Problem]:
        """The samples of a part, no more at a time than go through the model together."""
        first, stop = self.span(part)
        for start in range(first, stop, self.batch):
            yield from self.data.read(start, min(start + self.batch, stop))

    def explain(self, block: Block) -> tuple[dict[str, Array], list[str] | None, list[Problem]]:
        """The columns of some samples with their keys, and those that cannot be explained.

        Raises:
            OnnxplainError: the model, and no single sample, is to blame.
        """
        try:
            return self._columns(block), block.keys, []
        except InputError as error:
            if len(block) == 1:
                return {}, None, [Problem(int(block.index[0]), block.key(0), str(error))]
        made = [self.explain(one) for one in block.one_by_one()]
        problems = [p for _, _, found in made for p in found]
        good = [(columns, keys) for columns, keys, _ in made if columns]
        keys = None if block.keys is None else [k for _, found in good for k in found or ()]
        return joined_columns([c for c, _ in good]) if good else {}, keys, problems

    def _columns(self, block: Block) -> dict[str, Array]:
        explanations = {label: self._one(explainer, block) for label, explainer in self.explainers.items()}
        columns = sample_columns(block.index, explanations)
        self._check_names(block, columns)
        return {"index": columns.pop("index"), **block.columns, **columns}

    def _check_names(self, block: Block, columns: Mapping[str, Any]) -> None:
        """Refuse columns that are kept under the name of another; that of the target says what `target` says.

        Raises:
            OutputError: there is one.
        """
        taken = {*columns, *(() if block.keys is None else ("key",))}
        clash = next((n for n in block.columns if n in taken and not n == self.target_column == "target"), None)
        if clash is not None:
            raise OutputError(
                f"column '{clash}' cannot be kept, since the results have one of that name; give it another in the data"
            )

    def _one(self, explainer: Explainer, block: Block) -> Explanation:
        about = explainer.about
        target = self.target if self.target_column is None else wanted(block, self.target_column)
        if not about["batched"]:
            return explainer({n: v[0] for n, v in block.arrays.items()}, target)
        axes = about["sample_axes"]
        return explainer({n: np.moveaxis(v, 0, axes.get(n) or 0) for n, v in block.arrays.items()}, target)

    def finish(self, part: Part) -> None:
        """Write a part and, once it is on the disk, its mark."""
        if part.columns:
            columns = joined_columns(part.columns)
            self.sink.write(part.number, columns, part.keys)
            summary = Summary.of(columns, self.cohort)
            write_file(self.work / f"{part.number:06}.summary.npz", summary.write)
        missing = [[p.index, p.key, p.reason] for p in sorted(part.problems, key=lambda p: p.index)]
        told = {"samples": self.data.fingerprint(*self.span(part.number)), "missing": missing}
        write_file(self.mark(part.number), json.dumps(told).encode())

    def problems(self) -> list[Problem]:
        """The samples that all finished parts lack."""
        return [Problem(*p) for n in range(self.parts) if self.is_done(n) for p in self._told(n)["missing"]]


def wanted(block: Block, column: str) -> list[int]:
    """The indices to explain, from a column.

    Raises:
        InputError: it holds something else than whole numbers.
    """
    try:
        return [int(v) for v in block.columns[column]]
    except (TypeError, ValueError):
        strange = next(str(v) for v in block.columns[column] if not str(v).lstrip("-").isdigit())
        raise InputError(f"column '{column}' holds '{strange}' where the index of a target is expected") from None


def sample_failed(problem: Problem, mends: bool) -> OnnxplainError:
    """What to say where a sample is to end the run, and the data can be mended meanwhile or not."""
    skip = "leave such samples out with on_error='skip' (--on-error skip)"
    way = (
        f"mend it, or {skip}, and go on with resume (--resume)"
        if mends
        else f"{skip} and go on with resume (--resume), or mend the file and begin anew with overwrite (--force)"
    )
    return InputError(f"sample {problem.key}: {problem.reason}; what was done is kept: {way}")
