"""Shapes that are the same numbers: one mesh or cloud, whatever its place and unit and the order it is written in."""

from __future__ import annotations

import hashlib

import numpy as np
from scipy.spatial import cKDTree

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.geometry.meshes import Mesh

TOLERANCE = 1e-5  # of the largest radius: many times what float32 loses, far below what anybody models
_GRID = 1e-3  # of the hashed means, which lie in [-1, 1]


def mesh_hash(mesh: Mesh) -> str:
    """The same text for meshes that ``same_mesh`` calls the same, almost always; mostly another one for all others.

    Order of vertices and faces, the corner a face begins with, its side, unused and repeated vertices, place and
    uniform scale do not matter; pose does. Hashed are means by area over the faces of polynomials of their corners, on
    a grid. Of the corners themselves, among 100,000 some always lie on a border of any grid; of these 19 means one does
    by rounding (float32) in about one of 1,000 meshes. Such a miss is left to ``near_duplicates``; that a hit is none
    by chance, to ``same_mesh``. Raises ``UnusableShapeError`` without faces or extent; ``clean`` the mesh first.
    """
    corners = _triangles(mesh)
    spanned = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return _hash("mesh", corners, np.linalg.norm(spanned, axis=1))


def points_hash(points: Array) -> str:
    """``mesh_hash`` for point sets (n, 3): order, repeated points, place and uniform scale do not matter."""
    distinct = _distinct(points)
    return _hash("points", distinct, np.ones(len(distinct)))


def same_mesh(first: Mesh, second: Mesh) -> bool:
    """Whether each face of one lies on a face of the other, corner on corner up to ``TOLERANCE``, and the reverse.

    Both are brought to their bounding-box centre and largest radius; repeated faces and the side of a face do not
    matter.
    """
    return _same(_polynomials(_triangles(first)), _polynomials(_triangles(second)))


def same_points(first: Array, second: Array) -> bool:
    """Whether each point (n, 3) of one is a point of the other up to ``TOLERANCE``, and the reverse."""
    return _same(_distinct(first)[:, 0], _distinct(second)[:, 0])


def _triangles(mesh: Mesh) -> Array:
    """Corners (f, 3, 3) of the normalised mesh."""
    if not len(mesh.faces):
        raise UnusableShapeError("the mesh has no faces")
    return _normalised(np.asarray(mesh.vertices, dtype=np.float64)[mesh.faces])


def _distinct(points: Array) -> Array:
    """Normalised points (m, 1, 3), each once."""
    if not len(points):
        raise UnusableShapeError("the cloud has no points")
    return _normalised(np.unique(np.asarray(points, dtype=np.float64), axis=0)[:, None])


def _normalised(groups: Array) -> Array:
    """Groups of points (g, k, 3) with the centre of their bounding box at the origin and their largest radius 1."""
    flat = groups.reshape(-1, 3)
    centred = groups - (flat.min(axis=0) + flat.max(axis=0)) / 2
    radius = np.linalg.norm(centred, axis=2).max()
    if not radius > 0:
        raise UnusableShapeError("the shape has no extent")
    return centred / radius


_DEGREES = [(x, y, z) for x in range(4) for y in range(4) for z in range(4) if 1 <= x + y + z <= 3]


def _polynomials(groups: Array) -> Array:
    """Means over each group (g, k, 3) of x^a y^b z^c with a + b + c from 1 to 3, (g, 19): blind to order in a group.

    They say which three points a triangle has: centroid and second moments leave a turn within its plane open, the
    third moments none.
    """
    powers = groups[:, :, :, None] ** np.arange(4)
    return np.stack(
        [(powers[..., 0, a] * powers[..., 1, b] * powers[..., 2, c]).mean(axis=1) for a, b, c in _DEGREES], axis=1
    )


def _hash(kind: str, groups: Array, weights: Array) -> str:
    if not weights.sum() > 0:
        raise UnusableShapeError("no face has an area")
    means = weights @ _polynomials(groups) / weights.sum()
    steps = np.rint(means / _GRID).astype("<i8")
    return hashlib.sha256(kind.encode() + steps.tobytes()).hexdigest()[:32]


def _same(first: Array, second: Array) -> bool:
    """Whether each row (n, d) of one is a row of the other, and the reverse, number by number."""
    limit = 3 * TOLERANCE  # a polynomial of degree 3 moves by three times as much as its point
    for rows, others in ((first, second), (second, first)):
        if not np.isfinite(cKDTree(others).query(rows, p=np.inf, distance_upper_bound=limit)[0]).all():
            return False
    return True
