import numpy as np
import pytest
import trimesh

from pointlift.contracts.dataset_blocks import Scan
from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.meshes import Mesh, face_areas, face_normals, normalise
from pointlift.geometry.sampling import farthest_point_order, sample_scan, sample_surface, stored_order


def shape(other, part_label=None):
    mesh, _, _ = normalise(Mesh(np.asarray(other.vertices), np.asarray(other.faces), part_label))
    return mesh


def rng(seed=0):
    return np.random.default_rng(seed)


def test_points_are_exact_on_their_faces_with_their_normals():
    mesh = shape(trimesh.creation.torus(0.7, 0.2))
    points, face_index, normals = sample_surface(mesh, 1000, rng())
    corners = mesh.vertices[mesh.faces[face_index]]
    found = trimesh.triangles.points_to_barycentric(corners, points.astype(np.float64))
    assert found.min() > -1e-4 and found.max() < 1 + 1e-4
    np.testing.assert_allclose((found[..., None] * corners).sum(axis=1), points, atol=1e-6)
    np.testing.assert_allclose(normals, face_normals(mesh)[face_index], atol=1e-6)
    assert (points.dtype, face_index.dtype, normals.dtype) == (np.float32, np.int32, np.float32)
    assert points.shape == normals.shape == (1000, 3) and face_index.shape == (1000,)


def test_faces_are_drawn_by_area():
    mesh = Mesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 0], [0, 3, 0], [0, 0, 5]]),
        np.array([[0, 1, 2], [0, 3, 4], [0, 0, 1], [0, 3, 5]]),
    )
    share = face_areas(mesh) / face_areas(mesh).sum()
    _, face_index, _ = sample_surface(mesh, 40000, rng(1))
    counts = np.bincount(face_index, minlength=4)
    assert counts[2] == 0
    np.testing.assert_allclose(counts / 40000, share, atol=4 * np.sqrt(0.25 / 40000))


def test_points_are_uniform_inside_a_face():
    # In a right triangle with legs 1: mean 1/3, variance 1/18, covariance -1/36 of the two legs' coordinates.
    mesh = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    points, _, _ = sample_surface(mesh, 40000, rng(2))
    np.testing.assert_allclose(points.mean(axis=0), [1 / 3, 1 / 3, 0], atol=0.006)
    np.testing.assert_allclose(np.cov(points[:, :2].T), [[1 / 18, -1 / 36], [-1 / 36, 1 / 18]], atol=0.002)


def test_part_label_of_a_point_is_that_of_its_face():
    # Label 1 above the equator, 0 below, by construction: no face crosses it.
    other = trimesh.creation.box([1, 1, 1]).subdivide()
    mesh = shape(other, (other.triangles_center[:, 2] > 0).astype(np.int16))
    points, face_index, _ = sample_surface(mesh, 1000, rng(3))
    off_equator = np.abs(points[:, 2]) > 1e-6
    np.testing.assert_array_equal(mesh.part_label[face_index][off_equator], points[off_equator, 2] > 0)
    assert off_equator.sum() > 900


def test_the_same_generator_gives_the_same_points():
    mesh = shape(trimesh.creation.icosphere(2))
    scan = Scan(num_views=2, noise=0.01)
    for first, second in zip(sample_scan(mesh, scan, 256, rng(5)), sample_scan(mesh, scan, 256, rng(5)), strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(sample_scan(mesh, scan, 256, rng(5))[0], sample_scan(mesh, scan, 256, rng(6))[0])


def test_a_scan_of_no_views_and_no_noise_is_the_whole_surface():
    mesh = shape(trimesh.creation.icosphere(2))
    for first, second in zip(sample_scan(mesh, Scan(), 99, rng(7)), sample_surface(mesh, 99, rng(7)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_one_view_of_a_sphere_sees_a_cap():
    # From distance 3 the cap has p.c > 1/3; it is seen whole, so the points' mean is towards the viewpoint, at 2/3.
    points, _, _ = sample_scan(shape(trimesh.creation.icosphere(4)), Scan(num_views=1), 4000, rng(8))
    mean = points.mean(axis=0)
    towards = mean / np.linalg.norm(mean)
    assert (points @ towards).min() > 1 / 3 - 0.06
    assert np.isclose(np.linalg.norm(mean), 2 / 3, atol=0.02)


def test_a_scan_never_sees_the_inside():
    inner, outer = trimesh.creation.icosphere(2, radius=0.5), trimesh.creation.icosphere(3, radius=1.0)
    mesh = shape(trimesh.util.concatenate([inner, outer]))
    points, face_index, _ = sample_scan(mesh, Scan(num_views=3), 500, rng(9))
    assert np.linalg.norm(points, axis=1).min() > 0.9
    assert face_index.min() >= len(inner.faces)


def test_noise_has_its_standard_deviation_and_leaves_the_faces():
    mesh = shape(trimesh.creation.box([1, 1, 1]))
    clear, clear_faces, _ = sample_scan(mesh, Scan(), 5000, rng(10))
    noisy, noisy_faces, _ = sample_scan(mesh, Scan(noise=0.05), 5000, rng(10))
    assert noisy.dtype == np.float32
    np.testing.assert_allclose((noisy - clear).std(axis=0), 0.05, rtol=0.05)
    np.testing.assert_array_equal(noisy_faces, clear_faces)


def test_a_shape_that_shows_too_little_is_unusable():
    # 98 % of the area lies within a closed box, as 200 sheets.
    box = trimesh.creation.box([1, 1, 1])
    sheets = [trimesh.creation.box([0.9, 0.9, 1e-4]) for _ in range(200)]
    for height, sheet in zip(np.linspace(-0.45, 0.45, 200), sheets, strict=True):
        sheet.apply_translation([0, 0, height])
    with pytest.raises(UnusableShapeError, match="1 viewpoints saw"):
        sample_scan(shape(trimesh.util.concatenate([box, *sheets])), Scan(num_views=1), 256, rng(11))


@pytest.mark.parametrize("faces", [np.zeros((0, 3), np.int64), np.array([[0, 1, 1]])])
def test_no_area_cannot_be_sampled(faces):
    with pytest.raises(UnusableShapeError, match="no area"):
        sample_surface(Mesh(np.eye(3), faces), 10, rng())


def test_farthest_points_of_a_line():
    line = np.zeros((9, 3))
    line[:, 0] = np.arange(9)
    np.testing.assert_array_equal(farthest_point_order(line, 5), [0, 8, 4, 2, 6])


def test_farthest_points_are_what_the_definition_says():
    points = rng(12).normal(size=(60, 3))
    order = farthest_point_order(points, 60)
    assert sorted(order) == list(range(60))
    for step in range(1, 59):
        chosen = points[order[:step]]
        gap = np.linalg.norm(points[:, None] - chosen[None], axis=2).min(axis=1)
        assert np.isclose(gap[order[step]], gap.max())
    with pytest.raises(ValueError, match="61 of 60"):
        farthest_point_order(points, 61)


def lattice():
    """Many points exactly as far as others, in random order."""
    return rng(14).permutation(np.stack(np.meshgrid(*[np.arange(5.0)] * 3), axis=-1).reshape(-1, 3))


@pytest.mark.parametrize("points", [rng(13).normal(size=(150, 3)), lattice()], ids=["random", "ties"])
def test_farthest_points_of_a_cloud_stored_in_their_order_are_its_first_ones(points):
    """Of the cloud, and of any prefix of it: so also level by level."""
    order = stored_order(points, "farthest_first")
    stored = points[order]
    assert order[0] == 0
    assert sorted(order) == list(range(len(points)))
    for length in (len(points), 90, 40):
        for count in (1, 2, 17, 40):
            np.testing.assert_array_equal(farthest_point_order(stored[:length], count), np.arange(count))
    np.testing.assert_array_equal(stored[:40], points[farthest_point_order(points, 40)])


def test_repeats_of_a_place_are_stored_last_and_none_is_lost():
    places = rng(15).normal(size=(30, 3))
    points = places[rng(16).integers(30, size=80)]
    order = stored_order(points, "farthest_first")
    assert sorted(order) == list(range(80))
    held = len(np.unique(points, axis=0))
    assert len(np.unique(points[order[:held]], axis=0)) == held < 80
    assert (np.diff(order[held:]) > 0).all()
    np.testing.assert_array_equal(farthest_point_order(points[order], held), np.arange(held))


def test_sampled_is_the_order_as_it_is():
    np.testing.assert_array_equal(stored_order(rng().normal(size=(9, 3)), "sampled"), np.arange(9))
