"""One form with all that a clinician is told of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from examples.risk.forms import ANSWERS, ITEMS, filled
from examples.risk.measuring import TOP, Ward, logit, parted, wanted
from examples.risk.picture_form import Told
from onnxplain import Explainer

SHOWN, EXAMPLE = 0, 0.85
"""The risk whose prediction is explained to a clinician, and about how probable it is in the form shown."""


def example(ward: Ward) -> Told:
    """A form of a ward whose one predicted risk was seen, by a network that had not seen the form."""
    forms, said = filled(ward.seed), ward.parts[0]
    _, test = parted(forms, ward.seed)[0]
    model = said.model
    alone = forms.risk[test, SHOWN] & ((said.chance >= 0.5).sum(axis=1) == 1)
    near = np.where(alone, np.abs(said.chance[:, SHOWN] - EXAMPLE), np.inf)
    row = int(near.argmin())
    form = said.answers[row : row + 1]

    def by(method: str, **options: Any) -> Any:
        return Explainer(model, method, providers="cpu", threads=1, progress=False, **options)(form, SHOWN)

    path = by("integrated-gradients", baseline=0.0, steps=1000, quadrature="riemann-middle")
    whatever = Explainer(model, "ice", providers="cpu", threads=1, progress=False, background=forms.answers, score="probability")
    curves = whatever(form, SHOWN).facts["curves"][0]  # [answers, 25]
    now, back = form.copy(), []
    for item in np.argsort(-said.scores["importance × possible change"][row, SHOWN], kind="stable")[:TOP]:
        answer = wanted(said.chance, said.slope)[row, SHOWN, item]
        now[0, item] = answer
        back.append((f"“{ITEMS[item]}” {ANSWERS[int(answer)]}", float(said.ask(now)[0, SHOWN])))
        if back[-1][1] < 0.5:
            break
    return Told(
        number=int(test[row]) + 1,
        area=SHOWN,
        answers=form[0],
        chance=said.chance[row],
        contribution=path.attribution[0].astype(np.float64),
        empty=float(logit(said.ask(np.zeros(len(ITEMS))))[SHOWN]),
        others=np.asarray(curves.T, np.float64),
        back=back,
    )
