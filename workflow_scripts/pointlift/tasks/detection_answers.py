"""What a trained detector says of whole scenes, several times with other points of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from pointlift.contracts.shards import Array
from pointlift.geometry.boxes import count_inside
from pointlift.tasks.detection_batches import draw_points

if TYPE_CHECKING:
    from pointlift.tasks.detection import Settings
    from pointlift.tasks.detector import Detector
    from pointlift.tasks.scenes import Scenes


def answer_scenes(model: Detector, scenes: Scenes, rows: Array, settings: Settings) -> dict[str, Array]:
    """Boxes of every scene for each of R choices of points, which are the same in every epoch and run.

    ``boxes`` (R, S, Q, 7) float32 in metres, ``scores`` (R, S, Q, K) float32, ``inside`` (R, S, Q) int32: chosen
    points in each box. A scene is read once, and each shard as well. Put the model in eval mode first.
    """
    device = next(model.parameters()).device
    size = (settings.evaluation_seeds, len(rows), settings.num_queries)
    found = {
        "boxes": np.zeros((*size, 7), dtype=np.float32),
        "scores": np.zeros((*size, len(scenes.box_names)), dtype=np.float32),
        "inside": np.zeros(size, dtype=np.int32),
    }
    for at in np.argsort(scenes.shard_of(rows), kind="stable"):
        scene = scenes.load(int(rows[at]))
        for draw in range(settings.evaluation_seeds):
            points = draw_points(scene.points, settings.num_points, draw, scene.scene_id, "evaluation")
            boxes, scores = model.answer(torch.from_numpy(points)[None].to(device))
            found["boxes"][draw, at], found["scores"][draw, at] = boxes[0].cpu().numpy(), scores[0].cpu().numpy()
            found["inside"][draw, at] = count_inside(points, found["boxes"][draw, at])
    return found
