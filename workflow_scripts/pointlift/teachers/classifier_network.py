"""A network that learns to name shapes from all their views, on a trunk of any kind, and the teacher it becomes.

Zhang, Hou, Qian: PointMCD, IEEE TMM 2025 (arXiv 2207.03128), its teacher for classification.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import digest
from pointlift.contracts.teacher_blocks import ViewClassifierSettings
from pointlift.operators.cross_entropy import smoothed_cross_entropy
from pointlift.operators.image_networks import stages_of
from pointlift.operators.weight_files import fill, read_weights
from pointlift.teachers.best_epoch import train_and_select
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded, settle_batch_norm
from pointlift.teachers.teacher import Teacher, TeacherOutput
from pointlift.teachers.training_views import StoredViews, TrainingViews, by_shape
from pointlift.teachers.view_network import preprocessing_of, require_weights, state_of

_EVALUATION_BATCH = 256


class Answer(NamedTuple):
    """What the network says about V views of B shapes."""

    view: Tensor
    """(B, V, D), never negative."""
    shape: Tensor
    """(B, D), never negative; the order of the views does not matter."""
    view_logits: Tensor
    """(B, V, K)."""
    shape_logits: Tensor
    """(B, K)."""


class ViewClassifier(nn.Module):
    """Trunk, mean over its map and a block per view; a block of the maximum over views; one classifier of both.

    A block is a linear layer without bias, batch norm and ReLU.
    """

    def __init__(self, trunk: nn.Module, size: int, width: int, num_classes: int | None) -> None:
        """``size``: of the pictures. ``num_classes`` K; None: without a classifier, for a network never trained."""
        super().__init__()
        self.backbone = trunk
        channels = _channels(trunk, size)
        self.view_block, self.shape_block = _block(channels, width), _block(width, width)
        self.classifier = None if num_classes is None else nn.Linear(width, num_classes, bias=False)

    def cells(self, pixels_B3HW: Tensor) -> Tensor:
        """The trunk's last map (B, channels, h, w)."""
        return self.backbone(pixels_B3HW)

    def view_vectors(self, map_BChw: Tensor) -> Tensor:
        """One vector per picture, (B, D), of its map."""
        return self.view_block(map_BChw.mean(dim=(2, 3)))

    def answer(self, view_BVD: Tensor) -> Answer:
        """Vector of the whole shape, and logits of both, of its views' vectors. Needs a classifier."""
        if self.classifier is None:
            raise ValueError("this network was never trained and has no classes")
        shape_BD = self.shape_block(view_BVD.amax(dim=1))
        return Answer(view_BVD, shape_BD, self.classifier(view_BVD), self.classifier(shape_BD))

    def forward(self, pixels_BV3HW: Tensor) -> Answer:
        """Preprocessed pixels of V views of B shapes, float32."""
        vectors = self.view_vectors(self.cells(pixels_BV3HW.flatten(0, 1)))
        return self.answer(vectors.unflatten(0, pixels_BV3HW.shape[:2]))


class ClassifierTeacher(Teacher):
    """A frozen ``ViewClassifier``; its embedding is the vector of one view, its tokens are the trunk's cells."""

    nonnegative = True

    def __init__(self, settings: ViewClassifierSettings, network: ViewClassifier) -> None:
        super().__init__(preprocessing_of(settings))
        self.network, self.width = network, settings.width
        self.freeze()

    def _encode(self, pixels_B3HW: Tensor, tokens: bool) -> TeacherOutput:
        map_BChw = self.network.cells(pixels_B3HW)
        cells_BPC = map_BChw.flatten(2).transpose(1, 2).contiguous() if tokens else None
        return TeacherOutput(self.network.view_vectors(map_BChw), cells_BPC)


class NamesOfViews(nn.Module):
    """What is trained: the network with its preprocessing and loss."""

    def __init__(self, network: ViewClassifier, preprocessing: Preprocessing, smoothing: float) -> None:
        super().__init__()
        self.network, self.preprocessing, self.smoothing = network, preprocessing, smoothing

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``global_loss`` and ``view_loss``, of equal weight; ``image`` (B, V, 3, H, H) uint8, ``label`` (B,)."""
        return self._losses(self.network(self.preprocessing.standardise(batch["image"])), batch["label"])

    @torch.no_grad()
    def evaluate(self, views: StoredViews) -> dict[str, float]:
        """Losses and accuracy on all shapes of a split, per view and of all views of a shape together. In eval mode."""
        device = next(self.network.parameters()).device
        shapes = torch.arange(len(views.label)).split(max(1, _EVALUATION_BATCH // views.num_views))
        vectors = []
        for rows in shapes:
            number = rows[:, None] * views.num_views + torch.arange(views.num_views)
            pixels = self.preprocessing.standardise(torch.from_numpy(views.images(number.numpy())).to(device))
            vectors.append(self.network.view_vectors(self.network.cells(pixels.flatten(0, 1))))
        answer = self.network.answer(torch.cat(vectors).unflatten(0, (-1, views.num_views)))
        label_S = torch.from_numpy(views.label).to(device)
        per_view = answer.view_logits.argmax(dim=-1) == label_S[:, None]
        per_shape = answer.shape_logits.argmax(dim=-1) == label_S
        losses = {f"val_{name}": float(value) for name, value in self._losses(answer, label_S).items()}
        accuracy = {"view": float(per_view.float().mean()), "shape": float(per_shape.float().mean())}
        return {**losses, **{f"val_{name}_accuracy": value for name, value in accuracy.items()}}

    def _losses(self, answer: Answer, label_B: Tensor) -> dict[str, Tensor]:
        per_view = label_B[:, None].expand(answer.view_logits.shape[:2]).flatten()
        return {
            "global_loss": smoothed_cross_entropy(answer.shape_logits.float(), label_B, self.smoothing),
            "view_loss": smoothed_cross_entropy(answer.view_logits.float().flatten(0, 1), per_view, self.smoothing),
        }


def frozen_classifier(settings: ViewClassifierSettings, trunk: nn.Module, weights: Path | None) -> ClassifierTeacher:
    """The frozen teacher on an untrained trunk; the rest draws from torch's global generator: call it in ``seeded``.

    weights : the file train_teacher made, or the resolved ``weights_file``; else None. Raises ``ConfigError`` when
    block and file disagree, ``ArtifactError`` for a file that does not hold this network.
    """
    require_weights(settings, weights)
    found = None if weights is None else read_weights(weights)
    num_classes = None if found is None else _num_classes(found, weights)
    network = ViewClassifier(trunk, settings.input_size, settings.width, num_classes)
    if found is None or weights is None:
        settle_batch_norm(network, lambda pixels: _through(network, pixels), settings.input_size)
    else:
        fill(network, found, weights)
    return ClassifierTeacher(settings, network)


def train_classifier(
    settings: ViewClassifierSettings,
    first_trunk: Callable[[], nn.Module],
    views: TrainingViews,
    seed: int,
    **options: Any,
) -> dict[str, Tensor]:
    """Train the network of a block with ``training``; returns its weights, those of the best val epoch.

    first_trunk : makes the trunk that training starts from; it may draw from torch's global generator.
    options : history, device, threads ... of ``training.engine.fit``; the history has both losses and, where there is a
    val split, both on it and its accuracy, which decides.
    """
    if settings.training is None:
        raise ConfigError("train_teacher: this teacher's block has no training")
    class_names, preprocessing = views.class_names(), preprocessing_of(settings)
    if len(class_names) < 2:
        raise ArtifactError(f"train_teacher: there is but one class, {class_names}: nothing to tell apart")
    train_views, val_views = views.required("train", preprocessing), views.stored("val", preprocessing)
    with seeded(settings.kind, "first weights", seed):
        network = ViewClassifier(first_trunk(), settings.input_size, settings.width, len(class_names))
    model = NamesOfViews(network, preprocessing, settings.label_smoothing)
    seen = [part.checksum() for part in (train_views, val_views) if part is not None]
    train_and_select(
        model,
        by_shape(train_views),
        settings.training.recipe,
        look=None if val_views is None else lambda: model.evaluate(val_views),
        criterion="val_shape_accuracy",
        higher=True,
        seed=seed,
        identity=digest([settings.model_dump(mode="json"), *seen]),
        **options,
    )
    return state_of(network)


def classifier_stages(
    settings: ViewClassifierSettings, names: Sequence[str], weights: Path | None
) -> dict[str, Tensor]:
    """Stage tensors of the trunk by their names in the 2D architecture, for ``operators.inflation``.

    names : what the parts of the trunk are called there, in order. Raises ``ConfigError`` for a block whose weights
    hold no such stages, ``ArtifactError`` for a file without them.
    """
    source = settings.image_source()
    if weights is None or source is None:
        raise ConfigError(f"teacher {settings.kind}: as its block is, its weights hold no stages of a 2D network")
    prefix, found = {f"backbone.{place}.": f"{name}." for place, name in enumerate(names)}, {}
    for key, tensor in read_weights(weights).items():
        for own, there in prefix.items():
            if key.startswith(own):
                found[there + key.removeprefix(own)] = tensor
    return stages_of(found, source, str(weights))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())


def _channels(trunk: nn.Module, size: int) -> int:
    was_training = trunk.training
    with torch.no_grad():
        channels = trunk.eval()(torch.zeros(1, 3, size, size)).shape[1]
    trunk.train(was_training)
    return int(channels)


def _num_classes(found: dict[str, Tensor], weights: Path | None) -> int:
    if "classifier.weight" not in found or found["classifier.weight"].ndim != 2:
        raise ArtifactError(
            f"{weights}: holds no classifier.weight (K, D): not a view_classifier that train_teacher made"
        )
    return len(found["classifier.weight"])


def _through(network: ViewClassifier, pixels_B3HW: Tensor) -> Tensor:
    """The whole network but its classifier, two pictures a shape, so that every batch norm sees something."""
    return network.shape_block(network.view_vectors(network.cells(pixels_B3HW)).unflatten(0, (-1, 2)).amax(dim=1))
