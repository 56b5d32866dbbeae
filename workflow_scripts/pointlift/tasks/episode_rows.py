"""Episodes placed on a task's shapes: which rows a fold learns from and which it is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pointlift.contracts.episodes import EpisodePlan, Episodes, Way, draw
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import SPLITS
from pointlift.contracts.shards import Array
from pointlift.tasks.shapes import Shapes


@dataclass(frozen=True)
class FoldRows:
    """Rows of a dataset. support : (ways, largest number of shots) int64; queries : (Q,) int64."""

    support: Array
    queries: Array


def draw_from(shapes: Shapes, pool: Array, plan: EpisodePlan) -> Episodes:
    """Episodes of a task's own dataset: support from the rows of ``pool``, queries from the test split.

    Classes are told apart by their number, padded so that they sort.
    """
    train, test = _by_class(shapes, pool), _by_class(shapes, shapes.rows("test"))
    return draw(f"drawn/{plan.name}", "drawn", train, test, plan)


def place(shapes: Shapes, episodes: Episodes) -> list[FoldRows]:
    """Rows of every fold, in order. Episodes without queries ask the whole test split.

    Raises ``ArtifactError`` when a shape is not among the usable ones, stands in the wrong split, or has another class
    than the rest of its way.
    """
    row = {shape_id: number for number, shape_id in enumerate(shapes.ids)}
    _require_all(row, episodes)
    return [_place_fold(shapes, row, fold, f"episodes {episodes.name}, fold {n}") for n, fold in _numbered(episodes)]


def _numbered(episodes: Episodes) -> list[tuple[int, dict[str, Way]]]:
    return list(enumerate(episodes.folds))


def _by_class(shapes: Shapes, rows: Array) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(f"{shapes.label[row]:06d}", []).append(shapes.ids[row])
    return found


def _require_all(row: Mapping[str, int], episodes: Episodes) -> None:
    wanted = {i for fold in episodes.folds for way in fold.values() for i in (*way.support, *way.queries)}
    missing = sorted(wanted - set(row))
    if len(missing) == len(wanted):
        raise ArtifactError(
            f"episodes {episodes.name}: none of their shapes is in this dataset; their ids are those of base "
            f"{episodes.base} (first: {missing[0]}). Name a dataset of that base, or draw episodes from this one"
        )
    if missing:
        raise ArtifactError(
            f"episodes {episodes.name}: {len(missing)} of their {len(wanted)} shapes cannot be used here (first: "
            f"{missing[0]}): the dataset lacks them, or its quarantine list says why. Mend the files: without them the "
            "folds would be others"
        )


def _place_fold(shapes: Shapes, row: Mapping[str, int], fold: Mapping[str, Way], told: str) -> FoldRows:
    support = np.array([[row[shape_id] for shape_id in way.support] for way in fold.values()])
    queries = [np.array([row[shape_id] for shape_id in way.queries], dtype=np.int64) for way in fold.values()]
    is_test = shapes.split == SPLITS.index("test")
    for name, rows, asked in zip(fold, support, queries, strict=True):
        if len(np.unique(shapes.label[np.concatenate([rows, asked])])) > 1:
            raise ArtifactError(f"{told}: the shapes of {name} have more than one class in this dataset's manifest")
        if is_test[rows].any() or not is_test[asked].all():
            raise ArtifactError(
                f"{told}: {name} learns from a test shape, or asks about one that is not in the test split"
            )
    if len(np.unique(shapes.label[support[:, 0]])) < len(fold):
        raise ArtifactError(f"{told}: two of its classes are one in this dataset's manifest")
    joined = np.concatenate(queries)
    return FoldRows(support, joined if len(joined) else _whole_test(shapes, support, told))


def _whole_test(shapes: Shapes, support: Array, told: str) -> Array:
    test = shapes.rows("test")
    unknown = np.setdiff1d(shapes.label[test], shapes.label[support])
    if len(unknown):
        raise ArtifactError(f"{told}: the test split has class {unknown[0]}, of which it learns nothing")
    return test


def item_names(shapes: Shapes, folds: Sequence[FoldRows]) -> tuple[str, ...]:
    """What is asked, fold by fold: ``fold0/airplane_0627``."""
    return tuple(f"fold{number}/{shapes.ids[row]}" for number, fold in enumerate(folds) for row in fold.queries)
