"""Scores of a labelling of points by class, over all points of all judged scenes together.

A class's intersection over union (Jaccard index) is over the points of all scenes at once, not a mean over scenes
(Everingham et al., PASCAL VOC, IJCV 2015, section 4.1.4). The mean is over the classes that are labelled or answered
somewhere: one that is answered but nowhere labelled counts 0, one that is neither is left out. Where every class
occurs, as in Area 5 of S3DIS, this is the field's number; the official evaluation of SemanticKITTI (iouEval of its
published tools) counts a class that is neither as 0: on a part of sequence 08 without such a class it gives less.
"""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.tasks.part_scores import PartCounts


def pooled(counts: PartCounts, rows: Array) -> PartCounts:
    """Points by class of these scenes together: each (K,) int64 of (S, K)."""
    labelled, answered, hits = (
        each[rows].sum(axis=0, dtype=np.int64) for each in (counts.labelled, counts.answered, counts.hits)
    )
    return PartCounts(labelled, answered, hits)


def class_iou(counts: PartCounts) -> Array:
    """Intersection over union of each class, (..., K) float64; nan for one that is neither labelled nor answered."""
    union = counts.labelled + counts.answered - counts.hits
    iou: Array = np.where(union > 0, counts.hits / np.maximum(union, 1), np.nan)
    return iou


def mean_iou(counts: PartCounts) -> float:
    """Mean over the classes that are labelled or answered; counts (K,), of at least one labelled point."""
    return float(np.nanmean(class_iou(counts)))


def mean_class_accuracy(counts: PartCounts) -> float:
    """Mean over the labelled classes of the share of their points that is answered right."""
    known = counts.labelled > 0
    return float((counts.hits[known] / counts.labelled[known]).mean())


def point_accuracy(counts: PartCounts) -> float:
    """Share of the labelled points that is answered right: overall accuracy."""
    return float(counts.hits.sum() / counts.labelled.sum())


def mean_iou_compat(counts: PartCounts) -> float:
    """The mean IoU of Image2Point's authors, (K m + 1) / (K + 1) where all K classes are labelled.

    In their code a class that is nowhere labelled counts 1, answered or not; and their list has one class more, which
    is ignored and so never seen (the stairs of S3DIS): it counts 1 always.
    """
    iou = np.where(counts.labelled > 0, class_iou(counts), 1.0)
    return float((iou.sum() + 1.0) / (len(iou) + 1))
