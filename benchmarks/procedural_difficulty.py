"""How hard the procedural set is for crude statistics: accuracy of a linear probe on D2 histograms.

    PYTHONPATH=workflow_scripts python benchmarks/procedural_difficulty.py [shapes per class in train] [in test]

D2 (Osada et al. 2002): the histogram of distances between random pairs of 1024 points. Logistic regression, C chosen by
cross-validation on train. Chance is 1 / classes; measured with 200 + 40 shapes per class, 2026-11-20: 53.7 % on the
whole surface, 37.7 % on two-view scans with noise.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np

from pointlift import rooms
from pointlift.contracts.dataset_blocks import Scan
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.settings import parse
from pointlift.contracts.shards import Array
from pointlift.geometry.descriptors import d2_histogram
from pointlift.geometry.meshes import normalise
from pointlift.geometry.sampling import sample_scan

SCANS = {"whole surface": Scan(), "two views, noise 0.01": Scan(num_views=2, noise=0.01)}


def histograms(shapes_per_class: int, series: str, scan: Scan, num_points: int = 1024) -> tuple[Array, Array]:
    """D2 histograms (shapes, 64) and labels (shapes,) of a procedural block."""
    block = {"kind": "procedural", "protocol": "procedural/d2", "series": series, "shapes_per_class": shapes_per_class}
    settings = parse(rooms.settings_class("datasets", "procedural"), block, "block")
    dataset = rooms.load("datasets", "procedural").build(settings, None)
    rows, labels = [], []
    for shape_id in dataset.ids:
        rng = np.random.default_rng(stable_seed(shape_id, 0, "difficulty"))
        points, _, _ = sample_scan(normalise(dataset.load(shape_id))[0], scan, num_points, rng)
        rows.append(d2_histogram(points, 64, 20000, rng))
        labels.append(dataset.class_names.index(shape_id.split("-")[0]))
    return np.stack(rows), np.array(labels)


def probe_accuracy(train: tuple[Array, Array], test: tuple[Array, Array]) -> float:
    """Test accuracy of logistic regression on standardised histograms."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    search = GridSearchCV(probe, {"logisticregression__C": [0.01, 0.1, 1.0, 10.0]}, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(search.fit(*train).score(*test))


if __name__ == "__main__":
    num_train, num_test = (int(word) for word in (sys.argv[1:] + ["40", "20"][len(sys.argv) - 1 :]))
    for name, scan in SCANS.items():
        train, test = histograms(num_train, "train", scan), histograms(num_test, "test", scan)
        print(f"{name}: {probe_accuracy(train, test):.3f} ({num_train} train, {num_test} test per class)")
