"""What is known of copies of a table's shapes in what its runs were trained on, in sentences for its footer."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from pointlift.contracts.duplicates import compared_datasets, read_duplicates
from pointlift.reporting.slices import Origin

#: Lists of near-duplicates by (set that is distilled on, set that is judged on).
Lists = Mapping[tuple[str, str], pd.DataFrame]

CHECKED = (
    "By id, and by hash where files have one, no test shape stands in train, val or what trained encoder and teacher "
    "here: checked for every row."
)


def read_lists(paths: Iterable[Path]) -> dict[tuple[str, str], pd.DataFrame]:
    """Files ``{dataset}.duplicates.{other}.csv`` by both names."""
    return {compared_datasets(path): read_duplicates(path) for path in paths}


def footer(origins: Sequence[Origin], lists: Lists, dataset: str, runs: Collection[str]) -> list[str]:
    """Sentences on a table of these runs, judged on a dataset: what was found, and plainly what nobody looked for."""
    pairs = sorted({pair for origin in origins if origin.run in runs for pair in origin.sets if pair[1] != dataset})
    sentences = [CHECKED]
    for name in sorted({name for _, name in pairs if (name, dataset) in lists}):
        uses = {use for use, other in pairs if other == name}
        sentences.append(_found(lists[name, dataset], name, dataset, "teacher" in uses))
    unaudited = sorted({name for use, name in pairs if use != "published" and (name, dataset) not in lists})
    between = (
        f"between {dataset} and {' or '.join(unaudited)}, nor within {dataset}" if unaudited else f"within {dataset}"
    )
    sentences.append(f"No near-duplicate audit was made {between}.")
    published = sorted({name for use, name in pairs if use == "published"})
    if published:
        sentences.append(f"What the published weights of {', '.join(published)} saw was compared with nothing.")
    return sentences


def _found(table: pd.DataFrame, name: str, dataset: str, taught: bool) -> str:
    """A shape that is exact in one pair and near in another counts as exact."""
    exact, every = table["shape_id"][table["how"] == "exact"].nunique(), table["shape_id"].nunique()
    told = f"{every} of {name}'s shapes are near-duplicates of {dataset}'s ({exact} of them the same mesh or points)"
    taught_too = f"; a teacher that is trained on {name} saw them" if taught else ""
    return f"{told} and are left out of distillation{taught_too}."
