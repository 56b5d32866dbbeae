"""Maps of parts against ray tracing, the pictures beside them, and what a map cannot hold."""

from pathlib import Path

import numpy as np
import pytest
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene

from pointlift.contracts.errors import ArtifactError, UnusableShapeError
from pointlift.contracts.images import pack_images, unpack_images, unpack_maps
from pointlift.contracts.rig_blocks import Cameras
from pointlift.contracts.shards import Shard
from pointlift.geometry import cameras
from pointlift.rendering import mesh, points
from pointlift.rendering.part_maps import codes, from_codes, part_attributes
from pointlift.rendering.surfaces import surface_of
from rendering import part_session, subjects

RIG = Cameras(num_views=4)
NAMES = ("sphere", "torus", "chair", "soup")


@pytest.fixture(scope="module")
def photos(render_process, tmp_path_factory):
    """Two independent runs of part_session.py, each a dict of arrays."""
    folder, runs = tmp_path_factory.mktemp("parts"), []
    for name in ("first.npz", "second.npz"):
        done = render_process(Path(__file__).parent / "part_session.py", folder / name)
        assert done.returncode == 0, done.stderr
        with np.load(folder / name) as arrays:
            runs.append(dict(arrays))
    return runs


def first_hit(vertices, faces):
    """Number of the face that the ray through each pixel centre meets first, -1 for none: (V, 96, 96)."""
    matrices = cameras.world_to_camera(RIG)
    rays = cameras.pixel_rays(matrices, cameras.intrinsics(RIG, 96), 96)
    scene, found = EmbreeScene(robust=True), []
    _kept = TriangleMesh(scene, vertices.astype(np.float32), np.ascontiguousarray(faces, dtype=np.int32))
    for position, directions in zip(cameras.camera_positions(matrices), rays, strict=True):
        towards = np.ascontiguousarray(directions.reshape(-1, 3), dtype=np.float32)
        starts = np.tile(position.astype(np.float32), (len(towards), 1))
        found.append(np.asarray(scene.run(starts, towards, query="INTERSECT")).reshape(96, 96))
    return np.stack(found)


def wanted(vertices, faces, part_label):
    face = first_hit(vertices, faces)
    return np.where((face < 0) | (part_label[face] < 0), 255, part_label[face])


@pytest.mark.render
@pytest.mark.parametrize("name", NAMES)
def test_a_pixel_is_the_part_of_the_face_that_its_ray_hits_first(photos, name):
    vertices, faces = part_session.subject(name)
    part_label = subjects.part_label(name, len(faces))
    expected = wanted(vertices, faces, part_label)
    found = photos[0][f"{name}.map"]
    assert found.dtype == np.uint8 and found.shape == (4, 96, 96)
    assert (found == expected).mean() >= 0.999
    assert (found == wanted(vertices, faces, np.roll(part_label, 1))).mean() < 0.999
    assert len(np.unique(found)) > 5


@pytest.mark.render
def test_every_index_that_a_map_can_hold_is_drawn_as_itself(photos):
    assert set(np.unique(photos[0]["sphere.map"])) == set(range(256))


@pytest.mark.render
@pytest.mark.parametrize("name", ["sphere", "torus", "chair"])
def test_background_is_the_depths_background_and_the_pictures(photos, name):
    shown = photos[0][f"{name}.map"] != 255
    assert np.array_equal(shown, np.isfinite(photos[0][f"{name}.depth"]))
    white = (photos[0][f"{name}.image"] == 255).all(axis=-1)
    assert (white & shown).mean() < 0.001  # seen at the centre of a pixel and at none of its samples
    assert ((~white) & (~shown)).mean() < 0.03  # samples of outlines


@pytest.mark.render
def test_what_has_no_part_hides_what_is_behind_it(photos):
    found, depth = photos[0]["soup.map"], photos[0]["soup.depth"]
    assert (np.isfinite(depth) & (found == 255)).mean() > 0.01
    assert (found[~np.isfinite(depth)] == 255).all()


@pytest.mark.render
@pytest.mark.parametrize("name", NAMES)
def test_the_winding_of_faces_changes_nothing(photos, name):
    assert (photos[0][f"{name}.map"] != photos[0][f"{name}.turned"]).mean() < 1e-4


@pytest.mark.render
def test_of_coincident_parts_the_lower_shows_always(photos):
    for number in range(8):
        assert set(np.unique(photos[0][f"coincident.{number}"])) == {3, 255}


@pytest.mark.render
def test_two_processes_give_the_same_bytes(photos):
    first, second = photos
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.render
@pytest.mark.parametrize("kind", ["mesh", "points"])
def test_rigs_with_part_maps_take_the_same_pictures(photos, kind):
    assert np.array_equal(photos[0][f"{kind}.with"], photos[0][f"{kind}.without"])
    stored = photos[0][f"{kind}.stored"]
    assert np.array_equal(stored != 255, np.isfinite(photos[0][f"{kind}.range"]))
    assert set(np.unique(stored)) == {0, 1, 2, 3, 4, 5, 255}


@pytest.mark.render
def test_discs_show_the_part_of_their_points(photos):
    settings = points.Settings(kind="points", part_maps=True, cameras=RIG, image_size=96)
    surface = surface_of(settings, part_session.clouds(), 0)
    expected = wanted(surface.vertices, surface.faces, surface.part_label)
    assert (photos[0]["points.stored"] == expected).mean() >= 0.998
    mesh_map, splat_map = photos[0]["mesh.stored"], photos[0]["points.stored"]
    both = (mesh_map != 255) & (splat_map != 255)
    alike = (mesh_map == splat_map)[both].mean()  # discs stand out over the edges of boards
    assert alike > 0.8
    assert alike > (np.roll(mesh_map, 1, axis=0) == splat_map)[both].mean() + 0.2


def test_labels_follow_the_points_that_are_drawn():
    shard = part_session.clouds()
    rig = points.Settings(kind="points", max_points=500)
    few, every = surface_of(rig, shard, 0), surface_of(points.Settings(kind="points"), shard, 0)
    assert len(few.part_label) == len(few.faces) == 2000 and len(every.part_label) == len(every.faces) == 12000
    centres = [surface.vertices.reshape(-1, 6, 3).mean(axis=1) for surface in (few, every)]
    nearest = np.linalg.norm(centres[0][:, None] - centres[1][None], axis=2).argmin(axis=1)
    assert np.array_equal(few.part_label[::4], every.part_label[::4][nearest])
    bare = Shard(shard.ids, {name: array for name, array in shard.arrays.items() if name != "part_label"})
    assert surface_of(rig, bare, 0).part_label is None


def test_maps_survive_their_files():
    maps = np.random.default_rng(0).integers(0, 256, (3, 16, 16)).astype(np.uint8)
    assert np.array_equal(unpack_maps(*pack_images(maps)), maps)
    assert np.array_equal(unpack_images(*pack_images(maps))[..., 1], maps)
    with pytest.raises(ValueError, match="8-bit grey PNG, this one has mode RGB"):
        unpack_maps(*pack_images(np.zeros((1, 4, 4, 3), np.uint8)))


def test_codes_are_there_and_back():
    assert from_codes(codes(np.arange(-1, 255), 256)).tolist() == [255, *range(255)]
    with pytest.raises(UnusableShapeError, match="part labels are -2 to 3, must be -1 to 254"):
        codes(np.array([-2, 3]), 2)
    with pytest.raises(UnusableShapeError, match="7 faces have 2 part labels"):
        codes(np.array([0, 1]), 7)


def test_what_a_map_cannot_hold_is_told():
    rig, shapes = mesh.Settings(kind="mesh", part_maps=True), part_session.meshes()
    assert part_attributes(rig, shapes) == part_session.NAMES
    assert part_attributes(mesh.Settings(kind="mesh"), subjects.meshes()) == {}
    with pytest.raises(ArtifactError, match="these shapes have no part labels; take a rig without part_maps"):
        part_attributes(rig, subjects.meshes())
    many = Shard(shapes.ids, shapes.arrays, {"part_names": [f"chair/{part}" for part in range(256)]})
    with pytest.raises(ArtifactError, match="has 256 parts, a map of 8 bits holds at most 255"):
        part_attributes(rig, many)
