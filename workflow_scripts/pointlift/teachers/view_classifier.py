"""Teacher ``view_classifier``: an ImageNet network that learns to name shapes from all their views.

Zhang, Hou, Qian: PointMCD, IEEE TMM 2025 (arXiv 2207.03128), its teacher for classification. Its embedding is the
vector of one view, never negative.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pointlift.contracts.teacher_blocks import ImagenetArchitecture, ViewClassifierSettings
from pointlift.teachers import imagenet_network
from pointlift.teachers.classifier_network import (
    ClassifierTeacher,
    classifier_stages,
    frozen_classifier,
    train_classifier,
)
from pointlift.teachers.random_network import seeded
from pointlift.teachers.training_views import TrainingViews
from pointlift.teachers.view_network import first_network


class Settings(ViewClassifierSettings):
    """Which trunk."""

    kind: Literal["view_classifier"]
    architecture: ImagenetArchitecture = "mobilenet_v2"

    def image_source(self) -> str | None:
        """A residual trunk's own stages, where it is trained."""
        return self.architecture if self.architecture.startswith("resnet") and self.is_trained() else None


def build(settings: Settings, weights: Path | None) -> ClassifierTeacher:
    """Make the frozen teacher. ``weights``: the file train_teacher made, or the resolved ``weights_file``; else None.

    Raises ``ConfigError`` when block and file disagree, ``ArtifactError`` for a file that does not hold this network.
    """
    with seeded(settings.kind, settings.architecture, settings.random_seed):
        trunk = imagenet_network.trunk_of(imagenet_network.untrained(settings.architecture))
        return frozen_classifier(settings, trunk, weights)


def train(
    settings: Settings, views: TrainingViews, seed: int, backbone: Path | None = None, **options: Any
) -> dict[str, Tensor]:
    """Train the network of a block with ``training``; returns its weights, those of the best val epoch.

    backbone : the resolved ``backbone_file``. options : see ``train_classifier``.
    """
    return train_classifier(
        settings,
        lambda: imagenet_network.trunk_of(first_network(settings, settings.architecture, backbone)),
        views,
        seed,
        **options,
    )


def image_stages(settings: Settings, weights: Path | None) -> dict[str, Tensor]:
    """Stage tensors of a residual trunk; see ``classifier_stages``."""
    parts = imagenet_network.untrained(settings.architecture).named_children()
    return classifier_stages(settings, [name for name, _ in parts], weights)
