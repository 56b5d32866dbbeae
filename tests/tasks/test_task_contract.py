"""What every task keeps to, whatever its kind: members are found here by themselves."""

import numpy as np
import pytest

from pointlift import rooms
from pointlift.contracts.blocks import TaskSettings
from pointlift.contracts.metrics import Audit
from pointlift.contracts.settings import mistakes, parse
from pointlift.tasks.part_scores import count_parts
from pointlift.tasks.scenes import BoxPredictions, PointPredictions
from pointlift.tasks.shapes import EpochEmbeddings, PartPredictions, Predictions, Prompts, Shapes, SubsetPredictions

NUM_CLASSES, WIDTH, PER_CLASS = 4, 6, 12
RECIPE = {"epochs": 2, "batch_size": 4, "learning_rate": 0.1}
SPLIT = np.tile([0] * 6 + [1] * 2 + [2] * 4, NUM_CLASSES).astype(np.uint8)
LABEL = np.repeat(np.arange(NUM_CLASSES), PER_CLASS)
IDS = tuple(f"class{label}-{number:02d}" for number, label in enumerate(LABEL))
LEARN_NOTHING = {"retrieval", "zero_shot"}
#: Of 15 others 3 are of a query's class. Mean AP of a random order: (H_S + (R - 1) (S - H_S) / (S - 1)) / S.
#: Of points 1 in 4 is right: as many in both, 7 times as many in one or the other.
CHANCE = {
    "retrieval": (sum(1 / n for n in range(1, 16)) * (1 - 2 / 14) + 2 * 15 / 14) / 15,
    "semantic_segmentation": 1 / 7,
    "speed_to_target": 0.0,  # who answers by chance does not get there
}

AUDITED = {
    "classification": {"accuracy", "mean_class_accuracy"},
    "part_segmentation": {"instance_miou", "class_miou"},
    "semantic_segmentation": {"mean_iou"},
    "detection": {"map_25", "map_50"},
}


def block(kind: str) -> dict:
    """The least a block of this kind must say."""
    found = {"kind": kind, "dataset": "toy"}
    required = {name for name, field in rooms.settings_class("tasks", kind).model_fields.items() if field.is_required()}
    found |= {"recipe": RECIPE} if "recipe" in required else {}
    return found | ({"target": 0.9, "window": 2} if "target" in required else {})


def task_of(kind: str):
    module = rooms.load("tasks", kind)
    return module.build(parse(module.Settings, block(kind), kind))


def answers(kind: str, clear: bool, seed: int = 0):
    """What the task judges: centres of classes, or the right logits, under little or overwhelming noise."""
    rng = np.random.default_rng(seed)
    noise = 1e-3 if clear else 1e3
    if rooms.settings_class("tasks", kind).answers == "part_predictions":
        return part_answers(rng, clear)
    if rooms.settings_class("tasks", kind).answers == "point_predictions":
        return point_answers(rng, clear)
    if rooms.settings_class("tasks", kind).answers == "box_predictions":
        return box_answers(rng, clear)
    if rooms.settings_class("tasks", kind).answers == "epoch_embeddings":
        return epoch_embeddings(rng, noise)
    if rooms.settings_class("tasks", kind).answers == "subset_predictions":
        return subset_answers(task_of(kind), rng, noise)
    if rooms.settings_class("tasks", kind).finetunes:
        kept = SPLIT > 0
        logits = np.eye(NUM_CLASSES)[LABEL[kept]] + noise * rng.normal(size=(3, kept.sum(), NUM_CLASSES))
        ids = tuple(np.array(IDS)[kept])
        return Predictions(ids, np.arange(3), logits.astype(np.float32), LABEL[kept], SPLIT[kept], 24)
    values = rng.normal(size=(NUM_CLASSES, WIDTH))[LABEL] + noise * rng.normal(size=(len(LABEL), WIDTH))
    return Shapes(IDS, values.astype(np.float32), LABEL, SPLIT, NUM_CLASSES)


def epoch_embeddings(rng, noise: float) -> EpochEmbeddings:
    """Of train and test, before and after training: around the centres of classes, and answered right or by chance."""
    kept = SPLIT != 1
    label = LABEL[kept]
    centres = rng.normal(size=(NUM_CLASSES, WIDTH))
    embedding = centres[label] + noise * rng.normal(size=(2, len(label), WIDTH))
    logits = np.eye(NUM_CLASSES)[label] + noise * rng.normal(size=(2, len(label), NUM_CLASSES))
    ids, weight = tuple(np.array(IDS)[kept]), np.stack([centres, centres])
    return EpochEmbeddings(ids, np.array([-1, 1]), embedding, logits, label, SPLIT[kept], 24, weight)


def part_answers(rng, clear: bool) -> PartPredictions:
    """Sixty points a shape, in the three parts of its class; answered right, or by chance."""
    kept = SPLIT > 0
    own = np.repeat(np.eye(NUM_CLASSES, dtype=bool), 3, axis=1)[LABEL[kept]]
    wanted = 3 * LABEL[kept][:, None] + np.arange(60) % 3
    counts = []
    for _ in range(3):
        answer = wanted if clear else 3 * LABEL[kept][:, None] + rng.integers(3, size=wanted.shape)
        counts.append(count_parts(wanted, answer, 3 * NUM_CLASSES))
    hits, answered = (np.stack([getattr(each, name) for each in counts]) for name in ("hits", "answered"))
    arrays = {"epoch": np.arange(3), "label": LABEL[kept], "split": SPLIT[kept], "own": own, "hits": hits}
    arrays |= {"answered": answered, "free_hits": hits, "free_answered": answered, "labelled": counts[0].labelled}
    return PartPredictions(tuple(np.array(IDS)[kept]), arrays, 24, tuple(f"class{one}" for one in range(NUM_CLASSES)))


def subset_answers(task, rng, noise: float) -> SubsetPredictions:
    """Of every number that is reported, the scores of all its draws on the test split."""
    each = [(size, draw, phase) for _, size, phase in task.measured() for draw in range(task.settings.draws)]
    kept = SPLIT == 2
    logits = np.eye(NUM_CLASSES)[LABEL[kept]] + noise * rng.normal(size=(len(each), kept.sum(), NUM_CLASSES))
    size, draw, phase = (np.array(column) for column in zip(*each, strict=True))
    ids = tuple(np.array(IDS)[kept])
    return SubsetPredictions(ids, size, draw, phase, logits.astype(np.float32), LABEL[kept], 24)


def point_answers(rng, clear: bool) -> PointPredictions:
    """Sixty points a scene, of every class; answered right, or by chance."""
    kept = SPLIT > 0
    wanted = np.tile(np.arange(60) % NUM_CLASSES, (kept.sum(), 1))
    answers = [wanted if clear else rng.integers(NUM_CLASSES, size=wanted.shape) for _ in range(3)]
    counts = [count_parts(wanted, answer, NUM_CLASSES) for answer in answers]
    hits, answered = (np.stack([getattr(each, name) for each in counts]) for name in ("hits", "answered"))
    arrays = {"epoch": np.arange(3), "split": SPLIT[kept], "hits": hits, "answered": answered}
    arrays |= {"labelled": counts[0].labelled}
    return PointPredictions(tuple(np.array(IDS)[kept]), arrays, 24, tuple("abcd"))


def box_answers(rng, clear: bool) -> BoxPredictions:
    """Three boxes of every class in each scene, all found; their classes are right, or said by chance."""
    kept = SPLIT > 0
    truth = np.zeros((kept.sum(), 12, 7), dtype=np.float32)
    truth[..., 0], truth[..., 3:6] = 2.0 * np.arange(12), 1.0
    label = np.tile(np.arange(12, dtype=np.int16) % NUM_CLASSES, (len(truth), 1))
    said = np.eye(NUM_CLASSES)[label] if clear else rng.dirichlet(np.ones(NUM_CLASSES), (3, 2, *label.shape))
    arrays = {"epoch": np.arange(3), "split": SPLIT[kept], "truth": truth, "truth_label": label}
    arrays |= {
        "boxes": np.tile(truth, (3, 2, 1, 1, 1)),
        "scores": np.empty((3, 2, *label.shape, NUM_CLASSES), np.float32),
    }
    arrays["scores"][:] = said
    arrays["inside"] = np.full(arrays["boxes"].shape[:-1], 50, dtype=np.int32)
    names = tuple(f"class{one}" for one in range(NUM_CLASSES))
    return BoxPredictions(tuple(np.array(IDS)[kept]), arrays, 24, names)


def prompts_of(shapes: Shapes) -> Prompts:
    """What is said of each class lies where its training shapes do."""
    means = [shapes.values[(shapes.label == one) & (shapes.split == 0)].mean(axis=0) for one in range(NUM_CLASSES)]
    names = tuple(f"class{one}" for one in range(NUM_CLASSES))
    return Prompts(names, np.arange(NUM_CLASSES), np.stack(means), ("a render of a {}",))


def judge(kind: str, clear: bool, seed: int = 0):
    """What the task finds in these answers."""
    task, given = task_of(kind), answers(kind, clear, seed)
    beside = [prompts_of(given)] if rooms.settings_class("tasks", kind).reads_prompts else []
    return task.evaluate(given, *beside)


def headline(judgement) -> float:
    return judgement.values[0].value


@pytest.fixture(params=rooms.available("tasks"))
def kind(request) -> str:
    return request.param


def test_settings_are_read_without_importing_the_member(kind):
    cheap = rooms.settings_class("tasks", kind)
    assert issubclass(cheap, TaskSettings)
    assert mistakes(cheap, block(kind), "tasks.x") == []
    assert "unknown key" in mistakes(cheap, block(kind) | {"shoots": 3}, "tasks.x")[0]
    assert isinstance(cheap.finetunes, bool) and isinstance(cheap.joint, bool)
    assert cheap.finetunes or not cheap.joint


def test_values_and_outcomes_fit_one_another(kind):
    found = judge(kind, clear=True)
    assert found.test_ids == tuple(np.array(IDS)[SPLIT == 2])
    assert len({(value.metric, value.selection) for value in found.values}) == len(found.values)
    assert (found.n_train > 0) == (kind not in LEARN_NOTHING) and found.outcomes
    by_name = {value.metric: value.value for value in found.values if value.selection == "last"}
    for metric, outcome in found.outcomes.items():
        assert len(outcome) == len(found.items.get(metric, found.test_ids))
        if metric not in found.items or metric in by_name:
            assert np.mean(outcome) == pytest.approx(by_name[metric])


def test_perfect_answers_score_one_and_noise_is_near_chance(kind):
    assert headline(judge(kind, clear=True)) == 1.0
    noisy = [headline(judge(kind, clear=False, seed=seed)) for seed in range(8)]
    assert np.mean(noisy) == pytest.approx(CHANCE.get(kind, 1 / NUM_CLASSES), abs=0.1)


def test_an_audit_is_of_every_look_at_test_the_last_of_them_the_headline(kind):
    """To the bit; by it one may say what a choice by test would have added. Published protocols make that choice."""
    found = judge(kind, clear=False)
    values = {(value.metric, value.selection): value.value for value in found.values}
    assert set(found.audit.on_test) == AUDITED.get(kind, set())
    assert found.audit.votes == {}
    for metric, on_test in found.audit.on_test.items():
        assert len(on_test) == 3  # answers at three epochs, all different
        assert len(set(on_test)) > 1
        assert on_test[-1] == values[metric, "last"]
        assert values[metric, "val"] in on_test
    for protocol in rooms.settings_class("tasks", kind).protocols if kind in AUDITED else ():
        module = rooms.load("tasks", kind)
        theirs = module.build(parse(module.Settings, block(kind) | {"protocol": protocol}, kind))
        assert theirs.evaluate(answers(kind, clear=False)).audit == Audit()


def test_the_same_answers_give_the_same_judgement(kind):
    assert judge(kind, clear=False) == judge(kind, clear=False)


def test_a_task_on_frozen_embeddings_says_which(kind):
    cheap = rooms.settings_class("tasks", kind)
    own = parse(cheap, block(kind), kind)
    if "of" not in cheap.model_fields:
        assert own.reads_projected() == own.reads_prompts
        return
    other = parse(cheap, block(kind) | {"of": "projected"}, kind)
    assert (own.reads_projected(), other.reads_projected()) == (False, True)
    assert (own.protocol_words(), other.protocol_words()) == ((), ("projected",))
    for protocol in cheap.protocols:
        both = parse(cheap, block(kind) | {"of": "projected", "protocol": protocol}, kind)
        assert both.protocol_words() == (protocol, "projected")
