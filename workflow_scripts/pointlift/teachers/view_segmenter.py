"""Teacher ``view_segmenter``: a network that learns to name the part at every pixel of every view.

Zhang, Hou, Qian: PointMCD, IEEE TMM 2025 (arXiv 2207.03128), its teacher for part segmentation. It first learns to draw
views again, as ``view_autoencoder`` does; then the decoder is replaced by one for parts, which is told the class. Its
embedding is the vector between the two, never negative, for which no class is needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import digest
from pointlift.contracts.shards import Array
from pointlift.contracts.teacher_blocks import ViewTeacherSettings
from pointlift.operators.weight_files import fill, read_weights
from pointlift.teachers.autoencoder_network import ViewAutoencoder, vgg_features
from pointlift.teachers.best_epoch import train_and_select
from pointlift.teachers.phases import Phases
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded, settle_batch_norm
from pointlift.teachers.segmenter_network import ViewSegmenter
from pointlift.teachers.training_views import StoredViews, TrainingViews, with_part_maps
from pointlift.teachers.view_autoencoder import BackboneTeacher, first_features, learn_to_redraw
from pointlift.teachers.view_network import preprocessing_of, require_weights, state_of
from pointlift.training.checkpoint import weights_checksum

_NO_PART = 255  # of a part map
_EVALUATION_BATCH = 32


class Settings(ViewTeacherSettings):
    """How wide the network is, and which views it sees. ``training.recipe.batch_size`` counts views."""

    kind: Literal["view_segmenter"]
    base_width: int = Field(default=64, ge=4, le=256, multiple_of=2)
    """Channels of the first layer; the embedding is 8 times as wide. 64 is VGG-11, which alone has ImageNet weights."""
    autoencoder_epochs: int | None = Field(default=None, ge=0)
    """Epochs in which it learns to draw views again, by the same recipe otherwise, before it learns parts. None: as
    many as ``training.recipe.epochs``, as PointMCD did; 0: none."""
    sampler: Literal["uniform", "label_balanced"] = "label_balanced"
    """label_balanced: a class drawn uniformly, then a shape, then a view. uniform: an epoch sees every view once."""

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.input_size % 32:
            raise ValueError("input_size must be a multiple of 32: the auto-encoder doubles its first map five times")
        if self.base_width != 64 and self.initialisation == "pretrained" and self.training is not None:
            raise ValueError("only base_width 64 has ImageNet weights; train another one with initialisation random")
        return self

    def learns_from_labels(self) -> bool:
        """It is told the class of every shape."""
        return True

    def learns_from_parts(self) -> bool:
        """It does."""
        return True


class PartsOfViews(nn.Module):
    """What is trained in the second phase: the network with its preprocessing and loss.

    own : (K, P + 1) bool, the parts of each class, and the background, which is the last.
    """

    def __init__(self, network: ViewSegmenter, preprocessing: Preprocessing, own: Array) -> None:
        super().__init__()
        self.network, self.preprocessing, self._own = network, preprocessing, own

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``segmentation_loss``: the mean cross-entropy over all pixels, those of the background too.

        ``image`` (B, 3, H, H) uint8, ``part_map`` (B, H, H) uint8, ``label`` (B,) int64.
        """
        logits = self._logits(batch["image"], batch["label"])
        return {"segmentation_loss": nn.functional.cross_entropy(logits, self._wanted(batch["part_map"]))}

    @torch.no_grad()
    def evaluate(self, views: StoredViews) -> dict[str, float]:
        """The same loss over all views of a split, and ``val_view_miou``, the mean of ``view_iou``. In eval mode."""
        device, loss, iou = next(self.network.parameters()).device, 0.0, []
        for batch in torch.arange(views.num_images).split(_EVALUATION_BATCH):
            number = batch.numpy()
            label = views.label[number // views.num_views]
            images, maps = (torch.from_numpy(found(number)).to(device) for found in (views.images, views.part_maps))
            logits, wanted = self._logits(images, torch.from_numpy(label).to(device)), self._wanted(maps)
            loss += float(nn.functional.cross_entropy(logits, wanted)) * len(number)
            iou.append(view_iou(wanted.cpu().numpy(), logits.argmax(dim=1).cpu().numpy(), self._own[label]))
        return {"val_segmentation_loss": loss / views.num_images, "val_view_miou": float(np.concatenate(iou).mean())}

    def _logits(self, images: Tensor, label: Tensor) -> Tensor:
        return self.network(self.preprocessing.standardise(images), label).float()

    def _wanted(self, part_map: Tensor) -> Tensor:
        """Parts (B, H, H) int64, the background P."""
        background = self._own.shape[1] - 1
        return part_map.long().masked_fill(part_map == _NO_PART, background)


def view_iou(wanted: Array, answer: Array, own: Array) -> Array:
    """Mean IoU of each view over its class's own parts and the background, (I,) float64; PointMCD's convention.

    wanted, answer : (I, H, W) in 0 .. P; own : (I, P + 1) bool. What is not there to be seen counts 1, answered or not.
    """
    found = np.empty(len(wanted))
    for view, (true, said) in enumerate(zip(wanted, answer, strict=True)):
        size = own.shape[1]
        counts = np.bincount(true.ravel() * size + said.ravel(), minlength=size**2).reshape(size, size)
        there, hits = counts.sum(axis=1), np.diagonal(counts)
        union = there + counts.sum(axis=0) - hits
        found[view] = np.where(there > 0, hits / np.maximum(union, 1), 1.0)[own[view]].mean()
    return found


def build(settings: Settings, weights: Path | None) -> BackboneTeacher:
    """Make the frozen teacher. ``weights``: the file train_teacher made, or the resolved ``weights_file``; else None.

    Raises ``ConfigError`` when block and file disagree, ``ArtifactError`` for a file that does not hold this network.
    """
    require_weights(settings, weights)
    found = None if weights is None else read_weights(weights)
    sizes = (None, None) if found is None else _sizes(found, weights)
    with seeded(settings.kind, settings.random_seed):
        network = ViewSegmenter(vgg_features(settings.base_width), settings.base_width, *sizes)
        if weights is None:
            settle_batch_norm(network, network.backbone, settings.input_size)
    if found is not None and weights is not None:
        fill(network, found, weights)
    return BackboneTeacher(settings, network)


def train(
    settings: Settings, views: TrainingViews, seed: int, backbone: Path | None = None, **options: Any
) -> dict[str, Tensor]:
    """Train the network of a block with ``training``; returns its weights, those of the best val epoch.

    backbone : the resolved ``backbone_file``. options : history, device, threads ... of ``training.engine.fit``; the
    history has the epochs of both phases one after another: reconstruction_loss, then segmentation_loss and, where
    there is a val split, the same on it and ``val_view_miou``, which decides.
    """
    if settings.training is None:
        raise ConfigError("train_teacher: this teacher's block has no training")
    class_names, part_names = views.class_names(), views.part_names()
    own = _own_parts(class_names, part_names)
    preprocessing = preprocessing_of(settings)
    both = views.required("train", preprocessing), views.stored("val", preprocessing)
    with seeded(settings.kind, "first weights", seed):
        features = first_features(settings, settings.base_width, backbone)
        redrawing = ViewAutoencoder(features, settings.input_size, settings.base_width)
        network = ViewSegmenter(vgg_features(settings.base_width), settings.base_width, *own.shape)
    seen = [part.checksum() for part in both if part is not None]
    options |= {"seed": seed, "identity": digest([settings.model_dump(mode="json"), part_names, *seen])}
    phases = Phases(options)
    _first_phase(settings, redrawing, both, phases, options)
    network.backbone.load_state_dict(redrawing.backbone.state_dict())
    model, (train_views, val_views) = PartsOfViews(network, preprocessing, own), both
    train_and_select(
        model,
        with_part_maps(train_views, settings.sampler == "label_balanced"),
        settings.training.recipe,
        look=None if val_views is None else lambda: model.evaluate(val_views),
        criterion="val_view_miou",
        higher=True,
        **phases.options("parts"),
    )
    phases.close()
    return state_of(network)


def _first_phase(
    settings: Settings,
    network: ViewAutoencoder,
    views: tuple[StoredViews, StoredViews | None],
    phases: Phases,
    options: dict[str, Any],
) -> None:
    """Teach ``network`` in place to draw views again."""
    if settings.training is None or settings.autoencoder_epochs == 0:
        return
    recipe, balanced = settings.training.recipe, settings.sampler == "label_balanced"
    if settings.autoencoder_epochs is not None:
        recipe = recipe.model_copy(update={"epochs": settings.autoencoder_epochs})

    def work(chosen: dict[str, Any]) -> None:
        learn_to_redraw(network, preprocessing_of(settings), views, balanced, recipe, **chosen)

    identity = digest([options["identity"], options.get("code", ""), options["seed"], weights_checksum(network)])
    phases.once("autoencoder", network, identity, work)


def _own_parts(class_names: tuple[str, ...], part_names: tuple[str, ...]) -> Array:
    """The parts ``<class>/<part>`` of each class, and the background, the last of all: (K, P + 1) bool."""
    own = np.array([[part.split("/")[0] == name for part in part_names] for name in class_names])
    bare = [name for name, parts in zip(class_names, own, strict=True) if not parts.any()]
    if bare:
        raise ArtifactError(
            f"train_teacher: no part of class {bare[0]!r} is among the dataset's {list(part_names)[:5]}"
        )
    return np.concatenate([own, np.ones((len(own), 1), dtype=bool)], axis=1)


def _sizes(found: dict[str, Tensor], weights: Path | None) -> tuple[int, int]:
    """K and P + 1 of a file's tensors."""
    first, last = (found.get(f"decoder.{name}.weight") for name in ("category.0", "last.2"))
    if first is None or last is None or first.ndim != 2 or last.ndim != 4:
        raise ArtifactError(f"{weights}: holds no decoder of parts: not a view_segmenter that train_teacher made")
    return first.shape[1], last.shape[0]
