"""Semantic segmentation of scenes: blocks averaged as a slow reference has it, and what is judged."""

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.operators.student_output import StudentOutput
from pointlift.tasks.point_classifier import PointClassifier
from pointlift.tasks.scene_blocks import cut_pieces
from pointlift.tasks.scenes import PointPredictions
from pointlift.tasks.semantic_segmentation import build
from tasks.segmented_scenes import pointnet, room, settings, student, values_of


class Places(nn.Module):
    """Tokens are the places themselves: what a point is called hangs on where it stands in its block alone."""

    width = token_width = 3

    def forward(self, points_BN3):
        index = torch.arange(points_BN3.shape[1]).expand(points_BN3.shape[:2])
        return StudentOutput(points_BN3.mean(dim=1), points_BN3, points_BN3, index, {})


# ---- one answer a point ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, None])
def test_a_points_answer_is_the_mean_over_the_blocks_it_stands_in(size):
    """Against loops in float64 that know blocks from their definition, not from the code."""
    scene = room(200)
    chosen = settings(block_size=size, unit=0.5, head_widths=[], read_embedding=False)
    model = PointClassifier(Places(), 5, chosen).eval()
    weight, bias = (part.detach().double().numpy() for part in (model.head.scores.weight, model.head.scores.bias))
    places = scene.points.astype(np.float64)
    low, high = places[:, :2].min(axis=0), places[:, :2].max(axis=0)
    if size is None:
        blocks = [((low + high) / 2, np.ones(len(places), dtype=bool))]
    else:
        edges = [[*np.arange(low[axis], high[axis] - 1.0, 0.5), high[axis] - 1.0] for axis in (0, 1)]
        blocks = []
        for edge in ([x, y] for x in edges[0] for y in edges[1]):
            inside = ((places[:, :2] >= edge) & (places[:, :2] <= np.array(edge) + 1.0 + 1e-12)).all(axis=1)
            blocks.append((np.array(edge) + 0.5, inside))
    wanted = np.zeros((len(places), 5))
    for number, place in enumerate(places):
        votes = []
        for centre, inside in blocks:
            if inside[number]:
                scores = weight @ ((place - [*centre, places[inside, 2].min()]) / 0.5) + bias
                votes.append(np.exp(scores) / np.exp(scores).sum())
        wanted[number] = np.mean(votes, axis=0)
    found = model.probabilities(scene)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(model.answer(scene), found.argmax(axis=1))


@pytest.mark.parametrize("at_once", [1, 48, 1 << 15])
def test_batches_of_pieces_make_no_difference(at_once, monkeypatch):
    """A student whose answers hang on all points it is given, piece by piece in float64 beside it."""
    monkeypatch.setattr("pointlift.tasks.point_classifier._POINTS_AT_ONCE", at_once)
    scene, chosen = room(), settings(block_size=1.5)
    model = PointClassifier(pointnet(), 5, chosen).eval()
    total, votes = np.zeros((700, 5)), np.zeros((700, 1))
    for piece in cut_pieces(scene, chosen):
        with torch.no_grad():
            scores = model.logits(torch.from_numpy(piece.points)[None])[0].double().numpy()
        for row, score in zip(piece.rows, scores, strict=False):
            total[row] += np.exp(score) / np.exp(score).sum()
            votes[row] += 1
    np.testing.assert_allclose(model.probabilities(scene), total / votes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("pointnet", {"widths": [8, 8], "input_transform": False, "feature_transform": False}),
        ("sparse_unet", {"architecture": "resnet8", "voxel_size": 0.2}),
        ("point_transformer", {"num_groups": 4, "group_size": 4}),
    ],
)
def test_any_student_answers_every_point_and_learns_from_the_head(kind, values):
    scene, chosen = room(90), settings(block_size=2.0)
    model = PointClassifier(student(kind, **values), 5, chosen)
    points = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(0))
    label = torch.arange(32).reshape(2, 16) % 5
    model({"points": points, "semantic_label": label})["task_loss"].backward()
    assert all(part.grad is not None and part.grad.any() for part in model.head.parameters())
    assert any(part.grad is not None and part.grad.any() for part in model.student.parameters())
    found = model.eval().probabilities(scene)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    assert model.probabilities(scene).tobytes() == found.tobytes()


def test_behind_a_u_net_the_head_may_be_one_linear_layer():
    net = student("sparse_unet", architecture="resnet8", voxel_size=0.2)
    head = PointClassifier(net, 13, settings(head_widths=[], read_embedding=False)).head
    assert sum(part.numel() for part in head.parameters()) == 13 * (net.token_width + 1)
    points = torch.randn(2, 30, 3)
    output = net.eval()(points)
    torch.testing.assert_close(head(output, points), output.tokens @ head.scores.weight.T + head.scores.bias)


def test_with_the_embedding_a_linear_layer_reads_both():
    head = PointClassifier(Places(), 4, settings(head_widths=[])).head
    points = torch.randn(2, 30, 3)
    output = Places()(points)
    both = torch.cat([output.tokens, output.embedding[:, None].expand(-1, 30, -1)], dim=2)
    torch.testing.assert_close(head(output, points), both @ head.scores.weight.T + head.scores.bias)


def test_points_without_a_class_teach_nothing():
    model = PointClassifier(Places(), 4, settings()).eval()
    points, label = torch.randn(2, 16, 3), torch.randint(0, 4, (2, 16))
    label[:, 5:] = -1
    values = model({"points": points, "semantic_label": label})
    scores = model.logits(points)[:, :5]
    wanted = nn.functional.cross_entropy(scores.flatten(0, 1), label[:, :5].flatten())
    torch.testing.assert_close(values["task_loss"], wanted)
    right = (scores.argmax(dim=2) == label[:, :5]).float().mean()
    torch.testing.assert_close(values["train_point_accuracy"], right)
    none = model({"points": points, "semantic_label": torch.full((2, 16), -1)})
    assert none["task_loss"] == 0.0 and none["train_point_accuracy"] == 0.0
    none["task_loss"].backward()


# ---- what is judged --------------------------------------------------------------------------------------------------


def predictions(labelled, hits, answered, split, names=("a", "b")):
    arrays = {"epoch": np.arange(len(hits)), "split": np.array(split, np.uint8)}
    given = {"labelled": labelled, "hits": hits, "answered": answered}
    arrays |= {name: np.array(array, np.int32) for name, array in given.items()}
    return PointPredictions(tuple(f"s{row}" for row in range(len(split))), arrays, 7, names)


#: Two epochs of a val scene and two test scenes, ten points of each class in all but the last, which has none of b.
TWO_EPOCHS = predictions(
    labelled=[[10, 10], [10, 10], [20, 0]],
    hits=[[[10, 10], [10, 0], [20, 0]], [[5, 5], [10, 10], [10, 0]]],
    answered=[[[10, 10], [20, 0], [20, 0]], [[10, 10], [10, 10], [10, 10]]],
    split=[1, 2, 2],
)


def test_scores_are_over_the_points_of_all_test_scenes_of_the_last_epoch_and_of_that_best_on_val():
    found = build(settings()).evaluate(TWO_EPOCHS)
    assert values_of(found) == pytest.approx(
        {
            ("mean_iou", "last"): (20 / 30 + 10 / 20) / 2,
            ("mean_class_accuracy", "last"): (20 / 30 + 1) / 2,
            ("point_accuracy", "last"): 30 / 40,
            ("scene_mean_iou", "last"): (1 + (10 / 20 + 0) / 2) / 2,
            ("mean_iou", "val"): (30 / 40 + 0) / 2,
            ("mean_class_accuracy", "val"): (1 + 0) / 2,
            ("point_accuracy", "val"): 30 / 40,
            ("scene_mean_iou", "val"): ((10 / 20 + 0) / 2 + 1) / 2,
        }
    )
    assert found.values[0].metric == "mean_iou" and (found.n_train, found.test_ids) == (7, ("s1", "s2"))
    assert found.outcomes["scene_mean_iou"] == (1.0, 0.25) and found.items["scene_mean_iou"] == ("s1", "s2")
    assert found.outcomes["class_iou"] == pytest.approx((20 / 30, 10 / 20)) and found.items["class_iou"] == ("a", "b")


def test_classes_that_never_occur_and_scenes_without_labels_stand_in_no_table():
    given = predictions([[5, 0, 0], [0, 0, 0]], [[[3, 0, 0], [0, 0, 0]]], [[[3, 0, 2], [0, 0, 0]]], [2, 2], "abc")
    found = build(settings()).evaluate(given)
    assert values_of(found)["mean_iou", "last"] == pytest.approx((3 / 5 + 0) / 2)
    assert found.items == {"scene_mean_iou": ("s0",), "class_iou": ("a", "c")}
    assert {selection for _, selection in values_of(found)} == {"last"}, "no val scene, no val epoch"


def test_a_test_split_without_labels_is_an_error():
    with pytest.raises(ArtifactError, match="no point of the test scenes"):
        build(settings()).evaluate(predictions([[0, 0]], [[[0, 0]]], [[[0, 0]]], [2]))


def test_the_authors_protocol_is_their_score_at_the_epoch_best_on_test():
    """13 classes at IoU 0.60 in the first epoch are (13 * 0.60 + 1) / 14 = 0.628571; the last epoch is worse."""
    given = predictions(
        [[80] * 13], [[[60] * 13], [[40] * 13]], [[[80] * 13], [[80] * 13]], [2], tuple("abcdefghijklm")
    )
    found = build(settings(protocol="image2point_authors")).evaluate(given)
    assert [(value.metric, value.selection) for value in found.values] == [("mean_iou_compat", "oracle_test")]
    assert found.values[0].value == pytest.approx(0.628571, abs=1e-6)
    assert values_of(build(settings()).evaluate(given))["mean_iou", "last"] == pytest.approx(40 / 120)


def test_settings_that_would_leave_points_out_or_mix_tables_are_refused():
    assert (settings().stride(), settings(block_stride=0.7).stride(), settings(block_size=None).stride()) == (
        0.5,
        0.7,
        0,
    )
    for wrong in ({"block_stride": 1.1}, {"block_size": None, "block_stride": 0.5}, {"protocol": "pointmcd_authors"}):
        with pytest.raises(ConfigError, match=r"block_stride|protocol"):
            settings(**wrong)
    assert settings(compat_clip=True).protocol_words() == ("clip4m",)
    both = settings(compat_clip=True, protocol="image2point_authors")
    assert both.protocol_words() == ("image2point_authors", "clip4m") and settings().protocol_words() == ()


def test_a_head_that_could_tell_no_points_apart_or_label_nothing_is_refused():
    with pytest.raises(ConfigError, match="points of a PointNet apart"):
        PointClassifier(pointnet(), 5, settings(read_tokens=False))
    with pytest.raises(ConfigError, match="label of 5 classes"):
        PointClassifier(pointnet(), 5, settings(label_smoothing=0.85))
