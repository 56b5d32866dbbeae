"""What the Snakefile asks of raw data: mistakes in its blocks, where it comes from, and what only its owner gives."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.raw_data import Licence
from pointlift.datasets.licence_gate import missing_paths, request

if TYPE_CHECKING:
    from pointlift.configuration import Config
    from pointlift.graph import Graph

#: Below ``paths.data``: what was fetched, as it came.
DOWNLOADS = "downloads"


def gate_of(block: DatasetSettings) -> Licence | None:
    """The licence under which a block's files are put into its folder by hand; None when there is no such gate."""
    return block.licence if isinstance(block.licence, Licence) and block.archive is None else None


def raw_data_mistakes(datasets: Mapping[str, DatasetSettings]) -> list[str]:
    """Combinations of `files`, `licence`, `archive` and `folder` that cannot be meant."""
    found: list[str] = []
    for name, block in datasets.items():
        if block.files or isinstance(block.licence, Licence):
            found += _block_mistakes(f"datasets.{name}", block)
        for other in (other for other in datasets if other < name):
            found += _pair_mistakes(name, block, other, datasets[other])
    return found


def _block_mistakes(key: str, block: DatasetSettings) -> list[str]:
    found = []
    if block.folder is None:
        found.append(f"{key}.folder: missing; its files become it, or are put into it")
    if not block.files:
        return found
    folder = Path(block.folder or "x")
    if folder.is_absolute() or ".." in folder.parts or folder.parts[:1] in ((), (DOWNLOADS,)):
        found.append(
            f"{key}.folder: {block.folder!r} is not allowed: files become a folder of their own below paths.data"
        )
    if block.archive is not None:
        found.append(f"{key}.files: `archive` is there too; name the file in one of them")
    if isinstance(block.licence, Licence):
        found.append(f"{key}.files: files under the licence {block.licence.name!r} are never fetched; leave them out")
    names = [file.name for file in block.files]
    found += [f"{key}.files: {name!r} stands there twice" for name in sorted(set(names)) if names.count(name) > 1]
    return found


def _pair_mistakes(name: str, block: DatasetSettings, other: str, block2: DatasetSettings) -> list[str]:
    found = []
    made_of = [(one.archive, {file.name for file in one.files}) for one in (block, block2)]
    fetched = bool(block.files or block2.files)
    if fetched and block.folder is not None and block.folder == block2.folder and made_of[0] != made_of[1]:
        found.append(f"datasets.{name}.folder: {block.folder!r} is made of other files by {other!r}")
    theirs = {file.name: file for file in block2.files}
    for file in block.files:
        known = theirs.get(file.name, file)
        if (known.sha256, known.bytes) != (file.sha256, file.bytes):
            found.append(f"datasets.{name}.files: {file.name!r} has another sha256 or other bytes in {other!r}")
    return found


def missing_licensed(graph: Graph, dataset: str) -> str | None:
    """What to do about a dataset whose files its owner alone gives; None when they are there, or were and were read."""
    block, folder = graph.config.datasets[dataset], graph.folder(dataset)
    licence = gate_of(block)
    if licence is None or folder is None or Path(graph.raw_index(dataset)[0]).is_file():
        return None
    missing = missing_paths(licence, folder)
    return request(dataset, licence, folder, missing) if missing else None


def require_licensed(graph: Graph, dataset: str, *, keep_going: bool) -> list[str]:
    """Stop Snakemake while it plans when a dataset is missing that its owner must give; all such of the suite are told.

    With --keep-going nothing stops here: each such dataset's own job then fails, and what does not need it is made.
    Returns no files. Snakemake wraps every exception of an input function into its own words, and lets SystemExit pass.
    """
    if keep_going or missing_licensed(graph, dataset) is None:
        return []
    names = sorted({dataset, *graph.datasets_used})
    told = [text for text in (missing_licensed(graph, name) for name in names) if text is not None]
    head = f"suite {graph.config.suite} stops before any job; to be asked for: {len(told)} of its datasets"
    tail = "--keep-going makes what can be made without them; `snakemake data_status` shows all datasets"
    sys.stderr.write("\n\n".join([f"error: {head}", *told, tail]) + "\n")
    raise SystemExit(1)


def is_unlisted(graph: Graph, dataset: str) -> bool:
    """Whether only files that are not fetched yet can say which shapes a dataset has."""
    block = graph.config.datasets[dataset]
    return block.lists_its_folder and bool(block.files) and not Path(graph.raw_index(dataset)[0]).is_file()


def listed_index(graph: Graph, dataset: str) -> list[str]:
    """``graph.raw_index``; stops Snakemake while it plans when the dataset's shapes are not known yet."""
    if not is_unlisted(graph, dataset):
        return graph.raw_index(dataset)
    indices = {graph.raw_index(name)[0] for name in (dataset, *graph.datasets_used) if is_unlisted(graph, name)}
    head = f"datasets.{dataset}: its files say which shapes there are, and must be fetched before a run can be planned"
    command = f"snakemake --cores 1 {' '.join(sorted(indices))}"
    sys.stderr.write(f"error: {head}:\n  {command}\n")
    raise SystemExit(1)


def size_of(path: Path) -> int:
    """Bytes of a file, or of the files right in a folder; 0 where there is none."""
    try:
        state = path.stat()
    except OSError:
        return 0
    if stat.S_ISDIR(state.st_mode):
        return sum(entry.stat().st_size for entry in os.scandir(path) if entry.is_file())
    return state.st_size if stat.S_ISREG(state.st_mode) else 0


def set_environment(config: Config) -> None:
    """Tell jobs where files come from: beside their settings, because it changes no result."""
    urls = {file.name: list(file.urls) for block in config.datasets.values() for file in block.files}
    os.environ["POINTLIFT_URLS"] = json.dumps(urls)
    os.environ["POINTLIFT_ARCHIVES"] = config.paths.archives or ""
    os.environ.setdefault("POINTLIFT_MIRROR", config.paths.mirror or "")
