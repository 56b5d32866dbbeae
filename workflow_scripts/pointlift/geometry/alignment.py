"""Whether a cloud was sampled from a mesh that stands in another frame: turned by right angles, moved, scaled."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.shards import Array

#: Chamfer distance (spacings) from which on a cloud is no sample of a mesh. Measured with 2,048 points on 233 Princeton
#: meshes: their 932 samples (by area, farthest points, of the outside alone, 600 points) lie below 1.20 but for one at
#: 1.31; 699 other shapes of their classes, without 7 twins that 8,192 points do not tell apart, from 1.27 on.
#: ModelNet40's airplane_0003 is at 0.96 to 1.05 of its own points, and at 1.65 or more of five other airplanes'.
#: Fewer points tell shapes apart less: with 1,024 the nearest of those airplanes is at 1.36.
MATCH_THRESHOLD = 1.25
_FEWEST_POINTS = 16
_COARSE_POINTS, _KEPT = 128, 6
_HOPELESS = 1.5  # coarsely so much farther than the best: not refined
_REFINED_POINTS, _ITERATIONS = 512, 8
_TIE = 1.03  # symmetric shapes: orientations this near to the best are as good, and the first of them is taken
_MIRRORED = 0.9  # a mirror image this much nearer than every rotation is what the cloud was sampled from


def _rotations() -> Array:
    """Signed permutations with determinant 1; their negatives are the 24 mirror images."""
    found = [
        np.array(signs)[:, None] * np.eye(3)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    return np.array([matrix for matrix in found if np.linalg.det(matrix) > 0])


#: The 24 rotations (24, 3, 3) that take axes to axes, float64, the identity first.
ROTATIONS = _rotations()


@dataclass(frozen=True)
class Alignment:
    """How a mesh comes to lie on a cloud: ``cloud = scale * ROTATIONS[rotation] @ mesh + shift``.

    chamfer : distance in spacings, 1 for two samples of one surface; mirrored_chamfer : the least that a mirror image
    of the mesh comes to; shift : (3,) float64, in the units of the cloud.
    """

    chamfer: float
    mirrored_chamfer: float
    rotation: int
    scale: float
    shift: Array

    @property
    def is_mirrored(self) -> bool:
        """Whether a mirror image of the mesh is clearly nearer than the mesh itself."""
        return self.mirrored_chamfer < _MIRRORED * self.chamfer


def align_axes(cloud: Array, surface: Array, outside: Array) -> Alignment:
    """The rotation by right angles, the scale and the shift that bring a mesh nearest to a cloud, and how near.

    cloud : (n, 3); surface, outside : (m, 3), points drawn by area from the whole mesh and from what shows of it.
    Nobody knows whether a published cloud holds inner surfaces, so neither is asked for: the chamfer distance is the
    mean of cloud to mesh (surface and outside together) and of outside to cloud. Its unit is the spacing, the mean
    distance between neighbours in a random sample of the mesh as dense as the points that are measured to; a cloud of
    farthest points comes to less than 1. All 24 rotations and their mirror images start from equal bounding boxes; the
    best are refined in shift and scale by iterated closest points (Besl, McKay 1992). Repeated points of the cloud
    count once. Raises ``UnusableShapeError`` when too few are left.
    """
    first = np.sort(np.unique(cloud, axis=0, return_index=True)[1])
    if len(first) < _FEWEST_POINTS:
        raise UnusableShapeError(f"the cloud has {len(first)} different points, at least {_FEWEST_POINTS} are needed")
    pair = _Pair(_PointSet(cloud[first]), _PointSet(np.vstack([surface, outside])), _PointSet(outside))
    proper = pair.nearest(ROTATIONS)
    mirrored = min(chamfer for chamfer, _, _ in pair.nearest(-ROTATIONS))
    least = min(chamfer for chamfer, _, _ in proper)
    chamfer, index, placed = min((row for row in proper if row[0] <= _TIE * least), key=lambda row: row[1])
    return Alignment(chamfer, mirrored, index, placed.scale, placed.shift)


@dataclass(frozen=True)
class _Placement:
    """``cloud = scale * matrix @ mesh + shift``."""

    matrix: Array
    scale: float
    shift: Array

    def onto_cloud(self, points: Array) -> Array:
        return self.scale * points @ self.matrix.T + self.shift

    def onto_mesh(self, points: Array) -> Array:
        return (points - self.shift) @ self.matrix / self.scale


class _PointSet:
    """Points (n, 3) with their tree and spacing, the mean distance to the nearest other point."""

    def __init__(self, points: Array) -> None:
        self.points = np.asarray(points, dtype=np.float64)
        self.tree = cKDTree(self.points)
        nearest = self.tree.query(self.points, k=2)[0][:, 1]
        self.spacing = max(float(nearest.mean()), np.finfo(np.float64).tiny)
        self.centre = (self.points.min(axis=0) + self.points.max(axis=0)) / 2
        self.radius = float(np.linalg.norm(self.points - self.centre, axis=1).max())


@dataclass(frozen=True)
class _Pair:
    cloud: _PointSet
    mesh: _PointSet
    outside: _PointSet

    def nearest(self, matrices: Array) -> list[tuple[float, int, _Placement]]:
        """(chamfer, index, placement) of the few matrices that come nearest, refined."""
        starts = [self.start(matrix) for matrix in matrices]
        coarse = np.array([self.chamfer(start, _COARSE_POINTS) for start in starts])
        kept = [int(i) for i in np.argsort(coarse, kind="stable")[:_KEPT] if coarse[i] <= _HOPELESS * coarse.min()]
        refined = [(index, self.refine(starts[index])) for index in kept]
        return [(self.chamfer(placement, len(self.outside.points)), index, placement) for index, placement in refined]

    def start(self, matrix: Array) -> _Placement:
        """Equal centres of the bounding boxes, equal largest radii."""
        scale = self.cloud.radius / self.mesh.radius
        return _Placement(matrix, scale, self.cloud.centre - scale * matrix @ self.mesh.centre)

    def chamfer(self, placement: _Placement, count: int) -> float:
        """In spacings, over ``count`` points of each side."""
        cloud, outside = evenly(self.cloud.points, count), evenly(self.outside.points, count)
        as_dense = np.sqrt(len(self.outside.points) / len(self.cloud.points))  # points lie on surfaces
        forth = self.mesh.tree.query(placement.onto_mesh(cloud))[0].mean() / self.mesh.spacing
        back = self.cloud.tree.query(placement.onto_cloud(outside))[0].mean() / placement.scale
        return float(forth + back / (self.outside.spacing * as_dense)) / 2

    def refine(self, placement: _Placement) -> _Placement:
        """Least-squares shift and scale onto closest points of both directions, the orientation held."""
        cloud, outside = evenly(self.cloud.points, _REFINED_POINTS), evenly(self.outside.points, _REFINED_POINTS)
        for _ in range(_ITERATIONS):
            nearest_mesh = self.mesh.points[self.mesh.tree.query(placement.onto_mesh(cloud))[1]]
            nearest_cloud = self.cloud.points[self.cloud.tree.query(placement.onto_cloud(outside))[1]]
            source = np.vstack([nearest_mesh, outside]) @ placement.matrix.T
            target = np.vstack([cloud, nearest_cloud])
            centred = source - source.mean(axis=0)
            scale = float((centred * target).sum() / (centred**2).sum())
            if not scale > 0:
                break
            placement = _Placement(placement.matrix, scale, target.mean(axis=0) - scale * source.mean(axis=0))
        return placement


def evenly(points: Array, count: int) -> Array:
    """``count`` of the points (n, 3), or all where there are fewer, evenly spread over their order."""
    return points[np.linspace(0, len(points) - 1, min(count, len(points))).astype(np.int64)]
