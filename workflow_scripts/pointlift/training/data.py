"""Training data in memory, and the order in which an epoch sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import xxhash
from torch import Tensor

from pointlift.contracts.hashing import canonical_json, stable_seed
from pointlift.contracts.recipe import steps_per_epoch
from pointlift.contracts.shards import Array


class TrainingData(Protocol):
    """What a network is trained on: rows in an order that an epoch's number decides."""

    def __len__(self) -> int:
        """Rows of one epoch."""

    def num_batches(self, batch_size: int) -> int:
        """Batches of one epoch, at least one."""

    def batches(self, epoch: int, batch_size: int, seed: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """Those of one epoch from number ``start`` on; they hang on (seed, epoch) alone."""

    def checksum(self) -> str:
        """Digest of all that the batches hang on: a state saved with other data is not gone on from."""


@dataclass(frozen=True)
class TensorData:
    """Arrays with one common first axis.

    ``prepare`` turns the rows of one batch (tensors of the arrays' dtypes, on the CPU) into what the losses read, e.g.
    unpacks visibility bits; it must draw no random numbers. ``index`` (B,) int64, the rows' numbers, is always there.
    """

    arrays: Mapping[str, Array]
    prepare: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"training arrays must have one common first axis of at least one array, not {lengths}")
        if len(self) == 0:
            raise ValueError("there is nothing to train on: the arrays have no rows")

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def num_batches(self, batch_size: int) -> int:
        """Batches of one epoch: the last, partial one is dropped unless it is the only one."""
        return steps_per_epoch(len(self), batch_size)

    def batches(self, epoch: int, batch_size: int, seed: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """Yield the batches of one epoch from number ``start`` on; their order depends on (seed, epoch) alone."""
        order = self.order(epoch, seed)
        for number in range(start, self.num_batches(batch_size)):
            yield self.rows(order[number * batch_size : (number + 1) * batch_size])

    def order(self, epoch: int, seed: int) -> Array:
        """Numbers of the rows (len(self),) int64 as an epoch sees them."""
        return np.random.default_rng(stable_seed(seed, epoch, "order")).permutation(len(self))

    def rows(self, index: Array) -> dict[str, Tensor]:
        """The batch made of these rows (B,) int64."""
        batch = {name: torch.from_numpy(np.ascontiguousarray(array[index])) for name, array in self.arrays.items()}
        batch["index"] = torch.from_numpy(np.asarray(index, dtype=np.int64))
        return batch if self.prepare is None else self.prepare(batch)

    def checksum(self) -> str:
        """Digest of names, dtypes, shapes and content."""
        state = xxhash.xxh3_128()
        for name in sorted(self.arrays):
            array = np.ascontiguousarray(self.arrays[name])
            state.update(canonical_json([name, str(array.dtype), list(array.shape)]).encode())
            state.update(array.reshape(-1).view(np.uint8).data)
        return state.hexdigest()
