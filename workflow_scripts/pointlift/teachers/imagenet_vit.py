"""Teacher ``imagenet_vit``: a vision transformer (ViT or DeiT) trained on ImageNet, from a local file.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; Touvron et al., "Training data-efficient image
transformers", ICML 2021. The network is timm's, patches are 16 pixels wide. The embedding is the class token after the
last norm, the tokens are the patches after it. Files have timm's names, with the classifier or without; a distilled
DeiT has one token more and is another network. ViT and DeiT of a size differ in their weights and pixels alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.teacher_blocks import TeacherSettings
from pointlift.operators.image_transformers import read_blocks, transformer_of
from pointlift.operators.weight_files import fill, read_weights
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.random_network import seeded
from pointlift.teachers.teacher import Teacher, TeacherOutput

_PATCH = 16
#: Classes of a network whose file has a classifier that cannot be one: its shape is then told beside the wanted one.
_IMAGENET_CLASSES = 1000


class Settings(TeacherSettings):
    """Which size, and the pixels it expects."""

    kind: Literal["imagenet_vit"]
    architecture: Literal["vit_tiny", "vit_small", "vit_base", "vit_nano", "deit_tiny", "deit_small", "deit_base"] = (
        "vit_tiny"
    )
    """192, 384 or 768 wide and 12 blocks deep; nano: 48 and 3, for which nothing is published."""
    initialisation: Literal["pretrained", "random"] = "pretrained"
    """pretrained: ``weights_file``. random: the random-teacher arm."""
    random_seed: int = Field(default=0, ge=0)
    input_size: int = Field(default=224, ge=32, le=1024, multiple_of=16)
    """Pixels on a side, a multiple of 16, as the file was made for: it has a position for every patch of 16 x 16."""
    mean: tuple[float, float, float] | None = None
    """RGB, subtracted from pixels in [0, 1]. None: 0.5 for vit (timm's augreg weights), ImageNet's own for deit."""
    std: tuple[float, float, float] | None = None
    """Likewise."""
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"

    @model_validator(mode="after")
    def _possible(self) -> Settings:
        if self.training is not None:
            raise ValueError("training is not offered by this kind; use clip, view_classifier or view_autoencoder")
        if (self.initialisation == "pretrained") != (self.weights_file is not None):
            raise ValueError("initialisation pretrained has a weights_file, random has none")
        if self.std is not None and min(self.std) <= 0.0:
            raise ValueError("std must be above 0")
        return self

    def size(self) -> str:
        """The architecture by the name that students know: that of the ViT of this size."""
        return self.architecture.replace("deit_", "vit_")

    def pixels(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        """Mean and deviation of its pixels."""
        half = (0.5, 0.5, 0.5)
        own = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if self.architecture.startswith("deit_") else (half, half)
        return self.mean or own[0], self.std or own[1]

    def image_source(self) -> str | None:
        """Its blocks, where they are not random."""
        return self.size() if self.weights_file is not None else None


class TransformerTeacher(Teacher):
    """A frozen vision transformer of timm without its classifier."""

    nonnegative = False

    def __init__(self, preprocessing: Preprocessing, network: VisionTransformer) -> None:
        super().__init__(preprocessing)
        self.network, self.width = network, network.embed_dim
        self.freeze()

    def _encode(self, pixels_B3HW: Tensor, tokens: bool) -> TeacherOutput:
        rows_BRD = self.network.forward_features(pixels_B3HW)  # the class token, then the patches
        return TeacherOutput(rows_BRD[:, 0].contiguous(), rows_BRD[:, 1:].contiguous() if tokens else None)


def build(settings: Settings, weights: Path | None) -> TransformerTeacher:
    """Make the frozen teacher. ``weights``: the resolved ``weights_file``, None where the block has none.

    Raises ``ConfigError`` when the two disagree, ``ArtifactError`` for a file that does not hold exactly this network.
    """
    _require_weights(settings, weights)
    with seeded(settings.kind, settings.size(), settings.random_seed):
        if weights is None:
            network = _network(settings, 0)
        else:
            found = read_weights(weights)
            network = _network(settings, _num_classes(settings, found))
            _require_places(settings, network, found, weights)
            fill(network, found, weights)
            network.reset_classifier(0)
    mean, std = settings.pixels()
    preprocessing = Preprocessing(settings.input_size, mean, std, interpolation=settings.interpolation)
    return TransformerTeacher(preprocessing, network)


def image_stages(settings: Settings, weights: Path | None) -> dict[str, Tensor]:
    """Class token, blocks and last norm of the file by timm's names, for students that take them. Raises as ``build``.

    What is not taken over (patches, positions, classifier) is not looked at.
    """
    _require_weights(settings, weights)
    if weights is None:
        raise ArtifactError("teacher imagenet_vit: random weights are no source of 2D weights; give a weights_file")
    return read_blocks(weights, settings.size())


def _network(settings: Settings, num_classes: int) -> VisionTransformer:
    shape = transformer_of(settings.size())
    return VisionTransformer(
        img_size=settings.input_size,
        patch_size=_PATCH,
        num_classes=num_classes,
        embed_dim=shape.width,
        depth=shape.depth,
        num_heads=shape.heads,
    )


def _num_classes(settings: Settings, found: Mapping[str, Tensor]) -> int:
    """Of the classifier in a file: 0 where there is none."""
    if "head.weight" not in found and "head.bias" not in found:
        return 0
    shape = tuple(found["head.weight"].shape) if "head.weight" in found else ()
    possible = len(shape) == 2 and shape[1] == transformer_of(settings.size()).width
    return shape[0] if possible else _IMAGENET_CLASSES


def _require_places(settings: Settings, network: VisionTransformer, found: Mapping[str, Tensor], weights: Path) -> None:
    """A file for other images says so by its positions alone."""
    places, wanted = found.get("pos_embed"), network.patch_embed.num_patches + 1
    if places is not None and places.ndim == 3 and places.shape[1] != wanted and places.shape[2] == network.embed_dim:
        raise ArtifactError(
            f"{weights}: has {places.shape[1]} positions, and images of {settings.input_size} pixels (input_size) have "
            f"{wanted}, one for every patch and one for the class token; give the input_size the file was made for"
        )


def _require_weights(settings: Settings, weights: Path | None) -> None:
    if (settings.weights_file is None) != (weights is None):
        raise ConfigError(
            f"teacher imagenet_vit: weights_file is {settings.weights_file!r}, but the file handed over is {weights}"
        )
