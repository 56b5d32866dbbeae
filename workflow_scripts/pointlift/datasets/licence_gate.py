"""Files that their owner alone gives: what is missing of them, and whom to ask."""

from __future__ import annotations

from pathlib import Path

from pointlift.contracts.raw_data import Licence


def missing_paths(licence: Licence, folder: Path) -> tuple[str, ...]:
    """The expected paths of which nothing is below ``folder``; an empty folder is nothing."""
    return tuple(pattern for pattern in licence.expected if not _is_there(folder, pattern))


def request(dataset: str, licence: Licence, folder: Path, missing: tuple[str, ...]) -> str:
    """What to do to get a dataset, as one paragraph."""
    return "\n  ".join(
        [
            f"datasets.{dataset}: its files are given by their owner alone, and are not there",
            f"licence: {licence.name}: {licence.terms}",
            f"ask at:  {licence.page}",
            f"folder:  {folder}",
            f"missing: {', '.join(missing)}",
        ]
    )


def _is_there(folder: Path, pattern: str) -> bool:
    return any(path.is_file() or any(path.iterdir()) for path in folder.glob(pattern.rstrip("/")))
