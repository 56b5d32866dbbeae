"""Depth maps of a cloud in a residual network of images that stays as it is: its weights are taken, not inflated.

Xu et al., "Image2Point: 3D Point-Cloud Understanding with 2D Image Pretrained Models", ECCV 2022, projection variant;
no code of it was published. The stem is new and reads one channel; mean over pixels, and mean or maximum over views
(Su, Maji, Kalogerakis, Learned-Miller, "Multi-view Convolutional Neural Networks", ICCV 2015) give the embedding.

What it offers to who trains it is that of ``sparse_resnet``; nothing is inflated.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision.models import get_model

from pointlift.contracts.blocks import StudentSettings
from pointlift.contracts.student_blocks import ResidualArchitecture
from pointlift.operators.image_networks import SmallImageNetwork, architecture_of, inflatable_stages
from pointlift.operators.image_stages import ImageStages
from pointlift.operators.neighbours import gather_rows
from pointlift.operators.student_output import StudentOutput
from pointlift.students.depth_maps import depth_maps


class Settings(StudentSettings):
    """A residual network of images over depth maps."""

    kind: Literal["projection_resnet"]
    architecture: ResidualArchitecture = "resnet18"
    resolution: int = Field(default=64, ge=8, le=1024)
    """Of the depth maps, in pixels; each shows the cube around its cloud."""
    num_views: Literal[3, 6] = 6
    """Seen along x, y and z; 6: from both sides."""
    point_size: Literal[1, 3, 5] = 3
    """Pixels that a point covers in width and height."""
    stem_stride: Literal[1, 2] = 1
    """Of the new 3x3 convolution before the stages."""
    pool: Literal["max", "mean"] = "max"
    """Over the views."""

    def num_stages(self) -> int:
        """Stages of the architecture."""
        return 3 if self.architecture in ("cifar_resnet20", "cifar_resnet56", "resnet8") else 4

    def image_source(self) -> str:
        """The 2D architecture whose stages fit."""
        return self.architecture

    def shortcuts(self) -> tuple[str, ...]:
        """What an inflation may say of shortcuts: anything, as nothing is inflated."""
        return ("single", "sum", "mean")


def build(settings: Settings) -> ProjectionResNet:
    """An encoder with fresh weights from torch's global generator."""
    return ProjectionResNet(settings)


class ProjectionResNet(ImageStages):
    """Depth maps, stem, stages ``layer1`` .. of the 2D network, and what the views say together."""

    copied = True
    input_parts = ("stem",)

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.image_source = settings, settings.architecture
        architecture = architecture_of(settings.architecture)
        self.width, first = architecture.out_widths[-1], architecture.stem_width
        convolution = nn.Conv2d(1, first, 3, stride=settings.stem_stride, padding=1, bias=False)
        self.stem = nn.Sequential(convolution, nn.BatchNorm2d(first), nn.ReLU(inplace=True))
        network = _image_network(settings.architecture)
        self.stage_parts = tuple(f"layer{number}" for number in range(1, len(architecture.blocks) + 1))
        for name in self.stage_parts:
            self.add_module(name, network.get_submodule(name))

    def source_names(self, excluded: Collection[int] = ()) -> Mapping[str, str]:
        """Names are those of the 2D network."""
        return {name: name for name in inflatable_stages(self.image_source, excluded)}

    def forward(self, points_BN3: Tensor) -> StudentOutput:
        """points_BN3 : float32. One token per point (G = N), all >= 0: what the last maps say where it lies.

        The order of points makes no difference, nor does a shift or the size of a cloud.
        """
        batch, num_points, _ = points_BN3.shape
        found = depth_maps(points_BN3, self.settings.resolution, self.settings.num_views, self.settings.point_size)
        maps = self.stem(found.maps.flatten(0, 1)[:, None])
        for name in self.stage_parts:
            maps = self.get_submodule(name)(maps)
        maps_BVCHW = maps.unflatten(0, (batch, -1))
        rows, columns = (place.div(self._step(), rounding_mode="floor") for place in (found.rows, found.columns))
        cells_BVN = rows * maps.shape[3] + columns
        index_BN = torch.arange(num_points, device=points_BN3.device).expand(batch, -1)
        embedding_BC = self._over_views(maps_BVCHW.mean(dim=(3, 4)).unbind(dim=1))
        tokens_BNC = self._over_views(
            [
                gather_rows(map_BCHW.flatten(2).mT, cells_BN)
                for map_BCHW, cells_BN in zip(maps_BVCHW.unbind(1), cells_BVN.unbind(1), strict=True)
            ]
        )
        return StudentOutput(embedding_BC, tokens_BNC, points_BN3, index_BN, {})

    def _step(self) -> int:
        """Pixels of the depth map per cell of the last map."""
        strides = architecture_of(self.image_source).strides
        return self.settings.stem_stride * math.prod(strides)

    def _over_views(self, rows: Collection[Tensor]) -> Tensor:
        stacked = torch.stack(list(rows))
        return stacked.amax(dim=0) if self.settings.pool == "max" else stacked.mean(dim=0)


def _image_network(name: str) -> nn.Module:
    """The 2D network with fresh weights; ImageNet's is torchvision's."""
    architecture = architecture_of(name)
    if architecture.convolved_shortcuts:
        return get_model(name, weights=None)
    return SmallImageNetwork(architecture, num_classes=1)
