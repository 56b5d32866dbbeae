"""Training data of tasks on scenes: every scene so often in an epoch, each shard read once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pointlift.contracts.hashing import digest, stable_seed
from pointlift.contracts.settings import Settings as BaseSettings
from pointlift.contracts.shards import Array

if TYPE_CHECKING:
    from pointlift.tasks.scenes import Scenes


class SceneBatches(ABC):
    """Training data as ``training.data.TrainingData``; who derives from it says what is drawn of a scene.

    An epoch goes through the scenes shard by shard, in a new order of shards, and of draws within each: a shard is read
    once an epoch.
    """

    def __init__(self, scenes: Scenes, rows: Array, settings: BaseSettings, per_scene: int = 1) -> None:
        self._scenes, self._rows, self._told, self._per_scene = scenes, np.asarray(rows), settings, per_scene

    @abstractmethod
    def drawn(self, row: int, number: int, epoch: int, seed: int) -> tuple[Array, ...]:
        """Draw ``number`` of an epoch from the scene in this row; it hangs on (seed, epoch, scene id, number) alone."""

    @abstractmethod
    def together(self, drawn: list[tuple[Array, ...]]) -> dict[str, Array]:
        """Draws as the arrays of one batch, by the names that the model reads."""

    def __len__(self) -> int:
        return len(self._rows) * self._per_scene

    def num_batches(self, batch_size: int) -> int:
        """Batches of one epoch: the last, partial one is dropped unless it is the only one."""
        return max(1, len(self) // batch_size)

    def batches(self, epoch: int, batch_size: int, seed: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """Of one epoch from number ``start`` on: what ``together`` makes of their draws, and ``index`` (B,)."""
        order = self.order(epoch, seed)
        for number in range(start, self.num_batches(batch_size)):
            index = order[number * batch_size : (number + 1) * batch_size]
            places = [divmod(int(one), self._per_scene) for one in index]
            drawn = [self.drawn(int(self._rows[at]), one, epoch, seed) for at, one in places]
            arrays = {**self.together(drawn), "index": index}
            yield {name: torch.from_numpy(array) for name, array in arrays.items()}

    def order(self, epoch: int, seed: int) -> Array:
        """Numbers of the draws (len(self),) int64 as an epoch sees them; scene = number // draws of each."""
        rng = np.random.default_rng(stable_seed(seed, epoch, "order"))
        order = rng.permutation(len(self))
        _, shard = np.unique(self._scenes.shard_of(self._rows), return_inverse=True)
        place = rng.permutation(shard.max() + 1)[shard]
        return order[np.argsort(place[order // self._per_scene], kind="stable")]

    def checksum(self) -> str:
        """Digest of the scenes and of what is done to them."""
        return digest([self._scenes.checksum(self._rows), self._told.model_dump(mode="json")], 32)
