"""Neural collapse of a student in training: what is kept, that it trains as classification does, and what is told."""

import json
import logging

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances_argmin

import labelled_clouds
from pointlift import rooms
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.settings import parse
from pointlift.tasks.classifier import class_weight
from pointlift.tasks.finetuning import FinetuneSettings, Finetuning
from pointlift.tasks.neural_collapse import Settings, build
from pointlift.tasks.shapes import EpochEmbeddings, read_clouds, read_epoch_embeddings
from pointlift.training.checkpoint import weights_checksum

RECIPE = {"epochs": 5, "batch_size": 8, "learning_rate": 0.01}
BLOCK = {"dataset": "ellipsoids", "recipe": RECIPE, "head": "linear", "head_width": 16, "log_every": 2}
SPARSE = {"kind": "sparse_resnet", "architecture": "resnet8", "voxel_size": 0.4}


@pytest.fixture
def dataset(tmp_path):
    return labelled_clouds.write_dataset(tmp_path)


def trained(dataset, folder, kind="neural_collapse", student=None, run=None, **changes):
    """The finetuning after it ran, and the student as it was before."""
    block = student or labelled_clouds.STUDENT
    member, tasks = rooms.load("students", block["kind"]), rooms.load("tasks", kind)
    torch.manual_seed(0)
    network = member.build(parse(member.Settings, block, "student")).eval()
    task = tasks.build(parse(tasks.Settings, {"kind": kind, **BLOCK, **changes}, "task"))
    finetuning = Finetuning(task, network, read_clouds(dataset["manifest"][0], dataset["points"]), 3)
    before = {name: tensor.clone() for name, tensor in finetuning.model.state_dict().items()}
    words = {"run": "r", "student": {}, "task": {}, "arm": "scratch", "form": "transfer", "seed": 3, **(run or {})}
    finetuning.run(parse(FinetuneSettings, words, "finetune"), folder, threads=1, device="cpu")
    finetuning.save_predictions(folder / "answers.safetensors")
    return finetuning, before


def seen(dataset, folder):
    return read_epoch_embeddings(dataset["manifest"][0], folder / "answers.safetensors")


def embeddings(model, shapes, rows):
    """Of the student alone, one cloud at a time, in eval mode."""
    model.eval()
    with torch.no_grad():
        return torch.cat([model.student(torch.from_numpy(shapes.values[[row]])).embedding for row in rows]).numpy()


def test_what_is_kept_of_train_and_test(tmp_path, dataset):
    finetuning, before = trained(dataset, tmp_path)
    found = seen(dataset, tmp_path)
    shapes, rows = finetuning.shapes, finetuning.shapes.rows("train", "test")
    assert found.epoch.tolist() == [-1, 1, 3, 4]
    assert found.ids == tuple(shapes.ids[row] for row in rows) and sorted(set(found.split.tolist())) == [0, 2]
    assert found.embedding.shape == (4, len(rows), 16) and found.logits.shape == (4, len(rows), 3)
    model = finetuning.model
    np.testing.assert_allclose(found.embedding[-1], embeddings(model, shapes, rows), rtol=1e-5, atol=1e-6)
    bias = model.head.bias.detach().numpy()
    np.testing.assert_array_equal(found.class_weight[-1], model.head.weight.detach().numpy())
    np.testing.assert_allclose(found.logits[-1], found.embedding[-1] @ found.class_weight[-1].T + bias, atol=1e-5)
    model.load_state_dict(before)
    np.testing.assert_allclose(found.embedding[0], embeddings(model, shapes, rows), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.class_weight[0], before["head.weight"].numpy())


@pytest.mark.parametrize(
    ("changes", "run"),
    [
        ({"head": "block"}, {}),
        ({"regime": "frozen"}, {}),
        ({"student": SPARSE}, {"regime": "io", "recalibrate": True}),
        ({"student": SPARSE, "head": "linear_norm"}, {"regime": "ioms", "recalibrate": True}),
    ],
)
def test_it_trains_as_classification_does(tmp_path, dataset, changes, run):
    """To the last bit: looking changes nothing, also not before the first step."""
    ours, _ = trained(dataset, tmp_path / "ours", run=run, **changes)
    theirs, _ = trained(dataset, tmp_path / "theirs", kind="classification", run=run, **changes)
    assert weights_checksum(ours.model) == weights_checksum(theirs.model)


def test_the_same_bytes_twice(tmp_path, dataset):
    for name in ("one", "two"):
        trained(dataset, tmp_path / name)
    files = [(tmp_path / name / "answers.safetensors").read_bytes() for name in ("one", "two")]
    assert files[0] == files[1]


def test_only_linear_heads_have_a_row_for_every_class():
    linear, norm = torch.nn.Linear(5, 3), torch.nn.BatchNorm1d(3)
    generator = torch.Generator().manual_seed(0)
    for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.data = torch.rand(3, generator=generator) + 0.2
    head = torch.nn.Sequential(linear, norm).eval()
    one, other = torch.randn(2, 5, generator=generator)
    moved = head(one[None]) - head(other[None])
    torch.testing.assert_close((class_weight(head) @ (one - other))[None], moved)
    assert class_weight(linear) is not None
    assert class_weight(torch.nn.Sequential(linear, torch.nn.ReLU())) is None


def values(judgement):
    return {value.metric: value.value for value in judgement.values}


def judged(dataset, folder):
    return build(parse(Settings, {"kind": "neural_collapse", **BLOCK}, "task")).evaluate(seen(dataset, folder))


MEASURES = {"cdnv", "nc1", "nc2_length_spread", "nc2_cosine_spread", "nc2_simplex_gap", "nc3", "nc4", "ncc_accuracy"}


def test_every_measure_on_both_splits_before_and_after(tmp_path, dataset):
    trained(dataset, tmp_path, recipe=RECIPE | {"epochs": 40}, log_every=10)
    found, kept = judged(dataset, tmp_path), seen(dataset, tmp_path)
    names = {f"{measure}_{split}" for measure in MEASURES for split in ("train", "test")}
    assert set(values(found)) == names | {f"{name}_start" for name in names}
    assert all(found.items[f"{name}_by_epoch"] == ("0", "10", "20", "30", "40") for name in names)
    for name in names:
        curve = found.outcomes[f"{name}_by_epoch"]
        assert (curve[0], curve[-1]) == (values(found)[f"{name}_start"], values(found)[name])
    assert found.n_train == 23 and len(found.test_ids) == 12
    train, test = kept.rows("train"), kept.rows("test")
    for suffix, number in (("", -1), ("_start", 0)):
        centres = [kept.embedding[number, train][kept.label[train] == one].mean(0, dtype=float) for one in range(3)]
        for split, rows in (("train", train), ("test", test)):
            answer = pairwise_distances_argmin(kept.embedding[number, rows].astype(float), np.array(centres))
            assert values(found)[f"ncc_accuracy_{split}{suffix}"] == pytest.approx((answer == kept.label[rows]).mean())
            differ = (answer != kept.logits[number, rows].argmax(1)).mean()
            assert values(found)[f"nc4_{split}{suffix}"] == pytest.approx(differ)


def test_training_collapses_the_classes_it_sees(tmp_path, dataset):
    trained(dataset, tmp_path, recipe=RECIPE | {"epochs": 40})
    found = values(judged(dataset, tmp_path))
    for name in ("cdnv_train", "nc1_train", "cdnv_test", "nc3_train"):
        assert found[name] < 0.8 * found[f"{name}_start"], name


def test_a_head_that_is_not_linear_has_no_nc3_and_says_so(tmp_path, dataset, caplog):
    trained(dataset, tmp_path, head="block")
    with caplog.at_level(logging.INFO):
        found = judged(dataset, tmp_path)
    assert not any(name.startswith("nc3") for name in [*values(found), *found.outcomes])
    assert "nc3 is left out: the head is not linear" in caplog.text


def answers(embedding, label, split, weight=None):
    epochs = len(embedding)
    logits = np.zeros((epochs, len(label), 3), np.float32)
    ids = tuple(f"shape-{number}" for number in range(len(label)))
    return EpochEmbeddings(ids, np.arange(epochs) - 1, embedding, logits, label, split, 6, weight)


def test_embeddings_that_are_all_the_same_have_no_value_and_say_so(caplog):
    """Of an epoch at which no unit lived: the curve has a gap, and nothing infinite stands in a metrics file."""
    label, split = np.tile([0, 1, 2], 4), np.repeat([0, 2], 6).astype(np.uint8)
    living = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    task = build(parse(Settings, {"kind": "neural_collapse", **BLOCK}, "task"))
    found = task.evaluate(answers(np.stack([np.ones_like(living), living]), label, split))
    assert "cdnv_train" in values(found) and "cdnv_train_start" not in values(found)
    assert found.items["cdnv_train_by_epoch"] == ("1",) and found.items["nc4_train_by_epoch"] == ("0", "1")
    assert "epoch 0: centres of classes are the same" in caplog.text
    assert json.dumps(found.outcomes, allow_nan=False)


def test_one_class_alone_is_told(dataset, tmp_path):
    task = build(parse(Settings, {"kind": "neural_collapse", **BLOCK}, "task"))
    label, split = np.zeros(6, int), np.array([0, 0, 0, 2, 2, 2], np.uint8)
    with pytest.raises(ArtifactError, match="test split: neural collapse is a matter of at least two classes"):
        task.evaluate(answers(np.ones((1, 6, 2), np.float32), np.array([0, 1, 1, 0, 0, 0]), split))
    shapes = read_clouds(dataset["manifest"][0], dataset["points"])
    one = type(shapes)(shapes.ids, shapes.values, 0 * shapes.label, shapes.split, 1)
    with pytest.raises(ConfigError, match="the train split has one class alone"):
        task.model(torch.nn.Identity(), one, None)
    del label
