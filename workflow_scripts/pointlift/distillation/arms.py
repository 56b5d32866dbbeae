"""The control arms: what of the pairs each of them takes away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pointlift.contracts.blocks import Arm
from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.shards import Array
from pointlift.distillation.pairs import Pairs


def apply_arm(pairs: Pairs, arm: Arm, seed: int, class_of: Mapping[str, str] | None = None) -> Pairs:
    """The pairs as an arm wants them; arms without a change of their own get them back as they are.

    ``all_visible``: every view sees every point. ``random_visibility``: each view sees as many points as before, drawn
    anew per shape. ``shuffled``: each shape gets all that the teacher says of another shape, never of itself.
    ``same_class_shuffled``: likewise, of another shape of its class, which ``class_of`` says by id: what is lost is
    what tells a shape from others of its class, and nothing else.
    """
    if arm in ("all_visible", "random_visibility"):
        return replace(pairs, visible=_visible(pairs, arm, seed))
    if arm == "shuffled":
        return _taught_as(pairs, derangement(len(pairs.ids), seed))
    if arm == "same_class_shuffled":
        return _taught_as(pairs, _within_classes(pairs.ids, class_of or {}, seed))
    return pairs


def _visible(pairs: Pairs, arm: Arm, seed: int) -> Array:
    if pairs.visible is None:
        raise ConfigError(f"arm {arm} changes who sees which point, and this run's method does not read that")
    if arm == "all_visible":
        mask_SVN = np.ones((*pairs.visible.shape[:2], pairs.points.shape[1]), dtype=bool)
        return np.packbits(mask_SVN, axis=-1)
    rows = zip(pairs.ids, pairs.visible, strict=True)
    return np.stack([_random_mask(shape_id, mask, pairs.points.shape[1], seed) for shape_id, mask in rows])


def _taught_as(pairs: Pairs, order: Array) -> Pairs:
    """Every shape with what the teacher says of the shape in its place in ``order`` (S,)."""
    target, tokens = (array if array is None else array[order] for array in (pairs.target, pairs.patch_tokens))
    return replace(pairs, target=target, patch_tokens=tokens)


def _within_classes(ids: Sequence[str], class_of: Mapping[str, str], seed: int) -> Array:
    """A permutation (S,) int64 in which every shape is followed by another of its class.

    Raises ``ArtifactError`` naming a shape without a class, or a class with one shape alone.
    """
    unknown = [shape_id for shape_id in ids if not class_of.get(shape_id)]
    if unknown:
        raise ArtifactError(
            f"arm same_class_shuffled needs the class of every shape, and {unknown[0]} has none; give --manifest of a "
            "labelled dataset, or take another arm"
        )
    order = np.arange(len(ids))
    members: dict[str, list[int]] = {}
    for row, shape_id in enumerate(ids):
        members.setdefault(class_of[shape_id], []).append(row)
    for name, rows in members.items():
        if len(rows) < 2:
            raise ArtifactError(
                f"arm same_class_shuffled needs at least 2 usable shapes of every class; {name!r} has one, "
                f"{ids[rows[0]]}; take another arm, or a dataset without that class"
            )
        order[rows] = np.array(rows)[derangement(len(rows), stable_seed(name, seed))]
    return order


def derangement(count: int, seed: int) -> Array:
    """A random permutation (count,) int64 in which nothing stays in place: one cycle through all (Sattolo, 1986)."""
    if count < 2:
        raise ArtifactError(f"arm shuffled needs at least 2 usable shapes, there are {count}")
    rng = np.random.default_rng(stable_seed("derangement", count, seed))
    order = np.arange(count)
    for last in range(count - 1, 0, -1):
        other = rng.integers(last)
        order[last], order[other] = order[other], order[last]
    return order


def _random_mask(shape_id: str, packed_VN: Array, num_points: int, seed: int) -> Array:
    rng = np.random.default_rng(stable_seed(shape_id, seed, "random_visibility"))
    mask_VN = np.unpackbits(packed_VN, axis=-1, count=num_points)
    return np.packbits(rng.permuted(mask_VN, axis=-1), axis=-1)
