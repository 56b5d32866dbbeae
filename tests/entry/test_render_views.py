"""render_views as the workflow calls it: a shard of meshes in, a shard of views out."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.images import images_of, unpack_images, unpack_maps
from pointlift.contracts.stages import pack, read_stage, write_stage
from rendering import subjects

pytestmark = pytest.mark.render
IDS = ("chair", "speck", "unusable", "torus")
NOTHING = (np.zeros((0, 3)), np.zeros((0, 3)))
PARTS = {"class_names": ["chair"], "part_names": ["chair/seat", "chair/leg", "chair/back"]}
BLOCK = {"kind": "mesh", "image_size": 48, "cameras": {"num_views": 4}}


def write_meshes(path, **names):
    surfaces = [subjects.chair(), subjects.speck(), NOTHING, subjects.torus()]
    vertices, vertex_offsets = pack([np.asarray(surface[0], np.float32) for surface in surfaces])
    faces, face_offsets = pack([np.asarray(surface[1], np.int32) for surface in surfaces])
    arrays = {"vertices": vertices, "vertex_offsets": vertex_offsets, "faces": faces, "face_offsets": face_offsets}
    arrays |= {"centre": np.zeros((4, 3), np.float32), "scale": np.ones(4, np.float32)}
    arrays["valid"] = np.array([True, True, False, True])
    if names:
        arrays["part_label"] = np.arange(len(faces), dtype=np.int16) % len(names["part_names"])
    write_stage(path, "meshes", IDS, arrays, quarantine={"unusable": "no area"}, **names)


@pytest.fixture(scope="module")
def render(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("render_views")
    write_meshes(folder / "meshes")
    write_meshes(folder / "parts", **PARTS)

    def run(output, shapes="meshes", **block):
        command = [sys.executable, repository / "workflow_scripts" / "render_views.py"]
        command += ["--settings", json.dumps({"block": BLOCK | block})]
        command += ["--shapes", folder / shapes, "--output", folder / output]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False), folder / output

    return run


@pytest.fixture(scope="module")
def views(render):
    done, path = render("views")
    assert done.returncode == 0, done.stderr
    return done, path, read_stage(path, "views", IDS)


def test_a_blank_shape_is_quarantined_with_its_reason(views):
    done, _, shard = views
    assert shard["valid"].tolist() == [True, False, False, True]
    assert list(shard.attributes["quarantine"]) == ["speck"]
    assert shard.attributes["quarantine"]["speck"].startswith("view 0 is blank: foreground 0.0")
    assert "speck cannot be used" in done.stderr


def test_images_are_found_by_shape(views):
    _, _, shard = views
    assert shard.attributes["num_views"] == 4
    chair, torus = images_of(shard, 0), images_of(shard, 3)
    assert chair.shape == torus.shape == (4, 48, 48, 3)
    # The offsets skip the two shapes without views: all images that exist are those of the chair, then the torus.
    offsets = shard["image_offsets"]
    assert len(offsets) == 4 * 4 + 1
    kept = np.concatenate([[0], np.unique(offsets[offsets > 0])])
    assert np.array_equal(unpack_images(shard["image_bytes"], kept), np.concatenate([chair, torus]))
    with pytest.raises(ArtifactError, match="unusable has no views"):
        images_of(shard, 2)


def test_foreground_is_counted_and_zero_where_there_is_none(views):
    _, _, shard = views
    assert (shard["foreground"][[0, 3]] > 0.05).all()
    assert (shard["foreground"][[1, 2]] == 0).all()
    shown = (images_of(shard, 0) < 255).any(axis=-1).mean(axis=(1, 2))
    assert np.allclose(shown, shard["foreground"][0], atol=0.05)  # outlines are antialiased


def test_a_second_run_writes_the_same_bytes(views, render):
    _, path, _ = views
    done, again = render("again")
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == again.read_bytes()


def test_the_rate_is_told(views):
    assert "rendered 8 views" in views[0].stderr
    assert "views/s" in views[0].stderr


def test_lit_pictures_are_other_pictures_of_the_same_shapes(views, render):
    _, path = render("lit", shading="lit")
    lit = read_stage(path, "views", IDS)
    assert np.array_equal(lit["valid"], views[2]["valid"])
    assert np.array_equal(lit["foreground"], views[2]["foreground"])
    assert not np.array_equal(images_of(lit, 0), images_of(views[2], 0))


def test_part_maps_lie_beside_the_same_pictures(views, render):
    done, path = render("parts_views", "parts", part_maps=True)
    assert done.returncode == 0, done.stderr
    shard = read_stage(path, "views", IDS)
    for name in views[2].arrays:
        assert np.array_equal(shard[name], views[2][name]), name
    assert {key: shard.attributes[key] for key in PARTS} == PARTS
    offsets = shard["part_map_offsets"]
    assert offsets[4] == offsets[12]  # none of the two shapes without views
    maps = unpack_maps(shard["part_map_bytes"], offsets[12:])
    assert maps.shape == (4, 48, 48) and set(np.unique(maps)) == {0, 1, 2, 255}
    assert render("parts_again", "parts", part_maps=True)[1].read_bytes() == path.read_bytes()


def test_part_maps_of_meshes_without_parts_are_an_error(render):
    done, path = render("never_parts", part_maps=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: part_maps: these shapes have no part labels; take a rig without part_maps")
    assert not path.exists()


def test_a_mistake_in_the_rig_is_one_line(render):
    done, path = render("never", shading="baroque")
    assert done.returncode == 1
    assert done.stderr.startswith("error: rig.shading: 'baroque' is not allowed")
    assert not path.exists()
