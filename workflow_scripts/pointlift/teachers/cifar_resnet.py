"""Teacher ``cifar_resnet``: a ResNet-20 or ResNet-56 trained on CIFAR-10, from a local file, without its classifier.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2. The embedding is the mean over the
last feature map (64 values, never negative), the tokens are its cells. Files: those of the repository
akamaster/pytorch_resnet_cifar10, whose training standardises pixels by ImageNet's mean and deviation, not by CIFAR's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.teacher_blocks import TeacherSettings
from pointlift.operators.image_networks import read_stages, small_network
from pointlift.operators.weight_files import fill, read_weights
from pointlift.teachers import imagenet_network
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded, settle_batch_norm
from pointlift.teachers.trunk_teacher import TrunkTeacher

_CIFAR_CLASSES = 10


class Settings(TeacherSettings):
    """Which of the two, and the pixels it expects."""

    kind: Literal["cifar_resnet"]
    architecture: Literal["cifar_resnet20", "cifar_resnet56"] = "cifar_resnet20"
    initialisation: Literal["pretrained", "random"] = "pretrained"
    """pretrained: ``weights_file``. random: the random-teacher arm."""
    random_seed: int = Field(default=0, ge=0)
    input_size: int = Field(default=32, ge=32, le=1024)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """RGB, subtracted from pixels in [0, 1]."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.training is not None:
            raise ValueError(
                "training is not offered by this kind; kind small_resnet trains the same networks on views"
            )
        if (self.initialisation == "pretrained") != (self.weights_file is not None):
            raise ValueError("initialisation pretrained has a weights_file, random has none")
        if min(self.std) <= 0.0:
            raise ValueError("std must be above 0")
        return self

    def image_source(self) -> str | None:
        """Its stages, where they are not random."""
        return self.architecture if self.weights_file is not None else None


def build(settings: Settings, weights: Path | None) -> TrunkTeacher:
    """Make the frozen teacher. ``weights``: the resolved ``weights_file``, None where the block has none.

    Raises ``ConfigError`` when the two disagree, ``ArtifactError`` for a file that does not hold exactly this network.
    """
    _require_weights(settings, weights)
    network = small_network(settings.architecture, _CIFAR_CLASSES, settings.random_seed)
    trunk = imagenet_network.trunk_of(network)
    if weights is not None:
        fill(network, read_weights(weights), weights)
    else:
        with seeded(settings.kind, settings.architecture, settings.random_seed):
            settle_batch_norm(network, trunk, settings.input_size)
    preprocessing = Preprocessing(
        settings.input_size, settings.mean, settings.std, interpolation=settings.interpolation
    )
    return TrunkTeacher(preprocessing, trunk, nonnegative=True)


def image_stages(settings: Settings, weights: Path | None) -> dict[str, Tensor]:
    """Stage tensors of the file, for ``operators.inflation``. Raises as ``build``."""
    _require_weights(settings, weights)
    if weights is None:
        raise ArtifactError("teacher cifar_resnet: random weights are no source of 2D weights; give a weights_file")
    return read_stages(weights, settings.architecture)


def _require_weights(settings: Settings, weights: Path | None) -> None:
    if (settings.weights_file is None) != (weights is None):
        raise ConfigError(
            f"teacher cifar_resnet: weights_file is {settings.weights_file!r}, but the file handed over is {weights}"
        )
