"""Linear classifiers on frozen embeddings: standardised by their training rows, strength chosen on those alone."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array

log = logging.getLogger(__name__)
Classifier = Literal["logistic", "svm"]


def single_threaded() -> AbstractContextManager[Any]:
    """Within, linear algebra uses one thread: its bits depend on their number."""
    import sklearn.linear_model  # noqa: F401  (only what is loaded is limited)
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


@dataclass(frozen=True)
class LinearModel:
    """A fitted classifier with the standardisation it was fitted under."""

    mean: Array
    sd: Array
    basis: Array | None
    estimator: Any

    def answer(self, embedding: Array) -> Array:
        """Class numbers (S,) int64 for embeddings (S, C)."""
        return self.estimator.predict(_place(embedding, self.mean, self.sd, self.basis))


def fit_linear(
    embedding: Array,
    label: Array,
    strength: float,
    classifier: Classifier = "logistic",
    reference: Array | None = None,
) -> LinearModel:
    """Fit on embeddings (S, C) and labels (S,); ``strength`` is scikit-learn's C, the inverse of regularisation.

    Dimensions are standardised by the rows of ``reference`` (R, C), by default the embeddings themselves. With fewer
    rows than dimensions the fit is done in the space the rows span: an L2-penalised solution lies in it (representer
    theorem), so that nothing changes but the time.
    """
    rows = embedding.astype(np.float64)
    if len(np.unique(label)) < 2:
        raise ArtifactError("a classifier needs training shapes of at least 2 classes")
    known = rows if reference is None else reference.astype(np.float64)
    mean, sd = known.mean(axis=0), known.std(axis=0)
    sd = np.where(sd > 1e-12 * np.maximum(1.0, np.abs(mean)), sd, 1.0)
    basis = None
    if rows.shape[0] < rows.shape[1]:
        basis = np.linalg.svd((rows - mean) / sd, full_matrices=False)[2].T
    estimator = _estimator(strength, classifier)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(_place(rows, mean, sd, basis), label)
    for warning in caught:
        log.warning("%s with C = %g: %s", classifier, strength, str(warning.message).splitlines()[0])
    return LinearModel(mean, sd, basis, estimator)


def choose_strength(
    embedding: Array, label: Array, strengths: Sequence[float], folds: Array, classifier: Classifier
) -> float:
    """The strength with the highest cross-validated accuracy; the smallest of equals.

    folds : (S,) number of the fold in which each row is held out.
    """
    if len(strengths) == 1:
        return strengths[0]
    right = dict.fromkeys(sorted(strengths), 0)  # counted, not averaged: equals are equal
    for fold in np.unique(folds):
        held = folds == fold
        if len(np.unique(label[~held])) < 2:
            continue
        for strength in right:
            model = fit_linear(embedding[~held], label[~held], strength, classifier)
            right[strength] += int((model.answer(embedding[held]) == label[held]).sum())
    return max(right, key=lambda strength: right[strength])


def stratified_folds(label: Array, count: int, rng: np.random.Generator) -> Array:
    """Fold number (S,) of every row: each class dealt out evenly, in random order, were it smaller than ``count``."""
    order = np.concatenate([rng.permutation(np.flatnonzero(label == one)) for one in np.unique(label)])
    folds = np.empty(len(label), dtype=np.int64)
    folds[order] = np.arange(len(label)) % min(count, len(label))
    return folds


def _place(embedding: Array, mean: Array, sd: Array, basis: Array | None) -> Array:
    standardised = (embedding.astype(np.float64) - mean) / sd
    return standardised if basis is None else standardised @ basis


def _estimator(strength: float, classifier: Classifier) -> Any:
    if classifier == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=strength, max_iter=2000)
    from sklearn.svm import SVC

    return SVC(kernel="linear", C=strength)
