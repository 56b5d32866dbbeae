"""Which voxel meets which under every offset of a convolution kernel, found once and kept for a whole network.

A kernel of size k has k^3 offsets, in voxels of its level, x outermost and z innermost: from -(k - 1)/2 to (k - 1)/2
where k is odd (centred on the output voxel), from 0 to k - 1 where it is even. A convolution of stride 1 keeps its
voxels; one of stride s writes to unique(floor(c / s)): no voxel becomes active that has no active child.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pointlift.operators.voxel_keys import RIM, batch_of, coarsen, steps, unpack

#: Output voxels of a segment. On a CPU their rows stay in its cache; on other devices each offset is one segment.
BLOCK = 8192


@dataclass(frozen=True)
class KernelMap:
    """Pairs of an input row and an output row, in segments that each belong to one offset of the kernel.

    inputs, outputs : (P,) int64 rows. segments : (number of the offset, first pair, pair after the last). Within a
    segment both ascend strictly: adding into rows by it has no two writers of one row, on any device.
    same : number of the offset under which every row meets itself; it has no pairs. Only where the voxels are kept.
    """

    inputs: Tensor
    outputs: Tensor
    segments: tuple[tuple[int, int, int], ...]
    num_inputs: int
    num_outputs: int
    same: int | None

    @property
    def longest(self) -> int:
        """Pairs of the longest segment."""
        return max((end - start for _, start, end in self.segments), default=0)

    def reverse(self) -> KernelMap:
        """The map of the transposed convolution: it writes where this one reads."""
        return KernelMap(self.outputs, self.inputs, self.segments, self.num_outputs, self.num_inputs, self.same)


class Levels:
    """The voxels of a batch at every stride that a network reaches, and the kernel maps between them; each made once.

    A level is the finest grid coarsened to a stride; by which steps it was reached makes no difference.
    kept : what another backend wants to keep of the levels, by keys of its own.
    """

    def __init__(self, keys_M: Tensor, batch_size: int, stride: int = 1) -> None:
        self.batch_size = batch_size
        self.kept: dict[tuple[str, int], Any] = {}
        self._keys = {stride: keys_M}
        self._coordinates: dict[int, Tensor] = {}
        self._counts: dict[int, Tensor] = {}
        self._maps: dict[tuple[int, int, int], KernelMap] = {}
        self._parents: dict[tuple[int, int], Tensor] = {}

    def keys(self, stride: int) -> Tensor:
        """Sorted keys (M,) of a level that was reached. Raises ``ValueError`` for one that was not."""
        if stride not in self._keys:
            raise ValueError(f"no layer has reached stride {stride}; reached are {sorted(self._keys)}")
        return self._keys[stride]

    def coordinates(self, stride: int) -> Tensor:
        """Voxels (M, 4) int32 [batch, x, y, z] of a level, on the finest grid: multiples of the stride."""
        if stride not in self._coordinates:
            self._coordinates[stride] = unpack(self.keys(stride))
        return self._coordinates[stride]

    def counts(self, stride: int) -> Tensor:
        """Voxels of each cloud, (B,) int64; they follow one another."""
        if stride not in self._counts:
            clouds = batch_of(self.keys(stride))
            every = torch.arange(self.batch_size + 1, device=clouds.device)
            self._counts[stride] = torch.searchsorted(clouds, every).diff()
        return self._counts[stride]

    def parents(self, stride: int, step: int) -> Tensor:
        """The row of the level ``stride * step`` that holds each voxel of the level ``stride``, (M,) int64."""
        if (stride, step) not in self._parents:
            _require_reach(stride * step)
            coarse, parents = torch.unique(coarsen(self.keys(stride), stride * step), return_inverse=True)
            self._keys.setdefault(stride * step, coarse)
            self._parents[stride, step] = parents
        return self._parents[stride, step]

    def kernel_map(self, stride: int, kernel_size: int, step: int = 1) -> KernelMap:
        """The map of a convolution from the level ``stride`` to the level ``stride * step``."""
        if (stride, kernel_size, step) not in self._maps:
            _require_reach(stride * (kernel_size + step))
            if step > 1:
                self.parents(stride, step)
            inputs, outputs = self.keys(stride), self.keys(stride * step)
            self._maps[stride, kernel_size, step] = build_map(inputs, outputs, kernel_size, stride)
        return self._maps[stride, kernel_size, step]


def kernel_offsets(kernel_size: int) -> Tensor:
    """Offsets (k^3, 3) int64 of a kernel in voxels, x outermost, z innermost."""
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    return torch.tensor(list(itertools.product(range(first, first + kernel_size), repeat=3)), dtype=torch.int64)


@torch.no_grad()
def build_map(inputs_M: Tensor, outputs_M: Tensor, kernel_size: int, stride: int) -> KernelMap:
    """The pairs of sorted keys that lie an offset times ``stride`` apart: input = output + offset * stride.

    inputs_M is what is read; outputs_M is written. The same tensor for both says that the voxels are kept; the second
    half of a centred kernel is then the first one mirrored, and is not searched.
    """
    kept = inputs_M is outputs_M
    mirrored = kept and kernel_size % 2 == 1
    centre = (kernel_size**3 // 2 if mirrored else 0) if kept else None
    searched = kernel_size * (kernel_size**2 // 2 + 1) if mirrored else kernel_size**3  # whole columns along z
    delta_K = (steps(kernel_offsets(kernel_size)[:searched]) * stride).to(inputs_M.device)
    block = BLOCK if inputs_M.device.type == "cpu" else max(len(outputs_M), 1)
    found, segments, total = [], [], 0
    for start in range(0, len(outputs_M), block):
        position, hit = _meet(inputs_M, outputs_M[start : start + block], delta_K, kernel_size, stride)
        if centre is not None:
            hit[centre : None if mirrored else centre + 1] = False
        row, column = hit.nonzero(as_tuple=True)
        found.append((position[row, column], column + start))
        for offset, count in enumerate(hit.sum(dim=1).tolist()):
            if count:
                segments.append((offset, total, total + count))
                total += count
    empty = inputs_M.new_empty(0)
    inputs, outputs = (torch.cat(part) for part in zip(*found, strict=True)) if found else (empty, empty)
    if mirrored:
        inputs, outputs = torch.cat([inputs, outputs]), torch.cat([outputs, inputs])
        other = [(kernel_size**3 - 1 - offset, start + total, end + total) for offset, start, end in segments]
        segments = list(itertools.chain.from_iterable(zip(segments, other, strict=True)))
    return KernelMap(inputs, outputs, tuple(segments), len(inputs_M), len(outputs_M), centre)


def _meet(inputs_M: Tensor, outputs_m: Tensor, delta_K: Tensor, kernel_size: int, stride: int) -> tuple[Tensor, Tensor]:
    """For every offset and output: a row of the inputs, and whether it is the voxel looked for; both (k^3, m).

    Only the first offset of each column along z is searched: whether a voxel was met says where the next one is, as no
    key lies between two neighbours of a level.
    """
    last = len(inputs_M) - 1
    wanted = outputs_m + delta_K[::kernel_size, None]
    position = torch.searchsorted(inputs_M, wanted)
    positions, hits = [], []
    for _ in range(kernel_size):
        inside = position.clamp(max=last)
        hit = inputs_M[inside] == wanted
        positions.append(inside)
        hits.append(hit)
        position, wanted = position + hit, wanted + stride
    return torch.stack(positions, dim=1).flatten(0, 1), torch.stack(hits, dim=1).flatten(0, 1)


def _require_reach(reach: int) -> None:
    if reach > RIM:
        raise ValueError(f"a kernel and its stride reach {reach} voxels of the finest grid; at most {RIM} are allowed")
