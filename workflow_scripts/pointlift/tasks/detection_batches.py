"""Scenes as a detector is trained and judged on them: random points of each, their boxes beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import digest, stable_seed
from pointlift.contracts.scenes import Scene
from pointlift.contracts.shards import Array
from pointlift.tasks.box_augmentation import augment_scene, cut_cuboid

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


class DetectionBatches:
    """Training data as ``training.data.TrainingData``: every scene once an epoch, changed anew.

    An epoch goes through the scenes shard by shard, in a new order of shards, and of scenes within each: a shard is
    read once an epoch. What is done to a scene hangs on (seed, epoch, its id) alone.
    """

    def __init__(self, scenes: Scenes, rows: Array, settings: Settings) -> None:
        self._scenes, self._rows, self._settings = scenes, np.asarray(rows), settings

    def __len__(self) -> int:
        return len(self._rows)

    def num_batches(self, batch_size: int) -> int:
        """Batches of one epoch: the last, partial one is dropped unless it is the only one."""
        return max(1, len(self) // batch_size)

    def batches(self, epoch: int, batch_size: int, seed: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """Of one epoch from number ``start`` on: ``points`` (B, N, 3), ``boxes`` (B, M, 7), ``box_label`` (B, M)."""
        order = self.order(epoch, seed)
        for number in range(start, self.num_batches(batch_size)):
            index = order[number * batch_size : (number + 1) * batch_size]
            points, boxes, label = zip(*(self._scene(int(one), epoch, seed) for one in index), strict=True)
            filled, known = padded(list(boxes), list(label))
            arrays = {"points": np.stack(points), "boxes": filled, "box_label": known, "index": index}
            yield {name: torch.from_numpy(array) for name, array in arrays.items()}

    def order(self, epoch: int, seed: int) -> Array:
        """Numbers of the scenes (len(self),) int64 as an epoch sees them."""
        rng = np.random.default_rng(stable_seed(seed, epoch, "order"))
        order = rng.permutation(len(self))
        _, shard = np.unique(self._scenes.shard_of(self._rows), return_inverse=True)
        place = rng.permutation(shard.max() + 1)[shard]
        return order[np.argsort(place[order], kind="stable")]

    def checksum(self) -> str:
        """Digest of the scenes and of what is done to them."""
        return digest([self._scenes.checksum(self._rows), self._settings.model_dump(mode="json")], 32)

    def _scene(self, number: int, epoch: int, seed: int) -> tuple[Array, Array, Array]:
        settings, scene = self._settings, self._scenes.load(int(self._rows[number]))
        boxes, label = boxes_of(scene, settings.oriented)
        rng = np.random.default_rng(stable_seed(seed, epoch, scene.scene_id, "detection"))
        points = scene.points
        if settings.augmentation.cuboid:
            inside, kept = cut_cuboid(points, boxes, min(len(points), settings.num_points), rng)
            points, boxes, label = points[inside], boxes[kept], label[kept]
        points = draw_points(points, settings.num_points, seed, epoch, scene.scene_id, "points")
        points, boxes = augment_scene(points, boxes, settings.augmentation, rng, oriented=settings.oriented)
        return points, boxes, label
