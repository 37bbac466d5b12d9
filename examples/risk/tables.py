"""The tables of the risk study, with what was published beside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from examples.risk.forms import AREAS
from examples.risk.measuring import RANKINGS, Ward, weights
from examples.risk.published import SAMPLES, WAYS, Source
from onnxplain.results.plot.style import percent

Array = np.ndarray[Any, Any]

PUBLISHED = np.array([[29, 66, 71, 76], [18, 43, 58, 62], [11, 24, 33, 40], [3, 8, 15, 20]]) / 100
"""Table II of the thesis, by area."""
SKILL = {
    "network": {
        "accuracy": (0.91, 0.92, 0.95, 0.97), "precision": (0.69, 0.66, 0.87, 0.80), "recall": (0.82, 0.75, 0.77, 0.80),
    },
    "the same, balanced before the parting": {"accuracy": (0.90, 0.91, 0.97, 0.99), "precision": (0.90, 0.91, 0.97, 0.99)},
}  # fmt: skip
"""Its Table I, by area."""
PARTS = ("accuracy", "precision", "recall")
SECOND_PUBLISHED = 1.0
"""Of the samples whose class changes with the second feature, the share whose class changes with the first too."""


SECOND = {
    "direction": "to the side that the sign says",
    "above_half": "further than by most items ranked below",
    "above_all": "further than by every item ranked below",
}
"""What is asked of the second item, in words."""


def over(wards: Sequence[Ward], what: Callable[[Ward], Array]) -> tuple[Array, Array]:
    """Mean and standard deviation over wards."""
    return spread([what(ward) for ward in wards])


def spread(found: Sequence[Array]) -> tuple[Array, Array]:
    """Mean and standard deviation over the first axis; no deviation of one."""
    values = np.array(found)
    return values.mean(axis=0), values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros_like(values[0])


def tables(wards: Sequence[Ward], sources: Sequence[Source]) -> dict[str, str]:
    """What was measured, for the page, by the names of its blocks."""
    return {
        "skill": "\n".join(_skills(wards, sources)),
        "published": "\n".join([*_both(sources), "", *_first(sources)]),
        "study": "\n".join([*_seconds(wards), "", *_flips(wards), "", *_back(wards), "", *_rule(wards)]),
    }


def _skills(wards: Sequence[Ward], sources: Sequence[Source]) -> list[str]:
    heads = " | ".join(f"{part} | published" for part in PARTS)
    made = [f"| | risk | {heads} |", "|---|---|" + "---|" * (2 * len(PARTS))]
    skills = [dict(w.skill) | dict(s.trees) for w, s in zip(wards, sources, strict=True)]
    for who in skills[0]:
        known = SKILL.get(who, {})
        found = {part: spread([getattr(s[who], part) for s in skills]) for part in PARTS}
        for area, name in enumerate(AREAS):
            cells = [
                cell
                for part, (mean, deviation) in found.items()
                for cell in (f"{mean[area]:.2f} ± {deviation[area]:.2f}", f"{known[part][area]:.2f}" if part in known else "")
            ]
            made.append(f"| {who if not area else ''} | {name} | {' | '.join(cells)} |")
        means = [
            cell
            for part, (mean, _) in found.items()
            for cell in (f"**{mean.mean():.2f}**", f"**{average(known[part])}**" if part in known else "")
        ]
        made.append(f"| | **average** | {' | '.join(means)} |")
    return made


def average(published: Sequence[float]) -> str:
    """The mean of published numbers, which have two digits, with as many; a half is rounded up, as by hand."""
    hundredths = sum(round(100 * value) for value in published)
    return f"{(2 * hundredths + len(published)) // (2 * len(published)) / 100:.2f}"


def interval(values: Array) -> str:
    """Mean, and where 95 of 100 lie, of shares; NaN left out."""
    low, high = np.nanquantile(values, (0.025, 0.975))
    return f"{100 * np.nanmean(values):.0f} ({100 * low:.0f} to {100 * high:.0f})"


def _both(sources: Sequence[Source]) -> list[str]:
    made = [
        f"| of {SAMPLES} samples, turned by the second item | {' | '.join(AREAS)} | of these, by the first too, % | published |",
        "|---|" + "---|" * (len(AREAS) + 2),
    ]
    for way, words in WAYS.items():
        changed = np.concatenate([s.drawn[way].changed for s in sources]).mean(axis=0)
        pooled = np.concatenate([s.drawn[way].pooled for s in sources])
        counts = " | ".join(f"{c:.0f}" for c in changed)
        made.append(f"| {words} | {counts} | {interval(pooled)} | {100 * SECOND_PUBLISHED:.0f} |")
    return made


def _first(sources: Sequence[Source]) -> list[str]:
    made = [f"| of {SAMPLES} samples turned, % | | 1 item | 2 | 3 | 4 |", "|---|---|---|---|---|---|"]
    for area, name in enumerate(AREAS):
        made.append(f"| {name} | published | {' | '.join(f'{100 * v:.0f}' for v in PUBLISHED[area])} |")
        for way, words in WAYS.items():
            turned = np.concatenate([s.drawn[way].turned[:, area] for s in sources])
            made.append(f"| | {words} | {' | '.join(interval(turned[:, k]) for k in range(turned.shape[1]))} |")
    return made


def _seconds(wards: Sequence[Ward]) -> list[str]:
    made = [
        "| its answer changed by one step, the risk moves | second in importance | drawn at random |",
        "|---|---|---|",
    ]
    for part, said in SECOND.items():
        shares = [
            percent(float(over(wards, lambda w, r=r, p=part: getattr(w.second[r], p))[0])) for r in ("importance", "random")
        ]
        made.append(f"| {said} | {' | '.join(shares)} |")
    return made


def _flips(wards: Sequence[Ward]) -> list[str]:
    made = ["| of all predictions turned, % | order of items | 1 item | 2 | 3 | 4 |", "|---|---|---|---|---|---|"]
    for area, name in enumerate(AREAS):
        for row, ranking in enumerate(RANKINGS):
            mean, deviation = over(wards, lambda w, r=ranking, a=area: w.flips[r][a])
            cells = " | ".join(f"{100 * m:.0f} ± {100 * d:.0f}" for m, d in zip(mean, deviation, strict=True))
            made.append(f"| {'' if row else name} | {ranking} | {cells} |")
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
