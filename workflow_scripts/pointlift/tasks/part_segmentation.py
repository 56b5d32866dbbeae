"""Part segmentation: the student is trained to give every point its part, knowing the class of the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from pointlift.contracts.blocks import Answers
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.metrics import Audit, Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import SegmentationSettings
from pointlift.tasks.judgement import Judgement, best_on_test
from pointlift.tasks.part_scores import PartCounts, class_means, count_parts, shape_iou
from pointlift.tasks.shapes import PartPredictions, Parts, Shapes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.segmenter import Segmenter


class Settings(SegmentationSettings):
    """Finetuning for part segmentation: the head reads [token, embedding, class, levels] of every point."""

    kind: Literal["part_segmentation"]
    category_width: int | None = Field(default=None, ge=1)
    """Width of a block over the class's one-hot vector; None: it is read as it is."""
    answers: ClassVar[Answers] = "part_predictions"


def build(settings: Settings) -> PartSegmentation:
    """The task."""
    return PartSegmentation(settings)


class PartSegmentation:
    """Instance and class mIoU after training: at the last epoch (headline), and at the epoch that was best on val."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def model(self, student: nn.Module, shapes: Shapes, method: nn.Module | None) -> Segmenter:
        """What is trained. Raises ``ConfigError`` for a dataset without part labels, or a class of it without parts."""
        from pointlift.tasks.segmenter import Segmenter

        num_parts = _parts(shapes).of_class.shape[1]
        return Segmenter(student, shapes.num_classes, num_parts, self.settings, method)

    def training_arrays(self, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """What the model reads of these shapes beside their points."""
        return {"label": shapes.label[rows], "part_label": _parts(shapes).label[rows]}

    def look(self, model: Segmenter, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """Counts of the model's answers on these shapes, each (S, P) int32."""
        parts = _parts(shapes)
        own, free = model.answer(shapes.values[rows], shapes.label[rows], parts.of_class)
        num_parts = parts.of_class.shape[1]
        counts = count_parts(parts.label[rows], own, num_parts)
        free_counts = count_parts(parts.label[rows], free, num_parts)
        return {
            "hits": counts.hits,
            "answered": counts.answered,
            "free_hits": free_counts.hits,
            "free_answered": free_counts.answered,
        }

    def constant_arrays(self, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """What of these shapes is stored once beside the answers."""
        parts = _parts(shapes)
        labelled = count_parts(parts.label[rows], parts.label[rows], parts.of_class.shape[1]).labelled
        return {"labelled": labelled, "own": parts.of_class[shapes.label[rows]]}

    def watched(self, looked: dict[str, Array], shapes: Shapes, rows: Array, chosen: Array) -> dict[str, float]:
        """What the history says of the val shapes, ``chosen`` (S,) bool among ``rows``."""
        constant = self.constant_arrays(shapes, rows)
        counts = PartCounts(constant["labelled"], looked["answered"], looked["hits"])
        return {"val_instance_miou": float(shape_iou(counts, constant["own"])[chosen].mean())}

    def evaluate(self, predictions: PartPredictions) -> Judgement:
        """Scores on test; ``val`` is the first epoch with the highest instance mIoU on val.

        ``instance_miou`` and ``class_miou``: answers among the parts of the shape's class, a part that is answered but
        not labelled counts 0. ``instance_miou_compat``: answers among all parts, such a part counts 1 (PointMCD). The
        outcomes ``class_iou`` are the table by class, of the last epoch, whose mean is ``class_miou``.
        Under ``protocol: pointmcd_authors`` ``instance_miou_compat`` of the logged epoch that is best on test, alone.
        """
        test, val = predictions.rows("test"), predictions.rows("val")
        iou = np.stack(
            [shape_iou(predictions.counts(epoch), predictions.own) for epoch in range(len(predictions.epoch))]
        )
        if self.settings.protocol is not None:
            on_test = [_compat(predictions, epoch, test) for epoch in range(len(iou))]
            ids = [predictions.ids[row] for row in test]
            return best_on_test("instance_miou_compat", on_test, ids, predictions.num_train)
        values = _values(predictions, iou, -1, test, "last")
        if len(val):
            best = int(iou[:, val].mean(axis=1).argmax())
            values += _values(predictions, iou, best, test, "val")
        by_class = class_means(iou[-1, test], predictions.label[test])
        return Judgement(
            values=values,
            test_ids=tuple(predictions.ids[row] for row in test),
            n_train=predictions.num_train,
            outcomes={"instance_miou": tuple(iou[-1, test].tolist()), "class_iou": tuple(by_class.values())},
            items={"class_iou": tuple(predictions.class_names[label] for label in by_class)},
            audit=Audit(
                on_test={
                    "instance_miou": tuple(float(each[test].mean()) for each in iou),
                    "class_miou": tuple(_class_miou(each, predictions.label[test]) for each in iou[:, test]),
                }
            ),
        )


def _parts(shapes: Shapes) -> Parts:
    if shapes.parts is None:
        raise ConfigError("part_segmentation: the dataset has no part labels; name one that has")
    without = sorted(set(shapes.label.tolist()) - set(np.flatnonzero(shapes.parts.of_class.any(axis=1)).tolist()))
    if without:
        raise ConfigError(f"part_segmentation: class {without[0]} of the dataset has shapes but no parts; leave it out")
    return shapes.parts


def _compat(predictions: PartPredictions, epoch: int, test: Array) -> float:
    return float(shape_iou(predictions.counts(epoch, free=True), predictions.own, strict=False)[test].mean())


def _class_miou(iou: Array, label: Array) -> float:
    """Mean over classes of the mean over their shapes, (S,) each."""
    return float(np.mean(list(class_means(iou, label).values())))


def _values(
    predictions: PartPredictions, iou: Array, epoch: int, test: Array, selection: Literal["last", "val"]
) -> tuple[Value, ...]:
    found = {
        "instance_miou": float(iou[epoch, test].mean()),
        "class_miou": _class_miou(iou[epoch, test], predictions.label[test]),
        "instance_miou_compat": _compat(predictions, epoch, test),
    }
    return tuple(Value(metric=name, value=value, selection=selection) for name, value in found.items())
