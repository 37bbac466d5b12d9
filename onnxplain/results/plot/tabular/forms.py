"""The forms of pictures of tables, and the blocks that draw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onnxplain.errors import OutputError
from onnxplain.results.explanation_data import ExplanationData
from onnxplain.results.feature_table import FeatureTable, feature_tables
from onnxplain.results.importance import importance_of
from onnxplain.results.interactions import player_names
from onnxplain.results.plot.tabular.heat import HeatBlock
from onnxplain.results.plot.tabular.importance import ImportanceBlock
from onnxplain.results.plot.tabular.network import NetworkBlock
from onnxplain.results.plot.tabular.scatter import ScatterBlock
from onnxplain.results.plot.tabular.swarm import SwarmBlock
from onnxplain.results.plot.tabular.waterfall import ForceBlock, WaterfallBlock
from onnxplain.results.prediction import lifted

__all__ = ["TabularRequest", "tabular_blocks"]

SINGLE = {"waterfall": WaterfallBlock, "force": ForceBlock}
SHOWN = 4
"""Samples that the pictures of one sample show where nothing is said."""


@dataclass(frozen=True)
class TabularRequest:
    """What is to be drawn.

    Attributes:
        form: one of `TABULAR_FORMS`.
        features: names of the elements of a sample.
        samples: which samples, None for the first few (waterfall, force) or all.
        feature: the features of a scatter plot, by name or number; None for those that matter most.
        by: the feature that colours a scatter plot; cohorts of importance: "class", or a label per sample.
        most: how many features to show.
    """

    form: str
    features: Sequence[Any] | None = None
    samples: Sequence[int] | None = None
    feature: Any = None
    by: Any = None
    most: int | None = None


def tabular_blocks(explanations: Sequence[ExplanationData], asked: TabularRequest) -> list[Any]:
    """The blocks of a picture, to be drawn one below the other.

    Raises:
        InputError: no such feature, or not one label per sample.
        OutputError: what was explained is no table, or the method leaves nothing that this form shows.
    """
    if asked.form == "network":
        return [block for e in explanations for block in _networks(e, asked)]
    if any(e.about.get("target") == "all samples" for e in explanations) and asked.form != "importance":
        raise OutputError(
            f"form '{asked.form}' shows single samples; this method speaks of all together: use 'table' or 'importance'"
        )
    if asked.form == "importance":
        return [_importance(e, asked) for e in explanations]
    tables = feature_tables(explanations, asked.features)
    if asked.form in SINGLE:
        shown = asked.samples if asked.samples is not None else range(min(SHOWN, len(tables[0])))
        return [SINGLE[asked.form](table, int(s), asked.most) for s in shown for table in tables]
    drawn = [table if asked.samples is None else table.of(asked.samples) for table in tables]
    make: dict[str, Callable[[FeatureTable], Any]] = {
        "beeswarm": lambda table: SwarmBlock(table, asked.most),
        "heatmap": lambda table: HeatBlock(table, asked.most),
        "scatter": lambda table: _scatter(table, asked),
    }
    return [make[asked.form](table) for table in drawn]


def _scatter(table: FeatureTable, asked: TabularRequest) -> ScatterBlock:
    wanted = None if asked.feature is None else [asked.feature] if isinstance(asked.feature, str | int) else list(asked.feature)
    chosen = None if wanted is None else [table.named(f) for f in wanted]
    return ScatterBlock(table, chosen, None if asked.by is None else table.named(asked.by), asked.most)


def _importance(explanation: ExplanationData, asked: TabularRequest) -> ImportanceBlock:
    tables = feature_tables([explanation], asked.features)
    if asked.samples is not None:
        tables = [table.of(asked.samples) for table in tables]
    return ImportanceBlock(importance_of(tables, asked.by), explanation.method, asked.most)


def _networks(explanation: ExplanationData, asked: TabularRequest) -> list[NetworkBlock]:
    """Of H-statistics the network of all samples; of interactions the mean over the samples, or that of each chosen one."""
    if "h_statistic" in explanation.facts:
        matrix = lifted(explanation, explanation.facts["h_statistic"])[0]
        names = tuple(player_names(explanation, asked.features))
        total = lifted(explanation, next(iter(explanation.attributions.values())))[0]
        parts = [(explanation.method, matrix, total)] if matrix.ndim == 2 else [
            (f"{explanation.method} → {explanation.class_name(t)}", m, total[t]) for t, m in enumerate(matrix)
        ]  # fmt: skip
        words = "how much of an effect is interaction" + ("" if _is_scaled(explanation) else ", in units of the score")
        meaning = "discs: of a feature with all others; lines: of pairs"
        return [
            NetworkBlock(title, words, names, m + np.diag(own.ravel()), False, meaning, asked.most) for title, m, own in parts
        ]
    blocks, meaning = [], "discs: alone; lines: pairs together"
    for table in feature_tables([explanation], asked.features):
        doubled = table.known_interactions * (2 - np.eye(len(table.names)))
        if asked.samples is None:
            words = f"the mean over {len(table)} samples" if len(table) > 1 else table.targets[0]
            blocks.append(NetworkBlock(table.heading, words, table.names, doubled.mean(axis=0), True, meaning, asked.most))
        else:
            blocks += [
                NetworkBlock(table.heading, f"sample {s}: {table.targets[s]}", table.names, doubled[s], True, meaning, asked.most)
                for s in asked.samples
            ]
    return blocks


def _is_scaled(explanation: ExplanationData) -> bool:
    return bool(explanation.about.get("options", {}).get("scaled", True))
