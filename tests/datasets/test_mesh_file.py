"""Mesh files as they are met in the wild: read right, or refused with a reason; never a stack trace."""

import json
import os
import struct

import layouts
import numpy as np
import pytest
import trimesh

from pointlift.contracts.errors import UnusableShapeError
from pointlift.datasets.mesh_file import read_mesh
from pointlift.datasets.source_folder import checksum
from pointlift.geometry.meshes import clean, face_areas

V = layouts.TETRAHEDRON
F = layouts.TETRAHEDRON_FACES
GOOD = layouts.off_text()
BODY = GOOD.split("\n", 2)[2]
VERTEX_LINES, FACE_LINES = BODY.split("\n")[:4], BODY.split("\n")[4:8]


def read(tmp_path, content, name="shape.off", up_axis="z"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_mesh(path, up_axis)


def triangles(mesh):
    """Corner coordinates (f, 3, 3), each face turned so that its smallest corner comes first, faces sorted."""
    corners = [min(list(map(tuple, np.roll(face, k, axis=0))) for k in range(3)) for face in mesh.vertices[mesh.faces]]
    return np.array(sorted(corners))


def exported(kind):
    return trimesh.Trimesh(V, F, process=False).export(file_type=kind)


READABLE = {
    "plain": GOOD,
    "broken header": GOOD.replace("OFF\n", "OFF"),
    "counts on the keyword's line": GOOD.replace("OFF\n", "OFF "),
    "windows line ends": GOOD.replace("\n", "\r\n"),
    "old mac line ends": GOOD.replace("\n", "\r"),
    "byte order mark": "\ufeff" + GOOD,
    "comments": "# made by hand\n" + GOOD.replace("4 4 0", "4 4 0 # counts\n# and more\n"),
    "blank lines": GOOD.replace("\n", "\n\n"),
    "indented": GOOD.replace("\n", "\n   \t"),
    "no number of edges": GOOD.replace("4 4 0", "4 4"),
    "wrong number of edges": GOOD.replace("4 4 0", "4 4 -17"),
    "counts over two lines": GOOD.replace("4 4 0", "4\n4 0"),
    "no keyword": GOOD.replace("OFF\n", ""),
    "colours after faces": "OFF\n4 4 0\n" + "\n".join(VERTEX_LINES + [line + " 255 0 0" for line in FACE_LINES]),
    "colours after some faces": "OFF\n4 4 0\n"
    + "\n".join([*VERTEX_LINES, FACE_LINES[0] + " 0.5 0.5 0.5", *FACE_LINES[1:]]),
    "vertex colours": "COFF\n4 4 0\n" + "\n".join([line + " 1 0 0 1" for line in VERTEX_LINES] + FACE_LINES),
    "vertex normals": "NOFF\n4 4 0\n" + "\n".join([line + " 0 0 1" for line in VERTEX_LINES] + FACE_LINES),
    "exponents": GOOD.replace("1.0", "1.0e+00").replace("2.0", "+.2E1"),
    "all on one line": "OFF 4 4 0 " + " ".join(BODY.split()),
    "no last line end": GOOD.rstrip(),
}


@pytest.mark.parametrize("case", sorted(READABLE))
def test_off_files_that_can_be_read(tmp_path, case):
    mesh = read(tmp_path, READABLE[case])
    np.testing.assert_allclose(mesh.vertices, V)
    np.testing.assert_array_equal(mesh.faces, F)


@pytest.mark.parametrize("kind", ["off", "obj", "ply", "stl", "stl_ascii", "glb"])
@pytest.mark.parametrize("suffix", [None, ".off", ".OBJ", ".stl", ".ply"])
def test_every_format_is_read_by_content_whatever_its_name(tmp_path, kind, suffix):
    mesh = read(tmp_path, exported(kind), f"shape{suffix or '.' + kind.split('_')[0]}")
    np.testing.assert_allclose(triangles(mesh), triangles(trimesh.Trimesh(V, F, process=False)), atol=1e-6)


UNUSABLE = {
    "empty": ("", "empty"),
    "white space": (" \n \n", "empty"),
    "keyword alone": ("OFF\n", "counts"),
    "one count": ("OFF\n4\n", "counts"),
    "counts are words": ("OFF\nmany few\n", "counts"),
    "negative counts": ("OFF\n-4 4 0\n", "promises -4"),
    "absurd counts": ("OFF\n99999999999 4 0\n", "promises 99999999999"),
    "no faces": ("OFF\n4 0 0\n" + "\n".join(VERTEX_LINES), "mesh is empty"),
    "no vertices": ("OFF\n0 0 0\n", "mesh is empty"),
    "truncated in the vertices": (GOOD[:40], "truncated"),
    "truncated in the faces": ("\n".join(GOOD.split("\n")[:-3]), "truncated"),
    "truncated in a line": (GOOD.rstrip()[:-3], "corners"),
    "more lines than promised": (GOOD + "3 0 1 2\n", "more than its header"),
    "too few vertices promised": (GOOD.replace("4 4 0", "3 5 0"), "corners|whole number|number"),
    "too many vertices promised": (GOOD.replace("4 4 0", "5 3 0"), "different numbers"),
    "a vertex with two coordinates": (GOOD.replace("0.0 2.0 0.0", "0.0 2.0"), "vertex 2 has 2"),
    "a word in a vertex": (GOOD.replace("2.0", "two"), "no number"),
    "a word in a face": (GOOD.replace("3 2 0 3", "3 2 x 3"), "whole number"),
    "a fraction in a face": (GOOD.replace("3 2 0 3", "3 2 0.5 3"), "whole number"),
    "a face with too few corners": (GOOD.replace("3 2 0 3", "4 2 0 3"), "promises 4"),
    "binary off": (b"OFF BINARY\n" + bytes(200), "binary"),
    "binary rubbish": (bytes(range(256)) * 4, "binary|recognised"),
    "zeros": (bytes(500), "binary|empty"),
    "web page": ("<!DOCTYPE html><html>404</html>", "web page"),
    "zip": (b"PK\x03\x04" + bytes(100), "zip"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "gzip"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "picture"),
    "git lfs pointer": ("version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "plain text": ("a letter to a friend", "recognised"),
    "a face of words": ("OFF\n4 4 0\n" + "\n".join([*VERTEX_LINES, *["three 0 1 2"] * 4]), "whole number"),
}


@pytest.mark.parametrize("case", sorted(UNUSABLE))
def test_files_that_cannot_be_used_have_a_reason(tmp_path, case):
    content, reason = UNUSABLE[case]
    with pytest.raises(UnusableShapeError, match=reason) as error:
        read(tmp_path, content)
    assert len(str(error.value)) < 300 and "\n" not in str(error.value)


def broken_exports():
    for kind in ("obj", "ply", "stl", "stl_ascii", "glb"):
        content = exported(kind)
        content = content if isinstance(content, bytes) else content.encode()
        for share in (0.3, 0.6, 0.9):
            yield f"{kind} cut at {share}", content[: int(share * len(content))]
    yield "ply that promises more", exported("ply").replace(b"vertex 4", b"vertex 400")
    yield "ply header alone", b"ply\nformat ascii 1.0\nend_header\n"
    yield "ply of points alone", trimesh.PointCloud(V).export(file_type="ply")
    yield "obj of points alone", b"v 0 0 0\nv 1 0 0\n"
    yield "obj with words", b"v 0 0 zero\nf 1 2 3\n"
    yield "obj index beyond", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n"
    yield "glb of nothing", b"glTF" + struct.pack("<II", 2, 12)
    scene = json.dumps({"asset": {"version": "2.0"}}).encode().ljust(40)
    yield "glb without meshes", b"glTF" + struct.pack("<III", 2, 20 + len(scene), len(scene)) + b"JSON" + scene
    yield "stl with no facets", b"solid nothing\nfacet\nendsolid nothing\n"


@pytest.mark.parametrize(
    ("case", "content"), list(broken_exports()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_other_formats_broken_are_a_reason_or_a_valid_mesh(tmp_path, case, content):
    suffix = "." + case.split(" ")[0].split("_")[0]
    try:
        mesh = clean(read(tmp_path, content, f"shape{suffix}"))
    except UnusableShapeError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert np.isfinite(mesh.vertices).all() and face_areas(mesh).min() > 0


def test_every_byte_cut_of_a_file_is_a_reason_or_a_mesh(tmp_path):
    readable = 0
    for length in range(0, len(GOOD), 3):
        try:
            readable += len(clean(read(tmp_path, GOOD[:length])).faces) > 0
        except UnusableShapeError:
            continue
    assert readable <= 2


def test_polygons_become_fans(tmp_path):
    square = "OFF\n5 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n0 0 1\n4 0 1 2 3\n3 0 1 4\n"
    mesh = read(tmp_path, square)
    np.testing.assert_array_equal(mesh.faces, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    np.testing.assert_allclose(face_areas(mesh).sum(), 1.5)


def test_lines_and_points_among_the_faces_are_left_out(tmp_path):
    mesh = read(tmp_path, GOOD.replace("4 4 0", "4 6 0") + "2 0 1\n1 3\n")
    np.testing.assert_array_equal(mesh.faces, F)


@pytest.mark.parametrize(
    ("change", "num_faces"),
    [
        (("0.0 0.0 3.0", "nan 0.0 3.0"), 1),
        (("0.0 0.0 3.0", "0.0 inf 3.0"), 1),
        (("0.0 0.0 3.0", "0.0 2.0 0.0"), 2),  # a doubled vertex: two of the four faces have no area
    ],
)
def test_bad_vertices_cost_their_faces_alone(tmp_path, change, num_faces):
    assert len(clean(read(tmp_path, GOOD.replace(*change))).faces) == num_faces


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("3 2 0 3", "3 2 0 9"), "outside"),
        (("3 2 0 3", "3 2 0 -1"), "outside"),
        (("0.0 0.0 3.0", "0.0 0.0 1e30"), "beyond"),
    ],
)
def test_meshes_that_cannot_be_meant_have_a_reason(tmp_path, change, reason):
    with pytest.raises(UnusableShapeError, match=reason):
        clean(read(tmp_path, GOOD.replace(*change)))


def test_several_bodies_are_one_mesh(tmp_path):
    scene = trimesh.Scene([trimesh.creation.box(), trimesh.creation.box(transform=np.diag([2.0, 2.0, 2.0, 1.0]))])
    scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    mesh = read(tmp_path, scene.export(file_type="glb"), "bodies.glb")
    assert len(mesh.faces) == 36
    np.testing.assert_allclose(face_areas(mesh).sum(), 6 + 24 + 6, rtol=1e-6)
    np.testing.assert_allclose(mesh.vertices.max(axis=0), [5.5, 1.0, 1.0], rtol=1e-6)


def test_an_obj_that_names_materials_it_lacks_is_read(tmp_path):
    text = "mtllib none.mtl\nusemtl red\nv 0 0 0\nv 1 0 0\nv 0 1 0\no one\nf 1 2 3\no two\nf 3 2 1\n"
    assert len(read(tmp_path, text, "m.obj").faces) == 2


@pytest.mark.parametrize(("up_axis", "index"), [("x", 0), ("y", 1), ("z", 2)])
def test_the_named_axis_comes_up_without_mirroring(tmp_path, up_axis, index):
    mesh = read(tmp_path, GOOD, up_axis=up_axis)
    np.testing.assert_allclose(mesh.vertices[:, 2], V[:, index])
    matrix = np.linalg.lstsq(V, mesh.vertices, rcond=None)[0]
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1.0)


def test_a_missing_file_and_a_folder_are_reasons(tmp_path):
    for path in (tmp_path / "nothing.off", tmp_path):
        with pytest.raises(UnusableShapeError, match="cannot be read"):
            read_mesh(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on this system")
def test_a_pipe_is_a_reason_and_is_never_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.off")
    with pytest.raises(UnusableShapeError, match="a folder, a pipe or a device"):
        read_mesh(tmp_path / "pipe.off")
    assert checksum(tmp_path / "pipe.off") == ""


def test_numbers_are_those_of_python(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 3)) * 10.0 ** np.random.default_rng(1).integers(-8, 8, (50, 3))
    mesh = read(tmp_path, layouts.off_text(values, F))
    np.testing.assert_array_equal(mesh.vertices, values)


@pytest.mark.realdata
def test_modelnet_files_with_broken_headers_equal_their_good_twins(realdata):
    root = realdata / "modelnet_off"
    for name in ("bathtub_0001.off", "bathtub_0002.off", "bathtub_0003.off"):
        broken, good = (root / folder / "bathtub" / "train" / name for folder in ("ModelNet40", "ModelNet10"))
        assert broken.read_bytes()[3:4].isdigit() and not good.read_bytes()[3:4].isdigit()
        first, second = read_mesh(broken), read_mesh(good)
        np.testing.assert_array_equal(first.faces, second.faces)
        np.testing.assert_allclose(first.vertices, second.vertices, atol=1e-4)


@pytest.mark.realdata
def test_modelnet_files_equal_what_trimesh_reads(realdata):
    for path in sorted((realdata / "modelnet_off" / "ModelNet40").rglob("*.off")):
        mesh = read_mesh(path)
        if path.read_bytes()[3:4].isdigit() or path.stat().st_size > 1_500_000:
            continue
        other = trimesh.load_mesh(path, process=False)
        np.testing.assert_array_equal(mesh.faces, other.faces)
        np.testing.assert_array_equal(mesh.vertices, other.vertices)
