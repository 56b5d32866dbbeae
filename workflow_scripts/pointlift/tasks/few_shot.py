"""Few-shot classification: a linear classifier on frozen embeddings of a handful of labelled shapes per class.

The embedding is standardised by the whole training pool, whose labels stay unread: the spread of a handful of shapes
says nothing about a dimension, and would blow up the noise of the quiet ones.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field, field_validator

from pointlift.contracts.blocks import TaskSettings
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.tasks.judgement import Judgement
from pointlift.tasks.linear_model import fit_linear, single_threaded
from pointlift.tasks.shapes import Shapes


class Settings(TaskSettings):
    """Which shots, how many draws of them."""

    kind: Literal["few_shot"]
    shots: tuple[int, ...] = Field(default=(1, 3, 5), min_length=1)
    """Training shapes per class. Draws are nested: the one of 1 shot is among the three of 3 shots."""
    draws: int = Field(default=10, ge=1)
    """Random choices of training shapes; the value is their mean. They hang on ids alone: all runs meet the same."""
    strength: float = Field(default=1.0, gt=0.0)
    """scikit-learn's C of the logistic regression; fixed, for one shot leaves nothing to validate on."""
    use_val: bool = False
    """Draw from train and val. Else the val split is left alone."""

    @field_validator("shots")
    @classmethod
    def _rising(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if list(shots) != sorted(set(shots)) or shots[0] < 1:
            raise ValueError("shots must be whole numbers from 1 on, rising, none twice")
        return shots


def build(settings: Settings) -> FewShot:
    """The task."""
    return FewShot(settings)


class FewShot:
    """Accuracy on the whole test split, per number of shots."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def evaluate(self, shapes: Shapes) -> Judgement:
        """Per shots k: ``accuracy_k_shot``, mean over draws; from 2 draws on their spread, ``accuracy_k_shot_sd``."""
        test = shapes.rows("test")
        values, outcomes = [], {}
        for shots in self.settings.shots:
            with single_threaded():
                right = self._right(shapes, test, shots)
            metric = f"accuracy_{shots}_shot"
            values.append(Value(metric=metric, value=float(right.mean())))
            if self.settings.draws > 1:
                values.append(Value(metric=f"{metric}_sd", value=float(right.mean(axis=1).std(ddof=1))))
            outcomes[metric] = tuple(right.mean(axis=0).tolist())
        return Judgement(
            values=tuple(values),
            test_ids=tuple(shapes.ids[row] for row in test),
            n_train=self.settings.shots[-1] * len(np.unique(shapes.label[self._pool(shapes)])),
            outcomes=outcomes,
        )

    def draw(self, shapes: Shapes, shots: int, number: int) -> Array:
        """Rows of draw ``number``, ascending: ``shots`` of every class of the train split.

        Raises ``ArtifactError`` naming the class that has fewer.
        """
        pool = self._pool(shapes)
        chosen = []
        for one in np.unique(shapes.label[pool]):
            members = sorted(pool[shapes.label[pool] == one], key=lambda row: shapes.ids[row])
            if len(members) < shots:
                raise ArtifactError(
                    f"few_shot: shots {shots} needs {shots} training shapes of every class, class {one} "
                    f"(with {shapes.ids[members[0]]}) has {len(members)}; lower shots"
                )
            ids = [shapes.ids[row] for row in members]
            rng = np.random.default_rng(stable_seed("few_shot", number, *ids))
            chosen += [members[place] for place in rng.permutation(len(members))[:shots]]
        return np.sort(np.array(chosen))

    def _pool(self, shapes: Shapes) -> Array:
        return shapes.rows("train", "val") if self.settings.use_val else shapes.rows("train")

    def _right(self, shapes: Shapes, test: Array, shots: int) -> Array:
        """(draws, test shapes) bool; draws that are the same shapes are fitted once."""
        known: dict[bytes, Array] = {}
        pool = shapes.values[self._pool(shapes)]
        rows = [self.draw(shapes, shots, number) for number in range(self.settings.draws)]
        for drawn in rows:
            if drawn.tobytes() not in known:
                model = fit_linear(shapes.values[drawn], shapes.label[drawn], self.settings.strength, reference=pool)
                known[drawn.tobytes()] = model.answer(shapes.values[test]) == shapes.label[test]
        return np.stack([known[drawn.tobytes()] for drawn in rows])
