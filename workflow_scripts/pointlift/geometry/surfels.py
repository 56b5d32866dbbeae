"""A cloud as a surface: every point a small flat disc in its tangent plane (a surfel). Float64, no I/O.

Pfister et al., "Surfels: Surface Elements as Rendering Primitives", SIGGRAPH 2000, draw point sets so. Both sides of a
disc are surface, so that the sign of a normal means nothing.
"""

from __future__ import annotations

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.geometry.meshes import Mesh

_CORNERS = 6
_LARGEST = 2.0  # a disc's spacing, in median spacings of its cloud: a stray point makes no sheet
_ROUNDING = 1e-5  # of the cloud's extent: nearer points stand at one place, as in float32


def discs(
    points: Array, normals: Array | None, size: float, num_neighbours: int, part_label: Array | None = None
) -> Mesh:
    """Regular hexagons around the points, each as large as a circle of radius ``size`` times the local spacing.

    points (n, 3), normals (n, 3) or None; points at one place make one disc. part_label (n,): the mesh has them too, a
    disc that of the first point at its place. Random points on a plane are covered to a
    little more than 1 - exp(-pi size^2), the share of discs of one size. Raises ``UnusableShapeError`` when fewer
    than three places are left.
    """
    places, kept, _ = distinct(points)
    if len(places) < 3:
        raise UnusableShapeError(f"the cloud has points at {len(places)} places, a surface needs three")
    neighbours, distance = nearest(places, num_neighbours)
    axes = tangent_axes(tangent_normals(places, neighbours, None if normals is None else np.asarray(normals)[kept]))
    radius = size * spacing(distance) * np.sqrt(2 * np.pi / (_CORNERS * np.sin(2 * np.pi / _CORNERS)))
    angle = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    corners = places[:, None] + radius[:, None, None] * np.einsum("ca,nad->ncd", circle, axes)
    fan = np.stack([np.zeros(_CORNERS - 2, np.int64), np.arange(1, _CORNERS - 1), np.arange(2, _CORNERS)], axis=1)
    faces = (fan + _CORNERS * np.arange(len(places))[:, None, None]).reshape(-1, 3)
    labels = None if part_label is None else np.repeat(np.asarray(part_label, dtype=np.int16)[kept], len(fan))
    return Mesh(corners.reshape(-1, 3), faces, labels)


def cloud_normals(points: Array, normals: Array | None, num_neighbours: int) -> Array:
    """Unit normals (n, 3) of points (n, 3), those of their discs: see ``tangent_normals``."""
    places, kept, place = distinct(points)
    neighbours, _ = nearest(places, num_neighbours)
    return tangent_normals(places, neighbours, None if normals is None else np.asarray(normals)[kept])[place]


def distinct(points: Array) -> tuple[Array, Array, Array]:
    """The places where points (n, 3) stand, (m, 3) float64; the first point of each (m,), ascending; each point's (n,).

    Points nearer than rounding count as one: clouds are filled up with repeats of their own points.
    """
    cloud = np.asarray(points, dtype=np.float64)
    cell = max(float(np.ptp(cloud, axis=0).max()) * _ROUNDING, np.finfo(np.float64).tiny)
    cells = np.round((cloud - cloud.min(axis=0)) / cell)
    _, first, place = np.unique(cells, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    kept = first[order]
    return cloud[kept], kept, rank[place.reshape(-1)]


def nearest(places: Array, num_neighbours: int) -> tuple[Array, Array]:
    """The neighbours of every place, itself left out: indices and distances, each (m, k), nearest first.

    k is ``num_neighbours``, or all others where there are fewer.
    """
    from scipy.spatial import cKDTree

    count = min(num_neighbours, len(places) - 1) + 1
    distance, index = cKDTree(places).query(places, k=count)
    return index[:, 1:], distance[:, 1:]


def spacing(distance: Array) -> Array:
    """Local spacing (m,): the pitch of a square grid as dense as the points around each one.

    distance (m, k) to the neighbours, nearest first. The k-th lies where a circle holds k points more, so that the area
    of a point is pi d_k^2 / k. At most twice the cloud's median.
    """
    local = distance[:, -1] * np.sqrt(np.pi / distance.shape[1])
    return np.minimum(local, _LARGEST * np.median(local))


def tangent_normals(places: Array, neighbours: Array, given: Array | None) -> Array:
    """Unit normals (m, 3) of either sign: the given ones; where they are absent or have no length, those of the points.

    The latter are the directions in which a point and its neighbours (m, k) spread least: principal components, Hoppe
    et al., "Surface reconstruction from unorganized points", SIGGRAPH 1992, section 3.1.
    """
    if given is not None:
        length = np.linalg.norm(given, axis=1, keepdims=True).astype(np.float64)
        if (length > 0).all():
            return given / length
    around = np.concatenate([places[:, None], places[neighbours]], axis=1)
    around -= around.mean(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
    found: Array = vectors[:, :, 0]
    if given is None:
        return found
    return np.divide(given, length, out=found.copy(), where=length > 0)


def tangent_axes(normals: Array) -> Array:
    """Two unit vectors across each unit normal (m, 3) and across each other: (m, 2, 3) float64.

    They do not depend on the normal's sign but for their own.
    """
    aside = np.eye(3)[np.argmin(np.abs(normals), axis=1)]
    first = np.cross(aside, normals)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first)], axis=1)
