"""One scene as it is handed to tasks and to who cuts it: points in metres, what is known of each, and its boxes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pointlift.contracts.shards import Array


@dataclass(frozen=True)
class Scene:
    """A room, a frame or a scan of a ``points`` shard.

    points : (n, 3) float32, metres, z up; arrays : the attributes of points that its dataset has, one row a point
    (``stages.POINT_ATTRIBUTES``); boxes : (k, 7) float32, centre, whole edges, heading about z in radians; box_label :
    (k,) int16, index in the dataset's ``box_names``. The last two are None where the dataset has no boxes.
    """

    scene_id: str
    points: Array
    arrays: Mapping[str, Array]
    boxes: Array | None = None
    box_label: Array | None = None
