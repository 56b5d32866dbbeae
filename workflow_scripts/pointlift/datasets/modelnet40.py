"""ModelNet40's classes and how many shapes each has: its numbers run on from train to test, so its ids need no file.

Wu et al.: 3D ShapeNets, CVPR 2015. Counts as in the lists of modelnet40_normal_resampled (9,843 and 2,468). ModelNet10
is ten of these classes with the same numbers: their counts add up to its published 3,991 and 908.
"""

from __future__ import annotations

from functools import cache

from pointlift.datasets.source_folder import SplitName

LICENCE = "academic use"
#: Train and test shapes by class, in the official order, which is the alphabet's.
COUNTS = {
    "airplane": (626, 100), "bathtub": (106, 50), "bed": (515, 100), "bench": (173, 20), "bookshelf": (572, 100),
    "bottle": (335, 100), "bowl": (64, 20), "car": (197, 100), "chair": (889, 100), "cone": (167, 20),
    "cup": (79, 20), "curtain": (138, 20), "desk": (200, 86), "door": (109, 20), "dresser": (200, 86),
    "flower_pot": (149, 20), "glass_box": (171, 100), "guitar": (155, 100), "keyboard": (145, 20), "lamp": (124, 20),
    "laptop": (149, 20), "mantel": (284, 100), "monitor": (465, 100), "night_stand": (200, 86), "person": (88, 20),
    "piano": (231, 100), "plant": (240, 100), "radio": (104, 20), "range_hood": (115, 100), "sink": (128, 20),
    "sofa": (680, 100), "stairs": (124, 20), "stool": (90, 20), "table": (392, 100), "tent": (163, 20),
    "toilet": (344, 100), "tv_stand": (267, 100), "vase": (475, 100), "wardrobe": (87, 20), "xbox": (103, 20),
}  # fmt: skip
CLASS_NAMES = tuple(COUNTS)
#: ModelNet10's classes.
TEN_CLASS_NAMES = (
    "bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet",
)  # fmt: skip


@cache
def split_ids(split: SplitName, class_names: tuple[str, ...] = CLASS_NAMES) -> tuple[str, ...]:
    """The ids ``<class>_<number>`` of the official train or test list, in its order; of these classes alone."""
    spans = {
        name: (1, train) if split == "train" else (train + 1, train + test)
        for name, (train, test) in COUNTS.items()
        if name in class_names
    }
    return tuple(f"{name}_{number:04d}" for name, (first, last) in spans.items() for number in range(first, last + 1))
