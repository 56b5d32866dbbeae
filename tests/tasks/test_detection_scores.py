"""Detection by hand-made rankings, scikit-learn's curves, a slow matching, and what order must not change."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import average_precision_score, precision_recall_curve

from pointlift.contracts.errors import ArtifactError
from pointlift.geometry.boxes import axis_aligned_iou, bounding, oriented_iou
from pointlift.tasks.detection_scores import (
    DetectionRules,
    average_precision,
    claim,
    confidences,
    kept_boxes,
    nms,
    score_detections,
)

PLAIN = DetectionRules(oriented=False, nms_threshold=None, min_points=0, min_objectness=0.0, confidence="class")
CUBE = np.array([0.0, 0, 0, 1, 1, 1, 0])


def at(x, edge=1.0):
    """A cube at a place of the x axis."""
    return CUBE * [1, 1, 1, edge, edge, edge, 1] + [x, 0, 0, 0, 0, 0, 0]


def judged(rules, boxes, scores, truth, truth_label, inside=None, **more):
    boxes, scores, truth = np.array(boxes, dtype=np.float32), np.array(scores, dtype=np.float32), np.array(truth)
    inside = np.full(boxes.shape[:2], 100) if inside is None else np.array(inside)
    return score_detections(
        rules, boxes=boxes, scores=scores, inside=inside, truth=truth, truth_label=np.array(truth_label), **more
    )


def random_scenes(seed=0, num_scenes=6, num_queries=30, num_truth=8, num_classes=3, near=0.25):
    """Truth of some scenes, and boxes near it with random probabilities; (S, M) labels padded with -1."""
    rng = np.random.default_rng(seed)
    truth = np.concatenate(
        [
            rng.uniform(-4, 4, (num_scenes, num_truth, 3)),
            rng.uniform(0.5, 2, (num_scenes, num_truth, 3)),
            rng.uniform(-3, 3, (num_scenes, num_truth, 1)),
        ],
        axis=2,
    )
    label = rng.integers(-1, num_classes, (num_scenes, num_truth))
    chosen = rng.integers(0, num_truth, (num_scenes, num_queries))
    boxes = np.take_along_axis(truth, chosen[..., None], axis=1)
    boxes = boxes + rng.normal(0.0, near, boxes.shape) * [1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    boxes[..., 3:6] = np.abs(boxes[..., 3:6]) + 0.05
    scores = rng.dirichlet(np.full(num_classes + 1, 0.5), (num_scenes, num_queries))[..., :num_classes]
    return {
        "boxes": boxes.astype(np.float32),
        "scores": scores.astype(np.float32),
        "inside": rng.integers(0, 20, (num_scenes, num_queries)),
        "truth": truth.astype(np.float32),
        "truth_label": label.astype(np.int16),
    }


# --- the area under a ranking


@pytest.mark.parametrize(
    ("hits", "num_truth", "area", "recall"),
    [
        ([1, 1, 1], 3, 1.0, 1.0),
        ([0, 0, 0], 3, 0.0, 0.0),
        ([1, 0, 1], 2, (1 + 2 / 3) / 2, 1.0),
        ([0, 1], 1, 0.5, 1.0),
        ([1, 0, 0], 4, 0.25, 0.25),
        ([0, 1, 1], 2, 2 / 3, 1.0),  # the envelope lifts the first recall from 1/2 to 2/3
        ([1, 0, 0, 1, 1, 0], 4, (1 + 0.6 + 0.6) / 4, 0.75),
        ([], 2, 0.0, 0.0),
    ],
)
def test_rankings_by_hand(hits, num_truth, area, recall):
    confidence = np.linspace(0.9, 0.1, len(hits))
    found = average_precision(confidence, np.array(hits, dtype=bool), num_truth)
    assert found == (pytest.approx(area), pytest.approx(recall))


def test_equal_confidences_are_one_step():
    """Two of three at 0.5: precision 2/3 for both truths, whichever row comes first."""
    for hits in ([1, 1, 0], [0, 1, 1], [1, 0, 1]):
        assert average_precision(np.full(3, 0.5), np.array(hits, dtype=bool), 2)[0] == pytest.approx(2 / 3)


def test_areas_are_those_of_sklearns_curves():
    """Its points of precision and recall, then the envelope as the definition has it; recall lacks what was missed."""
    rng = np.random.default_rng(0)
    for _ in range(200):
        hit = rng.random(rng.integers(1, 60)) < rng.uniform(0.05, 0.95)
        hit[rng.integers(len(hit))] = True
        confidence = rng.integers(0, rng.integers(2, 100), len(hit)) / 100.0
        missed = int(rng.integers(0, 5))
        precision, recall, _ = precision_recall_curve(hit, confidence)
        reached = hit.sum() / (hit.sum() + missed)
        wanted = sum(
            reached * (recall[i] - recall[i + 1]) * precision[: i + 1].max() for i in range(len(recall) - 1)
        )  # recall falls along its arrays
        found, found_recall = average_precision(confidence, hit, int(hit.sum()) + missed)
        assert found == pytest.approx(wanted, abs=1e-12)
        assert found_recall == pytest.approx(reached)
        assert found >= reached * average_precision_score(hit, confidence) - 1e-12  # which has no envelope


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.bool_, st.integers(1, 40)), st.randoms(use_true_random=False))
def test_area_by_the_definition(hit, random):
    """Mean over the truths of the best precision at the place of each or any later one."""
    confidence = np.array(random.sample(range(1000), len(hit)), dtype=float)
    ranked = hit[np.argsort(-confidence)]
    precision = [ranked[: n + 1].mean() for n in range(len(ranked))]
    wanted = sum(max(precision[n:]) for n in np.flatnonzero(ranked)) / (hit.sum() + 2)
    assert average_precision(confidence, hit, int(hit.sum()) + 2)[0] == pytest.approx(wanted)


def test_a_truth_is_claimed_once_by_the_surest():
    hit = claim(np.array([0.3, 0.9, 0.5, 0.9, 0.1, 0.2]), np.array([7, 4, 7, 4, -1, 2]))
    assert hit.tolist() == [False, True, True, False, False, True]


# --- boxes that fall


def test_nms_by_hand():
    """IoU of cubes 0.5 apart is 1/3; the third overlaps the second alone, which has fallen."""
    boxes, scores = np.stack([at(0.0), at(0.5), at(1.0), at(9.0)]), np.array([0.9, 0.8, 0.7, 0.1])
    assert nms(boxes, scores, 0.25, oriented=False).tolist() == [True, False, True, True]
    assert nms(boxes, scores, 0.34, oriented=False).all()
    assert nms(boxes, scores[[1, 0, 2, 3]], 0.25, oriented=False).tolist() == [False, True, False, True]
    assert nms(boxes[[0, 0]], np.array([0.5, 0.5]), 0.25, oriented=True).tolist() == [True, False]
    assert nms(boxes[:0], scores[:0], 0.25, oriented=True).shape == (0,)


def test_nms_looks_at_headings_or_at_the_boxes_around():
    """Two thin boxes along the diagonals share little, the squares around them everything."""
    thin = np.array([[0, 0, 0, 4.0, 0.2, 1, np.pi / 4], [0, 0, 0, 4.0, 0.2, 1, -np.pi / 4]])
    assert nms(thin, np.array([0.9, 0.8]), 0.25, oriented=True).all()
    assert nms(thin, np.array([0.9, 0.8]), 0.25, oriented=False).tolist() == [True, False]


@pytest.mark.parametrize("oriented", [False, True])
def test_what_nms_leaves(oriented):
    """None of the kept overlap; each that fell overlaps with a kept one that is no less sure."""
    scenes = random_scenes(num_queries=60)
    boxes, scores = scenes["boxes"][0], scenes["scores"][0, :, 0]
    around = boxes if oriented else bounding(boxes)
    iou = (oriented_iou if oriented else axis_aligned_iou)(around, around)
    stays = nms(boxes, scores, 0.25, oriented)
    assert 3 < stays.sum() < 50
    assert (iou[np.ix_(stays, stays)] > 0.25).sum() == stays.sum()
    assert ((iou > 0.25) & stays & (scores >= scores[:, None]))[~stays].any(axis=1).all()


def test_a_box_falls_only_to_one_of_its_class():
    boxes, scores = np.stack([at(0.0)] * 3), np.array([[0.8, 0.1], [0.1, 0.6], [0.5, 0.2]])
    rules = DetectionRules(oriented=False)
    assert kept_boxes(boxes, scores, np.full(3, 10), rules).tolist() == [True, True, False]


def test_empty_and_silent_boxes_fall_first():
    """The surest box has 4 points; it falls, and no longer takes the second with it."""
    boxes = np.stack([at(0.0)] * 3)
    scores, inside = np.array([[0.9, 0.0], [0.5, 0.0], [0.04, 0.01]]), np.array([4, 5, 50])
    rules = DetectionRules(oriented=False)
    assert kept_boxes(boxes, scores, inside, rules).tolist() == [False, True, False]
    keen = DetectionRules(oriented=False, min_points=0, min_objectness=0.0, nms_threshold=None)
    assert kept_boxes(boxes, np.array([[0.9, 0.0], [0.0, 0.0], [0.04, 0.01]]), inside, keen).tolist() == [1, 0, 1]


def test_confidence_of_each_class():
    scores = np.array([[0.5, 0.3], [0.1, 0.1]])
    twice = DetectionRules(oriented=False)
    np.testing.assert_allclose(confidences(scores, twice), [[0.4, 0.24], [0.02, 0.02]])
    np.testing.assert_allclose(confidences(scores, PLAIN), scores)
    own = DetectionRules(oriented=False, every_class=False, confidence="class")
    np.testing.assert_allclose(confidences(scores, own), [[0.5, 0.0], [0.1, 0.0]])


# --- whole scenes


def test_a_case_by_hand():
    """Class 0: truths at 0 and 9 of the first scene and at 0 of the second.

    Ranking: a hit; the same truth again, a miss; IoU 1/3 with the truth at 9, a hit at 0.25 alone; a hit in scene 2.
    """
    boxes = [[at(0.0), at(0.1), at(9.5)], [at(0.0), at(50.0), at(60.0)]]
    scores = [[[0.9, 0], [0.8, 0], [0.7, 0]], [[0.6, 0], [0, 0], [0, 0]]]
    truth, label = [[at(0.0), at(9.0)], [at(0.0), at(0.0)]], [[0, 0], [0, -1]]
    found = judged(PLAIN, boxes, scores, truth, label)
    np.testing.assert_allclose(found.average_precision[:, 0], [(1 + 3 / 4 + 3 / 4) / 3, (1 + 2 / 4) / 3])
    np.testing.assert_allclose(found.recall[:, 0], [1.0, 2 / 3])
    assert np.isnan(found.average_precision[:, 1]).all()
    np.testing.assert_allclose(found.mean_average_precision, found.average_precision[:, 0])
    np.testing.assert_allclose(found.found, [[1.0, 1.0], [0.5, 1.0]])
    assert found.num_truth.tolist() == [3, 0]
    assert found.num_detections.tolist() == [4, 0]


def test_a_class_that_is_never_said_counts_0():
    found = judged(PLAIN, [[at(0.0)]], [[[0.9, 0.0, 0.0]]], [[at(0.0), at(5.0)]], [[0, 1]])
    np.testing.assert_allclose(found.average_precision[0], [1.0, 0.0, np.nan])
    np.testing.assert_allclose(found.mean_average_precision, 0.5)
    np.testing.assert_allclose(found.found, 0.5)


def test_a_box_is_proposed_for_every_class():
    """A table called a desk first: found as a table still, where every class is proposed; never in ``found``."""
    case = ([[at(0.0)]], [[[0.6, 0.3]]], [[at(0.0)]], [[1]])
    assert judged(PLAIN, *case).mean_average_precision.tolist() == [1.0, 1.0]
    own = DetectionRules(oriented=False, nms_threshold=None, every_class=False)
    assert judged(own, *case).mean_average_precision.tolist() == [0.0, 0.0]
    assert judged(PLAIN, *case).found.tolist() == [[0.0], [0.0]]


def test_a_truth_is_met_at_the_threshold():
    """Half the cube: IoU is 1/2 exactly."""
    half = CUBE * [1, 1, 1, 0.5, 1, 1, 1] + [0.25, 0, 0, 0, 0, 0, 0]
    assert judged(PLAIN, [[half]], [[[0.9]]], [[CUBE]], [[0]]).mean_average_precision.tolist() == [1.0, 1.0]
    assert judged(PLAIN, [[half]], [[[0.9]]], [[CUBE]], [[0]], thresholds=(0.51,)).mean_average_precision == [0.0]


def test_headings_count_where_boxes_are_oriented():
    """A thin box, a quarter turned away from its truth; the squares around two diagonals are equal."""
    thin, crossed = [0, 0, 0, 4.0, 0.2, 1, np.pi / 4], [0, 0, 0, 4.0, 0.2, 1, -np.pi / 4]
    for oriented, wanted in ((True, 0.0), (False, 1.0)):
        rules = DetectionRules(oriented=oriented)
        assert judged(rules, [[crossed]], [[[0.9]]], [[thin]], [[0]]).mean_average_precision.tolist() == [wanted] * 2
        assert judged(rules, [[thin]], [[[0.9]]], [[thin]], [[0]]).mean_average_precision.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("oriented", [False, True])
def test_perfect_boxes_score_1_and_those_of_other_scenes_near_0(oriented):
    scenes = random_scenes(num_scenes=20, num_truth=5)
    scores = np.eye(4, dtype=np.float32)[scenes["truth_label"]][..., :3]  # -1, the last row, says nothing
    rules = DetectionRules(oriented=oriented, nms_threshold=None)
    perfect = judged(rules, scenes["truth"], scores, scenes["truth"], scenes["truth_label"])
    np.testing.assert_array_equal(perfect.mean_average_precision, [1.0, 1.0])
    np.testing.assert_array_equal(perfect.recall, np.ones((2, 3)))
    assert np.nanmin(perfect.found) == 1.0
    others = np.roll(np.arange(20), 1)
    shuffled = judged(rules, scenes["truth"][others], scores[others], scenes["truth"], scenes["truth_label"])
    assert (shuffled.mean_average_precision < 0.03).all()
    assert (np.nanmean(shuffled.found, axis=1) < 0.05).all()


def slow_scores(rules, scenes, threshold):
    """One detection at a time over plain lists: the area of each class by the definitions alone."""
    ranking, truths = defaultdict(list), defaultdict(int)
    for row, (boxes, scores, inside, _, label) in enumerate(zip(*scenes.values(), strict=True)):
        for one in label[label >= 0]:
            truths[int(one)] += 1
        for query in np.flatnonzero(kept_boxes(boxes, scores, inside, rules)):
            for one in range(scores.shape[1]):
                sure = scores[query, one] * scores[query].sum(dtype=np.float64)
                ranking[one].append((-float(sure), row, int(query)))
    areas = {}
    for one, number in truths.items():
        used, hits = set(), []
        for _, row, query in sorted(ranking[one]):
            overlaps = [
                (oriented_iou(scenes["boxes"][row, query][None], scenes["truth"][row, m][None])[0, 0], -m)
                for m in np.flatnonzero(scenes["truth_label"][row] == one)
            ]
            iou, place = max(overlaps, default=(0.0, 0))
            hits.append(iou >= threshold and (row, place) not in used)
            if hits[-1]:
                used.add((row, place))
        precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
        areas[one] = sum(precision[n:].max() for n in np.flatnonzero(hits)) / number
    return areas


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_are_those_of_one_detection_at_a_time(seed):
    scenes = random_scenes(seed)
    rules = DetectionRules(oriented=True, nms_oriented=True)
    found = score_detections(rules, **scenes)
    for row, threshold in enumerate(found.thresholds):
        for one, area in slow_scores(rules, scenes, threshold).items():
            assert 0 < area < 1
            assert found.average_precision[row, one] == pytest.approx(area, abs=1e-12)


def test_order_of_scenes_queries_and_truth_changes_nothing():
    """Confidences in steps of 1/8, so that many are equal; without NMS, where equal boxes fall by row."""
    scenes = random_scenes(3)
    scenes["scores"] = np.floor(8 * scenes["scores"]) / 8
    rules = DetectionRules(oriented=False, nms_threshold=None)
    before = score_detections(rules, **scenes)
    rng = np.random.default_rng(0)
    order, queries, places = rng.permutation(6), rng.permutation(30), rng.permutation(8)
    mixed = {name: values[order][:, places if "truth" in name else queries] for name, values in scenes.items()}
    after = score_detections(rules, **mixed)
    np.testing.assert_allclose(after.average_precision, before.average_precision, rtol=1e-12)
    np.testing.assert_array_equal(after.found, before.found[:, order])
    assert (before.average_precision > 0).all()


def test_padding_changes_nothing():
    scenes = random_scenes(4)
    before = score_detections(DetectionRules(oriented=True), **scenes)
    more = dict(scenes)
    more["truth"] = np.pad(scenes["truth"], ((0, 0), (0, 3), (0, 0)))
    more["truth_label"] = np.pad(scenes["truth_label"], ((0, 0), (0, 3)), constant_values=-1)
    for name in ("boxes", "scores"):
        more[name] = np.pad(scenes[name], ((0, 0), (0, 4), (0, 0)))
    more["inside"] = np.pad(scenes["inside"], ((0, 0), (0, 4)), constant_values=100)
    after = score_detections(DetectionRules(oriented=True), **more)
    np.testing.assert_array_equal(after.average_precision, before.average_precision)
    np.testing.assert_array_equal(after.found, before.found)


def test_nothing_predicted_and_scenes_without_truth():
    found = judged(PLAIN, np.ones((2, 3, 7)), np.zeros((2, 3, 2)), [[CUBE], [CUBE]], [[0], [-1]])
    assert found.mean_average_precision.tolist() == [0.0, 0.0]
    np.testing.assert_array_equal(found.found, [[0.0, np.nan]] * 2)
    with pytest.raises(ArtifactError, match="no scene to be judged has a box"):
        judged(PLAIN, np.ones((2, 3, 7)), np.zeros((2, 3, 2)), [[CUBE], [CUBE]], [[-1], [-1]])


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("boxes", np.ones((6, 29, 7)), "boxes is"),
        ("inside", np.ones((5, 30), dtype=int), "inside is"),
        ("truth", np.ones((6, 7, 7)), "truth is"),
        ("truth_label", np.full((6, 8), 3), "label 3"),
        ("scores", np.full((6, 30, 3), 0.5), "scores are probabilities"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name, wrong, said):
    with pytest.raises(ValueError, match=said):
        score_detections(PLAIN, **(random_scenes() | {name: wrong}))
