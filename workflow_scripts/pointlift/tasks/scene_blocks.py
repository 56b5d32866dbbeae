"""Cutting scenes into what a student reads at once: overlapping columns in evaluation, random crops in training.

A block is a column of ``size`` metres along x and y, with all its height (Qi et al., PointNet, CVPR 2017, section 5.1);
without a size the whole scene is one. Nothing a student is given tells where in the scene the block stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.scenes import Scene
from pointlift.contracts.shards import Array
from pointlift.tasks.scene_batches import SceneBatches

if TYPE_CHECKING:
    from pointlift.tasks.scenes import Scenes
    from pointlift.tasks.semantic_segmentation import Settings

NO_CLASS = -1
_MOST_ALONG_AN_AXIS = 4096
_ROUNDING = 1e-9  # shares of a block below this make no block of their own


@dataclass(frozen=True)
class Piece:
    """What a student reads at once: ``points`` (N, 3) float32 in the block's coordinates, of them the first m ones are
    the scene's points ``rows`` (m,) int64; the others repeat points of the block and answer for none."""

    points: Array
    rows: Array


def block_edges(low: float, high: float, size: float, stride: float) -> Array:
    """Lower edges (m,) float64 of the blocks along an axis on which the points span low to high.

    From ``low`` on in steps of ``stride``, but the last one ends at ``high``: no block is a sliver. A block that is
    longer than the scene stands around its middle. Raises ``ConfigError`` for more blocks than any room needs.
    """
    if high - low <= size * (1 + _ROUNDING):
        return np.array([(low + high - size) / 2])
    count = math.ceil((high - low - size) / stride - _ROUNDING) + 1
    if count > _MOST_ALONG_AN_AXIS:
        raise ConfigError(
            f"a scene of {high - low:g} m has {count} blocks of {size:g} m every {stride:g} m along one axis, at most "
            f"{_MOST_ALONG_AN_AXIS} are allowed; say a larger block_size, or check the scene for stray points"
        )
    edges = low + stride * np.arange(count)
    edges[-1] = high - size
    return edges


def cut_blocks(points: Array, size: float | None, stride: float) -> Iterator[tuple[Array, Array]]:
    """Blocks that hold points, as (centre (2,) float64, rows (n,) int64, rising). Every point is in at least one.

    points : (n, 3); size, stride : metres, stride not above size; size None: all of it is one block.
    """
    if not len(points):
        return
    low, high = points[:, :2].min(axis=0).astype(np.float64), points[:, :2].max(axis=0).astype(np.float64)
    if size is None:
        yield (low + high) / 2, np.arange(len(points))
        return
    x_edges, y_edges = (block_edges(low[axis], high[axis], size, stride) for axis in (0, 1))
    for x_edge, strip in _spans(points[:, 0], x_edges, size):
        for y_edge, inside in _spans(points[strip, 1], y_edges, size):
            yield np.array([x_edge, y_edge]) + size / 2, np.sort(strip[inside])


def _spans(values: Array, edges: Array, size: float) -> Iterator[tuple[float, Array]]:
    """Edges with the numbers of the values from there to ``size`` on, both included; without those that have none."""
    order = np.argsort(values, kind="stable")
    rising = values[order].astype(np.float64)
    starts, stops = np.searchsorted(rising, edges, "left"), np.searchsorted(rising, edges + size, "right")
    starts[0], stops[-1] = 0, len(values)
    stops[:-1] = np.maximum(stops[:-1], starts[1:])  # blocks that only touch leave no gap by rounding
    for number in np.flatnonzero(stops > starts):
        yield float(edges[number]), order[starts[number] : stops[number]]


def block_coordinates(points: Array, centre: Array, unit: float) -> Array:
    """(n, 3) float32: x and y from the block's centre, z from its lowest point, in units of so many metres."""
    origin = np.array([*centre, points[:, 2].min()], dtype=np.float64)
    local: Array = ((points - origin) / unit).astype(np.float32)
    return local


def cut_pieces(scene: Scene, settings: Settings) -> Iterator[Piece]:
    """All that must be read so that every point of a scene is answered once in each of its blocks, block by block.

    The points of a block are laid in an order that the scene's id and the block's number decide, and read
    ``num_points`` at a time.
    """
    blocks = cut_blocks(scene.points, settings.block_size, settings.stride())
    for number, (centre, rows) in enumerate(blocks):
        local = block_coordinates(scene.points[rows], centre, settings.unit)
        order = np.random.default_rng(stable_seed(scene.scene_id, number, "pieces")).permutation(len(rows))
        for first in range(0, len(order), settings.num_points):
            taken = order[first : first + settings.num_points]
            missing = settings.num_points - len(taken)
            yield Piece(local[np.concatenate([taken, np.resize(order, missing)])], rows[taken])


def draw_crop(points: Array, label: Array, settings: Settings, rng: np.random.Generator) -> tuple[Array, Array]:
    """A block around one of the scene's labelled points: ``num_points`` of its points (N, 3) float32, and labels (N,).

    points : (n, 3); label : (n,), -1 for none. The point that it stands around is among them. A block that has fewer
    points is filled up with repeats, labelled -1: int64.
    """
    labelled = np.flatnonzero(label >= 0)
    candidates = labelled if len(labelled) else np.arange(len(points))
    chosen = int(candidates[rng.integers(len(candidates))])
    if settings.block_size is None:
        centre = (points[:, :2].min(axis=0).astype(np.float64) + points[:, :2].max(axis=0)) / 2
        rows = np.arange(len(points))
    else:
        centre = points[chosen, :2].astype(np.float64)
        rows = np.flatnonzero((np.abs(points[:, :2] - centre) <= settings.block_size / 2).all(axis=1))
    local = block_coordinates(points[rows], centre, settings.unit)
    order = rng.permutation(len(rows))
    order = np.concatenate([np.flatnonzero(rows == chosen), order[rows[order] != chosen]])
    taken = np.resize(order, settings.num_points)
    drawn = np.full(settings.num_points, NO_CLASS, dtype=np.int64)
    drawn[: len(order)] = label[rows[taken[: len(order)]]]
    return local[taken], drawn


class SceneCrops(SceneBatches):
    """``crops_per_scene`` fresh crops of every scene in an epoch: ``points`` (B, N, 3), ``semantic_label`` (B, N)."""

    def __init__(self, scenes: Scenes, rows: Array, settings: Settings) -> None:
        super().__init__(scenes, rows, settings, settings.crops_per_scene)
        self._settings = settings

    def drawn(self, row: int, number: int, epoch: int, seed: int) -> tuple[Array, ...]:
        """A crop and its labels."""
        scene = self._scenes.load(row)
        rng = np.random.default_rng(stable_seed(seed, epoch, scene.scene_id, number, "crop"))
        return draw_crop(scene.points, scene.arrays["semantic_label"], self._settings, rng)

    def together(self, drawn: list[tuple[Array, ...]]) -> dict[str, Array]:
        """Crops and labels of one length."""
        points, label = zip(*drawn, strict=True)
        return {"points": np.stack(points), "semantic_label": np.stack(label)}
