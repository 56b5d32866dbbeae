"""Neural collapse in numbers: how small the embeddings of a class have become, and how the classes' centres lie.

NC1 to NC4 and the nearest class centre are those of Papyan, Han and Donoho, "Prevalence of neural collapse during the
terminal phase of deep learning training", PNAS 2020; CDNV is that of Galanti, György and Hutter, "On the role of neural
collapse in transfer learning", arXiv 2112.15121. Every class counts alike, however many shapes it has, and the global
centre is the mean of the classes' centres. All in float64. A measure that has no value is None, never a large number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pointlift.contracts.shards import Array

#: Centres nearer to one another than this share of the embeddings' largest length are the same: float32 tells no more.
_SAME = 1e-7


@dataclass(frozen=True)
class ClassStatistics:
    """Embeddings (S, d) of K classes that occur, taken apart.

    label : (K,) their numbers, rising; centre : (K, d) their means; row : (S,) int, which of these each shape is of;
    residual : (S, d) each embedding less the centre of its class; length : the largest length of an embedding.
    """

    label: Array
    centre: Array
    row: Array
    residual: Array
    length: float

    @property
    def centred(self) -> Array:
        """(K, d): centres less the global centre."""
        found: Array = self.centre - self.centre.mean(axis=0)
        return found

    def class_means(self, values: Array) -> Array:
        """Means by class (K, ...) of one value or vector per shape (S, ...)."""
        return np.stack([values[self.row == one].mean(axis=0) for one in range(len(self.label))])


def class_statistics(embedding: Array, label: Array) -> ClassStatistics:
    """Of embeddings (S, d) and labels (S,). Raises ``ValueError`` for fewer than two classes."""
    values = embedding.astype(np.float64)
    labels, row = np.unique(label, return_inverse=True)
    if len(labels) < 2:
        raise ValueError("neural collapse is a matter of at least two classes")
    centre = np.stack([values[row == one].mean(axis=0) for one in range(len(labels))])
    length = float(np.linalg.norm(values, axis=1).max())
    return ClassStatistics(labels, centre, row, values - centre[row], length)


def cdnv(classes: ClassStatistics) -> float | None:
    """Class-distance normalised variance (Var_i + Var_j) / (2 |mu_i - mu_j|^2), the mean over ordered pairs i != j.

    Var is the mean squared distance to the class's centre. None: two centres are the same.
    """
    variance = classes.class_means((classes.residual**2).sum(axis=1))
    gap = classes.centre[:, None] - classes.centre[None]
    distance = (gap**2).sum(axis=2)
    apart = ~np.eye(len(variance), dtype=bool)
    if np.sqrt(distance[apart].min()) <= _SAME * classes.length:
        return None
    return float(np.mean((variance[:, None] + variance[None])[apart] / (2.0 * distance[apart])))


def nc1(classes: ClassStatistics) -> float | None:
    """Variability within classes against that between them: Tr(Sigma_W pinv(Sigma_B)) / K.

    Sigma_B is the covariance of the centres, of rank K - 1 at most, and its pseudo-inverse has no more directions, nor
    any along which the centres are the same but for rounding; so what varies across the others is not seen. None: all
    centres are the same.
    """
    _, size, direction = np.linalg.svd(classes.centred, full_matrices=False)
    if size[0] <= _SAME * classes.length:
        return None
    rank = min(len(classes.label) - 1, int((size > _SAME * classes.length).sum()))
    within = classes.class_means((classes.residual @ direction[:rank].T) ** 2).mean(axis=0)
    between = size[:rank] ** 2 / len(classes.label)
    return float((within / between).sum() / len(classes.label))


def nc2(classes: ClassStatistics) -> tuple[float, float, float] | None:
    """How far the centred centres are from the corners of a simplex: equal lengths, equal angles, the widest angles.

    Returns the spread of their lengths (sd / mean), the sd of the cosines between two of them, and the mean of
    |cosine + 1 / (K - 1)|. None: a centre is the global one, and has no direction.
    """
    lengths = np.linalg.norm(classes.centred, axis=1)
    if lengths.min() <= _SAME * classes.length:
        return None
    unit = classes.centred / lengths[:, None]
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    gap = np.abs(cosines + 1.0 / (len(unit) - 1)).mean()
    return float(lengths.std() / lengths.mean()), float(cosines.std()), float(gap)


def nc3(classes: ClassStatistics, weight: Array) -> float | None:
    """How far a linear classifier is from the centred centres: |W / |W| - M / |M||, Frobenius norms, 0 to 2.

    weight : (all classes, d), a row per class number. None: all centres, or all weights, are the same as nothing.
    """
    rows = weight.astype(np.float64)[classes.label]
    centred = classes.centred
    sizes = float(np.linalg.norm(rows)), float(np.linalg.norm(centred))
    if sizes[0] == 0.0 or sizes[1] <= _SAME * classes.length:
        return None
    return float(np.linalg.norm(rows / sizes[0] - centred / sizes[1]))


def nearest_class(embedding: Array, classes: ClassStatistics) -> Array:
    """The class number (S,) of the nearest centre to each embedding (S, d); the lower number where two are as near."""
    middle = classes.centre.mean(axis=0)
    rows, centres = embedding.astype(np.float64) - middle, classes.centre - middle
    found: Array = classes.label[((centres**2).sum(axis=1) - 2.0 * rows @ centres.T).argmin(axis=1)]
    return found
