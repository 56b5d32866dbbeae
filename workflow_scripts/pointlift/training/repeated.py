"""Training data of which an epoch is so many batches, however few rows there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from pointlift.contracts.hashing import digest
from pointlift.training.data import TensorData


@dataclass(frozen=True)
class RepeatedData:
    """Rows that are gone through again and again, each time in another order; an epoch ends after ``length`` batches.

    With ``length`` as many as the rows give, it is ``TensorData``.
    """

    once: TensorData
    length: int

    def __len__(self) -> int:
        return len(self.once)

    def num_batches(self, batch_size: int) -> int:
        """Batches of one epoch."""
        del batch_size
        return self.length

    def batches(self, epoch: int, batch_size: int, seed: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        """Those of one epoch from number ``start`` on; they hang on (seed, epoch) alone."""
        number, end = epoch * self.length + start, (epoch + 1) * self.length
        while number < end:
            passed, first = divmod(number, self.once.num_batches(batch_size))
            for batch in self.once.batches(passed, batch_size, seed, first):
                if number == end:
                    return
                yield batch
                number += 1

    def checksum(self) -> str:
        """Digest of the rows and of how long an epoch is."""
        return digest([self.once.checksum(), self.length], 32)
