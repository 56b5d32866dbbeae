"""Average precision of 3D boxes: which predicted boxes count, which truth each of them finds, and the area under it.

The protocol is that of VoteNet (Qi et al., ICCV 2019) and 3DETR (Misra et al., ICCV 2021), in this order: boxes with
few points in them fall, boxes that repeat a better one of their class fall, every box left is a detection of every
class, and each class is ranked over all scenes. That one box is proposed for every class stands in VoteNet's appendix
(its authors, votenet issue 17); the numbers in ``DetectionRules`` and how 3DETR ranks are recalled, not checked against
their files. Boxes are (7,) as in ``pointlift.geometry.boxes``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array
from pointlift.geometry.boxes import axis_aligned_iou, bounding, oriented_iou


@dataclass(frozen=True, kw_only=True)
class DetectionRules:
    """How predicted boxes become detections. A query says a probability of each class; what is left to 1 says nothing.

    oriented : whether IoU with the truth looks at headings (SUN RGB-D); if not, at the boxes along the axes of the
    scene around both (ScanNet, whose boxes have heading 0)
    nms_threshold : a box falls if its IoU with a better box whose most probable class is the same is above this; None
    keeps all. Better is the higher objectness, the sum of the probabilities of all classes
    nms_oriented : whether that IoU looks at headings; the field's does not
    min_points : a box with fewer input points in it falls
    min_objectness : a box falls that is no more probably an object than this
    every_class : each box is a detection of every class; if not, of its most probable class alone
    confidence : what ranks the detections of a class. ``class``: its probability, which is VoteNet's product of
    objectness and probability of the class given an object. ``class_times_object``: that times the objectness once
    more, as 3DETR has it
    """

    oriented: bool
    nms_threshold: float | None = 0.25
    nms_oriented: bool = False
    min_points: int = 5
    min_objectness: float = 0.05
    every_class: bool = True
    confidence: Literal["class", "class_times_object"] = "class_times_object"


@dataclass(frozen=True)
class DetectionScores:
    """What T thresholds of IoU say of K classes over S scenes.

    average_precision, recall : (T, K) float64, NaN for a class without truth; recall is that of the whole ranking
    mean_average_precision, mean_recall : (T,) over the classes that have truth
    found : (T, S) share of a scene's truth boxes that a box finds whose most probable class is theirs, at any
    confidence; NaN for a scene without truth. It is what two detectors can be paired by, scene for scene
    num_truth, num_detections : (K,) int64
    """

    thresholds: tuple[float, ...]
    average_precision: Array
    recall: Array
    mean_average_precision: Array
    mean_recall: Array
    found: Array
    num_truth: Array
    num_detections: Array


def score_detections(
    rules: DetectionRules,
    *,
    boxes: Array,
    scores: Array,
    inside: Array,
    truth: Array,
    truth_label: Array,
    thresholds: tuple[float, ...] = (0.25, 0.5),
) -> DetectionScores:
    """Judge the boxes (S, Q, 7) of scenes with scores (S, Q, K) and points inside (S, Q), as in ``box_predictions``.

    truth (S, M, 7) and truth_label (S, M) are padded with label -1. Raises ``ArtifactError`` where no scene has truth,
    ``ValueError`` for arrays that do not fit each other.
    """
    num_classes = _checked(boxes, scores, inside, truth, truth_label)
    num_truth = np.bincount(truth_label[truth_label >= 0], minlength=num_classes)
    known = num_truth > 0
    if not known.any():
        raise ArtifactError("no scene to be judged has a box of its own; detection cannot be scored on it")
    pool = _pooled(
        [_candidates(rules, *scene) for scene in zip(boxes, scores, inside, truth, truth_label, strict=True)]
    )
    curves = [[_class_curve(pool, one, t, num_truth[one]) for one in range(num_classes)] for t in thresholds]
    precision, recall = np.moveaxis(np.array(curves), 2, 0)
    return DetectionScores(
        thresholds=thresholds,
        average_precision=precision,
        recall=recall,
        mean_average_precision=precision[:, known].mean(axis=1),
        mean_recall=recall[:, known].mean(axis=1),
        found=np.stack([_found_share(pool, t, truth_label) for t in thresholds]),
        num_truth=num_truth,
        num_detections=(pool.confidence > 0).sum(axis=0),
    )


def average_precision(confidence: Array, hit: Array, num_truth: int) -> tuple[float, float]:
    """Area under the precision envelope of a ranking, and its recall.

    confidence (n,) ; hit (n,) bool: it found a truth that none ranked before it had found; num_truth > 0. Precision at
    a recall is the highest at that recall or any above it, and the area is taken at every recall that occurs (Pascal
    VOC from 2010 on, Everingham et al., IJCV 2015). Equal confidences are one step of the ranking: what no confidence
    tells apart is not ranked by luck.
    """
    if not len(confidence):
        return 0.0, 0.0
    order = np.argsort(-confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(confidence[order]) != 0.0, True))
    hits = np.cumsum(hit[order])[last]
    envelope = np.maximum.accumulate((hits / (last + 1))[::-1])[::-1]
    area = (np.diff(hits, prepend=0) * envelope).sum() / num_truth
    return float(area), float(hits[-1] / num_truth)


def claim(confidence: Array, truth: Array) -> Array:
    """Which detections (n,) find a truth first: bool. truth (n,) is the number of the truth each one meets, or -1.

    Going down by confidence, a truth is used once; whoever meets it later has found nothing. Equal confidences go by
    row.
    """
    order = np.argsort(-confidence, kind="stable")
    order = order[truth[order] >= 0]
    first = np.unique(truth[order], return_index=True)[1]
    hit = np.zeros(len(truth), dtype=bool)
    hit[order[first]] = True
    return hit


def nms(boxes: Array, scores: Array, threshold: float, oriented: bool) -> Array:
    """Which of the boxes (k, 7) with scores (k,) stay: (k,) bool.

    Going down by score (equal ones by row), a box stays unless its IoU with one that stays is above ``threshold``.
    Without ``oriented`` that is the IoU of the boxes along the axes of the scene around each.
    """
    overlaps = _iou(boxes, boxes, oriented) > threshold
    stays = np.zeros(len(boxes), dtype=bool)
    free = np.ones(len(boxes), dtype=bool)
    for row in np.argsort(-scores, kind="stable"):
        if free[row]:
            stays[row] = True
            free &= ~overlaps[row]
    return stays


def kept_boxes(boxes: Array, scores: Array, inside: Array, rules: DetectionRules) -> Array:
    """Which boxes (Q, 7) of a scene with scores (Q, K) and points inside (Q,) become detections: (Q,) bool."""
    objectness = _objectness(scores)
    kept: Array = (inside >= rules.min_points) & (objectness > rules.min_objectness)
    if rules.nms_threshold is None:
        return kept
    own = scores.argmax(axis=1)
    for one in np.unique(own[kept]):
        rows = np.flatnonzero(kept & (own == one))
        kept[rows] = nms(boxes[rows], objectness[rows], rules.nms_threshold, rules.nms_oriented)
    return kept


def confidences(scores: Array, rules: DetectionRules) -> Array:
    """How sure scores (..., K) are of each class: (..., K) float64; 0 is no detection."""
    found = np.asarray(scores, dtype=np.float64)
    if rules.confidence == "class_times_object":
        found = found * _objectness(scores)[..., None]
    if not rules.every_class:
        found = np.where(np.arange(scores.shape[-1]) == scores.argmax(axis=-1)[..., None], found, 0.0)
    return found


@dataclass(frozen=True)
class _Candidates:
    """Boxes that are left, n of a scene or of all.

    confidence (n, K) ; truth (n, K), of the truth boxes of each class the one that overlaps most (ties: the first), by
    its place among the M of a scene, and then of all scenes; iou (n, K) with it; own (n,), the most probable class.
    """

    confidence: Array
    truth: Array
    iou: Array
    own: Array
    num_slots: int

    def meets(self, one: int | Array, threshold: float, rows: Array) -> Array:
        """The truth of class ``one`` that the rows meet at ``threshold``, or -1."""
        return np.where(self.iou[rows, one] >= threshold, self.truth[rows, one], -1)


def _candidates(rules: DetectionRules, *scene: Array) -> _Candidates:
    boxes, scores, inside, truth, truth_label = scene
    kept = kept_boxes(boxes, scores, inside, rules)
    best = np.zeros((int(kept.sum()), scores.shape[1]), dtype=np.int64)
    most = np.zeros(best.shape)
    places = np.flatnonzero(truth_label >= 0)
    iou = _iou(boxes[kept], truth[places], rules.oriented)
    for one in np.unique(truth_label[places]):
        columns = np.flatnonzero(truth_label[places] == one)
        best[:, one] = places[columns[iou[:, columns].argmax(axis=1)]]
        most[:, one] = iou[:, columns].max(axis=1)
    own = scores[kept].argmax(axis=1)
    return _Candidates(confidences(scores[kept], rules), best, most, own, len(truth_label))


def _pooled(scenes: list[_Candidates]) -> _Candidates:
    """All scenes one after the other; the truth in place m of scene s has the number s * M + m."""
    num_slots = scenes[0].num_slots
    return _Candidates(
        confidence=np.concatenate([each.confidence for each in scenes]),
        truth=np.concatenate([each.truth + row * num_slots for row, each in enumerate(scenes)]),
        iou=np.concatenate([each.iou for each in scenes]),
        own=np.concatenate([each.own for each in scenes]),
        num_slots=num_slots,
    )


def _class_curve(pool: _Candidates, one: int, threshold: float, num_truth: int) -> tuple[float, float]:
    if not num_truth:
        return float("nan"), float("nan")
    rows = np.flatnonzero(pool.confidence[:, one] > 0)
    confidence = pool.confidence[rows, one]
    return average_precision(confidence, claim(confidence, pool.meets(one, threshold, rows)), num_truth)


def _found_share(pool: _Candidates, threshold: float, truth_label: Array) -> Array:
    met = np.unique(pool.meets(pool.own, threshold, np.arange(len(pool.own))))
    num_scenes = len(truth_label)
    found = np.bincount(met[met >= 0] // pool.num_slots, minlength=num_scenes)
    present = (truth_label >= 0).sum(axis=1)
    return np.divide(found, present, out=np.full(num_scenes, np.nan), where=present > 0)


def _objectness(scores: Array) -> Array:
    found: Array = np.asarray(scores, dtype=np.float64).sum(axis=-1)
    return found


def _iou(one: Array, other: Array, oriented: bool) -> Array:
    return oriented_iou(one, other) if oriented else axis_aligned_iou(bounding(one), bounding(other))


def _checked(boxes: Array, scores: Array, inside: Array, truth: Array, truth_label: Array) -> int:
    """The number of classes, where all shapes fit and no label is beyond it."""
    num_scenes, num_queries, num_classes = scores.shape
    wanted = {
        "boxes": (boxes.shape, (num_scenes, num_queries, 7)),
        "inside": (inside.shape, (num_scenes, num_queries)),
        "truth": (truth.shape, (*truth_label.shape, 7)),
        "truth_label": (truth_label.shape[:1], (num_scenes,)),
    }
    for name, (shape, right) in wanted.items():
        if shape != right:
            raise ValueError(f"{name} is {shape}, where scores {scores.shape} and the others ask for {right}")
    if truth_label.size and truth_label.max() >= num_classes:
        raise ValueError(f"label {truth_label.max()} of a truth box, where there are {num_classes} classes")
    if (scores < 0).any() or (_objectness(scores) > 1 + 1e-3).any():
        raise ValueError("scores are probabilities of classes: none below 0, and together at most 1 for each query")
    return num_classes
