"""Which samples a figure or a page shows."""

from __future__ import annotations

from collections.abc import Sequence

from onnxplain.errors import InputError

__all__ = ["chosen_samples"]


def chosen_samples(samples: int | Sequence[int] | None, count: int, most: int) -> list[int]:
    """The indices of the samples to show.

    Args:
        samples: one index or several; negative ones count from the end. None for the first ones.
        count: the number of samples.
        most: the number shown if `samples` is None.

    Returns:
        Indices from 0.

    Raises:
        InputError: a sample does not exist.
    """
    if samples is None:
        return list(range(min(count, most)))
    wanted = [samples] if isinstance(samples, int) else [int(s) for s in samples]
    bad = [s for s in wanted if not -count <= s < count]
    if bad or not wanted:
        raise InputError(f"no sample {bad[0]}: there are {count}, counted from 0" if bad else "no samples were chosen")
    return [s % count for s in wanted]
