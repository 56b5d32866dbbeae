"""The literature's few-shot folds as episodes: their clouds have no ids; each is found again among a dataset's shapes.

A fold is a pickle ``{"train": [(points, way, class), ...], "test": [...]}``: points (n, 3), or (n, 6) with normals, in
the units and axes of modelnet40_normal_resampled, 8,192 farthest points of a file's 10,000; class: its place in the
list of names. Support is from the train split, queries from the test split. (Read off the published generator and
loaders of the Point-BERT family; not checked against the files themselves.)
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pointlift.contracts.dataset import PointCloud, PointDataset
from pointlift.contracts.episodes import EpisodePlan, Episodes, Way
from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.contracts.hashing import file_sha256
from pointlift.contracts.shards import Array
from pointlift.datasets.fold_pickle import read_pickle
from pointlift.geometry.clouds import turn_up
from pointlift.geometry.subsets import Candidate, find_superset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoldCloud:
    """One shape of a fold. points : (n, 3) float64, as in the file; class_number : its place in the list of names."""

    points: Array
    class_number: int


def read_fold(path: Path) -> dict[str, list[FoldCloud]]:
    """The clouds of a fold, by ``train`` (support) and ``test`` (queries). Raises ``ArtifactError``."""
    held = read_pickle(path)
    if not isinstance(held, dict) or set(held) != {"train", "test"}:
        raise ArtifactError(f"{path}: no fold: must be a dict of train and test")
    return {role: _clouds(path, role, held[role]) for role in ("train", "test")}


def import_episodes(paths: Sequence[Path], dataset: PointDataset, name: str, base: str) -> Episodes:
    """Find the clouds of all folds, in the order of ``paths``, among the shapes of ``dataset``.

    Raises ``ArtifactError`` naming fold and cloud when one is no subset of any shape of its class and split.
    """
    folds = [read_fold(path) for path in paths]
    ids = _Finder(dataset).find([_told(path) for path in paths], folds)
    ways = [_ways(dataset.class_names, fold, found) for fold, found in zip(folds, ids, strict=True)]
    largest = max(len(way.queries) for fold in ways for way in fold.values())
    shots = max(len(way.support) for fold in ways for way in fold.values())
    try:
        plan = EpisodePlan(ways=len(ways[0]), shots=(shots,), queries=largest, folds=len(ways))
        sources = {_told(path): file_sha256(path) for path in paths}
        return Episodes(name=name, base=base, origin="imported", plan=plan, sources=sources, folds=tuple(ways))
    except ValueError as error:
        raise ArtifactError(f"{paths[0].parent}: these folds are no episodes {name}: {error}") from None


def _told(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _clouds(path: Path, role: str, held: Any) -> list[FoldCloud]:
    if not isinstance(held, list) or not held:
        raise ArtifactError(f"{path}: no fold: {role} must be a list of (points, way, class)")
    found = []
    for number, item in enumerate(held):
        told = f"{path}: {role} cloud {number}"
        if not isinstance(item, tuple | list) or len(item) != 3:
            raise ArtifactError(f"{told}: must be (points, way, class)")
        points, _, class_number = item
        if not isinstance(points, np.ndarray) or points.ndim != 2 or points.shape[1] not in (3, 6):
            raise ArtifactError(f"{told}: points must be an array (n, 3), or (n, 6) with normals")
        if len(points) < 64 or points.dtype.kind != "f" or not np.isfinite(points).all():
            raise ArtifactError(f"{told}: points must be 64 or more finite real numbers")
        if not isinstance(class_number, int | np.integer):
            raise ArtifactError(f"{told}: its class must be a whole number")
        found.append(FoldCloud(points[:, :3].astype(np.float64), int(class_number)))
    return found


def _ways(names: Sequence[str], fold: Mapping[str, list[FoldCloud]], ids: Mapping[str, list[str]]) -> dict[str, Way]:
    """Ids by class name, sorted."""
    by_role: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for role, clouds in fold.items():
        for cloud, shape_id in zip(clouds, ids[role], strict=True):
            by_role[role].setdefault(names[cloud.class_number], []).append(shape_id)
    queries = by_role["test"]
    if set(queries) != set(by_role["train"]):
        raise ArtifactError("a fold asks about other classes than it learns; it is no few-shot fold")
    support = by_role["train"]
    return {one: Way(support=tuple(support[one]), queries=tuple(queries[one])) for one in sorted(support)}


class _Finder:
    """Finds clouds among the shapes of a dataset, one class and split at a time: so many are in memory at once."""

    def __init__(self, dataset: PointDataset) -> None:
        self._dataset = dataset
        self._ids: dict[tuple[str, str], list[str]] = {}

    def find(self, told: Sequence[str], folds: Sequence[Mapping[str, list[FoldCloud]]]) -> list[dict[str, list[str]]]:
        """The id of every cloud, laid out as the folds are."""
        found: list[dict[str, list[str]]] = [{role: [""] * len(fold[role]) for role in fold} for fold in folds]
        names = self._dataset.class_names
        wanted: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for number, fold in enumerate(folds):
            for role, clouds in fold.items():
                for place, cloud in enumerate(clouds):
                    if not 0 <= cloud.class_number < len(names):
                        raise ArtifactError(f"{told[number]}: class {cloud.class_number} is none of {len(names)}")
                    wanted.setdefault((role, names[cloud.class_number]), []).append((number, place))
        for (role, name), places in sorted(wanted.items()):
            candidates = self._candidates(role, name)
            for number, place in places:
                taken = set(found[number][role])
                label = f"{told[number]}: {role} cloud {place} ({name})"
                found[number][role][place] = self._one(label, folds[number][role][place], candidates, taken)
        return found

    def _one(self, told: str, cloud: FoldCloud, candidates: Mapping[str, Candidate], taken: set[str]) -> str:
        points = turn_up(PointCloud(cloud.points), self._dataset.up_axis).points
        ids = list(candidates)
        matches = [ids[place] for place in find_superset(points, list(candidates.values()))]
        if len(matches) > 1:
            log.warning(
                "%s: is a part of %s alike; the first that is not in the fold is taken", told, ", ".join(matches)
            )
        free = [shape_id for shape_id in matches if shape_id not in taken]
        if not free:
            reason = f"{matches[0]} stands in this fold already" if matches else f"none of {len(ids)} shapes holds it"
            raise ArtifactError(f"{told}: not found among the dataset's shapes: {reason}")
        return free[0]

    def _candidates(self, role: str, name: str) -> dict[str, Candidate]:
        if not self._ids:
            for shape_id in self._dataset.ids:
                entry = self._dataset.entry(shape_id)
                split = "test" if entry.split == "test" else "train"
                self._ids.setdefault((split, entry.class_name), []).append(shape_id)
        ids = self._ids.get((role, name), [])
        log.info("reading %d shapes: %s, %s", len(ids), name, role)
        found = {}
        for shape_id in ids:
            try:
                found[shape_id] = Candidate(self._dataset.load_points(shape_id).points)
            except UnusableShapeError as error:
                log.warning("%s cannot be looked at: %s", shape_id, error)
        return found
