"""What the blocks of related students say alike: networks on sparse voxels, transformers over groups of points."""

from __future__ import annotations

from abc import abstractmethod
from typing import Literal

from pydantic import Field, model_validator

from pointlift.contracts.blocks import StudentSettings
from pointlift.contracts.settings import Settings

#: Residual networks of images, see ``operators.image_networks``.
ResidualArchitecture = Literal[
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "cifar_resnet20", "cifar_resnet56", "resnet8"
]
#: Those whose shortcuts between widths are convolutions.
_CONVOLVED = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class InputFrame(Settings):
    """How a student sees clouds that come z up and as the dataset's block places them: as its weights want them."""

    up: Literal["y", "z"] = "z"
    """y: they are turned so that y is up, as the files of ModelNet40 and ScanObjectNN have it."""
    centre: Literal["as_given", "mean"] = "as_given"
    """mean: the mean of a cloud's points becomes the origin, and its farthest point has radius 1."""


class SparseStudentSettings(StudentSettings):
    """What every student on sparse voxels says, whose stages are those of a residual network of images."""

    architecture: ResidualArchitecture = "resnet18"
    voxel_size: float = Field(default=0.05, gt=0.0)
    """Edge of a voxel, in the unit of the points (unit-sphere radii for shapes)."""
    voxel_rows: Literal["mean", "nearest", "first", "offset", "occupancy"] = "mean"
    """What a voxel says of its points: their mean place, the place of the one nearest to its middle or of the first in
    the cloud (the authors'), the mean offset from its middle in voxels beside 1, or 1."""
    shortcut_kernel: Literal[1, 2] = 2
    """Of shortcuts that are convolutions in 2D. 2: the 1x1 one is spread over 2x2x2 (the authors'), for the shortcut
    sum or mean of an inflation. 1: it stays single, and sees one child of eight where the grid is halved."""

    def image_source(self) -> str:
        """The 2D architecture whose stages fit."""
        return self.architecture

    def shortcuts(self) -> tuple[str, ...]:
        """What an inflation may say of shortcuts."""
        if self.architecture not in _CONVOLVED:
            return ("single", "sum", "mean")
        return ("sum", "mean") if self.shortcut_kernel == 2 else ("single",)

    def num_stages(self) -> int:
        """Stages of the architecture."""
        return 4 if self.architecture in _CONVOLVED else 3


class GroupStudentSettings(StudentSettings):
    """What every transformer over groups of points says of its groups, its tokens and what it hands out."""

    num_groups: int = Field(default=64, ge=2)
    """Groups stand around farthest points, the first of the cloud first."""
    centres: Literal["farthest", "first", "farthest_off_origin"] = "farthest"
    """first: the first points of each cloud, for datasets with `order: farthest_first`; saves looking for them.
    farthest_off_origin: none within 0.0316 of the origin, as the CUDA code behind most published weights has it."""
    group_size: int = Field(default=32, ge=1)
    """Nearest points of each, the one it stands around among them; groups overlap."""
    drop_path: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of clouds for which the last block does nothing in training; it grows from 0 at the first."""
    tokenizer_widths: tuple[int, int, int] = (128, 256, 512)
    """Of the layers over a group's points: two before their maximum is set beside each of them, one after."""
    position_width: int = Field(default=128, ge=1)
    """Between a group's centre and what is added to its token."""
    pool: Literal["class_max", "class", "max"] = "class_max"
    """The embedding: the class token, the maximum over the tokens, or the one beside the other, twice as wide."""
    level_depths: tuple[int, ...] | None = None
    """Blocks, counted from 1, whose tokens a task on points reads beside the last; None: at thirds of the depth."""

    @model_validator(mode="after")
    def _possible_groups(self) -> GroupStudentSettings:
        if min(self.tokenizer_widths) < 1:
            raise ValueError(f"tokenizer_widths must be above 0, they are {list(self.tokenizer_widths)}")
        depths, depth = self.depths_read(), self.num_blocks()
        if list(depths) != sorted(set(depths)) or not all(0 < number < depth for number in depths):
            raise ValueError(f"level_depths must grow, from 1 to below depth ({depth}), they are {list(depths)}")
        return self

    def least_points(self) -> int:
        """As many as groups, and as a group has."""
        return max(self.num_groups, self.group_size)

    def can_hide(self) -> bool:
        """Groups may be hidden."""
        return True

    @abstractmethod
    def num_blocks(self) -> int:
        """How deep it is."""

    def depths_read(self) -> tuple[int, ...]:
        """Blocks whose tokens are levels, in order."""
        if self.level_depths is not None:
            return self.level_depths
        depth = self.num_blocks()
        return tuple(sorted({round(depth * part / 3) for part in (1, 2)} & set(range(1, depth))))
