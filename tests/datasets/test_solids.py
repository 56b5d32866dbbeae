"""Bodies against closed forms: volume, closedness, place."""

from collections import Counter

import numpy as np
import pytest

from pointlift.datasets import solids


def boundary_edges(solid):
    """Edges that are not met once in each direction: none for a closed, consistently oriented body."""
    edges = Counter()
    for face in solid[1]:
        for a, b in ((face[0], face[1]), (face[1], face[2]), (face[2], face[0])):
            edges[(int(a), int(b))] += 1
    return [edge for edge, count in edges.items() if edges[edge[::-1]] != count]


def test_box_volume_and_place():
    body = solids.box((2.0, 3.0, 4.0), (1.0, 1.0, 1.0))
    assert solids.volume(body) == pytest.approx(24.0)
    np.testing.assert_allclose(body[0].min(axis=0), [0.0, -0.5, 1.0])
    np.testing.assert_allclose(body[0].max(axis=0), [2.0, 2.5, 5.0])


def test_tapered_box_is_a_frustum():
    body = solids.tapered_box((2.0, 2.0), (1.0, 1.0), (0, 0, 0), (0, 0, 3.0))
    assert solids.volume(body) == pytest.approx(3.0 / 3 * (4 + 1 + 2))


@pytest.mark.parametrize("axis", [(0, 0, 1), (1, 0, 0), (0, -1, 0), (1, 2, 3)])
def test_rod_volume_is_that_of_its_polygon_prism(axis):
    end = 2.0 * np.array(axis) / np.linalg.norm(axis)
    body = solids.rod((0, 0, 0), end, 0.5, sides=8)
    polygon = 0.5 * 8 * 0.5**2 * np.sin(2 * np.pi / 8)
    assert solids.volume(body) == pytest.approx(2.0 * polygon)


def test_sphere_volume_comes_near_the_ellipsoid():
    body = solids.sphere((1.0, 2.0, 3.0), (5.0, 0.0, 0.0), rings=40, sides=60)
    assert solids.volume(body) == pytest.approx(4 / 3 * np.pi * 6, rel=0.01)


def test_torus_volume_comes_near_pappus():
    body = solids.torus(1.0, 0.2, 0.5, sides=60)
    section = 0.5 * 6 * 0.2**2 * np.sin(2 * np.pi / 6)
    assert solids.volume(body) == pytest.approx(2 * np.pi * section, rel=0.02)
    assert body[0][:, 2].mean() == pytest.approx(0.5)


def test_hollow_lathe_has_the_volume_of_its_wall():
    cup = solids.lathe([(1.0, 0.0), (1.0, 2.0), (0.8, 2.0), (0.8, 0.2)], sides=64)
    assert solids.volume(cup) == pytest.approx(np.pi * (2.0 - 0.64 * 1.8), rel=0.01)


def test_outline_goes_from_ellipse_to_rectangle():
    ellipse = solids.outline(2.0, 4.0, 1.0, 32)
    np.testing.assert_allclose((ellipse / [1.0, 2.0] ** np.array(1)) ** 2 @ [1.0, 1.0], 1.0)
    square = solids.outline(2.0, 2.0, 0.05, 16)
    assert np.abs(np.abs(square).max(axis=1) - 1.0).max() < 0.05


@pytest.mark.parametrize(
    "body",
    [
        solids.box((1, 2, 3), (0, 0, 0)),
        solids.curved_panel((1.0, 0.1, 0.5), (0, 0, 0), bend=0.2, lean=0.1),
        solids.wing((0, 0, 0), (1, 0.2, 0.1), 0.4, 0.2, 0.1),
        solids.wing((0, 0, 0), (0, 0.2, 1), 0.4, 0.2, 0.1),
        solids.tube(np.array([(0, 0, 0), (1, 0, 0), (1, 0, 1.0)]), 0.1, (0, 1, 0)),
        solids.mirrored(solids.box((1, 2, 3), (1, 0, 0))),
        solids.turned(solids.box((1, 2, 3), (1, 0, 0)), 1, 0.7),
        solids.slab(solids.outline(1, 1, 0.3), 0.0, 0.2, spread=0.8),
    ],
)
def test_bodies_are_closed_and_look_outward(body):
    assert solids.volume(body) > 0
    assert not boundary_edges(body)
