"""Maps of named parts: what their pixels mean, which datasets can have them, and in which order parts are drawn."""

from __future__ import annotations

from typing import Any

import numpy as np

from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.contracts.rig_blocks import CameraRigSettings
from pointlift.contracts.shards import Array, Shard

#: Background, and what has no part. Every number below it may be a part.
NO_PART = 255


def part_attributes(settings: CameraRigSettings, shapes: Shard) -> dict[str, list[str]]:
    """What a ``views`` shard says of its part maps, ``class_names`` and ``part_names``; {} for a rig without them.

    Raises ``ArtifactError`` for shapes without part labels, and for more parts than an 8-bit map can tell apart.
    """
    if not settings.part_maps:
        return {}
    names = {key: list(shapes.attributes.get(key, [])) for key in ("class_names", "part_names")}
    if "part_label" not in shapes.arrays or not names["part_names"]:
        raise ArtifactError(
            "part_maps: these shapes have no part labels; take a rig without part_maps, or a dataset with named parts"
        )
    if len(names["part_names"]) > NO_PART:
        raise ArtifactError(
            f"part_maps: the dataset has {len(names['part_names'])} parts, a map of 8 bits holds at most {NO_PART}; "
            "take a rig without part_maps"
        )
    return names


def codes(part_label: Array, num_faces: int) -> Array:
    """What faces are drawn in, (f,) int64: one more than their part, 0 for no part, as the background."""
    label = np.asarray(part_label, dtype=np.int64)
    if label.shape != (num_faces,):
        raise UnusableShapeError(f"{num_faces} faces have {label.size} part labels")
    if label.size and (label.min() < -1 or label.max() >= NO_PART):
        raise UnusableShapeError(f"part labels are {label.min()} to {label.max()}, must be -1 to {NO_PART - 1}")
    return label + 1


def from_codes(code: Array) -> Array:
    """The map of what was drawn, uint8 of the same shape."""
    return np.where(code == 0, NO_PART, code.astype(np.int64) - 1).astype(np.uint8)


def ordered_scene(pyrender: Any) -> Any:
    """pyrender's class ``Scene``, its meshes in the order of their nodes' names.

    They stand in a set and are drawn in its order, which changes from process to process; where two surfaces coincide
    the first one drawn is seen.
    """

    class OrderedScene(pyrender.Scene):
        @property
        def mesh_nodes(self) -> list[Any]:
            """All nodes with a mesh."""
            return sorted(super().mesh_nodes, key=lambda node: node.name or "")

    return OrderedScene
