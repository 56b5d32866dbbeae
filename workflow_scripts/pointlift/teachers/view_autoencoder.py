"""Teacher ``view_autoencoder``: a network that learns to draw every view again from one vector, without labels.

Zhang, Hou, Qian: PointMCD, IEEE TMM 2025 (arXiv 2207.03128), its teacher for unlabelled shapes. Its embedding is that
vector, never negative.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import digest
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.teacher_blocks import ViewTeacherSettings
from pointlift.operators.weight_files import load_strictly
from pointlift.teachers.autoencoder_network import (
    PUBLISHED_BASE_WIDTH,
    BackboneNetwork,
    ViewAutoencoder,
    vgg_features,
)
from pointlift.teachers.best_epoch import train_and_select
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded, settle_batch_norm
from pointlift.teachers.teacher import Teacher, TeacherOutput
from pointlift.teachers.training_views import StoredViews, TrainingViews, by_view
from pointlift.teachers.view_network import first_network, preprocessing_of, require_weights, state_of

_log = logging.getLogger(__name__)
_EVALUATION_BATCH = 256


class Settings(ViewTeacherSettings):
    """How wide the network is, and which views it sees. ``training.recipe.batch_size`` counts views."""

    kind: Literal["view_autoencoder"]
    base_width: int = Field(default=64, ge=4, le=256, multiple_of=2)
    """Channels of the first layer; the embedding is 8 times as wide. 64 is VGG-11, which alone has ImageNet weights."""
    sampler: Literal["uniform", "label_balanced"] = "uniform"
    """uniform: an epoch sees every view once. label_balanced: a class drawn uniformly, then a shape, then a view. That
    is what PointMCD did: it takes labels, so that its teacher was not strictly unsupervised."""

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.input_size % 32:
            raise ValueError("input_size must be a multiple of 32: the decoder doubles its first map five times")
        if self.base_width != 64 and self.initialisation == "pretrained" and self.training is not None:
            raise ValueError("only base_width 64 has ImageNet weights; train another one with initialisation random")
        return self

    def learns_from_labels(self) -> bool:
        """Only the balanced sampler looks at them."""
        return self.sampler == "label_balanced"


class BackboneTeacher(Teacher):
    """The frozen backbone; its embedding is the mean over the last map, its tokens are the map's cells."""

    nonnegative = True

    def __init__(self, settings: ViewTeacherSettings, network: BackboneNetwork) -> None:
        super().__init__(preprocessing_of(settings))
        self.network, self.width = network, network.backbone.width
        self.freeze()

    def _encode(self, pixels_B3HW: Tensor, tokens: bool) -> TeacherOutput:
        map_BDhw = self.network.backbone(pixels_B3HW)
        cells_BPD = map_BDhw.flatten(2).transpose(1, 2).contiguous() if tokens else None
        return TeacherOutput(map_BDhw.mean(dim=(2, 3)), cells_BPD)


class Redrawing(nn.Module):
    """What is trained: the network with its preprocessing. The picture to be drawn is the plain one, in [0, 1]."""

    def __init__(self, network: ViewAutoencoder, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """``reconstruction_loss``: the mean absolute difference of ``image`` (B, 3, H, H) uint8 and what is drawn."""
        drawn_B3HW = self.network(self.preprocessing.standardise(batch["image"]))
        return {"reconstruction_loss": (drawn_B3HW.float() - batch["image"] / 255.0).abs().mean()}

    @torch.no_grad()
    def evaluate(self, views: StoredViews) -> dict[str, float]:
        """The same over all views of a split. In eval mode."""
        device, total = next(self.network.parameters()).device, 0.0
        for number in torch.arange(views.num_images).split(_EVALUATION_BATCH):
            images = torch.from_numpy(views.images(number.numpy())).to(device)
            total += float(self({"image": images})["reconstruction_loss"]) * len(number)
        return {"val_reconstruction_loss": total / views.num_images}


def build(settings: Settings, weights: Path | None) -> BackboneTeacher:
    """Make the frozen teacher. ``weights``: the file train_teacher made, or the resolved ``weights_file``; else None.

    Raises ``ConfigError`` when block and file disagree, ``ArtifactError`` for a file that does not hold this network.
    """
    require_weights(settings, weights)
    with seeded(settings.kind, settings.random_seed):
        network = ViewAutoencoder(vgg_features(settings.base_width), settings.input_size, settings.base_width)
        if weights is None:
            settle_batch_norm(network, network, settings.input_size)
    if weights is not None:
        load_strictly(network, weights)
    return BackboneTeacher(settings, network)


def train(
    settings: Settings, views: TrainingViews, seed: int, backbone: Path | None = None, **options: Any
) -> dict[str, Tensor]:
    """Train the network of a block with ``training``; returns its weights, those of the best val epoch.

    backbone : the resolved ``backbone_file``. options : history, device, threads ... of ``training.engine.fit``; the
    history has reconstruction_loss and, where there is a val split, the same on it, which decides.
    """
    if settings.training is None:
        raise ConfigError("train_teacher: this teacher's block has no training")
    balanced = settings.sampler == "label_balanced"
    if balanced:
        _log.info("sampler label_balanced: %d classes decide which views are seen", len(views.class_names()))
    preprocessing = preprocessing_of(settings)
    train_views, val_views = views.required("train", preprocessing), views.stored("val", preprocessing)
    with seeded(settings.kind, "first weights", seed):
        features = first_features(settings, settings.base_width, backbone)
        network = ViewAutoencoder(features, settings.input_size, settings.base_width)
    seen = [part.checksum() for part in (train_views, val_views) if part is not None]
    options |= {"seed": seed, "identity": digest([settings.model_dump(mode="json"), *seen])}
    learn_to_redraw(network, preprocessing, (train_views, val_views), balanced, settings.training.recipe, **options)
    return state_of(network)


def learn_to_redraw(
    network: ViewAutoencoder,
    preprocessing: Preprocessing,
    views: tuple[StoredViews, StoredViews | None],
    balanced: bool,
    recipe: Recipe,
    **options: Any,
) -> None:
    """Train in place on the first of ``views``, and keep the epoch that draws the second, val, best.

    balanced : classes are drawn evenly. options : of ``training.engine.fit``.
    """
    model, (train_views, val_views) = Redrawing(network, preprocessing), views
    train_and_select(
        model,
        by_view(train_views, balanced),
        recipe,
        look=None if val_views is None else lambda: model.evaluate(val_views),
        criterion="val_reconstruction_loss",
        higher=False,
        **options,
    )


def first_features(settings: ViewTeacherSettings, base_width: int, backbone: Path | None) -> nn.Sequential:
    """VGG's convolutions as training starts from them: ImageNet's, or of torch's global generator."""
    if base_width != PUBLISHED_BASE_WIDTH:
        return vgg_features(base_width)
    features = first_network(settings, "vgg11_bn", backbone).features
    if not isinstance(features, nn.Sequential):
        raise TypeError("torchvision's VGG has no sequence of layers")
    return features
