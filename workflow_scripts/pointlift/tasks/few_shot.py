"""Few-shot classification: a linear classifier on frozen embeddings of a handful of labelled shapes per class.

Two forms. ``shots``: all classes at once, the whole test split, as Image2Point (ECCV 2022) has it. ``episodes``: folds
of few classes with their own queries, from a committed file or drawn from the task's dataset. The literature's few-shot
numbers on ModelNet40 are of students finetuned on folds that nobody can draw again; these judge the frozen embedding on
folds of ours: the two do not compare.

The embedding is standardised by the whole training pool, whose labels stay unread: the spread of a handful of shapes
says nothing about a dimension, and would blow up the noise of the quiet ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from pointlift.contracts.episodes import EpisodePlan, committed_names, metric_names, nested_shots, read_committed
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import FrozenSettings
from pointlift.tasks.draws import draw_shots, mean_and_spread, right_over_draws
from pointlift.tasks.episode_rows import FoldRows, draw_from, item_names, place
from pointlift.tasks.judgement import Judgement
from pointlift.tasks.linear_model import fit_linear, single_threaded
from pointlift.tasks.shapes import Shapes


class Settings(FrozenSettings):
    """Which shots, how many draws of them."""

    kind: Literal["few_shot"]
    shots: tuple[int, ...] = (1, 3, 5)
    """Training shapes per class. Draws are nested: the one of 1 shot is among the three of 3 shots. []: none."""
    episodes: tuple[str | EpisodePlan, ...] = ()
    """Names of committed files (mn40/5w10s), or plans drawn from this dataset ({ways: 5, shots: [3], queries: 8})."""
    draws: int = Field(default=10, ge=1)
    """Random choices of training shapes; the value is their mean. They hang on ids alone: all runs meet the same."""
    strength: float = Field(default=1.0, gt=0.0)
    """scikit-learn's C of the logistic regression; fixed, for one shot leaves nothing to validate on."""
    use_val: bool = False
    """Draw from train and val. Else the val split is left alone. Files of episodes say themselves what they take."""
    measures: ClassVar[tuple[str, ...]] = ("shots", "episodes", "draws", "strength", "use_val")
    _nested = field_validator("shots")(nested_shots)

    @field_validator("episodes")
    @classmethod
    def _known(cls, episodes: tuple[str | EpisodePlan, ...]) -> tuple[str | EpisodePlan, ...]:
        for one in episodes:
            if isinstance(one, str) and one not in committed_names():
                raise ValueError(f"there are no episodes {one!r}; there are: {', '.join(committed_names())}")
        metrics = [metric for one in episodes for metric in metric_names(one)]
        if len(set(metrics)) != len(metrics):
            raise ValueError("two of the episodes would have metrics of one name")
        return episodes

    @model_validator(mode="after")
    def _asks_something(self) -> Settings:
        if not self.shots and not self.episodes:
            raise ValueError("name shots, episodes or both; with neither nothing is measured")
        return self

    def files_used(self) -> tuple[str, ...]:
        """The committed files of its episodes."""
        return tuple(f"episodes/{one}.json" for one in self.episodes if isinstance(one, str))


def build(settings: Settings) -> FewShot:
    """The task."""
    return FewShot(settings)


@dataclass
class _Found:
    """What was found so far; see ``Judgement``."""

    values: list[Value] = field(default_factory=list)
    outcomes: dict[str, tuple[float, ...]] = field(default_factory=dict)
    items: dict[str, tuple[str, ...]] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    num_train: int = 0

    def add(self, metric: str, mean: float, per_fold: Array) -> None:
        """A mean over draws or folds; from 2 on their spread."""
        self.values += mean_and_spread(metric, mean, per_fold)


class FewShot:
    """Accuracy on the test split, per number of shots, or on the queries of episodes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, shapes: Shapes) -> Judgement:
        """Means and sample spreads (``_sd``) over draws or folds.

        Per shots k: ``accuracy_k_shot``; its outcomes are those of every test shape, mean over draws. So it is with
        episodes of all classes (``accuracy_mn40_5_shot``). With those of few, ``accuracy_mn40_5w10s``, or
        ``accuracy_drawn_...``, the outcomes are the accuracies of the folds, for the queries of a fold share one fit;
        ``accuracy_mn40_5w10s_queries`` has the outcome of every query of every fold.
        """
        found = _Found()
        with single_threaded():
            for shots in self.settings.shots:
                self._judge_shots(shapes, shots, found)
            for one in self.settings.episodes:
                self._judge_episodes(shapes, one, found)
        test = shapes.rows("test") if self.settings.shots else np.array(sorted(found.asked))
        return Judgement(
            values=tuple(found.values),
            test_ids=tuple(shapes.ids[row] for row in test),
            n_train=found.num_train,
            outcomes=found.outcomes,
            items=found.items,
        )

    def _judge_shots(self, shapes: Shapes, shots: int, found: _Found) -> None:
        draws = [self.draw(shapes, shots, number) for number in range(self.settings.draws)]
        right = right_over_draws(shapes, draws, self._pool(shapes), self.settings.strength)
        metric = f"accuracy_{shots}_shot"
        found.add(metric, float(right.mean()), right.mean(axis=1))
        found.outcomes[metric] = tuple(right.mean(axis=0).tolist())
        found.num_train = max(found.num_train, shots * len(np.unique(shapes.label[self._pool(shapes)])))

    def _judge_episodes(self, shapes: Shapes, one: str | EpisodePlan, found: _Found) -> None:
        episodes = read_committed(one) if isinstance(one, str) else draw_from(shapes, self._pool(shapes), one)
        folds = place(shapes, episodes)
        for metric, shots in zip(metric_names(one), episodes.plan.shots, strict=True):
            right = [self._right_of_fold(shapes, fold, shots) for fold in folds]
            per_fold = np.array([answers.mean() for answers in right])
            found.add(metric, float(per_fold.mean()), per_fold)
            if episodes.plan.queries:
                found.outcomes[metric] = tuple(per_fold.tolist())
                found.items[metric] = tuple(f"fold{number}" for number in range(len(folds)))
                found.outcomes[f"{metric}_queries"] = tuple(np.concatenate(right).astype(float).tolist())
                found.items[f"{metric}_queries"] = item_names(shapes, folds)
            else:
                found.outcomes[metric] = tuple(np.stack(right).mean(axis=0).tolist())
                found.items[metric] = tuple(shapes.ids[row] for row in folds[0].queries)
        found.asked |= {int(row) for fold in folds for row in fold.queries}
        found.num_train = max(found.num_train, *(fold.support.size for fold in folds))

    def _right_of_fold(self, shapes: Shapes, fold: FoldRows, shots: int) -> Array:
        """(queries,) bool. Support rows are taken in ascending order: the fit does not hang on how they were drawn."""
        rows = np.sort(fold.support[:, :shots].ravel())
        pool = shapes.values[self._pool(shapes)]
        model = fit_linear(shapes.values[rows], shapes.label[rows], self.settings.strength, reference=pool)
        answered: Array = model.answer(shapes.values[fold.queries]) == shapes.label[fold.queries]
        return answered

    def draw(self, shapes: Shapes, shots: int, number: int) -> Array:
        """Rows of draw ``number``, ascending: ``shots`` of every class of the train split.

        Raises ``ArtifactError`` naming the class that has fewer.
        """
        return draw_shots(shapes, self._pool(shapes), shots, number)

    def _pool(self, shapes: Shapes) -> Array:
        return shapes.rows("train", "val") if self.settings.use_val else shapes.rows("train")
