"""Triangles as they are drawn: corners of their own, and light that is baked into their colours."""

from __future__ import annotations

import numpy as np

from pointlift.contracts.shards import Array
from pointlift.geometry.meshes import Mesh, face_normals


def corners_and_normals(vertices: Array, faces: Array) -> tuple[Array, Array]:
    """Every face's own corners (3f, 3) float32 and unit normal (f, 3) float32; a face without area has normal 0.

    Corners that faces do not share keep the edges of CAD models crisp.
    """
    normals = face_normals(Mesh(vertices, faces))
    return vertices[faces].reshape(-1, 3).astype(np.float32), normals.astype(np.float32)


def both_sides(corners: Array) -> Array:
    """Corners (3f, 3) followed by the same faces wound the other way: (6f, 3).

    With back faces culled exactly one of each pair is drawn, the one that looks at the camera.
    """
    turned = corners.reshape(-1, 3, 3)[:, ::-1].reshape(-1, 3)
    return np.concatenate([corners, turned])


def directions(azimuth_degrees: Array, elevation_degrees: Array) -> Array:
    """Unit vectors (l, 3) float64 towards the given azimuths (from x to y) and elevations (above the xy plane)."""
    azimuth, elevation = np.radians(azimuth_degrees), np.radians(elevation_degrees)
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=-1)


def lambert(normals: Array, lights: Array, strengths: Array, ambient: float, albedo: float) -> Array:
    """Grey value in [0, 1] of matt faces: albedo * min(1, ambient + sum of strength * |normal . light|).

    normals : (f, 3), lights : (l, 3) unit vectors towards the lights, strengths : (l,). Both sides of a face are
    equally bright, because the winding of CAD faces says nothing. Returns (f,) float32.
    """
    falling = np.abs(normals.astype(np.float64) @ lights.T) @ strengths
    return (albedo * np.clip(ambient + falling, 0.0, 1.0)).astype(np.float32)
