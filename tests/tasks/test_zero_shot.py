"""Zero-shot: answers by hand, invariances, what cannot be asked; real CLIP text embeddings name one another."""

import csv
import json

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.settings import mistakes, parse
from pointlift.tasks.shapes import Prompts, Shapes
from pointlift.tasks.zero_shot import Settings, build

WORDS = ("a render of a {}",)


def task(**changes):
    return build(parse(Settings, {"kind": "zero_shot", "dataset": "toy", **changes}, "task"))


def prompts_of(embedding, label=None, words=WORDS) -> Prompts:
    embedding = np.asarray(embedding, dtype=np.float32)
    label = np.arange(len(embedding)) if label is None else np.array(label)
    return Prompts(tuple(f"class{one}" for one in label), label, embedding, words)


def shapes_of(values, label, split=None) -> Shapes:
    values, label = np.asarray(values, dtype=np.float32), np.asarray(label)
    split = np.full(len(label), 2, np.uint8) if split is None else np.asarray(split, np.uint8)
    return Shapes(tuple(f"s{row:04d}" for row in range(len(label))), values, label, split, int(label.max()) + 1)


def by_name(found):
    return {value.metric: value.value for value in found.values}


def crowd(seed=0, classes=8, width=5, count=60, spread=1.0):
    rng = np.random.default_rng(seed)
    prompts, label = rng.normal(size=(classes, width)), rng.integers(classes, size=count)
    return shapes_of(prompts[label] + spread * rng.normal(size=(count, width)), label), prompts_of(prompts)


def test_four_shapes_by_hand():
    """Angles 10, 50, 80 and 200 degrees, prompts at 0, 90 and 180: the nearest are 0, 90, 90 and 180."""
    angle = np.radians([10, 50, 80, 200])
    values = np.stack([np.cos(angle), np.sin(angle)], axis=1) * [[0.1], [9.0], [1.0], [4.0]]
    found = task().evaluate(shapes_of(values, [0, 0, 1, 2]), prompts_of([[3, 0], [0, 1], [-0.2, 0]]))
    assert found.outcomes == {"accuracy": (1.0, 0.0, 1.0, 1.0)}
    assert by_name(found) == {"accuracy": 0.75, "mean_class_accuracy": pytest.approx(2.5 / 3)}
    assert (found.n_train, found.test_ids) == (0, ("s0000", "s0001", "s0002", "s0003"))


@pytest.mark.parametrize("seed", range(3))
def test_answers_are_those_of_angles(seed):
    shapes, prompts = crowd(seed)
    angles = [[np.arccos(a @ b / np.sqrt(a @ a * (b @ b))) for b in prompts.embedding] for a in shapes.values]
    order = [sorted(range(8), key=row.__getitem__) for row in angles]
    found = task().evaluate(shapes, prompts)
    first = [row[0] == label for row, label in zip(order, shapes.label, strict=True)]
    five = [label in row[:5] for row, label in zip(order, shapes.label, strict=True)]
    assert found.outcomes == {"accuracy": tuple(map(float, first)), "top5_accuracy": tuple(map(float, five))}
    assert by_name(found)["accuracy"] == np.mean(first) and 0.2 < np.mean(first) < 0.9
    per_class = [np.mean(np.array(first)[shapes.label == one]) for one in np.unique(shapes.label)]
    assert by_name(found)["mean_class_accuracy"] == pytest.approx(np.mean(per_class))


def test_five_classes_have_no_first_five():
    assert "top5_accuracy" not in by_name(task().evaluate(*crowd(classes=5)))


def test_lengths_and_turned_spaces_change_nothing():
    shapes, prompts = crowd(1)
    rng = np.random.default_rng(4)
    turned, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    other = shapes_of(shapes.values @ turned * rng.uniform(0.1, 9.0, size=(60, 1)), shapes.label)
    scaled = prompts_of(prompts.embedding @ turned * rng.uniform(0.1, 9.0, size=(8, 1)))
    assert task().evaluate(other, scaled) == task().evaluate(shapes, prompts)


def test_classes_are_known_by_their_number_not_their_row():
    shapes, prompts = crowd(2)
    number = np.array([3, 5, 6, 11, 12, 20, 21, 30])
    far = shapes_of(shapes.values, number[shapes.label])
    assert task().evaluate(far, prompts_of(prompts.embedding, number)).outcomes == (
        task().evaluate(shapes, prompts).outcomes
    )


def test_train_and_val_shapes_are_not_looked_at():
    shapes, prompts = crowd(3)
    split = np.arange(60) % 3
    some = shapes_of(shapes.values, shapes.label, split)
    found = task().evaluate(some, prompts)
    assert found.test_ids == tuple(np.array(shapes.ids)[split == 2])
    values = shapes.values.copy()
    values[split < 2] = np.nan
    assert task().evaluate(shapes_of(values, shapes.label, split), prompts) == found


def test_a_shape_at_the_origin_is_answered_by_the_first_class():
    shapes = shapes_of(np.zeros((2, 3)), [0, 1])
    assert task().evaluate(shapes, prompts_of(np.eye(3))).outcomes["accuracy"] == (1.0, 0.0)


def test_widths_that_differ_are_both_told():
    with pytest.raises(ArtifactError, match=r"embeddings have width 5, prompts 7.*teacher"):
        task().evaluate(crowd()[0], prompts_of(np.eye(8, 7)))


def test_other_prompts_than_the_tasks_are_told():
    shapes, prompts = crowd()
    with pytest.raises(ArtifactError, match=r"encoded are \['a render of a \{\}'\], the task's are \['\{\}'\]"):
        task(prompts=["{}"]).evaluate(shapes, prompts)


def test_what_cannot_be_asked():
    shapes, prompts = crowd()
    with pytest.raises(ArtifactError, match="has class 7, of which there are no prompts"):
        task().evaluate(shapes, prompts_of(prompts.embedding[:7]))
    with pytest.raises(ArtifactError, match="but one class"):
        task().evaluate(shapes_of(np.ones((2, 5)), [0, 0]), prompts_of(prompts.embedding[:1]))


@pytest.mark.parametrize("prompts", [[], ["a render"], ["{} {}"], ["a {name}"]])
def test_prompts_that_cannot_be_meant(prompts):
    assert mistakes(Settings, {"kind": "zero_shot", "dataset": "toy", "prompts": prompts}, "tasks.z")


def test_real_text_embeddings_name_one_another(realdata):
    """CLIP ViT-B/32's "a {name}" of Objects365 among those of LVIS's 1,203 classes: one text, made twice."""
    folder = realdata / "clip_text_features" / "detic_vitb32"
    if not folder.is_dir():
        pytest.skip("the real CLIP text embeddings are not beside this checkout")
    listed = json.loads((folder / "lvis_v1_train_cat_info.json").read_text())
    number = {one["name"].replace("_", " ").lower(): row for row, one in enumerate(listed)}
    with (folder / "Objects365_names_fix.csv").open() as stream:
        asked = [number.get(row[2].lower()) for row in csv.reader(stream)]
    known = [row for row, label in enumerate(asked) if label is not None]
    values = np.load(folder / "o365_clip_a+cnamefix.npy")[known].astype(np.float32)
    prompts = prompts_of(np.load(folder / "lvis_v1_clip_a+cname.npy"))
    found = task().evaluate(shapes_of(values, [asked[row] for row in known]), prompts)
    assert len(known) == 177 and by_name(found)["accuracy"] == 1.0
    shuffled = np.random.default_rng(0).permutation(len(known))
    wrong = task().evaluate(shapes_of(values[shuffled], [asked[row] for row in known]), prompts)
    assert by_name(wrong)["accuracy"] < 0.05
