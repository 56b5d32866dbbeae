"""Rays against a triangle mesh, by Embree: what is free, how far the first surface is, and which face it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from pointlift.contracts.shards import Array


class RayScene:
    """A mesh in Embree, moved so that ``centre`` (3,) is the origin: origins of rays are told from there.

    Embree works in float32; near the origin nothing is lost. Surfaces are two-sided. Needs no torch and no trimesh.
    """

    def __init__(self, vertices: Array, faces: Array, centre: Array) -> None:
        from embreex.mesh_construction import TriangleMesh
        from embreex.rtcore_scene import EmbreeScene

        self._scene: Any = EmbreeScene(robust=True)
        moved = np.ascontiguousarray(np.asarray(vertices, dtype=np.float64) - centre, dtype=np.float32)
        self._mesh = TriangleMesh(self._scene, moved, np.ascontiguousarray(faces, dtype=np.int32))

    def blocked(self, origins: Array, directions: Array, reach: Array) -> Array:
        """Whether a surface stands within ``reach`` (n,) along each ray, (n,) bool; origins, directions (n, 3)."""
        hit = self._scene.run(
            np.ascontiguousarray(origins, dtype=np.float32),
            np.ascontiguousarray(directions, dtype=np.float32),
            dists=np.ascontiguousarray(reach, dtype=np.float32),
            query="OCCLUDED",
        )
        return np.asarray(hit) >= 0

    def first_hits(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        """Distance to the first surface in lengths of ``directions`` (n,) float32, inf for none; its face (n,) int64,
        -1 for none. origins, directions (n, 3).
        """
        hit = self._scene.run(
            np.ascontiguousarray(origins, dtype=np.float32),
            np.ascontiguousarray(directions, dtype=np.float32),
            output=1,
        )
        face = np.asarray(hit["primID"]).astype(np.int64)
        return np.where(face >= 0, hit["tfar"], np.float32(np.inf)), np.where(face >= 0, face, -1)
