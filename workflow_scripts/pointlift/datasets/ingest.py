"""From a dataset to the arrays of a mesh shard, and from mesh shards to the manifest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from pointlift.contracts.dataset import Dataset
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.manifest import COLUMNS, UNLABELLED
from pointlift.contracts.shards import Array, Shard
from pointlift.contracts.stages import pack
from pointlift.geometry.meshes import Mesh, normalise

logger = logging.getLogger(__name__)


def load_shard(dataset: Dataset, ids: Sequence[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """Load, clean and normalise the shapes of one shard: the arrays of kind ``meshes`` and their attributes.

    A shape that cannot be used has empty rows, ``valid`` False and its reason in attribute ``quarantine``.
    """
    meshes: list[Mesh] = []
    centres, scales, quarantine = np.zeros((len(ids), 3)), np.ones(len(ids)), {}
    for row, shape_id in enumerate(ids):
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
    attributes = {
        "quarantine": quarantine,
        "entries": {shape_id: asdict(dataset.entry(shape_id)) for shape_id in ids},
        "class_names": list(dataset.class_names),
        "part_names": list(dataset.part_names),
        "licence": dataset.licence,
        "source": dataset.source,
    }
    return arrays, attributes


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
    """The manifest of a dataset from its mesh shards (name, shard), in order; unusable shapes stay in it."""
    rows = []
    for name, shard in shards:
        labels = {class_name: label for label, class_name in enumerate(shard.attributes["class_names"])}
        for shape_id in shard.ids:
            entry = shard.attributes["entries"][shape_id]
            label = labels.get(entry["class_name"], UNLABELLED)
            rows.append({"shape_id": shape_id, "label": label, "shard": name, **entry})
    return pd.DataFrame(rows, columns=COLUMNS)


def quarantine_rows(shards: Sequence[tuple[str, Shard]]) -> list[tuple[str, str, str]]:
    """(shape id, stage, reason) of every shape that prepare_meshes could not use."""
    return [
        (shape_id, "prepare_meshes", reason)
        for _, shard in shards
        for shape_id, reason in shard.attributes["quarantine"].items()
    ]
