import hashlib
import json

import numpy as np
import procedural_probe
import pytest

from pointlift import rooms
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import parse
from pointlift.datasets import families, procedural
from pointlift.datasets.assembly import Draw
from pointlift.geometry.meshes import face_areas


def settings(**changes):
    block = {"kind": "procedural", "protocol": "test/one", "series": "a", "shapes_per_class": 3, **changes}
    return parse(procedural.Settings, block, "block")


def opened(**changes):
    return procedural.build(settings(**changes))


def test_the_classes_that_may_be_named_are_the_families():
    allowed = json.dumps(rooms.settings_class("datasets", "procedural").model_json_schema())
    assert all(f'"{name}"' in allowed for name in families.FAMILIES)
    assert procedural.class_names(settings()) == tuple(sorted(families.FAMILIES))
    assert len(families.FAMILIES) >= 10
    assert len({name.split("/")[1] for name in families.PART_NAMES}) >= 25


@pytest.mark.parametrize("name", sorted(families.FAMILIES))
def test_every_family_varies_in_structure_and_uses_its_parts(name):
    index = {part.split("/")[1]: i for i, part in enumerate(families.PART_NAMES) if part.startswith(f"{name}/")}
    structures, used, faces = set(), set(), []
    for seed in range(300):
        vertices, found, labels = families.FAMILIES[name](Draw(np.random.default_rng(seed))).arrays(index)
        structures.add(tuple(np.unique(labels, return_counts=True)[1]))
        used |= set(labels.tolist())
        faces.append(len(found))
        assert np.isfinite(vertices).all() and found.max() < len(vertices)
    assert len(structures) >= 8
    assert used == set(index.values())
    assert min(faces) >= 40 and np.median(faces) <= 800 and max(faces) < 1500


def test_meshes_have_area_and_extent_along_every_axis():
    dataset = opened()
    for shape_id in dataset.ids:
        mesh = dataset.load(shape_id)
        assert face_areas(mesh).min() > 0
        assert np.ptp(mesh.vertices, axis=0).min() > 0.05 * np.ptp(mesh.vertices, axis=0).max()


def test_a_shape_depends_on_its_id_and_seed_alone():
    few, many = opened(), opened(shapes_per_class=7, shard_size=3, classes=["chair", "vase"], num_points=64)
    shape_id = "chair-a-00002"
    np.testing.assert_array_equal(few.load(shape_id).vertices, many.load(shape_id).vertices)
    assert few.entry(shape_id).sha256 != opened(seed=1).entry(shape_id).sha256
    names = [few.part_names[label] for label in few.load(shape_id).part_label]
    assert names == [many.part_names[label] for label in many.load(shape_id).part_label]


def test_every_shape_is_another_one_and_series_are_disjoint():
    digests = {}
    for series in ("a", "b"):
        dataset = opened(series=series)
        for shape_id in dataset.ids:
            digest = hashlib.sha256(dataset.load(shape_id).vertices.tobytes()).hexdigest()
            assert digest not in digests, (shape_id, digests[digest])
            digests[digest] = shape_id
    assert len(set(digests.values())) == 2 * 3 * len(families.FAMILIES)


def test_more_shapes_append_ids_and_leave_splits_as_they_are():
    few, many = opened(shapes_per_class=5), opened(shapes_per_class=20)
    assert many.ids[: len(few.ids)] == few.ids
    assert [few.entry(i).split for i in few.ids] == [many.entry(i).split for i in few.ids]


@pytest.mark.parametrize("sizes", [(10, 2, 8), (0.6, 0.1, 0.3), (1, 0, 0), (7, 3, 10), (3, 3, 14)])
def test_splits_come_out_exact_in_every_class(sizes):
    shares = dict(zip(("train", "val", "test"), sizes, strict=True))
    dataset = opened(shapes_per_class=20, splits=shares, classes=["cup"])
    found = [dataset.entry(shape_id).split for shape_id in dataset.ids]
    for name, share in shares.items():
        assert found.count(name) == round(20 * share / sum(sizes))


def test_pose_settings_turn_and_tilt_the_same_shape():
    kinds = {"classes": ["lamp"], "stretch": 0.0}
    still, turned = opened(rotation="none", **kinds), opened(**kinds)
    tilted = opened(rotation="none", tilt_degrees=30.0, **kinds)
    for shape_id in still.ids:
        first, second, third = (dataset.load(shape_id).vertices for dataset in (still, turned, tilted))
        np.testing.assert_allclose(first[:, 2], second[:, 2], atol=1e-12)
        assert np.abs(first - second).max() > 1e-3
        for other in (second, third):
            np.testing.assert_allclose(np.linalg.norm(first, axis=1), np.linalg.norm(other, axis=1), atol=1e-12)
        matrix = np.linalg.lstsq(first, third, rcond=None)[0]
        assert np.linalg.det(matrix) == pytest.approx(1.0)
        assert np.degrees(np.arccos(np.clip(matrix[2, 2], -1, 1))) <= 30.0 + 1e-6


def test_stretch_scales_axes_within_its_bound():
    kinds = {"classes": ["shelf"], "rotation": "none"}
    plain, stretched = opened(stretch=0.0, **kinds), opened(stretch=0.3, **kinds)
    for shape_id in plain.ids:
        factor = np.ptp(stretched.load(shape_id).vertices, axis=0) / np.ptp(plain.load(shape_id).vertices, axis=0)
        assert np.abs(np.log(factor)).max() <= 0.3 and np.ptp(factor) > 0.01


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ["dragon"]}, "classes"),
        ({"splits": {"train": 0, "val": 0, "test": 0}}, "splits"),
        ({"series": "A b"}, "series"),
        ({"shapes_per_class": 0}, "shapes_per_class"),
        ({"rotation": "any"}, "rotation"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        settings(**changes)


@pytest.mark.parametrize("shape_id", ["chair-b-00000", "dragon-a-00000", "chair-a-x"])
def test_an_id_of_another_block_is_refused(shape_id):
    with pytest.raises(ConfigError, match="no shape of this procedural dataset"):
        opened().load(shape_id)


def test_crude_statistics_do_not_tell_the_classes_apart():
    accuracy = procedural_probe.accuracy(num_train=20, num_test=8)
    assert 2 / len(families.FAMILIES) < accuracy < 0.80
