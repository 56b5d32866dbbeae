"""A residual network of images on sparse voxels: its stages may be inflated from 2D weights.

Xu et al., "Image2Point: 3D Point-Cloud Understanding with 2D Image Pretrained Models", ECCV 2022, classification.
The stem is new, the stages are those of a 2D ResNet of ImageNet or CIFAR shape, the mean over the voxels of the last
stage is what a head reads.

For who trains it (``operators.image_stages``): ``student.image_source`` names the 2D architecture of
``operators.image_networks`` whose stage tensors fit (``read_stages``, ``stages_of``, ``fetched_stages``);
``student.load_image_stages(source, inflation, excluded)`` inflates them and says where each tensor came from;
``stage_groups(classifier, student)`` gives the groups that ``operators.regimes`` freezes and proves. Without torch:
``Settings.image_source()``, and ``Settings.shortcuts()``, the values of ``inflation.shortcut`` that fit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from pointlift.contracts.student_blocks import SparseStudentSettings
from pointlift.operators.image_networks import architecture_of, inflatable_stages
from pointlift.operators.image_stages import ImageStages
from pointlift.operators.sparse_convolution import SparseConvolution3d
from pointlift.operators.sparse_pooling import SparseBatchNorm, pool_clouds
from pointlift.operators.student_output import StudentOutput
from pointlift.students.sparse_blocks import convolved, point_rows, sparse_stages, voxel_rows, voxel_width


class Settings(SparseStudentSettings):
    """A sparse residual network."""

    kind: Literal["sparse_resnet"]
    stem: Literal["linear", "nonlinear"] = "linear"
    """linear: one 3x3x3 convolution and batch norm, without a ReLU (the authors' code). nonlinear: three of them, each
    with its ReLU."""
    stem_stride: Literal[1, 2] = 1
    """Of the stem's last convolution: 2 halves the grid before the stages."""
    pool: Literal["mean", "max"] = "mean"
    """The embedding, over the voxels of the last stage."""


def build(settings: Settings) -> SparseResNet:
    """An encoder with fresh weights from torch's global generator."""
    return SparseResNet(settings)


class SparseResNet(ImageStages):
    """Voxels, stem, stages ``layer1`` .. named as in 2D, and the pooled last stage."""

    input_parts = ("stem",)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.image_source = settings, settings.architecture
        architecture = architecture_of(settings.architecture)
        self.width = architecture.out_widths[-1]
        self.stem = sparse_stem(settings, architecture.stem_width)
        stages = sparse_stages(architecture, settings.shortcut_kernel)
        self.stage_parts = tuple(stages)
        for name, stage in stages.items():
            self.add_module(name, stage)

    def source_names(self, excluded: Collection[int] = ()) -> Mapping[str, str]:
        """Names are those of the 2D network."""
        return {name: name for name in inflatable_stages(self.image_source, excluded)}

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32, unit-sphere radii. One token per point (G = N), all >= 0: its voxel's last row.

        Points of one voxel of the last stage have the same token. The order of points makes no difference, but for
        ``voxel_rows: first``.
        """
        batch, num_points, _ = points_BN3.shape
        voxels, tensor = voxel_rows(points_BN3, self.settings.voxel_size, self.settings.voxel_rows)
        tensor = self.stem(tensor)
        for name in self.stage_parts:
            tensor = self.get_submodule(name)(tensor)
        index_BN = torch.arange(num_points, device=points_BN3.device).expand(batch, -1)
        tokens_BNC = point_rows(voxels, tensor, batch)
        return StudentOutput(pool_clouds(tensor, self.settings.pool), tokens_BNC, points_BN3, index_BN, {})


def sparse_stem(settings: Settings, width: int) -> nn.Sequential:
    """From what voxels say of their points to rows of ``width``."""
    channels, stride = voxel_width(settings.voxel_rows), settings.stem_stride
    if settings.stem == "linear":
        return nn.Sequential(SparseConvolution3d(channels, width, 3, stride), SparseBatchNorm(width))
    return nn.Sequential(convolved(channels, width, 3), convolved(width, width, 3), convolved(width, width, 3, stride))
