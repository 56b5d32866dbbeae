"""Detection: the student is trained to find the boxes of objects in scenes, with a head in the form of 3DETR.

Misra, Girdhar, Joulin, "An End-to-End Transformer Model for 3D Object Detection", ICCV 2021. Defaults are the values of
its authors' script for ScanNet: match weights, the weight of GIoU and of no object as their issues 25, 27 and 29 quote
them; all other loss weights, dropout, ``reach`` and the sizes of the decoder are recalled, not checked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from pointlift.contracts.blocks import Answers, FinetuningSettings
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.metrics import Audit, Value
from pointlift.contracts.recipe import Augmentation
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.contracts.shards import Array
from pointlift.tasks.detection_scores import DetectionRules, DetectionScores, score_detections
from pointlift.tasks.draws import mean_and_spread
from pointlift.tasks.judgement import Judgement
from pointlift.tasks.scenes import BoxPredictions, Scenes

if TYPE_CHECKING:  # judging imports no torch
    from torch import nn

    from pointlift.tasks.detection_batches import DetectionBatches
    from pointlift.tasks.detector import Detector


class BoxAugmentation(BaseSettings):
    """Random changes of a training scene and its boxes; the recipe's, which know no boxes, are left out."""

    flip_x: bool = True
    """Mirrored along x in every second epoch or so; so along y."""
    flip_y: bool = True
    """VoteNet: in ScanNet, not in SUN RGB-D, where y is what a camera looks along."""
    rotation_degrees: float = Field(default=5.0, ge=0.0, le=180.0)
    """Most that it is turned about z, either way. VoteNet: 5 in ScanNet, 30 in SUN RGB-D."""
    scale: tuple[float, float] = (0.9, 1.1)
    """Factor of all axes, uniform between the two. VoteNet: none in ScanNet, 0.85 to 1.15 in SUN RGB-D."""
    cuboid: bool = False
    """A random part of the scene of half its edges or more, with ``num_points`` points and the middle of a box."""

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> BoxAugmentation:
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError("scale must be [smallest, largest], both above 0")
        return self


class MatchWeights(BaseSettings):
    """Of what a query and a true box cost together."""

    classes: float = Field(default=1.0, ge=0.0)
    """Of the probability of the true class, negative."""
    centre: float = Field(default=0.0, ge=0.0)
    """Of the L1 distance of centres, in shares of the scene (SUN RGB-D, recalled: 5)."""
    giou: float = Field(default=2.0, ge=0.0)
    """Of the generalised intersection over union, negative."""


class LossWeights(BaseSettings):
    """Of the losses."""

    classes: float = Field(default=1.0, ge=0.0)
    no_object: float = Field(default=0.25, gt=0.0)
    """Of a query that shall say that nothing is there, beside 1 of one that shall say a class."""
    centre: float = Field(default=5.0, ge=0.0)
    size: float = Field(default=1.0, ge=0.0)
    heading_bin: float = Field(default=0.1, ge=0.0)
    heading_residual: float = Field(default=0.5, ge=0.0)
    giou: float = Field(default=1.0, ge=0.0)
    """The default of the authors' program is 0, their script for ScanNet says 1."""


class Settings(FinetuningSettings):
    """Finetuning for detection."""

    kind: Literal["detection"]
    oriented: bool = False
    """True: boxes have a heading about z (SUN RGB-D). False: all are along the axes (ScanNet)."""
    num_points: int = Field(default=20000, ge=2)
    """Of a scene at a time, drawn anew in every epoch (3DETR on ScanNet: 40,000)."""
    unit: float = Field(default=1.0, gt=0.0)
    """Metres in one unit of the student's coordinates."""
    num_queries: int = Field(default=256, ge=1)
    """Boxes that are said of a scene; the student gives as many tokens or more."""
    query_start: Literal["zeros", "tokens"] = "zeros"
    """What a query knows before the first layer beside its place: nothing (3DETR), or the token that it stands at, with
    which it learns in fewer epochs."""
    decoder_width: int = Field(default=256, ge=2)
    decoder_depth: int = Field(default=8, ge=1)
    decoder_heads: int = Field(default=4, ge=1)
    decoder_mlp_width: int = Field(default=256, ge=1)
    dropout: float = Field(default=0.1, ge=0.0, lt=1.0)
    """In the layers of the decoder."""
    head_dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """In the networks that say class, place and size."""
    reach: float = Field(default=0.5, gt=0.0)
    """Metres from a query's place to its box's centre, at most, along each axis."""
    heading_bins: int = Field(default=12, ge=2)
    match_weights: MatchWeights = MatchWeights()
    loss_weights: LossWeights = LossWeights()
    augmentation: BoxAugmentation = BoxAugmentation()
    evaluation_seeds: int = Field(default=5, ge=1)
    """Choices of points with which each scene is judged: what is said of it hangs on them."""
    measures: ClassVar[tuple[str, ...]] = ("oriented", "num_points", "unit", "evaluation_seeds")
    joint: ClassVar[bool] = False
    protocols: ClassVar[tuple[str, ...]] = ()
    answers: ClassVar[Answers] = "box_predictions"
    reads_scenes: ClassVar[bool] = True

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.recipe.augmentation != Augmentation():
            raise ValueError(
                "recipe.augmentation would move points without their boxes; leave it out, say augmentation"
            )
        if self.label_smoothing:
            raise ValueError("label_smoothing is not read by detection; leave it out")
        if self.decoder_width % self.decoder_heads or self.decoder_width % 2:
            raise ValueError(
                f"decoder_width must be even and a multiple of decoder_heads ({self.decoder_heads}), "
                f"it is {self.decoder_width}"
            )
        return self

    def protocol_words(self) -> tuple[str, ...]:
        """What stands in a row's protocol beside dataset and form: how many points of a scene are seen at a time."""
        return (*super().protocol_words(), f"points{self.num_points}")


def build(settings: Settings) -> Detection:
    """The task."""
    return Detection(settings)


class Detection:
    """AP of boxes after training: at the last epoch (headline), and at the epoch that was best on val."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def model(self, student: nn.Module, scenes: Scenes, method: nn.Module | None) -> Detector:
        """What is trained. Raises ``ConfigError`` for a dataset without boxes."""
        from pointlift.tasks.detector import Detector

        del method  # none: it is not joint
        if not scenes.box_names:
            raise ConfigError("detection: the dataset has no boxes; name one that has")
        return Detector(student, len(scenes.box_names), self.settings)

    def training_data(self, scenes: Scenes, rows: Array, seed: int) -> DetectionBatches:
        """Batches of what the model reads; they are drawn by the seed that they are asked for with."""
        from pointlift.tasks.detection_batches import DetectionBatches

        del seed
        return DetectionBatches(scenes, rows, self.settings)

    def look(self, model: Detector, scenes: Scenes, rows: Array) -> dict[str, Array]:
        """The model's boxes in these scenes: ``boxes`` (R, S, Q, 7), ``scores`` (R, S, Q, K), ``inside`` (R, S, Q)."""
        from pointlift.tasks.detection_answers import answer_scenes

        return answer_scenes(model, scenes, rows, self.settings)

    def constant_arrays(self, scenes: Scenes, rows: Array) -> dict[str, Array]:
        """True boxes of these scenes: ``truth`` (S, M, 7), ``truth_label`` (S, M)."""
        from pointlift.tasks.detection_batches import boxes_of, padded

        found = [boxes_of(scenes.load(int(row)), self.settings.oriented) for row in rows]
        truth, label = padded([boxes for boxes, _ in found], [label for _, label in found])
        return {"truth": truth, "truth_label": label}

    def watched(self, looked: dict[str, Array], scenes: Scenes, rows: Array, chosen: Array) -> dict[str, float]:
        """What the history says of the val scenes, ``chosen`` (S,) bool among ``rows``; nothing without boxes."""
        truth = self.constant_arrays(scenes, rows[chosen])
        if not (truth["truth_label"] >= 0).any():
            return {}
        answers = {name: array[:, chosen] for name, array in looked.items()}
        return {"val_map_25": float(_maps(self._score(answers, truth))[:, 0].mean())}

    def evaluate(self, predictions: BoxPredictions) -> Judgement:
        """Scores on test; ``val`` is the first epoch with the highest mean AP at IoU 0.25 on val.

        ``map_25`` and ``map_50``: mean over classes of the average precision over all scenes together, at IoU 0.25 and
        0.5; mean over the evaluation seeds, whose sample spread is ``_sd``. ``recall_25`` ...: mean over classes of the
        recall of the whole ranking. ``scene_recall_25`` ...: mean over scenes with boxes of the share that is found and
        named, whose outcomes pair two runs. The outcomes ``class_ap_25`` ... are the table by class, of the last epoch,
        whose mean is the ``map``.
        """
        test, val = predictions.rows("test"), predictions.rows("val")
        epochs = range(len(predictions.arrays["epoch"]))
        on_test = [self._score_epoch(predictions, epoch, test) for epoch in epochs]
        values = _values(on_test[-1], "last")
        if (predictions.arrays["truth_label"][val] >= 0).any():
            best = max(epochs, key=lambda epoch: _maps(self._score_epoch(predictions, epoch, val))[:, 0].mean())
            values += _values(on_test[best], "val")
        ids = tuple(predictions.ids[row] for row in test)
        found = _outcomes(on_test[-1], ids, predictions.box_names)
        return Judgement(values, ids, predictions.num_train, *found, audit=_audit(on_test))

    def _score_epoch(self, predictions: BoxPredictions, epoch: int, rows: Array) -> list[DetectionScores]:
        arrays = predictions.arrays
        answers = {name: arrays[name][epoch][:, rows] for name in ("boxes", "scores", "inside")}
        return self._score(answers, {name: arrays[name][rows] for name in ("truth", "truth_label")})

    def _score(self, answers: dict[str, Array], truth: dict[str, Array]) -> list[DetectionScores]:
        """One for every choice of points; answers (R, S, ...), truth (S, ...)."""
        rules = DetectionRules(oriented=self.settings.oriented)
        score = partial(score_detections, rules, truth=truth["truth"], truth_label=truth["truth_label"])
        parts = zip(answers["boxes"], answers["scores"], answers["inside"], strict=True)
        return [score(boxes=boxes, scores=scores, inside=inside) for boxes, scores, inside in parts]


_WORDS = ("25", "50")  # of the thresholds of IoU, in the order in which they are scored


def _maps(scores: list[DetectionScores]) -> Array:
    """Mean average precision (R, T)."""
    return np.stack([one.mean_average_precision for one in scores])


def _scene_recall(scores: list[DetectionScores]) -> Array:
    """Share found of the boxes of each scene, (T, S), mean over choices of points; NaN for a scene without boxes."""
    found: Array = np.mean([one.found for one in scores], axis=0)
    return found


def _values(scores: list[DetectionScores], selection: Literal["last", "val"]) -> tuple[Value, ...]:
    recalls, scene_recall = np.stack([one.mean_recall for one in scores]), _scene_recall(scores)
    found: list[Value] = []
    for number, word in enumerate(_WORDS):
        for name, each in (("map", _maps(scores)[:, number]), ("recall", recalls[:, number])):
            found += mean_and_spread(f"{name}_{word}", float(each.mean()), each)
        found.append(Value(metric=f"scene_recall_{word}", value=float(np.nanmean(scene_recall[number]))))
    return tuple(value.model_copy(update={"selection": selection}) for value in found)


def _audit(on_test: list[list[DetectionScores]]) -> Audit:
    """Mean average precision at every logged epoch, mean over choices of points."""
    maps = [_maps(scores) for scores in on_test]
    return Audit(
        on_test={
            f"map_{word}": tuple(float(each[:, number].mean()) for each in maps) for number, word in enumerate(_WORDS)
        }
    )


def _outcomes(
    scores: list[DetectionScores], ids: tuple[str, ...], box_names: tuple[str, ...]
) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[str, ...]]]:
    """Outcomes, and what they are of: classes and scenes that have boxes."""
    tables = {"scene_recall": (_scene_recall(scores), ids)}
    tables["class_ap"] = (np.mean([one.average_precision for one in scores], axis=0), box_names)
    outcomes, items = {}, {}
    for name, (table, names) in tables.items():
        for row, word in zip(table, _WORDS, strict=True):
            known = np.flatnonzero(np.isfinite(row))
            outcomes[f"{name}_{word}"] = tuple(row[known].tolist())
            items[f"{name}_{word}"] = tuple(names[one] for one in known)
    return outcomes, items
