"""Blocks of a vision transformer between the tokenizer of points and a head; their weights are taken as they are.

Xu et al., "Image2Point: 3D Point-Cloud Understanding with 2D Image Pretrained Models", ECCV 2022, transformer variant.
No code of it was published: groups, tokenizer and pooling are those of ``point_transformer``. Positions are new, and
added once, before the first block, as the blocks were trained. Class token and last norm come with the blocks.

What it offers to who trains it is that of ``sparse_resnet``, with ``operators.image_transformers`` as the source
(``read_blocks``): ``image_source`` is one of its names, stages are blocks, and nothing is inflated. Of the regimes,
``io_bn`` trains the layer norms; ``ioms`` is ``io``, as there are no statistics.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from torch import nn

from pointlift.contracts.student_blocks import GroupStudentSettings
from pointlift.operators.image_stages import ImageStages
from pointlift.operators.image_transformers import block_names, transformer_of
from pointlift.operators.transformer import Block
from pointlift.students.group_transformer import GroupTransformer

_EPSILON = 1e-6  # of the layer norms of vision transformers


class Settings(GroupStudentSettings):
    """A vision transformer over groups."""

    kind: Literal["image_transformer"]
    architecture: Literal["vit_tiny", "vit_small", "vit_base", "vit_nano"] = "vit_tiny"
    """192, 384 or 768 wide and 12 blocks deep; nano: 48 and 3."""
    pool: Literal["class_max", "class", "max"] = "class"
    """The embedding: the class token, the maximum over the tokens, or the one beside the other, twice as wide."""

    def num_blocks(self) -> int:
        """How deep it is."""
        return 3 if self.architecture == "vit_nano" else 12

    def num_stages(self) -> int:
        """What an inflation may leave out, counted from 1: blocks."""
        return self.num_blocks()

    def image_source(self) -> str:
        """The 2D architecture whose blocks fit."""
        return self.architecture

    def shortcuts(self) -> tuple[str, ...]:
        """What an inflation may say of shortcuts: anything, as nothing is inflated."""
        return ("single", "sum", "mean")


def build(settings: Settings) -> ImageTransformer:
    """An encoder with fresh weights from torch's global generator."""
    return ImageTransformer(settings)


class ImageTransformer(GroupTransformer, ImageStages):
    """Positions of groups are added before the first block alone."""

    copied = True
    input_parts = ("tokenizer", "position", "class_position")
    stage_parts = ("class_token", "blocks", "norm")

    def __init__(self, settings: Settings) -> None:
        shape = transformer_of(settings.architecture)

        def block(share: float) -> nn.Module:
            return Block(shape.width, shape.heads, drop_path=share, bias=True, norm_epsilon=_EPSILON)

        super().__init__(settings, shape.width, block, places="once", norm_epsilon=_EPSILON)
        self.image_source = settings.architecture

    def source_names(self, excluded: Collection[int] = ()) -> Mapping[str, str]:
        """Names are timm's in the source. excluded : numbers of blocks, from 1."""
        return block_names(self.image_source, excluded)
