"""Place: where the results of a run go, and the folder beside it where its parts wait until they are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from onnxplain.errors import OutputError
from onnxplain.io.parts import claimed
from onnxplain.io.writer import check_not_read, check_writable
from onnxplain.results.streams.sink import ParquetSink, sink_for

__all__ = ["begun", "beside_results", "clean", "held", "is_planned", "plan_in", "work_of"]


def beside_results(path: Path, ending: str) -> Path:
    """A file beside the results."""
    return path.with_name(f"{path.name}.{ending}")


def work_of(goal: Path) -> Path:
    """The folder for parts."""
    return goal.with_name(f".{goal.name}.parts")


def plan_in(work: Path) -> Path:
    """The file that says what a run does; where it is missing, none has begun."""
    return work / "plan.json"


def is_planned(work: Path) -> bool:
    """Whether a folder for parts holds an unfinished run."""
    return plan_in(work).exists()


@contextmanager
def held(goal: Path, form: str | None, sources: Sequence[str], *, resume: bool, overwrite: bool) -> Iterator[Path]:
    """Keep other processes from writing the same results, from the first check to the last byte; gives the folder for parts.

    Args:
        goal: where the results go.
        form: as in `sink_for`.
        sources: what the run reads.
        resume, overwrite: what was said of what is there.

    Raises:
        OutputError: there are results, or an unfinished run, and nothing is said of them; another process writes them now; they
            would replace what the run reads; or they cannot be written.
    """
    if goal.name in ("", ".."):
        raise OutputError(f"cannot write results as {goal}: give them a name of their own")
    is_file = isinstance(sink_for(goal, form, work_of(goal), 1), ParquetSink)
    if goal.exists() and goal.is_dir() == is_file:
        raise OutputError(f"cannot write {goal}: it is a {'folder' if is_file else 'file'}; name another output")
    if is_file or not goal.exists():
        check_writable(goal)
    for path in (goal, beside_results(goal, "summary.npz"), beside_results(goal, "errors.csv")):
        check_not_read(path, sources)
    with claimed(Path(os.path.realpath(goal))):
        _check_new(goal, resume=resume, overwrite=overwrite)
        yield work_of(goal)


def _check_new(goal: Path, *, resume: bool, overwrite: bool) -> None:
    """Refuse to replace what is there unasked, and folders that no run wrote."""
    planned = is_planned(work_of(goal))
    if goal.exists() and not overwrite and not (resume and planned):
        hint = "; that run is complete" if resume else ""
        raise OutputError(f"{goal} exists{hint}; name another, or replace it with overwrite (--force)")
    if planned and not resume and not overwrite:
        raise OutputError(
            f"a run that was to write {goal} is not complete; go on with resume (--resume), or begin anew with overwrite "
            "(--force)"
        )
    summary = beside_results(goal, "summary.npz")
    if goal.is_dir() and not planned and not summary.exists() and any(goal.iterdir()):
        raise OutputError(
            f"{goal} is a folder that no run wrote: {summary.name} is not beside it; remove it, or name another output"
        )


def begun(work: Path, *, overwrite: bool) -> Path:
    """The folder for parts, empty unless an unfinished run goes on; gives the path of the plan.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        shutil.rmtree(_done(work), ignore_errors=True)
        if work.exists() and (overwrite or not is_planned(work)):
            shutil.rmtree(work)
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write {work}: {error.strerror}") from None
    return plan_in(work)


def clean(work: Path) -> None:
    """Remove the folder for parts. It gets another name first, so that a run that is stopped meanwhile is complete."""
    shutil.rmtree(_done(work), ignore_errors=True)
    os.replace(work, _done(work))
    shutil.rmtree(_done(work))


def _done(work: Path) -> Path:
    return work.with_suffix(".done")
