"""What a task is given: clouds or frozen embeddings, with label and split, joined from manifest and shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import SPLITS, UNLABELLED, labelled_classes, open_test_split
from pointlift.contracts.prompts import read_classes
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import read_stage, read_stages
from pointlift.tasks.part_scores import PartCounts


@dataclass(frozen=True)
class Parts:
    """The named parts of a dataset's shapes: label (S, N) int16 of every point, -1 for none; of_class (K, P) bool."""

    label: Array
    of_class: Array


@dataclass(frozen=True)
class Shapes:
    """The usable shapes of a dataset, in the manifest's order, one row each.

    values : (S, N, 3) float32 points or (S, C) float32 embeddings; label : (S,) int64 in 0 .. K - 1;
    split : (S,) uint8, 0 train, 1 val, 2 test; parts : of clouds whose points have some.
    """

    ids: tuple[str, ...]
    values: Array
    label: Array
    split: Array
    num_classes: int
    parts: Parts | None = None

    def rows(self, *splits: str) -> Array:
        """Row numbers of these splits."""
        return np.flatnonzero(np.isin(self.split, [SPLITS.index(split) for split in splits]))


@dataclass(frozen=True)
class Prompts:
    """What a teacher says of K classes: label (K,) int64, rising, are their numbers; embedding (K, D) float32."""

    class_names: tuple[str, ...]
    label: Array
    embedding: Array
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """A finetuned student's answers on val and test, at the logged epochs.

    epoch : (E,) int64, rising, the last is the end of training; logits : (E, S, K) float32; label, split : (S,).
    vote_logits : (R, S test, K) float32 where test-time votes were cast, of the rows of test.
    """

    ids: tuple[str, ...]
    epoch: Array
    logits: Array
    label: Array
    split: Array
    num_train: int
    vote_logits: Array | None = None

    def rows(self, split: str) -> Array:
        """Row numbers of a split."""
        return np.flatnonzero(self.split == SPLITS.index(split))


@dataclass(frozen=True)
class EpochEmbeddings:
    """A finetuned student's embeddings and answers on train and test, before training and at the logged epochs.

    epoch : (E,) int64, rising, the first is -1; embedding : (E, S, C) float32; logits : (E, S, K) float32;
    label, split : (S,); class_weight : (E, K, C) float32 of a linear head, else None.
    """

    ids: tuple[str, ...]
    epoch: Array
    embedding: Array
    logits: Array
    label: Array
    split: Array
    num_train: int
    class_weight: Array | None = None

    def rows(self, split: str) -> Array:
        """Row numbers of a split."""
        return np.flatnonzero(self.split == SPLITS.index(split))


@dataclass(frozen=True)
class PartPredictions:
    """A finetuned student's answers on the points of val and test, counted by part; see the stage of this name."""

    ids: tuple[str, ...]
    arrays: dict[str, Array]
    num_train: int
    class_names: tuple[str, ...]
    """Of the manifest, by number."""

    @property
    def epoch(self) -> Array:
        """(E,) int64, rising; the last is the end of training."""
        return self.arrays["epoch"]

    @property
    def label(self) -> Array:
        """(S,) int64: the class of each shape."""
        return self.arrays["label"]

    @property
    def own(self) -> Array:
        """(S, P) bool: whether a part is one of the shape's class."""
        return self.arrays["own"]

    def rows(self, split: str) -> Array:
        """Row numbers of a split."""
        return np.flatnonzero(self.arrays["split"] == SPLITS.index(split))

    def counts(self, epoch: int, *, free: bool = False) -> PartCounts:
        """Points by part at a logged epoch; ``free``: answers are the best of all parts, not of the class's own."""
        word = "free_" if free else ""
        answered, hits = self.arrays[f"{word}answered"][epoch], self.arrays[f"{word}hits"][epoch]
        return PartCounts(self.arrays["labelled"], answered, hits)


@dataclass(frozen=True)
class SubsetPredictions:
    """Answers on the test split of students that were finetuned on small sets; see the stage of this name.

    size, draw, phase : (E,), of which training; logits : (E, S, K) float32; label : (S,).
    num_train : labelled shapes of the largest set.
    """

    ids: tuple[str, ...]
    size: Array
    draw: Array
    phase: Array
    logits: Array
    label: Array
    num_train: int

    def of(self, size: float, phase: int = 0) -> Array:
        """Class scores (draws, S, K) after the trainings on sets of this size, draw by draw.

        Raises ``ArtifactError`` where there are none.
        """
        chosen = np.flatnonzero((self.size == size) & (self.phase == phase))
        if len(chosen) == 0:
            raise ArtifactError(f"no student was finetuned on sets of size {size:g}; delete its predictions, run again")
        scores: Array = self.logits[chosen[np.argsort(self.draw[chosen], kind="stable")]]
        return scores


def read_clouds(manifest: Path, points: Sequence[Path]) -> Shapes:
    """The valid clouds of a dataset; all must have the same number of points."""
    shard = read_stages(points, "points")
    shapes = _join(manifest, shard)
    rows = _rows_of(shard, shapes.ids)
    starts, counts = shard["point_offsets"][rows], np.diff(shard["point_offsets"])[rows]
    if (counts != counts[0]).any():
        raise ArtifactError(f"a task on shapes needs clouds of one size; these have {counts.min()} to {counts.max()}")
    every = starts[:, None] + np.arange(counts[0])
    parts = None
    if "part_label" in shard.arrays:
        of_class = parts_of_classes(shard.attributes["class_names"], shard.attributes["part_names"])
        parts = Parts(shard["part_label"][every], of_class[: shapes.num_classes])
    return Shapes(shapes.ids, shard["points"][every], shapes.label, shapes.split, shapes.num_classes, parts)


def ids_by_class(manifest: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Shape ids by class: of train and val together, and of test. Raises ``ArtifactError`` for a shape without one."""
    rows = open_test_split(manifest)
    if (rows["label"] == UNLABELLED).any():
        raise ArtifactError(f"{manifest}: has shapes without a label; episodes need a labelled dataset")
    is_test = rows["split"] == "test"
    train, test = (
        {str(name): list(ids) for name, ids in part.groupby("class_name")["shape_id"]}
        for part in (rows[~is_test], rows[is_test])
    )
    return train, test


def parts_of_classes(class_names: Sequence[str], part_names: Sequence[str]) -> Array:
    """Whether part ``<class>/<part>`` is one of a class, (K, P) bool."""
    return np.array([[part.split("/")[0] == name for part in part_names] for name in class_names])


def read_embeddings(manifest: Path, embeddings: Path, of: str = "embedding") -> Shapes:
    """The embeddings of a dataset's valid shapes; of ``projected``: as the method's head places them."""
    shard = read_stage(embeddings, "embeddings")
    if of not in shard.arrays:
        raise ArtifactError(
            f"{embeddings}: has no {of} embeddings: its run has no method with a head into its teacher's space; judge "
            "its own embedding (of: embedding), or let this task meet only the runs that have one"
        )
    shapes = _join(manifest, shard)
    rows = _rows_of(shard, shapes.ids)
    return Shapes(shapes.ids, shard[of][rows], shapes.label, shapes.split, shapes.num_classes)


def read_prompts(manifest: Path, prompts: Path) -> Prompts:
    """Read prompts and check that they are of this manifest's classes."""
    shard, classes = read_stage(prompts, "prompts"), read_classes(manifest)
    if classes != dict(zip(shard["label"].tolist(), shard.ids, strict=True)):
        raise ArtifactError(f"{prompts}: its classes are not those of {manifest}; delete it and run snakemake again")
    return Prompts(shard.ids, shard["label"], shard["embedding"], tuple(shard.attributes["prompts"]))


def read_predictions(manifest: Path, predictions: Path) -> Predictions:
    """Read predictions and check that they are of this manifest's shapes, labels and splits."""
    shard = _read_answers(manifest, predictions, "predictions")
    arrays = {name: shard[name] for name in ("epoch", "logits", "label", "split")}
    votes = shard.arrays.get("vote_logits")
    num_test = int((shard["split"] == SPLITS.index("test")).sum())
    if votes is not None and votes.shape[1] != num_test:
        raise ArtifactError(f"{predictions}: votes on {votes.shape[1]} of {num_test} test shapes; make them anew")
    return Predictions(shard.ids, **arrays, num_train=int(shard.attributes["num_train"]), vote_logits=votes)


def read_epoch_embeddings(manifest: Path, predictions: Path) -> EpochEmbeddings:
    """Read embeddings by epoch and check that they are of this manifest's shapes, labels and splits."""
    shard = _read_answers(manifest, predictions, "epoch_embeddings")
    arrays = {name: shard[name] for name in ("epoch", "embedding", "logits", "label", "split")}
    return EpochEmbeddings(
        shard.ids,
        **arrays,
        num_train=int(shard.attributes["num_train"]),
        class_weight=shard.arrays.get("class_weight"),
    )


def read_part_predictions(manifest: Path, predictions: Path) -> PartPredictions:
    """Read counts of part answers and check that they are of this manifest's shapes, labels and splits."""
    shard = _read_answers(manifest, predictions, "part_predictions")
    names = dict(labelled_classes(manifest))
    class_names = tuple(names.get(label, "") for label in range(max(names) + 1))
    return PartPredictions(shard.ids, shard.arrays, int(shard.attributes["num_train"]), class_names)


def read_subset_predictions(manifest: Path, predictions: Path) -> SubsetPredictions:
    """Read predictions of students on small sets and check that they are of this manifest's shapes and labels."""
    shard = _read_answers(manifest, predictions, "subset_predictions")
    arrays = {name: shard[name] for name in ("size", "draw", "phase", "logits", "label")}
    return SubsetPredictions(shard.ids, **arrays, num_train=int(shard.attributes["num_train"]))


def _read_answers(manifest: Path, predictions: Path, kind: str) -> Shard:
    shard = read_stage(predictions, kind)
    listed = open_test_split(manifest).set_index("shape_id")
    unknown = [shape_id for shape_id in shard.ids if shape_id not in listed.index]
    if unknown:
        raise ArtifactError(f"{predictions}: {unknown[0]} is not in {manifest}; run snakemake to make them anew")
    now = listed.loc[list(shard.ids)]
    if not np.array_equal(now["label"], shard["label"]) or not np.array_equal(_codes(now["split"]), shard["split"]):
        raise ArtifactError(f"{predictions}: its labels or splits are not those of {manifest}; make them anew")
    return shard


def _join(manifest: Path, shard: Shard) -> Shapes:
    """Ids, labels and splits of the manifest's shapes that are valid in the shard; no values yet."""
    listed = open_test_split(manifest)
    valid = dict(zip(shard.ids, shard["valid"], strict=True))
    missing = [shape_id for shape_id in listed["shape_id"] if shape_id not in valid]
    if missing:
        raise ArtifactError(f"{manifest}: {missing[0]} has no row in the shards that were given; run snakemake")
    kept = listed[[bool(valid[shape_id]) for shape_id in listed["shape_id"]]]
    label = kept["label"].to_numpy(dtype=np.int64)
    if (label == UNLABELLED).any():
        raise ArtifactError(f"{manifest}: has shapes without a label; a task needs a labelled dataset")
    split = _codes(kept["split"])
    for name in ("train", "test"):
        if not (split == SPLITS.index(name)).any():
            raise ArtifactError(f"{manifest}: no usable shape is in the {name} split; a task needs some")
    num_classes = int(listed["label"].max()) + 1
    return Shapes(tuple(kept["shape_id"]), np.empty(0), label, split, num_classes)


def _codes(splits: Iterable[str]) -> Array:
    return np.array([SPLITS.index(split) for split in splits], dtype=np.uint8)


def _rows_of(shard: Shard, ids: Sequence[str]) -> Array:
    row = {shape_id: number for number, shape_id in enumerate(shard.ids)}
    return np.array([row[shape_id] for shape_id in ids])
