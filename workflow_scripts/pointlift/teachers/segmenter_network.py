"""PointMCD's image segmenter: the auto-encoder's backbone, and a decoder that names the part at every pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointlift.teachers.autoencoder_network import BackboneNetwork, doubled


class PartDecoder(nn.Module):
    """Scores of P parts and of the background at every pixel, from the backbone's four maps and the shape's class.

    The class and the picture's vector make one vector that joins every cell of the last map; the map is doubled and
    joined with the one before it three times, then doubled to the picture's size. A block is a convolution or linear
    layer without bias, batch norm and ReLU; the last convolution has neither of the two, nor a bias.
    """

    def __init__(self, num_classes: int, num_outputs: int, base_width: int) -> None:
        """``num_classes`` K, ``num_outputs`` P + 1."""
        super().__init__()
        w = base_width
        self.num_classes = num_classes
        self.category = _linear_block(num_classes, w)
        self.context = _linear_block(8 * w + w, 2 * w)
        self.start = _block(8 * w + 2 * w, 8 * w, kernel=1)
        self.joined = nn.ModuleList([_block(16 * w, 8 * w), _block(12 * w, 4 * w), _block(6 * w, 2 * w)])
        self.doubled = doubled()
        self.last = nn.Sequential(doubled(), _block(2 * w, w), nn.Conv2d(w, num_outputs, 3, padding=1, bias=False))

    def forward(self, maps: list[Tensor], label_B: Tensor) -> Tensor:
        """Logits (B, P + 1, H, W), the background last, from ``AttentiveVgg.maps`` and classes (B,) int64."""
        vector = maps[-1].mean(dim=(2, 3))
        one_hot = nn.functional.one_hot(label_B, self.num_classes).to(vector.dtype)
        context = self.context(torch.cat([vector, self.category(one_hot)], dim=1))
        everywhere = context[:, :, None, None].expand(-1, -1, *maps[-1].shape[2:])
        found = self.start(torch.cat([maps[-1], everywhere], dim=1))
        for block, skipped in zip(self.joined, reversed(maps[:-1]), strict=True):
            found = block(torch.cat([self.doubled(found), skipped], dim=1))
        return self.last(found)


class ViewSegmenter(BackboneNetwork):
    """``backbone`` and ``decoder``; None for a network that is never trained: its classes and parts are not known."""

    def __init__(
        self, features: nn.Sequential, base_width: int, num_classes: int | None, num_outputs: int | None
    ) -> None:
        super().__init__(features, base_width)
        self.decoder = None
        if num_classes is not None and num_outputs is not None:
            self.decoder = PartDecoder(num_classes, num_outputs, base_width)

    def forward(self, pixels_B3HW: Tensor, label_B: Tensor) -> Tensor:
        """Logits (B, P + 1, H, W) of pictures of shapes whose classes (B,) int64 are known. Needs a decoder."""
        if self.decoder is None:
            raise ValueError("this network was never trained and has no parts")
        return self.decoder(self.backbone.maps(pixels_B3HW), label_B)


def _block(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _linear_block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs), nn.ReLU())
