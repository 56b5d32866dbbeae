"""Which mesh a shape names, and what is said of it."""

import numpy as np
import pytest

from pointlift.datasets.matching import COLUMNS, Match, match, named_alike
from pointlift.geometry.alignment import ROTATIONS, Alignment
from pointlift.geometry.meshes import Mesh


@pytest.mark.parametrize(
    ("shape_id", "other_id", "alike"),
    [
        ("03001627/a1", "03001627/a1", True),
        ("03001627/a1", "04379243/a1", False),  # one model in two synsets of ShapeNetCore
        ("03001627/a1", "03001627/a2", False),
        ("03001627/a1", "a1", True),
        ("a1", "03001627/a1", True),
        ("airplane_0003", "airplane/airplane_0003", True),
        ("airplane_0003", "airplane_0030", False),
        ("03001627/a1", "chair/a1.off", True),
        ("03001627/a1.b2", "chair/a1.obj", False),
        ("03001627/a1", "chair/train/a1", True),
        ("core/03001627/a1", "03001627/a1", True),
        ("core/03001627/a1", "core/04379243/a1", False),
        ("12345678", "87654321", False),
        ("03001627/12345678", "03001627/12345678", True),  # a token of eight digits is no synset
        ("03001627/12345678", "12345678", True),
        ("03001627/A1", "03001627/a1", False),
    ],
)
def test_ids_name_one_shape_by_token_and_synset(shape_id, other_id, alike):
    assert named_alike(shape_id, other_id) == named_alike(other_id, shape_id) == alike


def test_a_row_says_how_an_accepted_mesh_is_turned_and_nothing_of_a_rejected_one():
    found = Alignment(1.0123456, 2.5, 5, 0.5, np.array([0.1, -0.2, 0.0]))
    row = dict(zip(COLUMNS, Match("a/x", "b/x", found, "").row(), strict=True))
    assert row["accepted"] == "yes" and row["reason"] == "" and row["chamfer_spacings"] == "1.0123"
    assert row["shift"] == "0.10000 -0.20000 0.00000" and row["scale"] == "0.50000"
    np.testing.assert_array_equal(np.array(row["rotation"].split(), float).reshape(3, 3), ROTATIONS[5])
    assert "-0" not in row["rotation"].split()
    row = dict(zip(COLUMNS, Match("a/x", "b/x", found, "too far").row(), strict=True))
    assert (row["accepted"], row["rotation"], row["scale"], row["shift"]) == ("no", "", "", "")
    assert row["chamfer_spacings"] == "1.0123"
    assert Match("a/x", "", None, "no such mesh").row() == ["a/x", "", "no", "", "", "", "", "no such mesh"]


def test_of_several_meshes_the_accepted_then_the_nearest_is_kept():
    def at(chamfer, reason):
        return Match("x", "y", Alignment(chamfer, 9.0, 0, 1.0, np.zeros(3)), reason)

    nothing = Match("x", "", None, "no such mesh")
    ranked = [
        at(1.2, ""),
        at(1.1, "mirror image: 0.9"),
        at(1.5, "too far"),
        Match("x", "y", None, "mesh unusable"),
        nothing,
    ]
    shuffled = [ranked[place] for place in (3, 0, 4, 2, 1)]
    assert sorted(shuffled, key=lambda each: each.order) == ranked


def test_a_mesh_without_area_and_a_cloud_of_one_place_have_a_reason():
    square = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    line = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), np.array([[0, 1, 2]]))
    cloud = np.random.default_rng(0).random((200, 3))
    assert match("x", cloud, "y", line).reason == "mesh unusable: the mesh has no area to sample"
    assert match("x", np.zeros((200, 3)), "y", square).reason.startswith("cloud unusable: the cloud has 1 different")
