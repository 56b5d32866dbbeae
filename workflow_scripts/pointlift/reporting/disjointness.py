"""The audit of design.md 4: what a network was tested on stands nowhere in what it, or its teacher, was trained on."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pointlift.contracts.duplicates import compared_datasets, read_duplicates
from pointlift.contracts.errors import ArtifactError, PointliftError
from pointlift.reporting.slices import Disjoint

_SHOWN = 5


def check_disjoint(
    rows: Sequence[Disjoint], manifests: Mapping[str, pd.DataFrame], excluded: Mapping[str, Collection[str]]
) -> None:
    """Raise ``PointliftError`` naming the shapes when two sets of a row share a shape id or a mesh (by sha256).

    Nor may a place of a test split, where ids tell places, be one that something is learnt from.

    manifests : by dataset name; excluded : by dataset, the shape ids that distillation leaves out. They count where the
    dataset is something else: a teacher is trained on all of it. Every fault of every row is told at once.
    ``ArtifactError``: a dataset has no manifest.
    """
    faults = []
    for row in rows:
        given = used_shapes(manifests, [(row.distilled, excluded.get(row.distilled, ()))])
        for first, second in itertools.combinations(row.sets, 2):
            shared = _shared(_select(given, *first), _select(given, *second))
            if shared:
                faults.append(f"{row.row}: {_name(*first)} and {_name(*second)} share {_list(shared)}")
        faults += [f"{row.row}: {told}" for told in _shared_places(given, row)]
    if faults:
        remedy = "give the blocks disjoint splits or exclude_duplicates_of, or name the protocol joint"
        raise PointliftError("\n".join([*faults, remedy]))


def used_shapes(
    manifests: Mapping[str, pd.DataFrame], left_out: Iterable[tuple[str, Iterable[str]]]
) -> dict[str, pd.DataFrame]:
    """The manifests without shapes nobody was given. left_out : (dataset, shape ids) pairs; a dataset may recur."""
    used = dict(manifests)
    for dataset, shape_ids in left_out:
        if dataset in used:
            used[dataset] = used[dataset][~used[dataset]["shape_id"].isin(set(shape_ids))]
    return used


def excluded_shapes(paths: Iterable[Path]) -> dict[str, set[str]]:
    """By dataset the shape ids that lists ``{dataset}.duplicates.{other}.csv`` take out of distillation."""
    found: dict[str, set[str]] = {}
    for path in paths:
        found.setdefault(compared_datasets(path)[0], set()).update(read_duplicates(path)["shape_id"])
    return found


def _select(manifests: Mapping[str, pd.DataFrame], dataset: str, splits: tuple[str, ...]) -> pd.DataFrame:
    if dataset not in manifests:
        raise ArtifactError(f"disjointness: no manifest of {dataset} was given; given: {', '.join(sorted(manifests))}")
    table = manifests[dataset]
    return table[table["split"].isin(splits)]


def _shared(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    same_id = sorted(set(first["shape_id"]) & set(second["shape_id"]))
    by_hash = dict(zip(first["sha256"], first["shape_id"], strict=True))
    same_mesh = sorted(
        f"{by_hash[sha256]} = {shape_id}"
        for shape_id, sha256 in zip(second["shape_id"], second["sha256"], strict=True)
        if sha256 and sha256 in by_hash and shape_id not in same_id
    )
    return same_id + same_mesh


def _shared_places(manifests: Mapping[str, pd.DataFrame], row: Disjoint) -> Iterator[str]:
    """Places of a test split that something is learnt from. What is learnt from may share places with other such."""
    tested = [one for one in row.sets if one[1] == ("test",)]
    learnt = [(name, tuple(split for split in splits if split != "test")) for name, splits in row.sets]
    for first, second in itertools.product(tested, [one for one in learnt if one[1]]):
        if row.places.get(first[0], "") == row.places.get(second[0]):
            pattern = row.places[first[0]]
            shared = sorted(_places(manifests, *first, pattern) & _places(manifests, *second, pattern))
            if shared:
                yield f"{_name(*first)} and {_name(*second)} were seen in the same places: {_list(shared, 'place')}"


def _places(manifests: Mapping[str, pd.DataFrame], dataset: str, splits: tuple[str, ...], pattern: str) -> set[str]:
    found = _select(manifests, dataset, splits)["shape_id"].str.extract(f"({pattern})", expand=False)
    return set(found.dropna())


def _name(dataset: str, splits: tuple[str, ...]) -> str:
    return f"{dataset} ({'+'.join(splits)})"


def _list(shapes: list[str], word: str = "shape") -> str:
    more = f" and {len(shapes) - _SHOWN} more" if len(shapes) > _SHOWN else ""
    return f"{len(shapes)} {word}{'s' if len(shapes) > 1 else ''}: {', '.join(shapes[:_SHOWN])}{more}"
