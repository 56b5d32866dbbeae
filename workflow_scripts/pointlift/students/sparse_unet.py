"""A U-Net on sparse voxels for tasks on points: the encoder's stages may be inflated from 2D weights.

Xu et al., "Image2Point: 3D Point-Cloud Understanding with 2D Image Pretrained Models", ECCV 2022, segmentation. The
stem and the decoder are new and always trained. Each step of the decoder goes back over the kernel map by which the
encoder came, to the voxels that it left. What it offers to who trains it is that of ``students.sparse_resnet``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.student_blocks import SparseStudentSettings
from pointlift.operators.image_networks import architecture_of, inflatable_stages
from pointlift.operators.image_stages import ImageStages
from pointlift.operators.sparse_pooling import pool_clouds
from pointlift.operators.sparse_tensor import SparseTensor
from pointlift.operators.student_output import StudentOutput
from pointlift.students.sparse_blocks import (
    SparseBasicBlock,
    convolved,
    point_rows,
    sparse_stages,
    voxel_rows,
    voxel_width,
)


class Settings(SparseStudentSettings):
    """A sparse U-Net."""

    kind: Literal["sparse_unet"]
    decoder_widths: tuple[int, ...] | None = None
    """Of each step back, coarsest first, one for each stage of the encoder; None: twice the width that it meets there,
    three times at the two finest (for resnet18 the authors' 512, 256, 192, 192)."""
    dropout: float = Field(default=0.3, ge=0.0, lt=1.0)
    """Before the first step back."""

    @model_validator(mode="after")
    def _one_for_each_stage(self) -> Settings:
        stages, widths = self.num_stages(), self.decoder_widths
        if widths is not None and (len(widths) != stages or min(widths) < 1):
            raise ValueError(f"decoder_widths must be {stages} widths above 0, they are {list(widths)}")
        return self


def build(settings: Settings) -> SparseUNet:
    """A network with fresh weights from torch's global generator."""
    return SparseUNet(settings)


class SparseUNet(ImageStages):
    """Stem, a halved grid, stages ``layer1`` .. named as in 2D, and a decoder back to the finest voxels."""

    input_parts = ("stem", "halve")

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.image_source = settings, settings.architecture
        architecture = architecture_of(settings.architecture)
        first = architecture.stem_width
        self.stem = nn.Sequential(convolved(voxel_width(settings.voxel_rows), first, 3), convolved(first, first, 3))
        self.halve = convolved(first, first, 2, stride=2)
        stages = sparse_stages(architecture, settings.shortcut_kernel)
        self.stage_parts = tuple(stages)
        for name, stage in stages.items():
            self.add_module(name, stage)
        kept = [*reversed(architecture.out_widths[:-1]), first]
        widths = settings.decoder_widths or _decoder_widths(kept)
        before, kernels = (architecture.out_widths[-1], *widths), (*(3 for _ in kept[1:]), 2)
        self.decoder = nn.ModuleList(map(StepBack, before, kept, widths, kernels))
        self.width, self.token_width = architecture.out_widths[-1], widths[-1]

    def source_names(self, excluded: Collection[int] = ()) -> Mapping[str, str]:
        """Names are those of the 2D network."""
        return {name: name for name in inflatable_stages(self.image_source, excluded)}

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32. One token per point (G = N), all >= 0: the row of its voxel behind the decoder.

        The embedding is the mean over the voxels of the coarsest stage. The order of points makes no difference, but
        for ``voxel_rows: first``.
        """
        batch, num_points, _ = points_BN3.shape
        voxels, tensor = voxel_rows(points_BN3, self.settings.voxel_size, self.settings.voxel_rows)
        kept = [self.stem(tensor)]
        tensor = self.halve(kept[0])
        for name in self.stage_parts:
            tensor = self.get_submodule(name)(tensor)
            kept.append(tensor)
        embedding_BC = pool_clouds(kept.pop(), "mean")
        tensor = tensor.each_row(lambda rows: functional.dropout(rows, self.settings.dropout, self.training))
        for step in self.decoder:
            tensor = step(tensor, kept.pop())
        index_BN = torch.arange(num_points, device=points_BN3.device).expand(batch, -1)
        return StudentOutput(embedding_BC, point_rows(voxels, tensor, batch), points_BN3, index_BN, {})


class StepBack(nn.Module):
    """A transposed convolution to finer voxels, what the encoder knew there beside it, and two residual blocks."""

    def __init__(self, width: int, kept_width: int, wider: int, kernel_size: int) -> None:
        super().__init__()
        self.up = convolved(width, wider, kernel_size, stride=2, transposed=True)
        self.blocks = nn.Sequential(
            SparseBasicBlock(wider + kept_width, wider, 1, shortcut_kernel=1),
            SparseBasicBlock(wider, wider, 1, shortcut_kernel=1),
        )

    def forward(self, tensor: SparseTensor, kept: SparseTensor) -> SparseTensor:
        """tensor : rows of ``width``. kept : rows of ``kept_width``, of half its stride. Rows of ``wider`` there."""
        found: SparseTensor = self.blocks(self.up(tensor).join(kept))
        return found


def _decoder_widths(kept: list[int]) -> tuple[int, ...]:
    return tuple(width * (2 if number < len(kept) - 2 else 3) for number, width in enumerate(kept))
