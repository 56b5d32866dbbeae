"""A teacher's embeddings of a shard: aligned whatever the batch, zeros where there is no shape, named mistakes."""

import numpy as np
import pytest
import torch
from torch import nn

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.stages import read_stage
from pointlift.teachers import extraction
from pointlift.teachers.preprocessing import Preprocessing
from pointlift.teachers.teacher import Teacher, TeacherOutput
from pointlift.teachers.views import ahead, decode, labelled_views
from teachers.pictures import write_views


class Ruler(Teacher):
    """Says the mean grey and the grey of the centre: what belongs to which image is seen at once."""

    width, nonnegative = 2, True

    def __init__(self, gain=1.0):
        super().__init__(Preprocessing(24, (0.0,) * 3, (1.0,) * 3, pixel_scale=gain))
        self.anchor = nn.Parameter(torch.zeros(1))
        self.batches = []
        self.freeze()

    def _encode(self, pixels_B3HW, tokens):
        self.batches.append(len(pixels_B3HW))
        grey = pixels_B3HW.mean(dim=1)
        return TeacherOutput(torch.stack([grey.mean(dim=(1, 2)), grey[:, 12, 12]], dim=1), None)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    path = tmp_path_factory.mktemp("views") / "views.safetensors"
    ids, images = write_views(path, ("bar", "disc", "frame", "disc", "bar"), num_views=3, size=24, unusable=(1, 4))
    return path, ids, images


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_view_gets_its_own_embedding(drawn, batch_size):
    path, _, images = drawn
    teacher = Ruler()
    found = extraction.extract(teacher, read_stage(path, "views"), batch_size)
    grey = images.astype(np.float64).mean(axis=-1)
    wanted = np.stack([grey.mean(axis=(2, 3)), grey[:, :, 12, 12]], axis=-1)
    wanted[[1, 4]] = 0.0
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, wanted, rtol=2**-11 * 1.001)  # half a unit of float16's last place
    assert sum(teacher.batches) == 9  # nothing is computed for shapes without views
    assert max(teacher.batches) == min(batch_size, 9)  # batches run across shapes


@pytest.mark.parametrize("gain", [1e4, float("nan")])
def test_what_half_precision_cannot_hold_names_the_shape(drawn, gain):
    path, ids, _ = drawn
    with pytest.raises(ArtifactError, match=rf"shape {ids[0]}: the teacher gives .* float16"):
        extraction.extract(Ruler(gain), read_stage(path, "views"), 4)


def test_a_damaged_picture_names_its_shape(drawn):
    path, ids, _ = drawn
    shard = read_stage(path, "views")
    shard.arrays["image_bytes"][shard["image_offsets"][6] + 8 :][:40] = 0
    with pytest.raises(ArtifactError, match=rf"views of shape {ids[2]}: a picture cannot be read"):
        decode(shard, np.array([0, 6]))


def test_labelled_views_are_those_of_valid_shapes_that_have_a_label(drawn):
    path, ids, images = drawn
    found = labelled_views([path], {ids[3]: 7, ids[0]: 5, ids[1]: 6}, lambda pictures: pictures[:, ::2])
    assert found.label.tolist() == [5, 7]
    assert np.array_equal(found.images, images[[0, 3]][:, :, ::2])
    assert labelled_views([path], {ids[1]: 6}, np.asarray) is None


def test_ahead_keeps_the_order_and_passes_errors_on():
    assert list(ahead(lambda item: item * item, list(range(7)))) == [0, 1, 4, 9, 16, 25, 36]
    assert list(ahead(str, [])) == []
    with pytest.raises(ZeroDivisionError):
        list(ahead(lambda item: 1 / item, [2, 1, 0, 3]))
