"""Student plus detection head as one module to train: boxes of objects in scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pointlift.operators.extent import extent
from pointlift.operators.student_output import StudentOutput, shape_of
from pointlift.tasks.box_coding import BoxHeads, CodedBoxes
from pointlift.tasks.query_decoder import QueryDecoder
from pointlift.tasks.set_loss import Truth, set_losses

if TYPE_CHECKING:
    from pointlift.tasks.detection import Settings


class DetectionHead(nn.Module):
    """Queries at farthest tokens, a decoder, and what each layer says of a box: over any student's tokens.

    3DETR, Misra, Girdhar, Joulin, ICCV 2021.
    """

    def __init__(self, token_width: int, num_classes: int, settings: Settings) -> None:
        super().__init__()
        self.decoder = QueryDecoder(token_width, settings)
        bins = settings.heading_bins if settings.oriented else 0
        self.boxes = BoxHeads(settings.decoder_width, num_classes, bins, settings.reach, settings.head_dropout)

    def forward(self, output: StudentOutput, points_BN3: Tensor) -> CodedBoxes:
        """output : of these clouds, places in their unit."""
        within = extent(points_BN3)
        said: CodedBoxes = self.boxes(self.decoder(output, within), within)
        return said


class Detector(nn.Module):
    """What is trained: student and head. Points and boxes are in metres; the student sees them in units of its own."""

    def __init__(self, student: nn.Module, num_classes: int, settings: Settings) -> None:
        super().__init__()
        self.settings, self.student = settings, student
        self.head = DetectionHead(shape_of(student).token_width, num_classes, settings)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a batch: ``points`` (B, N, 3), ``boxes`` (B, M, 7), ``box_label`` (B, M), -1 where filled up."""
        settings = self.settings
        output, said = self._said(batch["points"])
        truth = Truth(batch["boxes"], batch["box_label"].long())
        values = set_losses(said, truth, settings.match_weights, settings.loss_weights, oriented=settings.oriented)
        for name in values:
            if name.endswith("_loss"):
                values[name] = settings.task_weight * values[name]
        if "orthogonality" in output.losses:
            values["orthogonality_loss"] = settings.orthogonality_weight * output.losses["orthogonality"]
        return values

    @torch.no_grad()
    def answer(self, points_BN3: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes (B, Q, 7) in metres and probabilities (B, Q, K) of the classes, of the last layer. Put it in eval mode
        first. What is left of 1 is the probability that nothing is there."""
        said = self._said(points_BN3)[1]
        return said.boxes[-1], said.logits[-1].softmax(dim=-1)[..., :-1]

    def _said(self, points_BN3: Tensor) -> tuple[StudentOutput, CodedBoxes]:
        """The student sees the cloud from its own middle: places far away lose no digits of what is near them."""
        around = extent(points_BN3)
        middle_B13 = (around.low + around.edges / 2)[:, None]
        local_BN3 = points_BN3 - middle_B13
        output: StudentOutput = self.student(local_BN3 / self.settings.unit)
        said = self.head(output._replace(token_xyz=output.token_xyz * self.settings.unit), local_BN3)
        boxes = torch.cat([said.boxes[..., :3] + middle_B13, said.boxes[..., 3:]], dim=-1)
        return output, said._replace(boxes=boxes, within=around)
