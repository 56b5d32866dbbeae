import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from pointlift.contracts.errors import UnusableShapeError
from pointlift.geometry.meshes import Mesh, clean, face_areas, face_normals, normalise, rotate, triangulate


def tetrahedron(part_label=None):
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return Mesh(vertices, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]), part_label)


def test_areas_and_normals_of_a_known_tetrahedron():
    mesh = tetrahedron()
    np.testing.assert_allclose(face_areas(mesh), [0.5, 0.5, 0.5, np.sqrt(3) / 2])
    np.testing.assert_allclose(face_normals(mesh)[3], np.ones(3) / np.sqrt(3))
    np.testing.assert_allclose(face_normals(mesh)[0], [0, 0, -1])


def test_areas_agree_with_trimesh():
    other = trimesh.creation.torus(0.7, 0.2)
    mesh = Mesh(np.asarray(other.vertices), np.asarray(other.faces))
    np.testing.assert_allclose(face_areas(mesh), other.area_faces, rtol=1e-9)
    np.testing.assert_allclose(face_normals(mesh), other.face_normals, atol=1e-6)


def test_normal_of_a_face_without_area_is_zero():
    assert (face_normals(Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))) == 0).all()


def test_clean_leaves_a_good_mesh_as_it_is():
    mesh = tetrahedron(np.array([3, 1, 2, 0], np.int16))
    cleaned = clean(mesh)
    np.testing.assert_array_equal(cleaned.vertices, mesh.vertices)
    np.testing.assert_array_equal(cleaned.faces, mesh.faces)
    np.testing.assert_array_equal(cleaned.part_label, mesh.part_label)


def test_clean_drops_broken_faces_with_their_labels_and_lonely_vertices():
    vertices = np.array([[9.0, 9, 9], [0, 0, 0], [1, 0, 0], [0, 1, 0], [np.nan, 0, 0], [np.inf, 0, 0], [2, 0, 0]])
    faces = np.array([[1, 2, 3], [1, 2, 4], [5, 2, 3], [1, 2, 6], [1, 1, 2], [3, 2, 1]])
    cleaned = clean(Mesh(vertices, faces, np.arange(6, dtype=np.int16)))
    np.testing.assert_array_equal(cleaned.vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(cleaned.faces, [[0, 1, 2], [2, 1, 0]])
    np.testing.assert_array_equal(cleaned.part_label, [0, 5])
    assert cleaned.faces.dtype == np.int64 and cleaned.part_label.dtype == np.int16


def test_clean_keeps_duplicated_faces_and_several_bodies():
    mesh = tetrahedron()
    vertices = np.vstack([mesh.vertices, mesh.vertices + 5])
    faces = np.vstack([mesh.faces, mesh.faces + 4, mesh.faces[:1]])
    assert len(clean(Mesh(vertices, faces)).faces) == 9


@pytest.mark.parametrize("moved", [1e-9, 1.0, 1e9])
def test_clean_knows_no_unit(moved):
    assert len(clean(Mesh(tetrahedron().vertices * moved, tetrahedron().faces)).faces) == 4


def test_clean_accepts_a_mesh_far_from_the_origin():
    assert len(clean(Mesh(tetrahedron().vertices + 1e7, tetrahedron().faces)).faces) == 4


@pytest.mark.parametrize(
    ("vertices", "faces", "reason"),
    [
        (np.zeros((0, 3)), np.zeros((0, 3)), "no faces"),
        (np.eye(3), np.zeros((0, 3)), "no faces"),
        (np.eye(3), [[0, 1, 3]], "outside 0..2"),
        (np.eye(3), [[0, 1, -1]], "outside 0..2"),
        (np.zeros((0, 3)), [[0, 1, 2]], "names a vertex outside"),
        (np.full((3, 3), np.nan), [[0, 1, 2]], "finite"),
        (np.eye(3) * 1e13, [[0, 1, 2]], "beyond 1e\\+12"),
        (np.ones((3, 3)), [[0, 1, 2]], "no extent"),
        (np.outer(np.arange(3.0), [1, 2, 3]), [[0, 1, 2]], "area"),
    ],
)
def test_clean_says_why_a_mesh_cannot_be_used(vertices, faces, reason):
    with pytest.raises(UnusableShapeError, match=reason):
        clean(Mesh(vertices, np.asarray(faces)))


def test_clean_refuses_labels_that_do_not_fit():
    with pytest.raises(UnusableShapeError, match="4 faces have 3 part labels"):
        clean(tetrahedron(np.zeros(3, np.int16)))


@given(st.integers(0, 2**32 - 1), st.floats(-6, 6), st.floats(-1e3, 1e3))
def test_normalise_is_inverted_by_its_centre_and_scale(seed, exponent, shift):
    vertices = np.random.default_rng(seed).normal(size=(9, 3)) * 10**exponent + shift * 10**exponent
    mesh, centre, scale = normalise(Mesh(vertices, np.array([[0, 1, 2]])))
    assert np.isclose(np.linalg.norm(mesh.vertices, axis=1).max(), 1)
    np.testing.assert_allclose(mesh.vertices.min(axis=0), -mesh.vertices.max(axis=0), atol=1e-9)
    np.testing.assert_allclose(mesh.vertices * scale + centre, vertices, rtol=1e-9, atol=1e-9 * 10**exponent)


@pytest.mark.parametrize("vertices", [np.zeros((0, 3)), np.ones((4, 3))])
def test_normalise_refuses_what_has_no_extent(vertices):
    with pytest.raises(UnusableShapeError):
        normalise(Mesh(vertices, np.zeros((0, 3), np.int64)))


def test_triangulate_covers_a_convex_polygon_and_says_where_faces_come_from():
    angle = np.arange(7) * 2 * np.pi / 7
    vertices = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    faces, polygon_index = triangulate([[0, 1], range(7), [0, 1, 2], []])
    np.testing.assert_array_equal(polygon_index, [1, 1, 1, 1, 1, 2])
    areas = face_areas(Mesh(vertices, faces))
    assert np.isclose(areas[:5].sum(), 7 / 2 * np.sin(2 * np.pi / 7))
    np.testing.assert_allclose(face_normals(Mesh(vertices, faces)), np.tile([0.0, 0, 1], (6, 1)), atol=1e-12)


def test_triangulate_of_nothing():
    faces, polygon_index = triangulate([])
    assert faces.shape == (0, 3) and polygon_index.shape == (0,)


def test_rotate_turns_column_vectors_and_keeps_areas():
    quarter = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    turned = rotate(tetrahedron(), quarter)
    np.testing.assert_allclose(turned.vertices[1], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(face_areas(turned), face_areas(tetrahedron()))
