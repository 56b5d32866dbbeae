"""What a task on scenes is given: rooms and scans of any number of points, read one shard at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import digest
from pointlift.contracts.manifest import SPLITS, read_manifest
from pointlift.contracts.scenes import Scene
from pointlift.contracts.shards import Array, Shard, read_header, stored_checksum
from pointlift.contracts.stages import POINT_ATTRIBUTES, read_stage


@dataclass
class Scenes:
    """The usable scenes of a dataset, in the manifest's order. Of their points, those of one shard are in memory.

    split : (S,) uint8, 0 train, 1 val, 2 test; places : (S, 2) int64, number of the shard and row in it.
    """

    ids: tuple[str, ...]
    split: Array
    semantic_names: tuple[str, ...]
    box_names: tuple[str, ...]
    paths: tuple[Path, ...]
    places: Array
    _held: tuple[int, Shard] | None = field(default=None, repr=False)

    def rows(self, *splits: str) -> Array:
        """Row numbers of these splits."""
        return np.flatnonzero(np.isin(self.split, [SPLITS.index(split) for split in splits]))

    def shard_of(self, rows: Array) -> Array:
        """(len(rows),) int64: the number of the shard that each scene stands in. Who sorts by it reads each once."""
        numbers: Array = self.places[rows, 0]
        return numbers

    def load(self, row: int) -> Scene:
        """One scene; its arrays are views into its shard, which is verified when it is read."""
        number, at = self.places[row].tolist()
        if self._held is None or self._held[0] != number:
            self._held = None  # the last one goes before the next one comes
            self._held = number, read_stage(self.paths[number], "points")
        shard = self._held[1]
        span = slice(*shard["point_offsets"][at : at + 2].tolist())
        arrays = {name: shard[name][span] for name in POINT_ATTRIBUTES if name in shard.arrays}
        if "boxes" not in shard.arrays:
            return Scene(self.ids[row], shard["points"][span], arrays)
        boxed = slice(*shard["box_offsets"][at : at + 2].tolist())
        return Scene(self.ids[row], shard["points"][span], arrays, shard["boxes"][boxed], shard["box_label"][boxed])

    def checksum(self, rows: Array) -> str:
        """Digest of these scenes: their ids, and the checksums that their shards say of themselves."""
        numbers = sorted(set(self.shard_of(rows).tolist()))
        stored = [stored_checksum(self.paths[number], "points") for number in numbers]
        return digest([[self.ids[row] for row in rows], stored], 32)


def read_scenes(manifest: Path, points: Sequence[Path]) -> Scenes:
    """The scenes of a manifest that are valid in these shards; their points stay on disk.

    Raises ``ArtifactError`` when a scene of the manifest is in no shard, or none that is usable is in train or test, or
    when shards name other classes.
    """
    listed = read_manifest(manifest)
    places: dict[str, tuple[int, int]] = {}
    unusable: set[str] = set()
    names: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
    for number, path in enumerate(points):
        header = read_header(path, "points")
        unusable |= set(header.attributes["quarantine"])
        places |= {scene_id: (number, row) for row, scene_id in enumerate(header.ids)}
        names.append((tuple(header.attributes["semantic_names"]), tuple(header.attributes["box_names"])))
        if names[-1] != names[0]:
            raise ArtifactError(f"{path}: its classes are not those of {points[0]}; delete both and make them anew")
    missing = [scene_id for scene_id in listed["shape_id"] if scene_id not in places]
    if missing:
        raise ArtifactError(f"{manifest}: {missing[0]} has no row in the shards that were given; run snakemake")
    kept = listed[[scene_id not in unusable for scene_id in listed["shape_id"]]]
    split = np.array([SPLITS.index(each) for each in kept["split"]], dtype=np.uint8)
    for name in ("train", "test"):
        if not (split == SPLITS.index(name)).any():
            raise ArtifactError(f"{manifest}: no usable scene is in the {name} split; a task needs some")
    ids = tuple(kept["shape_id"])
    return Scenes(ids, split, *names[0], tuple(points), np.array([places[each] for each in ids]))


@dataclass(frozen=True)
class PointPredictions:
    """A finetuned student's answers on the points of val and test scenes, counted by class; see the stage."""

    ids: tuple[str, ...]
    arrays: dict[str, Array]
    num_train: int
    semantic_names: tuple[str, ...]

    def rows(self, split: str) -> Array:
        """Row numbers of a split."""
        return np.flatnonzero(self.arrays["split"] == SPLITS.index(split))


@dataclass(frozen=True)
class BoxPredictions:
    """A finetuned student's boxes in val and test scenes, beside the true ones; see the stage."""

    ids: tuple[str, ...]
    arrays: dict[str, Array]
    num_train: int
    box_names: tuple[str, ...]

    def rows(self, split: str) -> Array:
        """Row numbers of a split."""
        return np.flatnonzero(self.arrays["split"] == SPLITS.index(split))


def read_point_predictions(manifest: Path, predictions: Path) -> PointPredictions:
    """Read counts of points and check that they are of this manifest's scenes and splits."""
    shard = _read_answers(manifest, predictions, "point_predictions")
    return PointPredictions(
        shard.ids, shard.arrays, int(shard.attributes["num_train"]), tuple(shard.attributes["semantic_names"])
    )


def read_box_predictions(manifest: Path, predictions: Path) -> BoxPredictions:
    """Read boxes and check that they are of this manifest's scenes and splits."""
    shard = _read_answers(manifest, predictions, "box_predictions")
    return BoxPredictions(
        shard.ids, shard.arrays, int(shard.attributes["num_train"]), tuple(shard.attributes["box_names"])
    )


def _read_answers(manifest: Path, predictions: Path, kind: str) -> Shard:
    shard = read_stage(predictions, kind)
    listed = read_manifest(manifest).set_index("shape_id")["split"]
    now = [SPLITS.index(listed[scene_id]) if scene_id in listed.index else -1 for scene_id in shard.ids]
    if now != shard["split"].tolist():
        raise ArtifactError(f"{predictions}: its scenes or splits are not those of {manifest}; make them anew")
    return shard
