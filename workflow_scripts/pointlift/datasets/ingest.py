"""From a dataset to the arrays of a mesh or point shard, and from such shards to the manifest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from pointlift.contracts.dataset import Boxes, Dataset, Entry, PointCloud, PointDataset, Source
from pointlift.contracts.dataset_blocks import PointDatasetSettings
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.manifest import COLUMNS, OBJECT, UNLABELLED
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import STAGES, pack
from pointlift.geometry import clouds
from pointlift.geometry.meshes import Mesh, normalise

logger = logging.getLogger(__name__)
_STORED = STAGES["points"]


def load_shard(dataset: Dataset, ids: Sequence[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Load, clean and normalise the shapes of one shard: the arrays of kind ``meshes`` and their attributes.

    A shape that cannot be used has empty rows, ``valid`` False and its reason in attribute ``quarantine``.
    """
    meshes: list[Mesh] = []
    centres, scales, quarantine = np.zeros((len(ids), 3)), np.ones(len(ids)), {}
    entries: dict[str, Any] = {}
    for row, shape_id in enumerate(ids):
        entries[shape_id] = _told(dataset.entry(shape_id))  # beside its shape, whose bytes are at hand
        try:
            source = dataset.load(shape_id)
            mesh, centres[row], scales[row] = normalise(Mesh(source.vertices, source.faces, source.part_label))
        except UnusableShapeError as error:
            logger.warning("%s cannot be used: %s", shape_id, error)
            quarantine[shape_id] = str(error)
            mesh = Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64), np.zeros(0, np.int16))
        meshes.append(mesh)
    arrays = _pack_meshes(meshes, with_parts=bool(dataset.part_names))
    arrays["centre"], arrays["scale"] = centres.astype(np.float32), scales.astype(np.float32)
    arrays["valid"] = np.array([shape_id not in quarantine for shape_id in ids])
    return arrays, _attributes(dataset, entries, quarantine)


def load_points_shard(
    dataset: PointDataset, ids: Sequence[str], settings: PointDatasetSettings
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Load, check and normalise the clouds of one shard, and take ``num_points`` of each as ``settings`` say.

    The arrays of kind ``points`` and their attributes, as ``load_shard`` gives them for meshes.
    """
    names = ("points", *dataset.point_attributes)
    rows: list[dict[str, Array]] = []
    boxes: list[Boxes | None] = []
    quarantine: dict[str, str] = {}
    entries: dict[str, Any] = {}
    for shape_id in ids:
        entries[shape_id] = _told(dataset.entry(shape_id))
        try:
            cloud = _complete(dataset, clouds.check(dataset.load_points(shape_id)))
            rng = np.random.default_rng(stable_seed(shape_id, settings.seed, "points"))
            whole = cloud if settings.keep_coordinates else clouds.normalise(cloud)
            taken = clouds.take(whole, settings.subsample, settings.num_points, rng)
            taken = clouds.arrange(taken, settings.order)
            rows.append({name: getattr(taken, name).astype(_STORED[name].dtype) for name in names})
            boxes.append(taken.boxes)
        except UnusableShapeError as error:
            logger.warning("%s cannot be used: %s", shape_id, error)
            quarantine[shape_id] = str(error)
            rows.append({name: np.zeros((0, *_STORED[name].axes[1:]), _STORED[name].dtype) for name in names})
            boxes.append(None)
    arrays = {"point_offsets": pack([row["points"] for row in rows])[1]}
    for name in names:  # one at a time: scenes are large, and each is held twice only here
        arrays[name] = np.concatenate([row.pop(name) for row in rows])
    if dataset.box_names:
        arrays |= _pack_boxes(boxes)
    arrays["valid"] = np.array([shape_id not in quarantine for shape_id in ids])
    of_points = {"semantic_names": list(dataset.semantic_names), "box_names": list(dataset.box_names)}
    return arrays, _attributes(dataset, entries, quarantine) | of_points


def _told(entry: Entry) -> dict[str, Any]:
    """What is known of a shape, by name; sets without copies tell nothing of objects."""
    told = asdict(entry)
    if entry.object_name is None:
        del told["object_name"]
    return told


def _complete(dataset: PointDataset, cloud: PointCloud) -> PointCloud:
    """The cloud, as long as it has what its dataset says that all have. Raises ``UnusableShapeError``."""
    lacking = [name for name in dataset.point_attributes if getattr(cloud, name) is None]
    if dataset.box_names and cloud.boxes is None:
        lacking.append("boxes")
    if lacking:
        raise UnusableShapeError(f"it has no {', '.join(lacking).replace('_', ' ')}, unlike the others of its dataset")
    for name, classes in (("part_label", dataset.part_names), ("semantic_label", dataset.semantic_names)):
        if name in dataset.point_attributes:
            _require_labels(name, getattr(cloud, name), len(classes))
    if cloud.boxes is not None:
        _require_labels("box_label", cloud.boxes.label, len(dataset.box_names))
    return cloud


def _require_labels(name: str, label: Array, num_classes: int) -> None:
    if len(label) and not -1 <= label.min() <= label.max() < num_classes:
        raise UnusableShapeError(f"{name.replace('_', ' ')}: a value is not within -1 to {num_classes - 1}")


def _pack_boxes(boxes: Sequence[Boxes | None]) -> dict[str, Array]:
    """Boxes of every scene, one after another; a scene that cannot be used has none."""
    rows = [
        np.zeros((0, 7)) if each is None else np.column_stack([each.centre, each.size, each.heading]) for each in boxes
    ]
    labels = [np.zeros(0) if each is None else each.label for each in boxes]
    packed, offsets = pack(rows)
    label = np.concatenate(labels).astype(np.int16)
    return {"boxes": packed.astype(np.float32), "box_offsets": offsets, "box_label": label}


def _attributes(dataset: Source, entries: dict[str, Any], quarantine: dict[str, str]) -> dict[str, Any]:
    return {
        "quarantine": quarantine,
        "entries": entries,
        "class_names": list(dataset.class_names),
        "part_names": list(dataset.part_names),
        "licence": dataset.licence,
        "source": dataset.source,
    }


def _pack_meshes(meshes: Sequence[Mesh], with_parts: bool) -> dict[str, Array]:
    vertices, vertex_offsets = pack([mesh.vertices.astype(np.float32) for mesh in meshes])
    faces, face_offsets = pack([mesh.faces.astype(np.int32) for mesh in meshes])
    arrays = {
        "vertices": vertices,
        "vertex_offsets": vertex_offsets,
        "faces": faces,
        "face_offsets": face_offsets,
    }
    if with_parts:
        labels = [np.full(len(m.faces), -1) if m.part_label is None else m.part_label for m in meshes]
        arrays["part_label"] = np.concatenate(labels).astype(np.int16)
    return arrays


def manifest_rows(shards: Sequence[tuple[str, Shard]]) -> pd.DataFrame:
    """The manifest of a dataset from its mesh or point shards (name, shard), in order; unusable shapes stay in it."""
    rows = []
    for name, shard in shards:
        labels = {class_name: label for label, class_name in enumerate(shard.attributes["class_names"])}
        for shape_id in shard.ids:
            entry = shard.attributes["entries"][shape_id]
            label = labels.get(entry["class_name"], UNLABELLED)
            rows.append({"shape_id": shape_id, "label": label, "shard": name, **entry})
    has_copies = any(OBJECT in row for row in rows)
    return pd.DataFrame(rows, columns=[*COLUMNS, OBJECT] if has_copies else COLUMNS)


def quarantine_rows(shards: Sequence[tuple[str, Shard]], stage: str) -> list[tuple[str, str, str]]:
    """(shape id, stage, reason) of every shape that ``stage``, which made the shards, could not use."""
    return [
        (shape_id, stage, reason) for _, shard in shards for shape_id, reason in shard.attributes["quarantine"].items()
    ]
