"""A frozen teacher that is the trunk of an image classifier: its embedding is the mean over the last feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.teacher import Teacher, TeacherOutput


class TrunkTeacher(Teacher):
    """The trunk of a classifier, frozen; its tokens are the cells of the last feature map.

    trunk : pixels (B, 3, H, H) to a map (B, D, h, w). nonnegative : whether no value of the map is below 0.
    """

    def __init__(self, preprocessing: Preprocessing, trunk: nn.Module, *, nonnegative: bool) -> None:
        super().__init__(preprocessing)
        self.trunk, self.nonnegative = trunk, nonnegative
        self.freeze()
        blank = torch.zeros(1, preprocessing.size, preprocessing.size, 3, dtype=torch.uint8)
        self.width = int(self.encode(blank).embedding.shape[1])

    def _encode(self, pixels_B3HW: Tensor, tokens: bool) -> TeacherOutput:
        map_BDhw = self.trunk(pixels_B3HW)
        cells_BPD = map_BDhw.flatten(2).transpose(1, 2)
        return TeacherOutput(map_BDhw.mean(dim=(2, 3)), cells_BPD.contiguous() if tokens else None)
