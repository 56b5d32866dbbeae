"""What a rig photographs of a shape: its mesh, or its points as discs."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.dataset import PointCloud
from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.rig_blocks import CameraRigSettings, PointRigSettings
from pointlift.contracts.shards import Array, Shard
from pointlift.geometry import clouds, surfels
from pointlift.geometry.meshes import Mesh, mesh_of


def surface_of(settings: CameraRigSettings, shapes: Shard, index: int) -> Mesh:
    """The surface that the rig draws of one shape; ``shapes`` is a shard of the stage ``settings.draws``.

    Its faces have part labels where the shape's faces, or its points, have some.
    Raises ``UnusableShapeError`` for a cloud that has no surface.
    """
    if not isinstance(settings, PointRigSettings):
        return mesh_of(shapes, index)
    points, normals = cloud_of(settings, shapes, index)
    own = slice(*shapes["point_offsets"][index : index + 2])
    part_label = shapes["part_label"][own] if "part_label" in shapes.arrays else None
    if len(points) > settings.max_points:
        rng = np.random.default_rng(stable_seed(shapes.ids[index], "splats"))
        chosen = np.sort(rng.choice(len(points), settings.max_points, replace=False))
        points, normals = points[chosen], None if normals is None else normals[chosen]
        part_label = None if part_label is None else part_label[chosen]
    return surfels.discs(points, normals, settings.splat_size, settings.num_neighbours, part_label)


def cloud_of(settings: CameraRigSettings, shapes: Shard, index: int) -> tuple[Array, Array | None]:
    """Points (n, 3) of one shape as the rig's cameras meet them, and normals (n, 3), or None where there are none.

    ``shapes`` is a ``points`` shard. A rig that draws points normalises each cloud as meshes are (bounding-box centre
    at the origin, farthest point at radius 1), whatever units the shard keeps. Elsewhere points lie on their mesh.
    """
    own = slice(*shapes["point_offsets"][index : index + 2])
    cloud = PointCloud(shapes["points"][own], shapes["normals"][own] if "normals" in shapes.arrays else None)
    if settings.draws == "points":
        cloud = clouds.normalise(clouds.check(cloud))
    return cloud.points, cloud.normals


def normals_of(settings: CameraRigSettings, points: Array, normals: Array | None) -> Array:
    """Normals (n, 3) of a cloud of ``cloud_of``: the source's; for a rig that draws points those of its discs."""
    if isinstance(settings, PointRigSettings):
        return surfels.cloud_normals(points, normals, settings.num_neighbours)
    if normals is None:
        raise ArtifactError("visibility by z_buffer needs points with normals; name rays or hidden_points in the rig")
    return normals
