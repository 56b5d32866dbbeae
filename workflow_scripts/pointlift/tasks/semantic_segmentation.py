"""Semantic segmentation of scenes: the student is trained to give every point of a room or street its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from pointlift.contracts.blocks import Answers
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.metrics import Audit, Value
from pointlift.contracts.scenes import Scene
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import SegmentationSettings
from pointlift.tasks import semantic_scores as scores
from pointlift.tasks.judgement import Judgement, best_on_test
from pointlift.tasks.part_scores import PartCounts, count_parts
from pointlift.tasks.scenes import PointPredictions, Scenes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.point_classifier import PointClassifier
    from pointlift.tasks.scene_blocks import SceneCrops

_CLIP_METRES = 4.0


class Settings(SegmentationSettings):
    """Finetuning for semantic segmentation: the head reads [token, embedding, levels] of every point.

    Whatever the blocks are, every point of a scene is answered. Students are given places alone, no colour.
    """

    kind: Literal["semantic_segmentation"]
    block_size: float | None = Field(default=1.0, gt=0.0)
    """Edge in metres, along x and y, of the columns that a scene is read in. None: all of it at once, for scans."""
    block_stride: float | None = Field(default=None, gt=0.0)
    """Metres between columns in evaluation, at most block_size; where they overlap, the mean probability decides. None:
    half of block_size."""
    num_points: int = Field(default=4096, ge=16)
    """Points that the student is given at once. In evaluation a block that has more is read in several random parts."""
    unit: float = Field(default=1.0, gt=0.0)
    """Metres that the student sees as 1: from a block's centre along x and y, from its lowest point along z."""
    crops_per_scene: int = Field(default=1, ge=1)
    """Random blocks of every train scene in an epoch."""
    read_embedding: bool = True
    """False: points are told apart by tokens and levels alone; with head_widths: [] by one linear layer (U-Net)."""
    compat_clip: bool = False
    """True: val and test scenes are cut down to 4 m from the mean of their points along each axis, and the points
    beyond are in no score, as in the code of Image2Point. Such numbers stand under a protocol of their own."""
    measures: ClassVar[tuple[str, ...]] = ("block_size", "block_stride", "num_points", "unit", "compat_clip")
    joint: ClassVar[bool] = False
    answers: ClassVar[Answers] = "point_predictions"
    reads_scenes: ClassVar[bool] = True
    protocols: ClassVar[tuple[str, ...]] = ("image2point_authors",)

    @model_validator(mode="after")
    def _blocks_leave_no_gap(self) -> Settings:
        if self.block_stride is not None and (self.block_size is None or self.block_stride > self.block_size):
            raise ValueError("block_stride must be at most block_size, or points would stand in no block; leave it out")
        return self

    def stride(self) -> float:
        """Metres between blocks; 0 where there is but one."""
        return self.block_stride or (self.block_size or 0.0) / 2

    def protocol_words(self) -> tuple[str, ...]:
        """What stands in a row's protocol beside dataset and form: numbers on clipped rooms never meet the others."""
        words = super().protocol_words()
        return (*words, "clip4m") if self.compat_clip else words


def build(settings: Settings) -> SemanticSegmentation:
    """The task."""
    return SemanticSegmentation(settings)


class SemanticSegmentation:
    """IoU and accuracies over all original points: at the last epoch (headline), and at the epoch best on val."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._labelled: dict[tuple[str, ...], Array] = {}

    def model(self, student: nn.Module, scenes: Scenes, method: nn.Module | None) -> PointClassifier:
        """What is trained. Raises ``ConfigError`` for a dataset whose points have no classes."""
        from pointlift.tasks.point_classifier import PointClassifier

        del method  # not joint: there is none
        if not scenes.semantic_names:
            raise ConfigError("semantic_segmentation: the dataset has no semantic labels; name one that has")
        return PointClassifier(student, len(scenes.semantic_names), self.settings)

    def training_data(self, scenes: Scenes, rows: Array, seed: int) -> SceneCrops:
        """Random crops of these scenes."""
        from pointlift.tasks.scene_blocks import SceneCrops

        del seed  # the engine hands it in with every epoch
        return SceneCrops(scenes, rows, self.settings)

    def look(self, model: PointClassifier, scenes: Scenes, rows: Array) -> dict[str, Array]:
        """Counts of the model's answers on all labelled points of these scenes, each (S, K) int32."""
        counts = self._count(scenes, rows, model)
        return {"hits": counts.hits, "answered": counts.answered}

    def constant_arrays(self, scenes: Scenes, rows: Array) -> dict[str, Array]:
        """What of these scenes is stored once beside the answers: ``labelled`` (S, K) int32."""
        ids = tuple(scenes.ids[row] for row in rows)
        if ids not in self._labelled:
            self._labelled[ids] = self._count(scenes, rows).labelled
        return {"labelled": self._labelled[ids]}

    def watched(self, looked: dict[str, Array], scenes: Scenes, rows: Array, chosen: Array) -> dict[str, float]:
        """What the history says of the val scenes, ``chosen`` (S,) bool among ``rows``; nothing without labels."""
        labelled = self.constant_arrays(scenes, rows)["labelled"]
        counts = scores.pooled(PartCounts(labelled, looked["answered"], looked["hits"]), chosen)
        return {"val_mean_iou": scores.mean_iou(counts)} if counts.labelled.any() else {}

    def _count(self, scenes: Scenes, rows: Array, model: PointClassifier | None = None) -> PartCounts:
        """Points by class of every scene, (S, K) each; without a model the labels are the answers."""
        num_classes = len(scenes.semantic_names)
        counted: dict[int, PartCounts] = {}
        for at in np.argsort(scenes.shard_of(rows), kind="stable").tolist():  # each shard is read once
            scene = scenes.load(int(rows[at]))
            if self.settings.compat_clip:
                scene = clipped(scene, _CLIP_METRES)
            label = scene.arrays["semantic_label"]
            answer = label if model is None else model.answer(scene)
            counted[at] = count_parts(label[None], answer[None], num_classes)
        found = [counted[at] for at in range(len(rows))]
        return PartCounts(*(np.concatenate([getattr(each, name) for each in found]) for name in _COUNTS))

    def evaluate(self, predictions: PointPredictions) -> Judgement:
        """Scores on test; ``val`` is the first epoch with the highest mean IoU on val.

        ``mean_iou``, ``mean_class_accuracy``, ``point_accuracy``: over the points of all scenes together.
        ``scene_mean_iou``: mean over scenes of each one's own mean IoU, whose outcomes pair two runs. The outcomes
        ``class_iou`` are the table by class, of the last epoch, whose mean is ``mean_iou``. Under ``protocol:
        image2point_authors`` ``mean_iou_compat`` of the logged epoch that is best on test, alone.
        """
        test, val = predictions.rows("test"), predictions.rows("val")
        epochs = [_counts(predictions, epoch) for epoch in range(len(predictions.arrays["epoch"]))]
        if not epochs[-1].labelled[test].any():
            raise ArtifactError("semantic_segmentation: no point of the test scenes has a class; nothing can be judged")
        ids = tuple(predictions.ids[row] for row in test)
        if self.settings.protocol is not None:
            on_test = [scores.mean_iou_compat(scores.pooled(counts, test)) for counts in epochs]
            return best_on_test("mean_iou_compat", on_test, ids, predictions.num_train, cut=False)
        values = _values(epochs[-1], test, "last")
        if epochs[-1].labelled[val].any():
            best = int(np.argmax([scores.mean_iou(scores.pooled(counts, val)) for counts in epochs]))
            values += _values(epochs[best], test, "val")
        outcomes, items = _outcomes(epochs[-1], predictions, test)
        audit = Audit(on_test={"mean_iou": tuple(scores.mean_iou(scores.pooled(counts, test)) for counts in epochs)})
        return Judgement(values, ids, predictions.num_train, outcomes, items, audit=audit)


_COUNTS = ("labelled", "answered", "hits")


def clipped(scene: Scene, metres: float) -> Scene:
    """The points of a scene that are within so many metres of the mean of its points, along each axis; no boxes."""
    centre = scene.points.mean(axis=0, dtype=np.float64)
    kept = (np.abs(scene.points - centre) <= metres).all(axis=1)
    return Scene(scene.scene_id, scene.points[kept], {name: array[kept] for name, array in scene.arrays.items()})


def _counts(predictions: PointPredictions, epoch: int) -> PartCounts:
    """Points by class of all scenes at a logged epoch, (S, K) each."""
    arrays = predictions.arrays
    return PartCounts(arrays["labelled"], arrays["answered"][epoch], arrays["hits"][epoch])


def _scene_iou(counts: PartCounts, rows: Array) -> dict[int, float]:
    """Mean IoU of each of these scenes over the classes labelled or answered in it, where it has a labelled point."""
    kept = [int(row) for row in rows if counts.labelled[row].any()]
    return {row: scores.mean_iou(scores.pooled(counts, np.array([row]))) for row in kept}


def _values(counts: PartCounts, rows: Array, selection: Literal["last", "val"]) -> tuple[Value, ...]:
    together = scores.pooled(counts, rows)
    found = {
        "mean_iou": scores.mean_iou(together),
        "mean_class_accuracy": scores.mean_class_accuracy(together),
        "point_accuracy": scores.point_accuracy(together),
        "scene_mean_iou": float(np.mean(list(_scene_iou(counts, rows).values()))),
    }
    return tuple(Value(metric=name, value=value, selection=selection) for name, value in found.items())


def _outcomes(
    counts: PartCounts, predictions: PointPredictions, test: Array
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[str, ...]]]:
    """Outcomes, and what they are of."""
    by_scene = _scene_iou(counts, test)
    by_class = scores.class_iou(scores.pooled(counts, test))
    occurring = np.flatnonzero(np.isfinite(by_class))
    outcomes = {"scene_mean_iou": tuple(by_scene.values()), "class_iou": tuple(by_class[occurring].tolist())}
    items = {
        "scene_mean_iou": tuple(predictions.ids[row] for row in by_scene),
        "class_iou": tuple(predictions.semantic_names[label] for label in occurring),
    }
    return outcomes, items
