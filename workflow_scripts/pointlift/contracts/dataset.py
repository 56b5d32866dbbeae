"""What a dataset offers: ids that are known without opening a file, and one mesh or one cloud at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from pointlift.contracts.shards import Array


@dataclass(frozen=True)
class Entry:
    """What is known of one shape beside its geometry.

    class_name : "" for a shape without a class; source_path : relative to the dataset's folder, "" where there is no
    file; sha256 : of the source file's bytes (of the arrays where there is no file); object_name : of sets that hold
    several copies of one object, the object this is a copy of, "" where nothing says which; None: it is its own.
    """

    class_name: str
    split: Literal["train", "val", "test"]
    source_path: str
    sha256: str
    object_name: str | None = None


class MeshArrays(Protocol):
    """A triangle mesh as it crosses rooms; ``geometry.meshes.Mesh`` is one."""

    @property
    def vertices(self) -> Array:
        """(v, 3) float64."""

    @property
    def faces(self) -> Array:
        """(f, 3) int64, indices of vertices."""

    @property
    def part_label(self) -> Array | None:
        """(f,) int16, index in the dataset's ``part_names``; None where it has none."""


@dataclass(frozen=True)
class Boxes:
    """Oriented boxes around the objects of a scene, upright, in the units of its points.

    centre : (k, 3) float64; size : (k, 3) float64, whole edges along the box's own x, y and z; heading : (k,) float64,
    radians from the scene's x to the box's x, counterclockwise as seen from above; label : (k,) int16, index in the
    dataset's ``box_names``.
    """

    centre: Array
    size: Array
    heading: Array
    label: Array


@dataclass(frozen=True)
class PointCloud:
    """A cloud as it crosses rooms, in its source's order. Each attribute has one row a point, or is None.

    points : (n, 3) float64; normals : (n, 3) float64; colour : (n, 3) uint8; intensity : (n,) float32, what a laser saw
    come back; part_label, semantic_label : (n,) int16, indices in the dataset's ``part_names`` and ``semantic_names``,
    -1 where a point has none; instance_label : (n,) int32, -1 where it belongs to no object; boxes : of the scene.
    """

    points: Array
    normals: Array | None = None
    part_label: Array | None = None
    colour: Array | None = None
    intensity: Array | None = None
    semantic_label: Array | None = None
    instance_label: Array | None = None
    boxes: Boxes | None = None


@dataclass(frozen=True)
class PosedViews:
    """Pictures that were taken of a cloud, with what the camera knew; the world is that of the cloud (metres, z up).

    images : (V, H, W, 3) uint8; depth : (V, H, W) float32, along the camera axis at the pixel centres, in metres, inf
    where nothing was measured; world_to_camera : (V, 4, 4) float64, rigid; intrinsics : (V, 3, 3) float64, in pixels of
    these images. Conventions of ``geometry.cameras``: the camera looks along +z, y down, first pixel centre (0.5, 0.5).
    """

    images: Array
    depth: Array
    world_to_camera: Array
    intrinsics: Array


class Source(Protocol):
    """What datasets of meshes and of points have in common, opened.

    ``class_names`` stand in the order of the dataset's own list, or sorted where it has none; labels are indices in it.
    """

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    part_names: tuple[str, ...]
    licence: str
    source: str
    up_axis: Literal["x", "y", "z"] | None
    """Axis that points up in the source files, None where poses are arbitrary. What is loaded is z up."""

    def entry(self, shape_id: str) -> Entry:
        """Class, split and source of one shape; ``sha256`` is "" when its file cannot be read."""


class Dataset(Source, Protocol):
    """A dataset of meshes."""

    def load(self, shape_id: str) -> MeshArrays:
        """One cleaned mesh, z up, in the units of its source. Raises ``UnusableShapeError`` with the reason."""


class PointDataset(Source, Protocol):
    """A dataset without meshes: its shapes come as points (``has_meshes`` of its settings is False)."""

    point_attributes: tuple[str, ...]
    """Which attributes of ``PointCloud`` its clouds have: each stands in all of them, or in none."""
    semantic_names: tuple[str, ...]
    """Names of the classes of single points, () for objects."""
    box_names: tuple[str, ...]
    """Names of the classes of boxes; () where scenes have none."""

    def load_points(self, shape_id: str) -> PointCloud:
        """One cloud, z up, in the units and order of its source. Raises ``UnusableShapeError`` with the reason."""


class FrameDataset(PointDataset, Protocol):
    """A dataset whose clouds come with the pictures they were seen in (``has_views`` of its settings is True)."""

    def load_views(self, shape_id: str) -> PosedViews:
        """The pictures of one cloud, as many of every cloud. Raises ``UnusableShapeError`` with the reason."""
