"""Statistics of targets against numpy in float64."""

import numpy as np
import pytest

from pointlift.operators.target_statistics import target_statistics


def test_mean_and_spread_of_half_precision_targets_over_shapes_and_views():
    targets = np.random.default_rng(0).normal(3.0, [0.1, 1.0, 10.0], size=(50, 4, 3)).astype(np.float16)
    found = target_statistics(targets)
    rows = targets.astype(np.float64).reshape(200, 3)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.sd, rows.std(axis=0), rtol=1e-6)
    assert found.mean.dtype == found.sd.dtype == np.float32
    assert found.nonnegative is False


@pytest.mark.parametrize(("lowest", "expected"), [(0.0, True), (-1e-4, False)])
def test_sign(lowest, expected):
    assert target_statistics(np.array([[lowest, 1.0], [2.0, 3.0]])).nonnegative is expected


@pytest.mark.parametrize("value", [0.0, 0.1, -300.0])
def test_a_dimension_that_never_changes_divides_by_one(value):
    targets = np.full((1000, 2), value, dtype=np.float32)
    targets[:, 1] = np.arange(1000)
    found = target_statistics(targets)
    assert found.sd[0] == 1.0
    assert found.sd[1] == pytest.approx(288.675, rel=1e-5)


@pytest.mark.parametrize("targets", [np.zeros((0, 3)), np.array([[1.0, np.nan]]), np.array([[np.inf, 1.0]])])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_nothing_and_not_finite_are_refused(targets):
    with pytest.raises(ValueError, match="target"):
        target_statistics(targets)
