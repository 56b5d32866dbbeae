import numpy as np

from pointlift.geometry.rays import RayScene


def first_hits_slowly(triangles, origins, directions):
    """Intersection of every ray with every triangle's plane and its barycentric coordinates, in float64."""
    distance, face = np.full(len(origins), np.inf), np.full(len(origins), -1)
    for number, (a, b, c) in enumerate(triangles):
        matrix = np.stack([np.broadcast_to(b - a, directions.shape), np.broadcast_to(c - a, directions.shape)], -1)
        u, v, t = np.linalg.solve(np.dstack([matrix, -directions]), (origins - a)[..., None])[..., 0].T
        better = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0) & (t < distance)
        distance[better], face[better] = t[better], number
    return distance, face


def test_first_hits_equal_the_slow_formula():
    rng = np.random.default_rng(0)
    centre = np.array([100.0, 0.0, 0.0])
    vertices = rng.normal(size=(60, 3)) + centre
    faces = np.arange(60).reshape(20, 3)
    origins = rng.normal(size=(800, 3)) * 2
    directions = (rng.normal(size=(800, 3)) / 2 - origins) * 3
    distance, face = RayScene(vertices, faces, centre).first_hits(origins, directions)
    expected, expected_face = first_hits_slowly(vertices[faces] - centre, origins, directions)
    same = face == expected_face
    assert same.mean() > 0.995 and 0.2 < (face >= 0).mean() < 0.99  # a ray along an edge may go either way
    np.testing.assert_allclose(distance[same], expected[same], rtol=1e-3)
    assert np.isinf(distance[face < 0]).all()
