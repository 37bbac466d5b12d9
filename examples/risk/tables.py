"""The tables of the risk study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from examples.risk.forms import AREAS
from examples.risk.measuring import RANKINGS, Ward, weights
from onnxplain.results.plot.style import percent

Array = np.ndarray[Any, Any]

PUBLISHED = np.array([[29, 66, 71, 76], [18, 43, 58, 62], [11, 24, 33, 40], [3, 8, 15, 20]]) / 100
"""Table II of the thesis, by area."""
AVERAGE = {"accuracy": 0.94, "precision": 0.76, "recall": 0.79}
"""Averages of its Table I."""


SECOND = {
    "direction": "to the side that the sign says",
    "above_half": "further than by most items ranked below",
    "above_all": "further than by every item ranked below",
}
"""What is asked of the second item, in words."""


def over(wards: Sequence[Ward], what: Callable[[Ward], Array]) -> tuple[Array, Array]:
    """Mean and standard deviation over wards."""
    values = np.array([what(ward) for ward in wards])
    return values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])


def tables(wards: Sequence[Ward]) -> str:
    """What was measured, for the page."""
    return "\n".join([*_skills(wards), "", *_seconds(wards), "", *_flips(wards), "", *_back(wards), "", *_rule(wards)])


def _skills(wards: Sequence[Ward]) -> list[str]:
    made = ["| | risk | accuracy | precision | recall |", "|---|---|---|---|---|"]
    for who in wards[0].skill:
        found = {part: over(wards, lambda w, p=part, who=who: getattr(w.skill[who], p)) for part in AVERAGE}
        for area, name in enumerate(AREAS):
            cells = " | ".join(f"{m[area]:.2f} ± {d[area]:.2f}" for m, d in found.values())
            made.append(f"| {who if not area else ''} | {name} | {cells} |")
        made.append(f"| | **average** | {' | '.join(f'**{m.mean():.2f}**' for m, _ in found.values())} |")
    return [*made, f"| network, published | average | {' | '.join(f'{v:.2f}' for v in AVERAGE.values())} |"]


def _seconds(wards: Sequence[Ward]) -> list[str]:
    made = [
        "| its answer changed by one step, the risk moves | second in importance | drawn at random | published |",
        "|---|---|---|---|",
    ]
    for part, said in SECOND.items():
        shares = [
            percent(float(over(wards, lambda w, r=r, p=part: getattr(w.second[r], p))[0])) for r in ("importance", "random")
        ]
        made.append(f"| {said} | {' | '.join(shares)} | {'100 %' if part == 'direction' else ''} |")
    return made


def _flips(wards: Sequence[Ward]) -> list[str]:
    made = ["| predictions turned, % | order of items | 1 item | 2 | 3 | 4 |", "|---|---|---|---|---|---|"]
    for area, name in enumerate(AREAS):
        made.append(f"| {name} | published | {' | '.join(f'{100 * v:.0f}' for v in PUBLISHED[area])} |")
        for ranking in RANKINGS:
            mean, deviation = over(wards, lambda w, r=ranking, a=area: w.flips[r][a])
            cells = " | ".join(f"{100 * m:.0f} ± {100 * d:.0f}" for m, d in zip(mean, deviation, strict=True))
            made.append(f"| | {ranking} | {cells} |")
    return made


def _back(wards: Sequence[Ward]) -> list[str]:
    made = ["| predicted risks turned, % (mean of the four) | 1 item | 2 | 3 | 4 |", "|---|---|---|---|---|"]
    for ranking in RANKINGS:
        mean, _ = over(wards, lambda w, r=ranking: w.back[r].mean(axis=0))
        made.append(f"| {ranking} | {' | '.join(f'{100 * m:.0f}' for m in mean)} |")
    return made


def _rule(wards: Sequence[Ward]) -> list[str]:
    made = [f"| correlation with the rule's weights | {' | '.join(AREAS)} |", "|---|" + "---|" * len(AREAS)]
    for name, what in (
        ("mean importance, the network", "importance"),
        ("mean importance, a network for each risk", "apart"),
        ("importance in decision trees", "splits"),
    ):
        pairs = over(
            wards, lambda w, p=what: np.array([np.corrcoef(getattr(w, p)[a], weights()[a])[0, 1] for a in range(len(AREAS))])
        )
        made.append(f"| {name} | {' | '.join(f'{m:.2f} ± {d:.2f}' for m, d in zip(*pairs, strict=True))} |")
    return made
