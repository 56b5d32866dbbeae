"""The blocks of teachers in config.yaml: image models, their weights and how they are trained in the graph."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pointlift.contracts.recipe import Augmentation, Recipe
from pointlift.contracts.settings import Settings


class Training(Settings):
    """A teacher that is trained inside the graph: on which shapes, seen by which rig, how."""

    dataset: str
    rig: str
    recipe: Recipe

    @model_validator(mode="after")
    def _of_pictures(self) -> Training:
        if self.recipe.augmentation != Augmentation():
            raise ValueError("recipe.augmentation changes clouds; a teacher looks at pictures, leave it out")
        return self


class TeacherSettings(Settings):
    """What every teacher block says."""

    kind: str
    weights_file: str | None = None
    """Local weights below ``paths.archives``."""
    batch_size: int = Field(default=64, ge=1)
    training: Training | None = None

    def local_files(self) -> dict[str, str]:
        """Files below ``paths.archives`` that it needs, by the key that names them."""
        return {} if self.weights_file is None else {"weights_file": self.weights_file}

    def learns_from_labels(self) -> bool:
        """Whether its training needs the class of every shape."""
        return False

    def learns_from_parts(self) -> bool:
        """Whether its training needs part maps beside the views."""
        return False

    def reads_text(self) -> bool:
        """Whether texts have embeddings in the space of its images'."""
        return False

    def image_source(self) -> str | None:
        """The 2D architecture whose stages its weights hold, for students that take them; None: no such stages."""
        return None


#: ImageNet classifiers of torchvision.
ImagenetArchitecture = Literal[
    "alexnet", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18",
    "resnet34", "resnet50", "resnet101", "resnet152", "vgg11", "vgg11_bn", "vgg16", "vgg16_bn", "efficientnet_b0",
    "convnext_tiny",
]  # fmt: skip


class ViewTeacherSettings(TeacherSettings):
    """What every teacher says that is made by training a network on views alone."""

    initialisation: Literal["pretrained", "random"] = "pretrained"
    """Of what there is before ``training``. pretrained: the backbone has ImageNet weights, the rest random ones. random
    without ``training``: the random-teacher arm."""
    backbone_file: str | None = None
    """Local ImageNet weights with torchvision's key names, below ``paths.archives``. None: torchvision's default ones,
    fetched once."""
    random_seed: int = Field(default=0, ge=0)
    """Of a network that is never trained."""
    input_size: int = Field(default=224, ge=32, le=1024)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB, subtracted from pixels in [0, 1]. PointMCD gives plain pixels even to ImageNet weights: 0 and std 1."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"

    @model_validator(mode="after")
    def _one_source(self) -> ViewTeacherSettings:
        given = {
            "training": self.training is not None,
            "weights_file": self.weights_file is not None,
            "initialisation: random": self.initialisation == "random" and self.training is None,
        }
        chosen = [name for name, is_given in given.items() if is_given]
        if len(chosen) != 1:
            told = ", ".join(chosen) or "none"
            raise ValueError(f"weights come from exactly one of {', '.join(given)}; given: {told}")
        if self.backbone_file is not None and (self.training is None or self.initialisation == "random"):
            raise ValueError(
                "backbone_file is where training starts from: with training, and initialisation pretrained"
            )
        if min(self.std) <= 0.0:
            raise ValueError("std must be above 0")
        return self

    def local_files(self) -> dict[str, str]:
        """The weights, and those its training starts from."""
        start = {} if self.backbone_file is None else {"backbone_file": self.backbone_file}
        return {**super().local_files(), **start}

    def is_trained(self) -> bool:
        """Whether its weights come from training, here or where the local file was made."""
        return self.training is not None or self.weights_file is not None


class ViewClassifierSettings(ViewTeacherSettings):
    """What every teacher says that learns to name shapes. ``training.recipe.batch_size`` counts shapes."""

    width: int = Field(default=512, ge=2, le=4096)
    """Of the vector of a view, the embedding."""
    label_smoothing: float = Field(default=0.2, ge=0.0, lt=0.5)
    """Share of the target that goes to the other classes, evenly."""

    def learns_from_labels(self) -> bool:
        """It does."""
        return True
