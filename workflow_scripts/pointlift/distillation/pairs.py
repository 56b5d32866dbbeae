"""What distillation reads: clouds and, as its method asks, who sees which point, what the teacher says of every view or
patch, and where the cameras stood.

An arm changes the pairs, never the method: so all arms share network, loss, schedule and augmentation.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import read_manifest
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import read_stages

log = logging.getLogger(__name__)
#: Shards of every stage that are read, by the stage's name. ``points`` is always there.
Shards = Mapping[str, Sequence[Path]]
READ_STAGES = ("points", "visibility", "features", "tokens")


@dataclass(frozen=True)
class Pairs:
    """Shapes valid in every stage that was read, one row each; None for what was not read.

    points : (S, N, 3) float32; visible : (S, V, N/8) uint8, bits along the points; target : (S, V, D) float16;
    patch_tokens : (S, V, P, D) float16; world_to_camera : (V, 4, 4) float32, one rig for all shapes, or (S, V, 4, 4),
    where each was seen by its own cameras.
    """

    ids: tuple[str, ...]
    points: Array
    visible: Array | None = None
    target: Array | None = None
    patch_tokens: Array | None = None
    world_to_camera: Array | None = None

    def for_method(self, reads: Collection[str]) -> Pairs:
        """Without the cameras, which come with every teacher's vectors, where the method does not read them."""
        return self if "cameras" in reads else replace(self, world_to_camera=None)

    def arrays(self) -> dict[str, Array]:
        """What was read, one row a shape, by the names that ``prepare`` and the losses know."""
        found = {
            "points": self.points,
            "visible": self.visible,
            "target": self.target,
            "patch_tokens": self.patch_tokens,
        }
        if self.world_to_camera is not None:
            found["world_to_camera"] = np.broadcast_to(
                self.world_to_camera, (len(self.ids), *self.world_to_camera.shape[-3:])
            )
        return {name: array for name, array in found.items() if array is not None}


def read_pairs(
    shards: Shards,
    *,
    max_quarantined: float,
    chosen: Collection[str] | None = None,
    excluded: Collection[str] = (),
) -> Pairs:
    """Join the shards of some stages, each in the same order, into the pairs of the shapes that all could use.

    ``chosen``: only these ids (None: all); ``excluded``: not these. Raises ``ArtifactError`` when the stages do not
    belong together, when nothing is left, or when more than ``max_quarantined`` of the wanted shapes are unusable.
    """
    return _chosen(_read(shards), max_quarantined, chosen, excluded)


def _read(shards: Shards) -> dict[str, Shard]:
    """The stages that are given. Raises ``ArtifactError`` when they do not belong together."""
    stages = {name: read_stages(paths, name) for name, paths in shards.items() if paths}
    if "points" not in stages:
        raise ArtifactError("no points shards were given; distillation needs them")
    _require_fit(stages)
    return stages


def _chosen(
    stages: dict[str, Shard], max_quarantined: float, chosen: Collection[str] | None, excluded: Collection[str]
) -> Pairs:
    rows = _usable_rows(stages, chosen, excluded, max_quarantined)
    clouds = _clouds(stages["points"], rows)
    seen = stages.get("visibility")
    if seen is not None and not (seen["num_points"][rows] == clouds.shape[1]).all():
        raise ArtifactError("visibility was computed for another number of points; run snakemake to make it anew")
    return Pairs(
        ids=tuple(stages["points"].ids[row] for row in rows),
        points=clouds,
        visible=_rows(stages, "visibility", "visible", rows),
        target=_rows(stages, "features", "embedding", rows),
        patch_tokens=_rows(stages, "tokens", "tokens", rows),
        world_to_camera=_cameras(stages, rows),
    )


def _cameras(stages: Mapping[str, Shard], rows: Array) -> Array | None:
    """Where the cameras stood: those of the rig (V, 4, 4), or the shapes' own (S, V, 4, 4)."""
    if "features" not in stages:
        return None
    posed = stages["features"].arrays.get("posed_world_to_camera")
    return stages["features"].arrays.get("world_to_camera") if posed is None else posed[rows]


def _rows(stages: Mapping[str, Shard], stage: str, name: str, rows: Array) -> Array | None:
    return stages[stage][name][rows] if stage in stages else None


def read_split_pairs(
    shards: Shards, manifest: Path | None, exclude: Sequence[Path], max_quarantined: float
) -> tuple[Pairs, Pairs | None]:
    """The pairs of the manifest's train split (without one: all), and those of its val split where it has any.

    ``exclude``: tables of ids that are left out of both.
    """
    excluded, stages = listed_ids(exclude), _read(shards)
    train = _chosen(stages, max_quarantined, train_ids(manifest), excluded)
    return train, _val_pairs(stages, manifest, excluded)


def _val_pairs(stages: dict[str, Shard], manifest: Path | None, excluded: Collection[str]) -> Pairs | None:
    """The usable pairs of the manifest's val split, however few; None where there are none.

    No arm changes them, so that the val values of all arms of a teacher say the same.
    """
    wanted = _split_ids(manifest, "val") - frozenset(excluded) if manifest is not None else frozenset()
    if not wanted:
        return None
    try:
        return _chosen(stages, 1.0, wanted, ())
    except ArtifactError as error:  # the same shards were read for training: what is missing is val shapes alone
        log.warning("nothing is said of the val split: %s", error)
        return None


def train_ids(manifest: Path | None) -> frozenset[str] | None:
    """Ids of the manifest's train split; None where no manifest is given: every shape is for training."""
    return None if manifest is None else _split_ids(manifest, "train")


def _split_ids(manifest: Path, split: str) -> frozenset[str]:
    rows = read_manifest(manifest)
    return frozenset(rows["shape_id"][rows["split"] == split])


def classes_of(manifest: Path | None) -> dict[str, str]:
    """Class of every shape of a manifest by its id; none without a manifest."""
    if manifest is None:
        return {}
    rows = read_manifest(manifest)
    return dict(zip(rows["shape_id"], rows["class_name"], strict=True))


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


def prepare(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Make a batch of stored rows what methods read: ``visible`` (B, V, N) bool, all else float32."""
    made: dict[str, Tensor] = {name: batch[name].float() for name in ("target", "patch_tokens") if name in batch}
    if "visible" in batch:
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
        bits = (batch["visible"][..., None] >> shifts) & 1
        made["visible"] = bits.flatten(-2)[..., : batch["points"].shape[1]].bool()
    return {**batch, **made}


def _require_fit(stages: dict[str, Shard]) -> None:
    for name, stage in stages.items():
        if stage.ids != stages["points"].ids:
            raise ArtifactError(f"{name} and points are not of the same shapes in the same order; give the same shards")
    named = {"visibility": "visible", "features": "embedding", "tokens": "tokens"}
    views = {name: stages[name][array].shape[1] for name, array in named.items() if name in stages}
    if len(set(views.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in views.items())
        raise ArtifactError(f"the stages are of different rigs, they have these numbers of views: {told}")


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
