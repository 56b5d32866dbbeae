"""Teacher ``small_resnet``: a residual network of CIFAR's shape that learns, in the graph, to name shapes from views.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2, in the place of the ImageNet trunk of
``view_classifier``, with the same training and the same embedding. With one block per stage it is small enough to be
the source of 2D weights where there are no published ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import Tensor

from pointlift.contracts.teacher_blocks import ViewClassifierSettings
from pointlift.operators.image_networks import small_network
from pointlift.teachers import imagenet_network
from pointlift.teachers.classifier_network import (
    ClassifierTeacher,
    classifier_stages,
    frozen_classifier,
    train_classifier,
)
from pointlift.teachers.random_network import seeded
from pointlift.teachers.training_views import TrainingViews

#: The classifier of the small network itself is dropped with its pooling.
_NO_CLASSES = 1


class Settings(ViewClassifierSettings):
    """Which small network; its trunk has 64 channels."""

    kind: Literal["small_resnet"]
    architecture: Literal["resnet8", "cifar_resnet20", "cifar_resnet56"] = "resnet8"
    width: int = Field(default=128, ge=2, le=4096)
    """Of the vector of a view, the embedding."""
    input_size: int = Field(default=32, ge=32, le=1024)

    @model_validator(mode="after")
    def _from_random(self) -> Settings:
        if self.training is not None and self.initialisation != "random":
            raise ValueError("training starts from random weights: say initialisation: random")
        return self

    def image_source(self) -> str | None:
        """Its stages, where they are trained."""
        return self.architecture if self.is_trained() else None


def build(settings: Settings, weights: Path | None) -> ClassifierTeacher:
    """Make the frozen teacher. ``weights``: the file train_teacher made, or the resolved ``weights_file``; else None.

    Raises ``ConfigError`` when block and file disagree, ``ArtifactError`` for a file that does not hold this network.
    """
    with seeded(settings.kind, settings.architecture, settings.random_seed):
        trunk = imagenet_network.trunk_of(small_network(settings.architecture, _NO_CLASSES, settings.random_seed))
        return frozen_classifier(settings, trunk, weights)


def train(settings: Settings, views: TrainingViews, seed: int, **options: Any) -> dict[str, Tensor]:
    """Train the network of a block with ``training``; returns its weights, those of the best val epoch.

    options : see ``train_classifier``.
    """
    return train_classifier(
        settings,
        lambda: imagenet_network.trunk_of(small_network(settings.architecture, _NO_CLASSES, seed)),
        views,
        seed,
        **options,
    )


def image_stages(settings: Settings, weights: Path | None) -> dict[str, Tensor]:
    """Stage tensors of the trunk; see ``classifier_stages``."""
    parts = small_network(settings.architecture, _NO_CLASSES, settings.random_seed).named_children()
    return classifier_stages(settings, [name for name, _ in parts], weights)
