"""Points from meshes: the whole surface, or what a depth sensor sees. Deterministic per random generator."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.dataset_blocks import PointOrder, Scan
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.geometry.meshes import Mesh, face_areas, face_normals
from pointlift.geometry.visibility import visible_by_rays

SCAN_DISTANCE = 3.0  # of a scan's viewpoints from the origin, in unit-sphere radii
_SCAN_TOLERANCE = 0.005
_SCAN_TRIES = 20


def sample_surface(mesh: Mesh, count: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw points uniformly by area: points (n, 3) float32, face_index (n,) int32, normals (n, 3) float32.

    A point is exact on its face (up to rounding to float32), uniform in barycentric coordinates (Osada et al. 2002,
    equation 1); its part label is ``mesh.part_label[face_index]``. Raises ``UnusableShapeError`` without any area.
    """
    reach = np.cumsum(face_areas(mesh))
    if not len(reach) or not reach[-1] > 0:
        raise UnusableShapeError("the mesh has no area to sample")
    face_index = np.searchsorted(reach, rng.random(count) * reach[-1], side="right")
    root, second = np.sqrt(rng.random(count)), rng.random(count)
    weights = np.stack([1 - root, root * (1 - second), root * second], axis=1)
    points = np.einsum("nc,ncd->nd", weights, mesh.vertices[mesh.faces[face_index]])
    normals = face_normals(mesh)[face_index]
    return points.astype(np.float32), face_index.astype(np.int32), normals.astype(np.float32)


def sample_scan(mesh: Mesh, scan: Scan, count: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Draw points as ``scan`` says, in the form of ``sample_surface``; the mesh is normalised (unit sphere).

    With ``scan.num_views`` > 0 only points that at least one of so many random viewpoints sees, uniform by area among
    those; with ``scan.noise`` > 0 Gaussian noise on every coordinate, normals and face_index as without it. Raises
    ``UnusableShapeError`` when a bounded number of draws does not give enough visible points.
    """
    if scan.num_views:
        points, face_index, normals = _sample_visible(mesh, scan.num_views, count, rng)
    else:
        points, face_index, normals = sample_surface(mesh, count, rng)
    if scan.noise:
        points = (points + rng.normal(0.0, scan.noise, points.shape)).astype(np.float32)
    return points, face_index, normals


def _sample_visible(mesh: Mesh, num_views: int, count: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    directions = rng.normal(size=(num_views, 3))
    positions = SCAN_DISTANCE * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    draws: list[tuple[Array, Array, Array]] = []
    found = 0
    for _ in range(_SCAN_TRIES):
        points, face_index, normals = sample_surface(mesh, 2 * count, rng)
        seen = visible_by_rays(mesh.vertices, mesh.faces, points, positions, _SCAN_TOLERANCE).any(axis=0)
        draws.append((points[seen], face_index[seen], normals[seen]))
        found += int(seen.sum())
        if found >= count:
            points, face_index, normals = (np.concatenate(part)[:count] for part in zip(*draws, strict=True))
            return points, face_index, normals
    raise UnusableShapeError(
        f"{num_views} viewpoints saw {found} of {2 * count * _SCAN_TRIES} points drawn, {count} are needed"
    )


def farthest_point_order(points: Array, count: int, start: int = 0) -> Array:
    """Farthest point sampling, the reference in float64: indices (count,) int64.

    Begins at point ``start``; each next one is farthest from all before it (Eldar et al. 1997), ties go to the lowest
    index. points (n, 3) with n >= count.
    """
    if count > len(points):
        raise ValueError(f"{count} of {len(points)} points were asked for")
    columns = np.ascontiguousarray(np.asarray(points, dtype=np.float64).T)
    order = np.full(count, start, dtype=np.int64)
    nearest = np.full(len(points), np.inf)
    squared, one = np.empty_like(nearest), np.empty_like(nearest)
    for step in range(1, count):
        squared.fill(0.0)
        for column in columns:  # columns in place: a third of the time of rows
            np.subtract(column, column[order[step - 1]], out=one)
            squared += np.multiply(one, one, out=one)
        np.minimum(nearest, squared, out=nearest)
        order[step] = int(nearest.argmax())
    return order


def stored_order(points: Array, rule: PointOrder) -> Array:
    """The rows of a cloud (n, 3) in the order in which ``rule`` stores them: a permutation (n,) int64.

    farthest_first : the first point stays the first, and each next one is farthest from all before it; so the first m
    rows are the m farthest points from point 0, of the cloud as of any longer prefix of it, because what makes a row
    the next one (no point behind it is farther from those before it) stays true when rows behind it are left out.
    Points at the place of another come last, in their order.
    """
    if rule == "sampled":
        return np.arange(len(points))
    order = farthest_point_order(points, len(points))
    first = np.unique(order, return_index=True)[1]  # with no other place left, a point is chosen again
    chosen = order[np.sort(first)]
    return np.concatenate([chosen, np.setdiff1d(np.arange(len(points)), chosen)])
