"""Meshes that are photographed in tests, (vertices, faces), within the unit sphere; and the chair as a shard."""

import numpy as np

from pointlift.contracts.shards import Shard
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface


def sphere(subdivisions=5):
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    return np.asarray(ball.vertices, dtype=np.float64), np.asarray(ball.faces)


def torus():
    import trimesh

    ring = trimesh.creation.torus(0.7, 0.29, major_sections=64, minor_sections=32)
    return np.asarray(ring.vertices, dtype=np.float64), np.asarray(ring.faces)


def chair():
    """A seat, a back and four thin legs: nothing is symmetric about the up axis."""
    parts = [((0, 0, 0), (0.5, 0.5, 0.06)), ((0, 0.22, 0.3), (0.5, 0.06, 0.6))]
    parts += [((x, y, -0.3), (0.05, 0.05, 0.6)) for x in (-0.2, 0.2) for y in (-0.2, 0.2)]
    return _boxes(parts)


def soup(count=150):
    """Loose triangles of either winding."""
    rng = np.random.default_rng(7)
    corners = rng.uniform(-0.5, 0.5, (count, 1, 3)) + rng.uniform(-0.2, 0.2, (count, 3, 3))
    return corners.reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


def speck():
    """A triangle too small for any pixel."""
    return 1e-4 * np.eye(3), np.array([[0, 1, 2]])


def meshes():
    """A shard of meshes that holds the chair."""
    vertices, faces = chair()
    arrays = {"vertices": vertices.astype(np.float32), "vertex_offsets": np.array([0, len(vertices)])}
    arrays |= {"faces": faces.astype(np.int32), "face_offsets": np.array([0, len(faces)])}
    return Shard(("chair",), arrays | {"valid": np.array([True])})


def points(count=1024, unit=1.0, shift=0.0, normals=True):
    """A shard of points that holds the chair, in any unit and place."""
    cloud, _, directions = sample_surface(Mesh(*chair()), count, np.random.default_rng(0))
    arrays = {"points": (cloud * unit + shift).astype(np.float32), "point_offsets": np.array([0, count])}
    if normals:
        arrays["normals"] = directions
    return Shard(("chair",), arrays | {"valid": np.array([True])})


def turned(vertices, angle):
    """Turned about the up axis."""
    c, s = np.cos(angle), np.sin(angle)
    return vertices @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T


def _boxes(parts):
    import trimesh

    vertices, faces = [], []
    for centre, extents in parts:
        box = trimesh.creation.box(extents)
        faces.append(np.asarray(box.faces) + 8 * len(vertices))
        vertices.append(np.asarray(box.vertices) + np.asarray(centre))
    return np.concatenate(vertices), np.concatenate(faces)


def part_label(name, num_faces):
    """Parts of a subject's faces, int16: the boxes of the chair; else indices in turn, in soup also none."""
    face = np.arange(num_faces)
    label = {"chair": face // 12, "sphere": face % 255, "torus": face // 64 % 7, "soup": face % 8 - 1}[name]
    return label.astype(np.int16)
