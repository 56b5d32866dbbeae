"""Neural collapse while a classifier is trained: whether the classes' embeddings shrink to points, and where these lie.

Training is that of classification, with the same head, regimes and recipe; what is kept is the embedding that the head
is given, of every train and test shape as it is, before the first step, at every logged epoch and at the end. Xu et al.
("Image2Point", ECCV 2022) explain by it why 2D weights transfer: such a network should have a lower CDNV than a random
one before it has seen a shape. Test measures use centres and variances of the test shapes, but for nearest class
centres, which are always those of the train shapes. A class of few shapes shows too small a variance.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from pointlift.contracts.blocks import Answers
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.metrics import Value
from pointlift.contracts.shards import Array
from pointlift.contracts.task_blocks import ClassificationSettings
from pointlift.tasks.classifier_task import ClassifierTask
from pointlift.tasks.collapse_measures import ClassStatistics, cdnv, class_statistics, nc1, nc2, nc3, nearest_class
from pointlift.tasks.judgement import Judgement, accuracy, right
from pointlift.tasks.shapes import EpochEmbeddings, Shapes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.classifier import Classifier

log = logging.getLogger(__name__)
_SPLITS = ("train", "test")


class Settings(ClassificationSettings):
    """Training as of kind classification. NC3 is there where the head is linear, of the embedding's width."""

    kind: Literal["neural_collapse"]
    answers: ClassVar[Answers] = "epoch_embeddings"
    judged_splits: ClassVar[tuple[str, ...]] = ("train", "test")
    looks_before: ClassVar[bool] = True
    protocols: ClassVar[tuple[str, ...]] = ()


def build(settings: Settings) -> NeuralCollapse:
    """The task."""
    return NeuralCollapse(settings)


class NeuralCollapse(ClassifierTask):
    """CDNV, NC1 to NC4 and the accuracy of the nearest class centre, on train and on test."""

    def model(self, student: nn.Module, shapes: Shapes, method: nn.Module | None) -> Classifier:
        """What is trained. Raises ``ConfigError`` for a dataset of one class."""
        for split in _SPLITS:
            if len(np.unique(shapes.label[shapes.rows(split)])) < 2:
                raise ConfigError(f"neural_collapse: the {split} split has one class alone; it takes two or more")
        return super().model(student, shapes, method)

    def look(self, model: Classifier, shapes: Shapes, rows: Array) -> dict[str, Array]:
        """``embedding`` (S, C) and ``logits`` (S, K) of these shapes; of a linear head its ``class_weight`` (K, C)."""
        from pointlift.tasks.classifier import class_weight

        embedding, logits = model.embed_and_answer(shapes.values[rows])
        weight = class_weight(model.head)
        own = {} if weight is None else {"class_weight": weight.float().cpu().numpy()}
        return {"embedding": embedding, "logits": logits, **own}

    def evaluate(self, seen: EpochEmbeddings) -> Judgement:
        """Every measure by its name with ``_train`` or ``_test``: after training, and before it (``_start``).

        Outcomes: whether the nearest centre names each test shape right, and the curve of every measure over the number
        of epochs that were done, ``cdnv_train_by_epoch`` and so on. A measure without a value at an epoch (embeddings
        that are all the same) is left out there, with a word in the log; so is NC3 of a head that is not linear.
        """
        from threadpoolctl import threadpool_limits

        if seen.class_weight is None:
            log.info("nc3 is left out: the head is not linear, and has no row for a class to hold against its centre")
        with threadpool_limits(1):  # the bits of linear algebra hang on the number of threads
            found = [_measures(seen, number) for number in range(len(seen.epoch))]
            nearest = _nearest(seen, len(seen.epoch) - 1)
        test = seen.rows("test")
        values = [Value(metric=name, value=value) for name, value in found[-1].items()]
        values += [Value(metric=f"{name}_start", value=value) for name, value in found[0].items()]
        curves = _curves(found, [int(epoch) + 1 for epoch in seen.epoch])
        return Judgement(
            values=tuple(values),
            test_ids=tuple(seen.ids[row] for row in test),
            n_train=seen.num_train,
            outcomes={"ncc_accuracy_test": right(nearest[test], seen.label[test])}
            | {n: y for n, (_, y) in curves.items()},
            items={name: epochs for name, (epochs, _) in curves.items()},
        )


def _measures(seen: EpochEmbeddings, number: int) -> dict[str, float]:
    """Every measure that has a value at a logged epoch, the accuracy of the nearest centre first."""
    nearest, answer = _nearest(seen, number), seen.logits[number].argmax(axis=1)
    found: dict[str, float | None] = {}
    for split in ("test", "train"):
        rows = seen.rows(split)
        found[f"ncc_accuracy_{split}"] = accuracy(nearest[rows], seen.label[rows])
        found[f"nc4_{split}"] = 1.0 - accuracy(nearest[rows], answer[rows])
        classes = _classes(seen, number, split)
        found |= {f"{name}_{split}": value for name, value in _of_classes(classes).items()}
        if seen.class_weight is not None:
            found[f"nc3_{split}"] = nc3(classes, seen.class_weight[number])
    if without := sorted(name for name, value in found.items() if value is None):
        log.warning("epoch %d: centres of classes are the same; left out: %s", seen.epoch[number] + 1, without)
    return {name: value for name, value in found.items() if value is not None}


def _of_classes(classes: ClassStatistics) -> dict[str, float | None]:
    lengths, angles, gap = nc2(classes) or (None, None, None)
    return {
        "cdnv": cdnv(classes),
        "nc1": nc1(classes),
        "nc2_length_spread": lengths,
        "nc2_cosine_spread": angles,
        "nc2_simplex_gap": gap,
    }


def _classes(seen: EpochEmbeddings, number: int, split: str) -> ClassStatistics:
    rows = seen.rows(split)
    try:
        return class_statistics(seen.embedding[number, rows], seen.label[rows])
    except ValueError as error:
        raise ArtifactError(f"neural_collapse, {split} split: {error}; name a dataset with more") from None


def _nearest(seen: EpochEmbeddings, number: int) -> Array:
    """The class (S,) of the nearest centre of the train shapes."""
    return nearest_class(seen.embedding[number], _classes(seen, number, "train"))


def _curves(found: list[dict[str, float]], done: list[int]) -> dict[str, tuple[tuple[str, ...], tuple[float, ...]]]:
    """By measure: the numbers of epochs done at which it has a value, as text, and the values."""
    names = sorted({name for each in found for name in each})
    curves = {}
    for name in names:
        points = [(str(epochs), each[name]) for epochs, each in zip(done, found, strict=True) if name in each]
        curves[f"{name}_by_epoch"] = tuple(x for x, _ in points), tuple(y for _, y in points)
    return curves
