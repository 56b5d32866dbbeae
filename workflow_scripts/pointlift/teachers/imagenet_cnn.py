"""Teacher ``imagenet_cnn``: an ImageNet classifier of torchvision without its classifier.

The embedding is the mean over the last feature map, the tokens are its cells. Weights: torchvision's own (fetched
once), a local file with torchvision's key names, or random ones for the random-teacher arm.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from torch import Tensor

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.teacher_blocks import ImagenetArchitecture, TeacherSettings
from pointlift.operators.image_networks import read_stages
from pointlift.operators.torchvision_weights import fetched_stages
from pointlift.teachers import imagenet_network
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded, settle_batch_norm
from pointlift.teachers.trunk_teacher import TrunkTeacher

#: Whether the trunk's last operation leaves nothing below 0 (ReLU, ReLU6; pooling keeps it so), by family.
_NONNEGATIVE = {
    "squeezenet": True,
    "mobilenet_v2": True,
    "mobilenet_v3": False,
    "resnet": True,
    "vgg": True,
    "alexnet": True,
    "efficientnet": False,
    "convnext": False,
}


class Settings(TeacherSettings):
    """An ImageNet classifier and the pixels it expects."""

    architecture: ImagenetArchitecture = "resnet50"
    initialisation: Literal["pretrained", "random"] = "pretrained"
    """pretrained: ``weights_file`` where given, else torchvision's default weights. random: the random-teacher arm."""
    random_seed: int = Field(default=0, ge=0)
    input_size: int = Field(default=224, ge=32, le=1024)
    channel_order: Literal["rgb", "bgr"] = "rgb"
    pixel_scale: float = Field(default=1.0 / 255.0, gt=0.0)
    """Pixels 0..255 are multiplied by it, then ``mean`` is subtracted, then it is divided by ``std``."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Per channel, in ``channel_order``, on pixels that are already scaled."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.training is not None:
            raise ValueError("training is not offered by this kind; use clip, view_classifier or view_autoencoder")
        if self.initialisation == "random" and self.weights_file is not None:
            raise ValueError("initialisation random has no weights_file")
        if min(self.std) <= 0.0:
            raise ValueError("std must be above 0")
        return self

    def image_source(self) -> str | None:
        """A residual network's own stages, where they are not random."""
        return self.architecture if self.architecture.startswith("resnet") and self.initialisation != "random" else None


def build(settings: Settings, weights: Path | None) -> TrunkTeacher:
    """Make the frozen teacher. ``weights``: the resolved ``weights_file``, None where the block has none.

    Raises ``ConfigError`` when the two disagree, ``ArtifactError`` for a file that does not hold exactly this network,
    ``MachineError`` when torchvision's weights cannot be fetched.
    """
    if (settings.weights_file is None) != (weights is None):
        raise ConfigError(
            f"teacher imagenet_cnn: weights_file is {settings.weights_file!r}, but the file handed over is {weights}"
        )
    with seeded("imagenet_cnn", settings.architecture, settings.random_seed):
        if weights is not None or settings.initialisation == "pretrained":
            network = imagenet_network.pretrained(settings.architecture, weights, "imagenet_cnn")
        else:
            network = imagenet_network.untrained(settings.architecture)
            settle_batch_norm(network, imagenet_network.trunk_of(network), settings.input_size)
    preprocessing = Preprocessing(
        settings.input_size,
        settings.mean,
        settings.std,
        pixel_scale=settings.pixel_scale,
        channel_order=settings.channel_order,
        interpolation=settings.interpolation,
    )
    nonnegative = next(value for family, value in _NONNEGATIVE.items() if settings.architecture.startswith(family))
    return TrunkTeacher(preprocessing, imagenet_network.trunk_of(network), nonnegative=nonnegative)


def image_stages(settings: Settings, weights: Path | None) -> dict[str, Tensor]:
    """Stage tensors of a residual network, for ``operators.inflation``: those of the file, else torchvision's own.

    Raises ``ArtifactError`` for a file without them, ``MachineError`` when torchvision's cannot be fetched.
    """
    if weights is not None:
        return read_stages(weights, settings.architecture)
    return fetched_stages(settings.architecture, "teacher imagenet_cnn", "give a local weights_file")
