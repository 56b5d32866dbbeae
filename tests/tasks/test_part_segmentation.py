"""Part segmentation: scores against the spec's vectors and a slow formula, heads against published parameter counts."""

import numpy as np
import pytest
import torch
from torch import nn

from pointlift import rooms
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.distillation.pointmcd import relu_head
from pointlift.operators.neighbours import interpolate_rows
from pointlift.operators.student_output import StudentShape
from pointlift.tasks.part_scores import class_means, count_parts, shape_iou
from pointlift.tasks.part_segmentation import Settings, build
from pointlift.tasks.segmenter import SegmentationHead, Segmenter
from pointlift.tasks.shapes import PartPredictions, Parts, Shapes, parts_of_classes

NUM_PARTS = 4


def settings(**changes):
    recipe = {"epochs": 1, "batch_size": 4, "learning_rate": 0.1}
    return parse(Settings, {"kind": "part_segmentation", "dataset": "toy", "recipe": recipe, **changes}, "task")


def student(kind, **values):
    module = rooms.load("students", kind)
    return module.build(parse(module.Settings, {"kind": kind, **values}, "student"))


def iou_of(label, answer, parts=(0, 1, 2, 3), strict=True):
    own = np.isin(np.arange(NUM_PARTS), parts)[None]
    return shape_iou(count_parts(np.array([label]), np.array([answer]), NUM_PARTS), own, strict=strict)[0]


def test_the_vector_of_the_specification():
    assert iou_of([0, 0, 1, 1, 2], [0, 1, 1, 1, 2]) == pytest.approx((0.5 + 2 / 3 + 1 + 1) / 4)
    assert iou_of([0, 0, 1, 1, 2], [0, 1, 1, 1, 2], strict=False) == pytest.approx(0.791667, abs=1e-6)


def test_an_answer_that_is_absent_counts_zero_or_one():
    label, answer = [0, 0, 1, 1, 2], [0, 0, 1, 1, 3]
    assert iou_of(label, answer) == pytest.approx((1 + 1 + 0 + 0) / 4)
    assert iou_of(label, answer, strict=False) == pytest.approx((1 + 1 + 0 + 1) / 4)


def test_parts_of_other_classes_and_points_without_a_part_do_not_count():
    assert iou_of([0, 0, 1, 1], [0, 0, 1, 3], parts=(0, 1)) == pytest.approx((1 + 0.5) / 2)
    assert iou_of([0, 0, 1, -1], [0, 0, 1, 0], parts=(0, 1)) == 1.0


@pytest.mark.parametrize("strict", [True, False])
def test_scores_equal_a_slow_formula(strict):
    rng = np.random.default_rng(0)
    label, answer = rng.integers(-1, NUM_PARTS, (20, 30)), rng.integers(0, NUM_PARTS, (20, 30))
    label[:5][label[:5] == 3] = 0  # some shapes without part 3
    own = rng.random((20, NUM_PARTS)) < 0.6
    own[:, 0] = True
    found = shape_iou(count_parts(label, answer, NUM_PARTS), own, strict=strict)
    for row in range(20):
        parts = []
        for part in np.flatnonzero(own[row]):
            kept = label[row] >= 0
            labelled, answered = (label[row] == part) & kept, (answer[row] == part) & kept
            if not labelled.any() and (not strict or not answered.any()):
                parts.append(1.0)
            else:
                parts.append((labelled & answered).sum() / (labelled | answered).sum())
        assert found[row] == pytest.approx(np.mean(parts))
    classes = rng.integers(3, size=20)
    assert class_means(found, classes) == pytest.approx({one: found[classes == one].mean() for one in range(3)})


def count(*modules):
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_parameter_counts_are_those_of_pointmcd():
    """ShapeNetPart: 16 classes, 50 parts."""
    net = student("pointnet")
    head = SegmentationHead(StudentShape(1024, 1024, None), (), 16, 50, settings())
    assert count(net, head) == 1_728_009
    assert count(net, head, relu_head(1024, 512)) == 2_253_321  # with what only training needs
    net = student("dgcnn", widths=[[64, 64], [64, 64], 64], num_neighbours=40)
    changes = {"head_widths": [256, 256, 128], "head_dropout": 0.5, "category_width": 64, "read_tokens": False}
    head = SegmentationHead(StudentShape(1024, 1024, None), net.level_widths, 16, 50, settings(**changes))
    assert count(net, head) == 659_072
    assert [type(layer).__name__ for layer in head.last].count("Dropout") == 2


def test_answers_are_of_the_own_class_and_free_ones_of_all():
    model = Segmenter(student("pointnet", widths=[8, 8]), 2, 4, settings(head_widths=[8])).eval()
    points = np.random.default_rng(0).normal(size=(5, 40, 3)).astype(np.float32)
    label, of_class = np.array([0, 1, 0, 1, 1]), np.array([[True, True, False, False], [False, False, True, True]])
    own, free = model.answer(points, label, of_class, batch_size=2)
    assert own.shape == free.shape == (5, 40)
    assert of_class[label[:, None], own].all() and not of_class[label[:, None], free].all()
    agree = of_class[label[:, None], free]
    assert (own[agree] == free[agree]).all()


LEVELS = [
    {"num_centres": 20, "radius": 0.9, "num_neighbours": 8, "widths": [6]},
    {"num_centres": 7, "radius": 1.4, "num_neighbours": 8, "widths": [9]},
]


def test_rows_of_a_hierarchical_student_are_carried_to_the_points():
    """With one level and no blocks between, by hand: interpolated twice, joined with what each level knew."""
    net = student("pointnet2", levels=LEVELS, widths=[5]).eval()
    head = SegmentationHead(StudentShape(5, 5, None), net.level_widths, 3, 4, settings(head_widths=[8])).eval()
    points, label = torch.randn(2, 30, 3), torch.tensor([2, 0])
    with torch.no_grad():
        output = net(points)
        whole = torch.cat([output.embedding, nn.functional.one_hot(label, 3).float()], dim=1)
        rows = output.tokens
        rows = torch.cat([interpolate_rows(rows, output.token_xyz, output.levels[1].xyz), output.levels[1].rows], dim=2)
        rows = torch.cat([interpolate_rows(rows, output.levels[1].xyz, points), points], dim=2)
        rows = torch.cat([rows, whole[:, None].expand(-1, 30, -1)], dim=2)
        wanted = head.scores(head.last(rows.flatten(0, 1))).unflatten(0, (2, 30))
        torch.testing.assert_close(head(output, points, label), wanted, rtol=1e-4, atol=1e-5)


def test_without_tokens_rows_are_of_the_level_embedding_and_class():
    net = student("dgcnn", widths=[6], token_width=5, num_neighbours=4).eval()
    head = SegmentationHead(
        StudentShape(5, 5, None), net.level_widths, 3, 4, settings(head_widths=[8], read_tokens=False, category_width=7)
    )
    points, label = torch.randn(2, 30, 3), torch.tensor([2, 0])
    with torch.no_grad():
        output = net(points)
        whole = torch.cat([output.embedding, head.eval().category(nn.functional.one_hot(label, 3).float())], dim=1)
        rows = torch.cat([output.levels[0].rows, whole[:, None].expand(-1, 30, -1)], dim=2)
        wanted = head.scores(head.last(rows.flatten(0, 1))).unflatten(0, (2, 30))
        torch.testing.assert_close(head(output, points, label), wanted, rtol=1e-4, atol=1e-5)


def test_blocks_between_levels_are_feature_propagation():
    net = student("pointnet2", levels=LEVELS, widths=[5])
    head = SegmentationHead(
        StudentShape(5, 5, None), net.level_widths, 3, 4, settings(head_widths=[8], level_blocks=[[11, 10], [12]])
    )
    sizes = [layer.weight.shape for layer in head.modules() if isinstance(layer, nn.Linear)]
    assert sizes == [(11, 5 + 5 + 3 + 6), (10, 11), (12, 10 + 3), (8, 12), (4, 8)]
    points = torch.randn(2, 30, 3)
    scores = head(net(points), points, torch.tensor([1, 2]))
    assert scores.shape == (2, 30, 4)
    scores.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_points_without_a_part_teach_nothing():
    model = Segmenter(student("pointnet", widths=[8, 8]), 2, 4, settings(head_widths=[8])).eval()
    batch = {
        "points": torch.randn(3, 40, 3),
        "label": torch.tensor([0, 1, 1]),
        "part_label": torch.zeros(3, 40).short(),
    }
    with torch.no_grad():
        before = model(batch)["task_loss"]
        batch["part_label"][:, 5:] = -1
        some = model(batch)["task_loss"]
        scores = model.head(model.student(batch["points"]), batch["points"], batch["label"])
    wanted = nn.functional.cross_entropy(scores[:, :5].flatten(0, 1), torch.zeros(15, dtype=torch.long))
    torch.testing.assert_close(some, wanted)
    assert before != some


def test_the_epoch_best_on_val_is_chosen_without_the_test_split():
    own = np.ones((3, 2), dtype=bool)
    labelled = np.full((3, 2), 10, np.int32)
    hits = np.array([[[10, 10], [5, 5], [0, 0]], [[5, 5], [10, 10], [0, 0]], [[0, 0], [0, 0], [10, 10]]], np.int32)
    arrays = {"epoch": np.arange(3), "label": np.zeros(3, int), "split": np.array([1, 2, 2], np.uint8), "own": own}
    arrays |= {"labelled": labelled, "hits": hits, "answered": np.full_like(hits, 10)}
    arrays |= {"free_hits": hits, "free_answered": arrays["answered"]}
    found = build(settings()).evaluate(PartPredictions(("a", "b", "c"), arrays, 5, ("one",)))
    values = {(value.metric, value.selection): value.value for value in found.values}
    assert values["instance_miou", "val"] == pytest.approx((1 / 3 + 0) / 2)
    assert values["instance_miou", "last"] == pytest.approx((0 + 1) / 2)
    assert found.outcomes["instance_miou"] == (0.0, 1.0) and found.test_ids == ("b", "c")


def test_the_table_by_class_names_the_tested_ones_and_averages_to_class_miou():
    """Three classes, one of them only in val; the epoch best on val is not the last one, of which the table is."""
    label, split = np.array([2, 0, 0, 2, 1]), np.array([2, 2, 2, 2, 1], np.uint8)
    hits = np.array([[[10]] * 5, [[10], [4], [2], [0], [0]]], np.int32)
    arrays = {"epoch": np.arange(2), "label": label, "split": split, "own": np.ones((5, 1), bool)}
    arrays |= {"labelled": np.full((5, 1), 10, np.int32), "hits": hits, "answered": hits}
    arrays |= {"free_hits": hits, "free_answered": hits}
    found = build(settings()).evaluate(PartPredictions(tuple("abcde"), arrays, 5, ("bag", "cap", "mug")))
    assert found.items["class_iou"] == ("bag", "mug")
    assert found.outcomes["class_iou"] == pytest.approx((0.3, 0.5))
    values = {(value.metric, value.selection): value.value for value in found.values}
    assert values["class_miou", "last"] == pytest.approx(0.4) and values["class_miou", "val"] == 1.0
    assert "class_iou" not in {metric for metric, _ in values}


def test_parts_belong_to_the_class_they_are_named_after():
    found = parts_of_classes(["cup", "cupboard"], ["cup/body", "cup/handle", "cupboard/door"])
    assert found.tolist() == [[True, True, False], [False, False, True]]


def test_a_dataset_without_parts_is_refused():
    shapes = Shapes(("a",), np.zeros((1, 8, 3), np.float32), np.zeros(1, int), np.zeros(1, np.uint8), 1)
    with pytest.raises(ConfigError, match="no part labels"):
        build(settings()).model(student("pointnet"), shapes, None)
    parts = Parts(np.zeros((1, 8), np.int16), np.ones((1, 2), dtype=bool))
    shapes = Shapes(*(getattr(shapes, name) for name in ("ids", "values", "label", "split", "num_classes")), parts)
    assert isinstance(build(settings()).model(student("pointnet"), shapes, None), Segmenter)
    other = Shapes(*(getattr(shapes, name) for name in ("ids", "values")), np.ones(1, int), shapes.split, 2,
                   Parts(parts.label, np.array([[True, True], [False, False]])))  # fmt: skip
    with pytest.raises(ConfigError, match="class 1 of the dataset has shapes but no parts"):
        build(settings()).model(student("pointnet"), other, None)


def test_settings_that_could_teach_nothing_are_refused():
    with pytest.raises(ConfigError, match="label of 4 parts"):
        Segmenter(student("pointnet", widths=[8, 8]), 2, 4, settings(label_smoothing=0.8))
    with pytest.raises(ConfigError, match="points of a PointNet apart"):
        Segmenter(student("pointnet", widths=[8, 8]), 2, 4, settings(read_tokens=False))


def test_the_authors_protocol_is_the_lenient_score_of_the_epoch_best_on_test():
    own = np.ones((2, 2), dtype=bool)
    labelled = np.array([[10, 0], [10, 10]], np.int32)
    hits = np.array([[[10, 0], [10, 10]], [[0, 0], [5, 5]]], np.int32)
    answered = np.array([[[10, 5], [10, 10]], [[0, 10], [10, 10]]], np.int32)
    arrays = {"epoch": np.arange(2), "label": np.zeros(2, int), "split": np.array([2, 2], np.uint8), "own": own}
    arrays |= {"labelled": labelled, "hits": hits, "answered": answered, "free_hits": hits, "free_answered": answered}
    found = build(settings(protocol="pointmcd_authors")).evaluate(PartPredictions(("a", "b"), arrays, 5, ("c",)))
    assert [(value.metric, value.value, value.selection) for value in found.values] == [
        ("instance_miou_compat", 1.0, "oracle_test")
    ]
