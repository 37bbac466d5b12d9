"""Packages that not everybody needs: one place that says how to install them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from onnxplain.errors import MissingDependencyError

__all__ = ["optional"]


@contextmanager
def optional(extra: str, purpose: str) -> Iterator[None]:
    """Around imports of packages that come with an extra, e.g. `with optional("plot", "pictures"): import matplotlib`.

    Args:
        extra: the extra in pyproject.toml: blackbox, concepts, evaluation, image, plot, ray, shap, table, text, xarray or zarr.
        purpose: what the package is for, in a word that fits "… need".

    Raises:
        MissingDependencyError: the package is not installed; the message has the command that installs it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "onnxplain":
            raise
        raise MissingDependencyError(
            f"{purpose} need {missing or 'a package'}, which is not installed: pip install 'onnxplain[{extra}]'"
        ) from error
