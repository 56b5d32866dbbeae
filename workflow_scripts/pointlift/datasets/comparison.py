"""Which shapes of two datasets are one: the same numbers (exact), or the same shape by geometry (near).

A mesh is compared by what shows from outside: a model and its watertight repair differ within. Clouds are taken as they
are, and may have been drawn from inner surfaces too: against them a mesh stands with both, and the nearer one counts.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from pointlift.contracts.dataset_blocks import Scan
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.settings import Settings
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import read_stage, unpack
from pointlift.geometry.copies import mesh_hash, points_hash, same_mesh, same_points
from pointlift.geometry.duplicates import aligned_chamfer, near_duplicates, near_twins
from pointlift.geometry.meshes import Mesh, meshes_of
from pointlift.geometry.sampling import sample_scan, sample_surface

logger = logging.getLogger(__name__)
OUTSIDE, NUM_POINTS = Scan(num_views=20), 1024

Kind = Literal["meshes", "points"]
Row = tuple[str, str, str, float]


class ComparisonSettings(Settings):
    """What ``find_duplicates`` is told."""

    shapes: Kind = "meshes"
    """Kind of the dataset's shards."""
    others: Kind = "meshes"
    same: bool = False
    """True: a dataset is compared with itself; ``others`` is not read."""


@dataclass(frozen=True)
class Side:
    """The usable shapes of one dataset: for each its id, shard and hash; and samplings, each with points (n, 3) of all.

    The shapes themselves are not kept.
    """

    kind: Kind
    samplings: tuple[list[Array], ...]
    ids: list[str] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)


def read_side(paths: Sequence[Path], kind: Kind, beside: Kind) -> Side:
    """Read the shards of a dataset that is compared with one of kind ``beside``."""
    side = Side(kind, ([], []) if (kind, beside) == ("meshes", "points") else ([],))
    for path in paths:
        for shape_id, shape in _shapes(read_stage(path, kind)):
            side.ids.append(shape_id)
            side.paths.append(path)
            side.hashes.append(mesh_hash(shape) if isinstance(shape, Mesh) else points_hash(shape))
            for number, sampling in enumerate(side.samplings):
                sampling.append(_sample(shape_id, shape, outside=number == 0))
    return side


def compare(first: Side, second: Side) -> list[Row]:
    """(shape id, other id, how, chamfer in spacings) of all shapes of ``first`` that stand in ``second``."""
    near: dict[tuple[int, int], float] = {}
    for points_a in first.samplings:
        for points_b in second.samplings:
            for row, column, chamfer in near_duplicates(points_a, points_b):
                near[row, column] = min(chamfer, near.get((row, column), chamfer))
    return [(first.ids[i], second.ids[j], how, chamfer) for i, j, how, chamfer in _told(first, second, near)]


def compare_within(side: Side) -> list[Row]:
    """The same for the twins within one dataset; each pair stands there twice, once for each of its shapes."""
    near = {(first, second): chamfer for first, second, chamfer in near_twins(side.samplings[0])}
    found = [(side.ids[i], side.ids[j], how, chamfer) for i, j, how, chamfer in _told(side, side, near)]
    return found + [(other, shape_id, how, chamfer) for shape_id, other, how, chamfer in found]


def _told(first: Side, second: Side, near: dict[tuple[int, int], float]) -> Iterator[tuple[int, int, str, float]]:
    exact = _exact(first, second)
    for i, j in sorted(exact | set(near)):
        chamfer = near[i, j] if (i, j) in near else aligned_chamfer(first.samplings[0][i], second.samplings[0][j])
        yield i, j, "exact" if (i, j) in exact else "near", chamfer


def _exact(first: Side, second: Side) -> set[tuple[int, int]]:
    """Pairs of one hash that are the same indeed; within one side only i < j. Two shards are held at a time."""
    if first.kind != second.kind:
        return set()
    by_hash: dict[str, list[int]] = defaultdict(list)
    for j, text in enumerate(second.hashes):
        by_hash[text].append(j)
    pairs = [
        (i, j) for i, text in enumerate(first.hashes) for j in by_hash.get(text, ()) if first is not second or i < j
    ]
    opened = lru_cache(2)(lambda path: dict(_shapes(read_stage(path, first.kind))))
    found = set()
    for i, j in sorted(pairs, key=lambda pair: (first.paths[pair[0]], second.paths[pair[1]], pair)):
        one, other = opened(first.paths[i])[first.ids[i]], opened(second.paths[j])[second.ids[j]]
        if _is_same(one, other):
            found.add((i, j))
    return found


def _is_same(one: Mesh | Array, other: Mesh | Array) -> bool:
    if isinstance(one, Mesh) and isinstance(other, Mesh):
        return same_mesh(one, other)
    return not isinstance(one, Mesh) and not isinstance(other, Mesh) and same_points(one, other)


def _shapes(shard: Shard) -> Iterator[tuple[str, Mesh | Array]]:
    """Id and mesh or points (n, 3) of every valid shape of a shard."""
    for shape_id, shape, valid in zip(shard.ids, _unpacked(shard), shard["valid"], strict=True):
        if valid:
            yield shape_id, shape


def _unpacked(shard: Shard) -> Iterable[Mesh | Array]:
    return meshes_of(shard) if "faces" in shard.arrays else unpack(shard["points"], shard["point_offsets"])


def _sample(shape_id: str, shape: Mesh | Array, outside: bool) -> Array:
    """``NUM_POINTS`` points, or as many as a cloud has, in an order that says nothing."""
    rng = np.random.default_rng(stable_seed(shape_id, "find_duplicates"))
    if not isinstance(shape, Mesh):
        return rng.permutation(np.unique(shape, axis=0))[:NUM_POINTS]  # a cloud may be filled up with repeats
    if outside:
        try:
            return sample_scan(shape, OUTSIDE, NUM_POINTS, rng)[0]
        except UnusableShapeError as error:
            logger.warning("%s: %s; its whole surface is compared", shape_id, error)
    return sample_surface(shape, NUM_POINTS, rng)[0]
