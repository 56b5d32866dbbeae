"""What every teacher is: a frozen image encoder that owns its preprocessing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError, MachineError
from pointlift.teachers.preprocessing import Preprocessing


class TeacherOutput(NamedTuple):
    """What a teacher says about B images, as its network gives it (not normalised)."""

    embedding: Tensor
    """(B, D) float32."""
    tokens: Tensor | None
    """(B, P, D_t) float32, image patches row by row from the top left; None when not asked for, or not to be had."""


class Teacher(nn.Module, ABC):
    """A frozen image encoder: no parameter is trainable, and it stays in eval mode whatever is asked of it.

    width : D, length of the embedding. nonnegative : whether no embedding has a value below 0.
    """

    width: int
    nonnegative: bool

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.preprocessing = preprocessing

    def train(self, mode: bool = True) -> Teacher:  # noqa: ARG002
        """Stay in eval mode: batch statistics would make an image's embedding depend on its neighbours."""
        return super().train(False)

    def freeze(self) -> None:
        """Take every parameter out of training. Members call it at the end of their ``__init__``."""
        self.requires_grad_(False)
        self.train(False)

    @property
    def device(self) -> torch.device:
        """Where the network lies; images are taken there."""
        return next(self.parameters()).device

    @torch.no_grad()
    def encode(self, images_BHW3: Tensor, tokens: bool = False) -> TeacherOutput:
        """Encode uint8 images (B, H, W, 3), RGB, square; patch tokens are computed only when asked for."""
        return self._encode(self.preprocessing(images_BHW3.to(self.device)), tokens)

    @torch.no_grad()
    def encode_patches(self, images_BHW3: Tensor) -> Tensor:
        """Patches of the same images in the space of ``embedding``: (B, P, D) float32, row by row from the top left.

        Raises ``ConfigError`` for a teacher whose patches lead nowhere in that space.
        """
        return self._encode_patches(self.preprocessing(images_BHW3.to(self.device)))

    def _encode_patches(self, pixels_B3HW: Tensor) -> Tensor:  # noqa: ARG002
        raise ConfigError(
            f"{type(self).__name__}: this teacher says nothing about patches in the space of its embedding; "
            "take kind 'clip' with a VisionTransformer or ModifiedResNet of open_clip"
        )

    @abstractmethod
    def _encode(self, pixels_B3HW: Tensor, tokens: bool) -> TeacherOutput:
        """Encode preprocessed pixels, float32 (B, 3, H', W')."""


def prepare_torch(threads: int, device: str) -> torch.device:
    """Fix torch's threads (bits depend on them) and resolve ``auto|cpu|cuda``. ``MachineError`` without that device."""
    torch.set_num_threads(threads)
    if device == "cuda" and not torch.cuda.is_available():
        raise MachineError("device cuda was asked for, but torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
