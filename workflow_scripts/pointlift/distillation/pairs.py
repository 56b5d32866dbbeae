"""What distillation reads: clouds, who sees which point, and the teacher's vector of every view; and the control arms.

An arm changes the pairs, never the method: so all arms share network, loss, schedule and augmentation.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pointlift.contracts.blocks import Arm
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import read_stages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairs:
    """Shapes valid in every stage, one row each.

    points : (S, N, 3) float32; visible : (S, V, N/8) uint8, bits along the points; target : (S, V, D) float16.
    """

    ids: tuple[str, ...]
    points: Array
    visible: Array
    target: Array

    def arrays(self) -> dict[str, Array]:
        """The arrays by the names that ``prepare`` and the losses know."""
        return {"points": self.points, "visible": self.visible, "target": self.target}


def read_pairs(
    points: Sequence[Path],
    visibility: Sequence[Path],
    features: Sequence[Path],
    *,
    max_quarantined: float,
    chosen: Collection[str] | None = None,
    excluded: Collection[str] = (),
) -> Pairs:
    """Join the shards of three stages, in one order, into the pairs of the shapes that all three could use.

    ``chosen``: only these ids (None: all); ``excluded``: not these. Raises ``ArtifactError`` when the stages do not
    belong together, when nothing is left, or when more than ``max_quarantined`` of the wanted shapes are unusable.
    """
    stages = {
        "points": read_stages(points, "points"),
        "visibility": read_stages(visibility, "visibility"),
        "features": read_stages(features, "features"),
    }
    _require_fit(stages)
    rows = _usable_rows(stages, chosen, excluded, max_quarantined)
    clouds = _clouds(stages["points"], rows)
    if not (stages["visibility"]["num_points"][rows] == clouds.shape[1]).all():
        raise ArtifactError("visibility was computed for another number of points; run snakemake to make it anew")
    ids = tuple(stages["points"].ids[row] for row in rows)
    return Pairs(ids, clouds, stages["visibility"]["visible"][rows], stages["features"]["embedding"][rows])


def read_val_pairs(
    points: Sequence[Path],
    visibility: Sequence[Path],
    features: Sequence[Path],
    *,
    manifest: Path | None,
    excluded: Collection[str] = (),
) -> Pairs | None:
    """The usable pairs of the manifest's val split, however few; None where there are none.

    No arm changes them, so that the val values of all arms of a teacher say the same.
    """
    chosen = _split_ids(manifest, "val") - frozenset(excluded) if manifest is not None else frozenset()
    if not chosen:
        return None
    try:
        return read_pairs(points, visibility, features, max_quarantined=1.0, chosen=chosen)
    except ArtifactError as error:  # the same shards were read for training: what is missing is val shapes alone
        log.warning("nothing is said of the val split: %s", error)
        return None


def train_ids(manifest: Path | None) -> frozenset[str] | None:
    """Ids of the manifest's train split; None where no manifest is given: every shape is for training."""
    return None if manifest is None else _split_ids(manifest, "train")


def _split_ids(manifest: Path, split: str) -> frozenset[str]:
    rows = read_manifest(manifest)
    return frozenset(rows["shape_id"][rows["split"] == split])


def listed_ids(tables: Sequence[Path]) -> frozenset[str]:
    """The ids in the column ``shape_id`` of some CSV tables, together."""
    found: set[str] = set()
    for table in tables:
        try:
            found.update(pd.read_csv(table, dtype=str, keep_default_na=False)["shape_id"])
        except FileNotFoundError:
            raise ArtifactError(f"{table}: no such file; run snakemake to make it") from None
        except (KeyError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{table}: must be a CSV table with a column shape_id ({error})") from None
    return frozenset(found)


def apply_arm(pairs: Pairs, arm: Arm, seed: int) -> Pairs:
    """The pairs as an arm wants them; arms without a change of their own get them back as they are.

    ``all_visible``: every view sees every point. ``random_visibility``: each view sees as many points as before, drawn
    anew per shape. ``shuffled``: each shape gets all targets of another shape, none its own.
    """
    if arm == "all_visible":
        mask_SVN = np.ones((*pairs.visible.shape[:2], pairs.points.shape[1]), dtype=bool)
        return replace(pairs, visible=np.packbits(mask_SVN, axis=-1))
    if arm == "random_visibility":
        rows = zip(pairs.ids, pairs.visible, strict=True)
        masks = [_random_mask(shape_id, mask, pairs.points.shape[1], seed) for shape_id, mask in rows]
        return replace(pairs, visible=np.stack(masks))
    if arm == "shuffled":
        return replace(pairs, target=pairs.target[derangement(len(pairs.ids), seed)])
    return pairs


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


def prepare(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make a batch of stored rows what methods read: ``visible`` (B, V, N) bool and ``target`` float32."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
    bits = (batch["visible"][..., None] >> shifts) & 1
    visible_BVN = bits.flatten(-2)[..., : batch["points"].shape[1]].bool()
    return {**batch, "visible": visible_BVN, "target": batch["target"].float()}


def _require_fit(stages: dict[str, Shard]) -> None:
    for name, stage in stages.items():
        if stage.ids != stages["points"].ids:
            raise ArtifactError(f"{name} and points are not of the same shapes in the same order; give the same shards")
    views = stages["visibility"]["visible"].shape[1], stages["features"]["embedding"].shape[1]
    if views[0] != views[1]:
        raise ArtifactError(f"visibility has {views[0]} views, features have {views[1]}: they are of different rigs")


def _usable_rows(
    stages: dict[str, Shard], chosen: Collection[str] | None, excluded: Collection[str], max_quarantined: float
) -> Array:
    ids = stages["points"].ids
    left_out = set(excluded)
    wanted = np.array([(chosen is None or shape_id in chosen) and shape_id not in left_out for shape_id in ids])
    if not wanted.any():
        raise ArtifactError(f"none of the {len(ids)} shapes is to be trained on: not in the train split, or excluded")
    valid = np.logical_and.reduce([stage["valid"] for stage in stages.values()])
    lost = np.flatnonzero(wanted & ~valid)
    rows = np.flatnonzero(wanted & valid)
    if len(rows) == 0 or len(lost) > max_quarantined * wanted.sum():
        raise ArtifactError(
            f"{len(lost)} of {wanted.sum()} shapes are unusable, max_quarantined allows {max_quarantined:g} of them: "
            + "; ".join(f"{ids[row]}: {_reason(stages, ids[row])}" for row in lost[:3])
            + "; mend the data, or raise max_quarantined of the dataset"
        )
    return rows


def _reason(stages: dict[str, Shard], shape_id: str) -> str:
    for name, stage in stages.items():
        reason = stage.attributes.get("quarantine", {}).get(shape_id)
        if reason is not None:
            return f"{reason} ({name})"
    return "quarantined by an earlier stage"


def _clouds(stage: Shard, rows: Array) -> Array:
    starts, counts = stage["point_offsets"][rows], np.diff(stage["point_offsets"])[rows]
    if (counts != counts[0]).any():
        raise ArtifactError(
            f"distillation needs clouds of one size; these have {counts.min()} to {counts.max()} points"
        )
    return stage["points"][starts[:, None] + np.arange(counts[0])]


def _random_mask(shape_id: str, packed_VN: Array, num_points: int, seed: int) -> Array:
    rng = np.random.default_rng(stable_seed(shape_id, seed, "random_visibility"))
    mask_VN = np.unpackbits(packed_VN, axis=-1, count=num_points)
    return np.packbits(rng.permuted(mask_VN, axis=-1), axis=-1)
