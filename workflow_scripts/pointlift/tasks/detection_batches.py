"""Scenes as a detector is trained and judged on them: random points of each, their boxes beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.scenes import Scene
from pointlift.contracts.shards import Array
from pointlift.tasks.box_augmentation import augment_scene, cut_cuboid
from pointlift.tasks.scene_batches import SceneBatches

if TYPE_CHECKING:
    from pointlift.tasks.detection import Settings
    from pointlift.tasks.scenes import Scenes

_NO_BOX = -1


def boxes_of(scene: Scene, oriented: bool) -> tuple[Array, Array]:
    """Boxes (k, 7) float32 and their labels (k,) int16. Raises ``ConfigError`` for headings that nobody reads."""
    if scene.boxes is None or scene.box_label is None:
        raise ConfigError(f"detection: scene {scene.scene_id} has no boxes; name a dataset that has")
    if not oriented and scene.boxes[:, 6].any():
        raise ConfigError(f"detection: boxes of scene {scene.scene_id} have headings; say oriented: true")
    return scene.boxes, scene.box_label


def draw_points(points: Array, count: int, *words: str | int) -> Array:
    """``count`` of the points (n, 3), none twice while there are enough, in the order in which ``words`` draw them.

    A scene with fewer points has all of them, then repeats.
    """
    order = np.random.default_rng(stable_seed(*words)).permutation(len(points))
    drawn: Array = points[np.resize(order, count)]
    return drawn


def padded(boxes: list[Array], label: list[Array]) -> tuple[Array, Array]:
    """Boxes (S, M, 7) float32 and labels (S, M) int16 of scenes, filled up with zeros and -1; M is 1 or more."""
    most = max([1, *(len(each) for each in boxes)])
    filled = np.zeros((len(boxes), most, 7), dtype=np.float32)
    known = np.full((len(boxes), most), _NO_BOX, dtype=np.int16)
    for row, (own, names) in enumerate(zip(boxes, label, strict=True)):
        filled[row, : len(own)], known[row, : len(own)] = own, names
    return filled, known


class DetectionBatches(SceneBatches):
    """Every scene once an epoch, changed anew: ``points`` (B, N, 3), ``boxes`` (B, M, 7), ``box_label`` (B, M)."""

    def __init__(self, scenes: Scenes, rows: Array, settings: Settings) -> None:
        super().__init__(scenes, rows, settings)
        self._settings = settings

    def drawn(self, row: int, number: int, epoch: int, seed: int) -> tuple[Array, ...]:
        """Points, boxes and labels; there is one draw of a scene in an epoch."""
        del number
        settings, scene = self._settings, self._scenes.load(row)
        boxes, label = boxes_of(scene, settings.oriented)
        rng = np.random.default_rng(stable_seed(seed, epoch, scene.scene_id, "detection"))
        points = scene.points
        if settings.augmentation.cuboid:
            inside, kept = cut_cuboid(points, boxes, min(len(points), settings.num_points), rng)
            points, boxes, label = points[inside], boxes[kept], label[kept]
        points = draw_points(points, settings.num_points, seed, epoch, scene.scene_id, "points")
        points, boxes = augment_scene(points, boxes, settings.augmentation, rng, oriented=settings.oriented)
        return points, boxes, label

    def together(self, drawn: list[tuple[Array, ...]]) -> dict[str, Array]:
        """Clouds of one length, boxes filled up."""
        points, boxes, label = zip(*drawn, strict=True)
        filled, known = padded(list(boxes), list(label))
        return {"points": np.stack(points), "boxes": filled, "box_label": known}
