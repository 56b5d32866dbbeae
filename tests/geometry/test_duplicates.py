import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from pointlift.contracts.dataset_blocks import Scan
from pointlift.geometry.duplicates import aligned_chamfer, near_duplicates, near_twins
from pointlift.geometry.meshes import Mesh, normalise
from pointlift.geometry.sampling import farthest_point_order, sample_scan, sample_surface


def boxes(*parts):
    made = [trimesh.creation.box(extents) for extents, _ in parts]
    for mesh, (_, shift) in zip(made, parts, strict=True):
        mesh.apply_translation(shift)
    return trimesh.util.concatenate(made)


def table(length, height):
    legs = [([0.1, 0.1, height], [x, y, -height / 2]) for x in (-length / 2, length / 2) for y in (-0.5, 0.5)]
    return boxes(([length + 0.1, 1.1, 0.1], [0, 0, 0]), *legs)


SHAPES = {
    "square table": table(1.0, 0.9),
    "long table": table(2.2, 0.7),
    "chair": boxes(
        ([1, 1, 0.1], [0, 0, 0]),
        ([1, 0.1, 1.1], [0, 0.5, 0.5]),
        ([0.1, 0.1, 1], [0.4, 0.4, -0.5]),
        ([0.1, 0.1, 1], [-0.4, 0.4, -0.5]),
        ([0.1, 0.1, 1], [0.4, -0.4, -0.5]),
    ),
    "hook": boxes(([2, 0.3, 0.3], [0, 0, 0]), ([0.3, 1, 0.3], [1, 0.5, 0]), ([0.3, 0.3, 0.7], [-1, 0, 0.4])),
    "cross": boxes(([2, 0.2, 0.2], [0, 0, 0]), ([0.2, 2, 0.2], [0, 0, 0]), ([0.2, 0.2, 2], [0, 0, 0.4])),
    "torus": trimesh.creation.torus(0.7, 0.25),
    "ball": trimesh.creation.icosphere(3),
    "cone": trimesh.creation.cone(0.6, 1.5),
}


def sampled(name, seed):
    mesh = Mesh(np.asarray(SHAPES[name].vertices), np.asarray(SHAPES[name].faces))
    return sample_surface(mesh, 1024, np.random.default_rng(seed))[0].astype(np.float64)


def copy(name, seed, mirror):
    turn = Rotation.random(random_state=seed)
    return turn.apply(sampled(name, 100 + seed) * [1, 1, -1 if mirror else 1]) * 0.01 * (seed + 1) + [5, -3, 2]


@pytest.mark.parametrize("mirror", [False, True])
def test_every_copy_finds_its_original_and_nothing_else(mirror):
    originals = [sampled(name, 1) for name in SHAPES]
    copies = [copy(name, seed, mirror) for seed, name in enumerate(SHAPES)]
    found = near_duplicates(copies, originals)
    assert [(first, second) for first, second, _ in found] == [(index, index) for index in range(len(SHAPES))]
    assert all(0.85 < chamfer < 1.2 for _, _, chamfer in found)


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_two_samples_of_one_surface_are_one_spacing_apart_in_any_pose(name, seed):
    assert np.isclose(aligned_chamfer(copy(name, seed, mirror=bool(seed % 2)), sampled(name, 1)), 1, atol=0.15)


def evenly_laid(name, seed, dense):
    """1,024 farthest points of ``dense`` random ones, as many clouds come."""
    mesh = Mesh(np.asarray(SHAPES[name].vertices), np.asarray(SHAPES[name].faces))
    points = sample_surface(mesh, dense, np.random.default_rng(seed))[0].astype(np.float64)
    return points[farthest_point_order(points, 1024)]


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("dense", [1400, 4096])
def test_evenly_laid_points_are_one_spacing_apart_too(name, dense):
    laid = evenly_laid(name, 0, dense)
    assert np.isclose(aligned_chamfer(laid, sampled(name, 1)), 1, atol=0.15)
    assert np.isclose(aligned_chamfer(laid, evenly_laid(name, 1, dense)), 1, atol=0.2)
    others = [other for other in SHAPES if other != name]
    found = near_duplicates([laid], [sampled(name, 1), *(sampled(other, 1) for other in others)])
    assert [second for _, second, _ in found] == [0]


def test_twins_of_a_list_are_pairs_of_different_places():
    points = [
        sampled("hook", 1),
        sampled("torus", 2),
        copy("hook", 3, mirror=True),
        sampled("ball", 4),
        sampled("hook", 5),
    ]
    found = near_twins(points)
    assert [(first, second) for first, second, _ in found] == [(0, 2), (0, 4), (2, 4)]
    assert found == [pair for pair in near_duplicates(points, points) if pair[0] < pair[1]]
    assert near_twins([]) == []


def test_the_same_points_are_at_distance_zero():
    points = sampled("hook", 0)
    turned = Rotation.from_euler("xyz", [1, 2, 3]).apply(points) * 4 + 1
    assert aligned_chamfer(points, turned) < 1e-6


def test_different_shapes_are_far_apart_both_ways():
    for first, second in (("hook", "chair"), ("square table", "long table"), ("ball", "torus"), ("cone", "cross")):
        forth = aligned_chamfer(sampled(first, 0), sampled(second, 0))
        back = aligned_chamfer(sampled(second, 0), sampled(first, 0))
        assert min(forth, back) > 1.5


def test_threshold_decides_and_pairs_come_in_order():
    originals = [sampled(name, 1) for name in ("torus", "hook")]
    copies = [sampled(name, 2) for name in ("hook", "torus", "hook")]
    found = near_duplicates(copies, originals)
    assert [(first, second) for first, second, _ in found] == [(0, 1), (1, 0), (2, 1)]
    assert near_duplicates(copies, originals, threshold=0.5) == []
    assert near_duplicates(copies, originals) == found


def test_no_shapes_have_no_duplicates():
    assert near_duplicates([], [sampled("ball", 0)]) == []
    assert near_duplicates([sampled("ball", 0)], []) == []


def test_points_that_are_hardly_shapes_are_no_error():
    flat = np.random.default_rng(0).normal(size=(300, 3)) * [1, 1, 0]
    line = np.linspace([0.0, 0, 0], [1, 2, 3], 200)
    place = np.ones((50, 3))
    found = near_duplicates([flat, line, place], [flat * 2, line + 1, place])
    assert {(first, second) for first, second, _ in found} >= {(0, 0), (1, 1)}
    assert all(np.isfinite(chamfer) for _, _, chamfer in found)


def test_what_shows_from_outside_finds_a_copy_without_its_inner_surfaces():
    hollow = SHAPES["chair"]
    inside = [trimesh.creation.box([0.9, 0.9, 0.06]) for _ in range(3)] + [trimesh.creation.box([0.9, 0.05, 0.9])]
    inside[-1].apply_translation([0, 0.5, 0.5])
    model = trimesh.util.concatenate([hollow, *inside])
    meshes = [normalise(Mesh(np.asarray(each.vertices), np.asarray(each.faces)))[0] for each in (model, hollow)]
    seen = [sample_scan(mesh, Scan(num_views=20), 1024, np.random.default_rng(0))[0] for mesh in meshes]
    whole = [sample_surface(mesh, 1024, np.random.default_rng(0))[0] for mesh in meshes]
    assert len(near_duplicates(seen[:1], seen[1:])) == 1
    assert near_duplicates(whole[:1], whole[1:]) == []
