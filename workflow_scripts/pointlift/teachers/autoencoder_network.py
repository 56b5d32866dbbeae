"""PointMCD's image auto-encoder: VGG-11 with batch norm and attention, one vector per picture, and a decoder of it."""

from __future__ import annotations

import itertools

import torchvision
from torch import Tensor, nn

from pointlift.teachers.attention import ChannelAttention, SpatialAttention

#: Of the published network: 64 channels in the first layer, 512 in the last.
PUBLISHED_BASE_WIDTH = 64
_SPATIAL_KERNELS = (7, 5)


class AttentiveVgg(nn.Module):
    """Four stages at 1/2, 1/4, 1/8 and 1/16 of the picture; 2, 4, 8, 8 times ``base_width`` channels.

    The layers of torchvision's VGG-11-BN before its last pooling, cut before each pooling but the first. Spatial
    attention after stages 1 and 2, channel attention after stages 3 and 4.
    """

    def __init__(self, features: nn.Sequential, base_width: int) -> None:
        """``features``: of ``vgg_features``, or of torchvision's network with weights."""
        super().__init__()
        layers = list(features)
        pools = [place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        self.stages = nn.ModuleList(
            nn.Sequential(*layers[start:stop]) for start, stop in itertools.pairwise([0, *pools[1:]])
        )
        self.width = wide = 8 * base_width
        attention = [SpatialAttention(kernel) for kernel in _SPATIAL_KERNELS]
        self.attention = nn.ModuleList([*attention, *(ChannelAttention(wide, base_width) for _ in range(2))])

    def forward(self, pixels_B3HW: Tensor) -> Tensor:
        """The last map, (B, 8 * base_width, H / 16, W / 16), never negative."""
        return self.maps(pixels_B3HW)[-1]

    def maps(self, pixels_B3HW: Tensor) -> list[Tensor]:
        """The maps of all four stages, after their attention, the largest first."""
        found = [pixels_B3HW]
        for stage, attention in zip(self.stages, self.attention, strict=True):
            found.append(attention(stage(found[-1])))
        return found[1:]


class BackboneNetwork(nn.Module):
    """What has a ``backbone``, the mean over whose last map is the vector of a picture, (B, 8 * base_width)."""

    def __init__(self, features: nn.Sequential, base_width: int) -> None:
        super().__init__()
        self.backbone = AttentiveVgg(features, base_width)


class Decoder(nn.Module):
    """A picture of a vector: a block to a map of 1/32 of its size, doubled five times, a block after each but the last.

    Doubling is bilinear with corners aligned; the last convolution has neither batch norm nor activation.
    """

    def __init__(self, size: int, base_width: int) -> None:
        """``size``: of the picture, a multiple of 32."""
        super().__init__()
        self._side, first = size // 32, 4 * base_width
        cells = first * self._side**2
        self.start = nn.Sequential(nn.Linear(8 * base_width, cells, bias=False), nn.BatchNorm1d(cells), nn.ReLU())
        widths = [first, first, 2 * base_width, base_width, base_width // 2]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [doubled(), nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers, doubled(), nn.Conv2d(widths[-1], 3, 3, padding=1, bias=False))

    def forward(self, vector_BD: Tensor) -> Tensor:
        """Pictures (B, 3, size, size)."""
        return self.layers(self.start(vector_BD).unflatten(1, (-1, self._side, self._side)))


class ViewAutoencoder(BackboneNetwork):
    """``backbone`` and ``decoder``; between them the vector."""

    def __init__(self, features: nn.Sequential, size: int, base_width: int) -> None:
        super().__init__(features, base_width)
        self.decoder = Decoder(size, base_width)

    def forward(self, pixels_B3HW: Tensor) -> Tensor:
        """The picture that the vector of each picture remembers, (B, 3, H, W)."""
        return self.decoder(self.backbone(pixels_B3HW).mean(dim=(2, 3)))


def vgg_features(base_width: int) -> nn.Sequential:
    """The convolutions of VGG-11-BN, ``base_width`` channels in the first; weights of torch's global generator."""
    w = base_width
    plan: list[str | int] = [w, "M", 2 * w, "M", 4 * w, 4 * w, "M", 8 * w, 8 * w, "M", 8 * w, 8 * w, "M"]
    return torchvision.models.vgg.make_layers(plan, batch_norm=True)


def doubled() -> nn.Module:
    """Twice as many rows and columns, bilinear, corners aligned."""
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
