"""What a teacher may be trained on: the views of the train and val splits of one dataset, by one rig. Never of test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import xxhash

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.manifest import UNLABELLED, labelled_classes, read_manifest
from pointlift.contracts.shards import Array, Shard, read_header
from pointlift.contracts.stages import join_offsets, read_stage
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.views import LabelledViews, ahead, decode, decode_maps, labelled_views, num_views
from pointlift.training.data import TensorData

#: Pictures that take up to so many bytes are decoded once; of more, a batch at a time. It changes no bit.
LARGEST_DECODED = 2 << 30
_CHUNK = 256


class TrainingViews:
    """The train and val splits of the dataset that a teacher is trained on."""

    def __init__(self, manifest: Path, shards: Sequence[Path], class_names: Sequence[str] | None = None) -> None:
        """``shards``: of kind views, all of the dataset. ``class_names``: in the order of labels; None: the manifest's.

        Raises ``ArtifactError`` for a class that is not among them.
        """
        rows = read_manifest(manifest)
        self._manifest, self._shards = manifest, tuple(shards)
        self._class_of = {
            split: dict(zip(chosen["shape_id"], chosen["class_name"], strict=True))
            for split, chosen in ((split, rows[rows["split"] == split]) for split in ("train", "val"))
        }
        found = sorted({name for _, name in labelled_classes(manifest) if name})
        self._class_names = tuple(class_names or found)
        unknown = [name for name in found if name not in self._class_names]
        if unknown:
            raise ArtifactError(f"{manifest}: classes {unknown} are not among {list(self._class_names)}")

    def class_names(self) -> tuple[str, ...]:
        """Names of the K classes. Raises ``ArtifactError`` where a shape of the two splits has none."""
        bare = [shape_id for split in self._class_of.values() for shape_id, name in split.items() if not name]
        if bare:
            raise ArtifactError(
                f"{self._manifest}: {len(bare)} shapes of its train and val splits have no class (the first: "
                f"{bare[0]}), and this teacher learns from classes; train it on a labelled dataset, or take kind "
                "view_autoencoder with sampler uniform"
            )
        return self._class_names

    def part_names(self) -> tuple[str, ...]:
        """Names of the P parts that the maps beside the views tell apart. Raises ``ArtifactError`` where none are."""
        found = {tuple(read_header(path, "views").attributes.get("part_names", ())) for path in self._shards}
        if len(found) != 1 or not (names := found.pop()):
            raise ArtifactError(
                "train_teacher: this teacher learns from maps of parts, and the views have none, or not the same ones; "
                "take a rig with part_maps: true"
            )
        return names

    def labelled(self, split: str, resize: Callable[[Array], Array]) -> LabelledViews | None:
        """All views of a split, decoded, with labels; None when it has none. See ``views.labelled_views``."""
        return labelled_views(self._shards, self._labels(split), resize)

    def stored(self, split: str, preprocessing: Preprocessing) -> StoredViews | None:
        """All views of a split, decoded when they are asked for; None when it has none. Label -1: of no class."""
        labels = self._labels(split)
        parts = [_chosen(read_stage(path, "views"), labels) for path in self._shards]
        parts = [part for part in parts if part.ids]
        if not parts:
            return None
        counts = {num_views(part) for part in parts}
        if len(counts) != 1:
            raise ArtifactError(f"views: shards of one dataset have {sorted(counts)} views a shape; make them anew")
        arrays = {
            "foreground": np.concatenate([part["foreground"] for part in parts]),
            "image_offsets": join_offsets([part["image_offsets"] for part in parts]),
            "image_bytes": _joined([part.arrays.pop("image_bytes") for part in parts]),
        }
        if all("part_map_bytes" in part.arrays for part in parts):
            arrays["part_map_offsets"] = join_offsets([part["part_map_offsets"] for part in parts])
            arrays["part_map_bytes"] = _joined([part.arrays.pop("part_map_bytes") for part in parts])
        joined = Shard(tuple(shape_id for part in parts for shape_id in part.ids), arrays)
        return StoredViews(joined, np.array([labels[shape_id] for shape_id in joined.ids]), preprocessing)

    def required(self, split: str, preprocessing: Preprocessing) -> StoredViews:
        """The same; raises ``ArtifactError`` when there is none."""
        found = self.stored(split, preprocessing)
        if found is None:
            raise ArtifactError(f"train_teacher: the dataset has no usable shape in its {split} split")
        return found

    def _labels(self, split: str) -> dict[str, int]:
        label = {name: number for number, name in enumerate(self._class_names)}
        return {shape_id: label.get(name, UNLABELLED) for shape_id, name in self._class_of[split].items()}


class StoredViews:
    """Views of S shapes as the files they came as. ``label`` (S,) int64; ``num_views`` V, the same for every shape."""

    def __init__(self, shard: Shard, label: Array, preprocessing: Preprocessing) -> None:
        self.label, self.num_views = label.astype(np.int64), num_views(shard)
        self._shard, self._preprocessing = shard, preprocessing
        self._decoded: Array | None = None
        if self.num_images * 3 * preprocessing.size**2 <= LARGEST_DECODED:
            starts = range(0, self.num_images, _CHUNK)
            chunks = [np.arange(start, min(start + _CHUNK, self.num_images)) for start in starts]
            self._decoded = np.concatenate([self._decode(chunk) for chunk in chunks])

    @property
    def num_images(self) -> int:
        """S * V."""
        return len(self.label) * self.num_views

    def images(self, number: Array) -> Array:
        """Pictures by number (shape * V + view) of any axes: uint8 (..., 3, H, H) at the network's size."""
        flat = number.reshape(-1)
        found = self._decode(flat) if self._decoded is None else self._decoded[flat]
        return found.reshape(*number.shape, *found.shape[1:])

    def part_maps(self, number: Array) -> Array:
        """Maps of parts by number, at the network's size by the nearest pixel: uint8 (..., H, H), 255 for no part."""
        size, found = self._preprocessing.size, decode_maps(self._shard, number.reshape(-1))
        if found.shape[1:] != (size, size):
            row, column = (((np.arange(size) + 0.5) * side / size).astype(np.int64) for side in found.shape[1:])
            found = np.ascontiguousarray(found[:, row[:, None], column])
        return found.reshape(*number.shape, size, size)

    def checksum(self) -> str:
        """Digest of the files and labels."""
        state = xxhash.xxh3_128()
        maps = [self._shard[name] for name in ("part_map_bytes", "part_map_offsets") if name in self._shard.arrays]
        for array in (self._shard["image_bytes"], self._shard["image_offsets"], self.label, *maps):
            state.update(np.ascontiguousarray(array).view(np.uint8).data)
        return state.hexdigest()

    def _decode(self, number: Array) -> Array:
        images_BHW3 = torch.from_numpy(decode(self._shard, number))
        return self._preprocessing.resize(images_BHW3).contiguous().numpy()


@dataclass(frozen=True)
class PictureData(TensorData):
    """Rows that name pictures, which ``prepare`` decodes: the next batch is made ready while the network works.

    ``classes`` (rows,) int64: every row of an epoch is drawn anew, its class uniformly, then one of that class's rows.
    None: an epoch sees every row once.
    """

    classes: Array | None = None

    def order(self, epoch: int, seed: int) -> Array:
        """Numbers of the rows as an epoch sees them."""
        if self.classes is None:
            return super().order(epoch, seed)
        draw = np.random.default_rng(stable_seed(seed, epoch, "balanced"))
        by_class = np.argsort(self.classes, kind="stable")
        _, first, count = np.unique(self.classes[by_class], return_index=True, return_counts=True)
        drawn = draw.integers(len(first), size=len(self))
        return by_class[first[drawn] + draw.integers(count[drawn])]

    def batches(self, epoch: int, batch_size: int, seed: int, start: int = 0) -> Iterator[dict[str, torch.Tensor]]:
        """As ``TensorData.batches``."""
        order = self.order(epoch, seed)
        numbers = range(start, self.num_batches(batch_size))
        yield from ahead(self.rows, [order[number * batch_size : (number + 1) * batch_size] for number in numbers])


def by_shape(views: StoredViews) -> PictureData:
    """One row per shape: ``image`` (B, V, 3, H, H) uint8 and ``label`` (B,)."""
    number = np.arange(views.num_images).reshape(-1, views.num_views)
    return PictureData({"number": number, "label": views.label}, _pictures(views))


def by_view(views: StoredViews, balanced: bool) -> PictureData:
    """One row per view: ``image`` (B, 3, H, H) uint8. balanced: drawn by class, then by shape and view of it."""
    classes = np.repeat(views.label, views.num_views) if balanced else None
    return PictureData({"number": np.arange(views.num_images)}, _pictures(views), classes)


def with_part_maps(views: StoredViews, balanced: bool) -> PictureData:
    """As ``by_view``, with ``label`` (B,) and ``part_map`` (B, H, H) uint8, 255 for no part."""
    label = np.repeat(views.label, views.num_views)
    arrays = {"number": np.arange(views.num_images), "label": label}
    return PictureData(arrays, _pictures(views, maps=True), label if balanced else None)


def _pictures(views: StoredViews, maps: bool = False) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    def prepare(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        number = batch.pop("number").numpy()
        if maps:
            batch["part_map"] = torch.from_numpy(views.part_maps(number))
        return {**batch, "image": torch.from_numpy(views.images(number))}

    return prepare


def _chosen(shard: Shard, labels: Mapping[str, int]) -> Shard:
    """The valid shapes of a shard of views that stand in ``labels``, without the bytes of all others."""
    views = num_views(shard)
    rows = [row for row, shape_id in enumerate(shard.ids) if shard["valid"][row] and shape_id in labels]
    arrays = {"foreground": shard["foreground"][rows]}
    for name in ("image", "part_map"):
        if f"{name}_bytes" in shard.arrays:
            offsets = shard[f"{name}_offsets"]
            spans = [offsets[row * views : (row + 1) * views + 1] for row in rows]
            pieces = [shard[f"{name}_bytes"][span[0] : span[-1]] for span in spans]
            arrays[f"{name}_bytes"] = np.concatenate([np.empty(0, np.uint8), *pieces])
            arrays[f"{name}_offsets"] = join_offsets([np.zeros(1, np.int64), *spans])
    return Shard(tuple(shard.ids[row] for row in rows), arrays)


def _joined(parts: list[Array]) -> Array:
    """Parts one after another, each let go when it is copied: they are most of the memory. ``parts`` is empty then."""
    found, start = np.empty(sum(map(len, parts)), dtype=np.uint8), 0
    while parts:
        part = parts.pop(0)
        found[start : start + len(part)] = part
        start += len(part)
    return found
