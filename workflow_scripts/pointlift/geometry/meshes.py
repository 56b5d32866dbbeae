"""Triangle meshes: cleaning, one normalisation, areas and normals. Float64, no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array, Shard

LARGEST_COORDINATE = 1e12
SMALLEST_AREA = 1e-12  # of the squared diagonal: below what float32 vertices can resolve
#: Rotations that bring the named axis up (to z), right-handed.
TO_Z_UP: dict[str, Array] = {
    "x": np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]),
    "y": np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]),
}


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    vertices : (v, 3) float64; faces : (f, 3) int64, indices into vertices; part_label : (f,) int16, or None.
    """

    vertices: Array
    faces: Array
    part_label: Array | None = None


def meshes_of(shard: Shard) -> Iterator[Mesh]:
    """Every mesh of a ``meshes`` shard, in order and normalised; empty where the shape is not valid."""
    return (mesh_of(shard, index) for index in range(len(shard.ids)))


def mesh_of(shard: Shard, index: int) -> Mesh:
    """One mesh of a ``meshes`` shard, by its place; see ``meshes_of``."""
    vertices, faces = (slice(*shard[name][index : index + 2]) for name in ("vertex_offsets", "face_offsets"))
    part_label = shard["part_label"][faces] if "part_label" in shard.arrays else None
    return Mesh(shard["vertices"][vertices].astype(np.float64), shard["faces"][faces].astype(np.int64), part_label)


def clean(mesh: Mesh) -> Mesh:
    """Take out what cannot be drawn or sampled; the order of what stays is kept.

    Faces with a vertex that is not finite and faces without area go (with their part labels), then vertices that no
    face names. Duplicated faces and several bodies stay. Raises ``UnusableShapeError`` when an index names no vertex,
    a coordinate is beyond ``LARGEST_COORDINATE``, or nothing with extent and area is left.
    """
    vertices, faces, part_label = _typed(mesh)
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise UnusableShapeError(f"a face names a vertex outside 0..{len(vertices) - 1}")
    finite = np.asarray(np.isfinite(vertices).all(axis=1))
    kept = finite[faces].all(axis=1)
    if not kept.any():
        raise UnusableShapeError("no face has finite vertices" if len(faces) else "the mesh has no faces")
    used = vertices[_named(faces[kept], len(vertices))]
    low, high = bounds(used)
    largest = max(np.abs(low).max(), np.abs(high).max())
    if largest > LARGEST_COORDINATE:
        raise UnusableShapeError(f"a coordinate is beyond {LARGEST_COORDINATE:g}")
    diagonal = float(np.linalg.norm(high - low))
    if diagonal <= largest * 1e-9:
        raise UnusableShapeError("the mesh has no extent")
    centred = np.where(np.isfinite(vertices), vertices - used.mean(axis=0), 0.0)
    kept &= face_areas(Mesh(centred, faces)) > SMALLEST_AREA * diagonal**2
    if not kept.any():
        raise UnusableShapeError("no face has an area")
    named = _named(faces[kept], len(vertices))
    renumbered = np.cumsum(named) - 1
    return Mesh(vertices[named], renumbered[faces[kept]], None if part_label is None else part_label[kept])


def _named(faces: Array, num_vertices: int) -> Array:
    """(num_vertices,) bool: which vertices a face names."""
    named = np.zeros(num_vertices, dtype=bool)
    named[faces] = True
    return named


def _typed(mesh: Mesh) -> tuple[Array, Array, Array | None]:
    vertices = np.asarray(mesh.vertices, dtype=np.float64).reshape(-1, 3)
    faces = np.asarray(mesh.faces, dtype=np.int64).reshape(-1, 3)
    if mesh.part_label is None:
        return vertices, faces, None
    part_label = np.asarray(mesh.part_label, dtype=np.int16)
    if part_label.shape != (len(faces),):
        raise UnusableShapeError(f"{len(faces)} faces have {part_label.size} part labels")
    return vertices, faces, part_label


def normalise(mesh: Mesh) -> tuple[Mesh, Array, float]:
    """Move the bounding-box centre to the origin and the farthest vertex to radius 1.

    Returns the mesh, centre (3,) float64 and scale, so that original = vertices * scale + centre. Every vertex counts:
    ``clean`` the mesh first. Raises ``UnusableShapeError`` for a mesh without extent.
    """
    if not len(mesh.vertices):
        raise UnusableShapeError("the mesh has no vertices")
    low, high = bounds(mesh.vertices)
    centre = (low + high) / 2
    centred = mesh.vertices - centre
    scale = float(np.linalg.norm(centred, axis=1).max())
    if not scale > 0:
        raise UnusableShapeError("the mesh has no extent")
    return Mesh(centred / scale, mesh.faces, mesh.part_label), centre, scale


def bounds(points: Array) -> tuple[Array, Array]:
    """Smallest and largest x, y and z of points (n, 3): two (3,); nan where a coordinate is.

    Each coordinate by itself in memory: numpy reduces (n, 3) along its long axis some ten times slower.
    """
    columns = np.ascontiguousarray(points.T)
    return columns.min(axis=1), columns.max(axis=1)


def face_areas(mesh: Mesh) -> Array:
    """Area of every face, (f,) float64, in squared units of the vertices."""
    return np.linalg.norm(_doubled_area_vectors(mesh), axis=1) / 2


def face_normals(mesh: Mesh) -> Array:
    """Unit normal of every face by the right-hand rule, (f, 3) float64; zero for a face without area."""
    vectors = _doubled_area_vectors(mesh)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


def _doubled_area_vectors(mesh: Mesh) -> Array:
    first, second, third = (np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces[:, corner]] for corner in range(3))
    return np.cross(second - first, third - first)


def triangulate(polygons: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    """Cut polygons into fans around their first corner, which is exact for convex ones.

    Returns faces (f, 3) int64 and polygon_index (f,) int64, the polygon each face came from (to carry labels over).
    A polygon with fewer than three corners gives no face.
    """
    faces = [
        (polygon[0], polygon[corner], polygon[corner + 1], index)
        for index, polygon in enumerate(polygons)
        for corner in range(1, len(polygon) - 1)
    ]
    table = np.asarray(faces, dtype=np.int64).reshape(-1, 4)
    return table[:, :3].copy(), table[:, 3].copy()


def rotate(mesh: Mesh, rotation: Array) -> Mesh:
    """Turn every vertex by rotation (3, 3), which acts on column vectors."""
    return Mesh(mesh.vertices @ np.asarray(rotation, dtype=np.float64).T, mesh.faces, mesh.part_label)
