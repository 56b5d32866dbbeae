"""Blank and constant views are told apart from pictures."""

import numpy as np
import pytest

from pointlift.contracts.errors import UnusableShapeError
from pointlift.rendering.mesh import Settings
from pointlift.rendering.quality import check_views, contrast

RIG = Settings(kind="mesh", min_foreground=0.01, min_contrast=0.05)


def pictures():
    images = np.full((3, 10, 10, 3), 255, dtype=np.uint8)
    images[:, :5] = 0
    return images


def test_contrast_is_the_standard_deviation_of_grey():
    images = pictures()
    images[1] = 77
    images[2, ..., 0] = 0  # one of three channels dark: the grey is what counts
    half = images[2].mean(axis=-1) / 255
    assert np.allclose(contrast(images), [0.5, 0.0, np.sqrt((half**2).mean() - half.mean() ** 2)])


def test_good_views_pass():
    check_views(pictures(), np.array([0.5, 0.01, 0.5]), RIG)


def test_a_blank_view_is_named():
    with pytest.raises(UnusableShapeError, match=r"view 2 is blank: foreground 0\.0000, at least 0\.01"):
        check_views(pictures(), np.array([0.5, 0.5, 0.0]), RIG)


def test_a_constant_view_is_named():
    images = pictures()
    images[1] = 3
    with pytest.raises(UnusableShapeError, match="view 1 is flat: contrast"):
        check_views(images, np.full(3, 1.0), RIG)
