"""Counting points by part, and intersection over union of parts in the conventions of the literature.

ShapeNetPart (Yi et al. 2016): a shape's score is the mean IoU over the parts of its own class; the instance mIoU is the
mean over shapes, the class mIoU the mean over classes of their shapes' mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointlift.contracts.shards import Array


@dataclass(frozen=True)
class PartCounts:
    """Points per shape and part, each (S, P) int32: with this label, with this answer, with both."""

    labelled: Array
    answered: Array
    hits: Array


def count_parts(label: Array, answer: Array, num_parts: int) -> PartCounts:
    """Count the points of label and answer, each (S, N) in 0 .. P - 1; a point labelled -1 is left out of all."""
    rows = np.broadcast_to(np.arange(len(label))[:, None], label.shape)
    known = label >= 0
    right = known & (label == answer)
    return PartCounts(
        labelled=_histogram(rows[known], label[known], len(label), num_parts),
        answered=_histogram(rows[known], answer[known], len(label), num_parts),
        hits=_histogram(rows[right], label[right], len(label), num_parts),
    )


def _histogram(rows: Array, parts: Array, num_rows: int, num_parts: int) -> Array:
    flat = np.bincount(rows * num_parts + parts, minlength=num_rows * num_parts)
    return flat.reshape(num_rows, num_parts).astype(np.int32)


def shape_iou(counts: PartCounts, own: Array, *, strict: bool = True) -> Array:
    """Mean IoU of each shape over the parts that are its class's own (S, P) bool: (S,) float64.

    A part that is neither labelled nor answered counts 1. One that is answered but not labelled counts 0 when
    ``strict``, else 1, as PointMCD's authors have it.
    """
    union = counts.labelled + counts.answered - counts.hits
    iou = np.where(union > 0, counts.hits / np.maximum(union, 1), 1.0)
    if not strict:
        iou = np.where(counts.labelled > 0, iou, 1.0)
    found: Array = np.where(own, iou, 0.0).sum(axis=1) / own.sum(axis=1)
    return found


def class_means(iou: Array, label: Array) -> dict[int, float]:
    """Mean over the shapes of each class that occurs in ``label`` (S,), by its number."""
    return {int(one): float(iou[label == one].mean()) for one in np.unique(label)}
