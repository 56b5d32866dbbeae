"""The mesh renderer against ray tracing, closed forms and its own symmetries."""

import sys
import types

import numpy as np
import pytest

from pointlift.contracts.errors import MachineError, UnusableShapeError
from pointlift.contracts.rig_blocks import Cameras
from pointlift.geometry import cameras
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_surface
from pointlift.geometry.visibility import depth_by_rays, visible_by_rays, visible_by_z_buffer
from pointlift.rendering import context, mesh
from pointlift.rendering.mesh import Settings
from pointlift.rendering.quality import check_views
from rendering import subjects

NAMES = ("sphere", "torus", "chair", "soup")
RING = Cameras()
AROUND = Cameras(layout="sphere", num_views=9, distance=2.0)


@pytest.mark.render
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("rig", "size", "array"), [(RING, 96, "depth96"), (RING, 224, "depth224"), (AROUND, 64, "around")]
)
def test_depth_is_what_rays_through_the_pixel_centres_meet(photos, name, rig, size, array):
    matrices, pinhole = cameras.world_to_camera(rig), cameras.intrinsics(rig, size)
    expected = depth_by_rays(*getattr(subjects, name)(), matrices, pinhole, size)
    found = photos[0][f"{name}.{array}"]
    assert found.dtype == np.float32
    both = np.isfinite(expected) & np.isfinite(found)
    wrong = np.isfinite(expected) != np.isfinite(found)
    wrong[both] = np.abs(expected[both] - found[both]) > 0.005
    assert wrong.mean() <= 0.001


@pytest.mark.render
def test_the_winding_of_faces_changes_nothing(photos):
    taken = photos[0]
    assert np.array_equal(taken["chair.depth_inverted"], taken["chair.depth96"])
    # The order of a face's corners moves rounding at its edges.
    for one, other in (("above", "above_inverted"), ("lit", "lit_inverted")):
        difference = np.abs(taken[f"chair.{one}"].astype(int) - taken[f"chair.{other}"])
        assert (difference > 2).mean() < 0.002


@pytest.mark.render
def test_turning_the_mesh_by_a_step_rolls_the_views_of_a_ring(photos):
    first, turned = photos[0]["chair.above"].astype(int), photos[0]["chair.above_turned"].astype(int)
    assert np.abs(np.roll(first, 1, axis=0) - turned).mean() < 0.05
    assert np.abs(first - turned).mean() > 2.0
    assert np.abs(np.roll(first, -1, axis=0) - turned).mean() > 2.0


@pytest.mark.render
def test_a_spheres_foreground_is_the_area_of_its_disc(photos):
    # The outline of a unit sphere seen from distance d is a circle of radius f / sqrt(d^2 - 1).
    focal = 0.5 / np.tan(np.radians(RING.field_of_view_degrees) / 2)
    area = np.pi * focal**2 / (RING.distance**2 - 1)
    assert np.allclose(photos[0]["sphere.foreground224"], area, rtol=0.005)
    assert np.allclose(photos[0]["sphere.foreground"], area, rtol=0.01)


@pytest.mark.render
def test_two_processes_give_the_same_bytes(photos):
    first, second = photos
    assert sorted(first) == sorted(second)
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.mark.render
@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_grey_on_white_and_pass_the_checks(photos, name):
    taken = photos[0]
    for images in (taken[f"{name}.images"], taken[f"{name}.lit"]):
        assert images.dtype == np.uint8
        assert images.shape == (6, 96, 96, 3)
        assert (images[..., :1] == images).all()
        assert (images[:, 0, 0] == 255).all()
        check_views(images, taken[f"{name}.foreground"], Settings(kind="mesh", min_contrast=0.05))
        shown = images[np.isfinite(taken[f"{name}.depth96"])].mean() / 255
        assert 0.15 < shown < 0.85


@pytest.mark.render
def test_a_flat_shaded_face_has_the_colour_of_lamberts_law(photos):
    # Light from straight above: the chair's seat (normal along the light) is albedo * (ambient + strength), the back's
    # sides (normals across) albedo * ambient. Pixels inside the faces hold exactly these.
    images = photos[0]["chair.above"]
    settings = Settings(kind="mesh")
    top, side = settings.albedo * (settings.ambient + 0.6), settings.albedo * settings.ambient
    values, counts = np.unique(images[0], return_counts=True)
    common = set(values[np.argsort(counts)[-3:]].tolist())
    assert common == {255, round(255 * top), round(255 * side)}


@pytest.mark.render
@pytest.mark.parametrize("name", ["sphere", "torus", "chair"])
def test_points_that_rays_see_land_on_the_foreground(photos, name):
    vertices, faces = getattr(subjects, name)()
    points, _, _ = sample_surface(Mesh(vertices, faces), 2000, np.random.default_rng(3))
    matrices, pinhole = cameras.world_to_camera(RING), cameras.intrinsics(RING, 224)
    visible = visible_by_rays(vertices, faces, points, cameras.camera_positions(matrices), 0.005)
    pixels, _ = cameras.project(points, matrices, pinhole)
    shown = np.isfinite(photos[0][f"{name}.depth224"])
    assert lands_on(shown, pixels)[visible].mean() >= 0.99
    assert 0.1 < visible.mean() < 0.9
    if name == "chair":  # the others look the same from all sides
        assert lands_on(np.roll(shown, 1, axis=0), pixels)[visible].mean() < 0.98
        assert lands_on(shown, 224 - pixels)[visible].mean() < 0.98


@pytest.mark.render
@pytest.mark.parametrize("name", ["sphere", "torus", "chair"])
def test_a_seen_point_has_the_depth_of_the_picture_there(photos, name):
    """It lies between the depths of the four pixel centres around it: at an edge these show several surfaces. Away from
    edges it is what they say together, for the inverse depth of a plane is linear in the pixel."""
    vertices, faces = getattr(subjects, name)()
    points, _, _ = sample_surface(Mesh(vertices, faces), 2000, np.random.default_rng(5))
    matrices, pinhole = cameras.world_to_camera(RING), cameras.intrinsics(RING, 224)
    visible = visible_by_rays(vertices, faces, points, cameras.camera_positions(matrices), 0.005)
    pixels, own = cameras.project(points, matrices, pinhole)
    around = four_around(photos[0][f"{name}.depth224"], pixels)
    met = (own > around.min(axis=0) - 0.005) & (own < around.max(axis=0) + 0.005)
    assert met[visible].mean() >= 0.99
    assert met[~visible].mean() < 0.15
    right, down = np.moveaxis(np.mod(pixels - 0.5, 1.0), -1, 0)
    weight = np.array([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right])
    assert np.median(np.abs(1 / np.sum(weight / around, axis=0) - own)[visible]) < 1e-4


def four_around(pictures, pixels):
    """What the four pixel centres around each point hold: (4, V, N)."""
    view = np.arange(len(pictures))[:, None]
    column, row = np.moveaxis(np.floor(pixels - 0.5).astype(int), -1, 0)
    return np.array([pictures[view, row + down, column + right] for down in (0, 1) for right in (0, 1)])


def lands_on(shown, pixels):
    """Whether one of the four pixel centres around each point shows the shape: at an outline the nearest may not."""
    return four_around(shown, pixels).any(axis=0)


@pytest.mark.render
@pytest.mark.parametrize("name", ["sphere", "torus"])
def test_z_buffer_and_rays_agree(photos, name):
    vertices, faces = getattr(subjects, name)()
    points, _, normals = sample_surface(Mesh(vertices, faces), 2000, np.random.default_rng(4))
    matrices, pinhole = cameras.world_to_camera(RING), cameras.intrinsics(RING, 96)
    rays = visible_by_rays(vertices, faces, points, cameras.camera_positions(matrices), 0.005)
    z_buffer = visible_by_z_buffer(points, normals, photos[0][f"{name}.depth96"], matrices, pinhole, 0.005)
    assert (rays == z_buffer).mean() >= 0.95


@pytest.mark.parametrize("name", ["torch", "triton"])
def test_a_process_that_holds_torch_is_refused(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    with pytest.raises(MachineError, match=f"{name}.* process of its own"):
        mesh.build(Settings(kind="mesh"))


@pytest.mark.render
def test_a_process_draws_pictures_of_one_size(render_process):
    sizes = "[mesh.build(mesh.Settings(kind='mesh', image_size=size)) for size in (96, 96, 64)]"
    done = render_process("-c", f"from pointlift.rendering import mesh; {sizes}")
    assert done.returncode == 1
    assert "this process draws pictures of 96 pixels; draw those of 64 pixels in another one" in done.stderr


def test_no_opengl_is_told_as_such(monkeypatch):
    def absent():
        raise ImportError('Library "GL" not found.')

    for name in context.FORBIDDEN:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(context, "import_pyrender", absent)
    with pytest.raises(MachineError, match=r"GL.*pointlift\.rendering\.preflight"):
        context.offscreen_renderer(96)


@pytest.mark.parametrize(
    ("vertices", "faces", "reason"),
    [
        (np.eye(3), np.zeros((0, 3), int), "no faces"),
        (np.eye(3), np.array([[0, 1, 3]]), "does not exist"),
        (np.eye(3), np.array([[0, 1, -1]]), "does not exist"),
        (np.eye(3) * np.nan, np.array([[0, 1, 2]]), "not finite"),
    ],
)
def test_what_opengl_would_skip_in_silence_is_an_error(vertices, faces, reason):
    with pytest.raises(UnusableShapeError, match=reason):
        mesh.drawable(vertices, faces)
