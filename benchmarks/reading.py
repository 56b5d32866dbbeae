"""How fast raw files are read: our readers beside plain trimesh, h5py and numpy, on the same files in one run.

    python benchmarks/reading.py --shapes 2000 --formats off,modelnet_h5

Makes small shapes of every format in a temporary folder (sizes in the table) and reads them by turns, 250 at a time:
``plain`` (what somebody without this project would write: the arrays, unchecked), ``load`` (one shape at a time,
checked, cleaned, z up) and ``shard`` (what a job does: load, normalise, take points, pack, checksum of each file).
Prints shapes a second and their ratio to plain (above 1: faster). Memory is measured in a process of its own: by how
much the peak lies above what was there before reading, after a quarter of the shapes and after all.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

from reading_formats import FORMATS, Format

from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.datasets import ingest
from pointlift.geometry.clouds import check

BLOCK = 250  # shapes


def opened(form: Format, folder: Path) -> tuple[Any, Any]:
    """The dataset and its settings."""
    block = {"kind": form.kind, "folder": "x", "protocol": "test/one", **form.block}
    settings = parse(rooms.settings_class("datasets", form.kind), block, "block")
    return rooms.load("datasets", form.kind).build(settings, folder), settings


def ways(form: Format, folder: Path) -> tuple[Sequence[str], dict[str, Callable[[Sequence[str]], object]]]:
    """Ids, and the ways to read some of them."""
    dataset, settings = opened(form, folder)
    if settings.has_meshes:
        load: Callable[[str], object] = dataset.load
        shard: Callable[[Sequence[str]], object] = lambda ids: ingest.load_shard(dataset, ids)  # noqa: E731
    else:
        load = lambda shape_id: check(dataset.load_points(shape_id))  # noqa: E731
        shard = lambda ids: ingest.load_points_shard(dataset, ids, settings)  # noqa: E731
    plain = form.plain(folder)
    return dataset.ids, {"plain": plain, "load": lambda ids: _each(load, ids), "shard": shard}


def _each(load: Callable[[str], object], ids: Iterable[str]) -> None:
    for shape_id in ids:
        load(shape_id)


def blocks(ids: Sequence[str], count: int) -> list[Sequence[str]]:
    """``count`` ids in blocks; sets of a fixed size are gone through again."""
    wanted = [ids[number % len(ids)] for number in range(count)]
    return [wanted[start : start + BLOCK] for start in range(0, count, BLOCK)]


def seconds(form: Format, folder: Path, count: int) -> dict[str, float]:
    """Seconds that each way takes for ``count`` shapes; who begins changes from block to block."""
    ids, read = ways(form, folder)
    for way in read.values():  # imports, first calls
        way(ids[:2])
    ids, read = ways(form, folder)
    spent = dict.fromkeys(read, 0.0)
    for turn, block in enumerate(blocks(ids, count)):
        order = list(read)[turn % 3 :] + list(read)[: turn % 3]
        for name in order:
            begun = time.perf_counter()
            read[name](block)
            spent[name] += time.perf_counter() - begun
    return spent


def peaks(name: str, folder: Path, count: int) -> dict[str, tuple[float, float]]:
    """MB that the peak lies above the start after a quarter and after all of the shapes, shape by shape and by shards.

    Shards come second, so that their peak stands above the other one.
    """
    ids, read = ways(FORMATS[name], folder)
    for way in ("load", "shard"):
        read[way](ids[:2])
    found = {}
    for way in ("load", "shard"):
        start, quarter = _status("VmRSS"), 0.0
        for number, block in enumerate(blocks(ids, count)):
            read[way](block)
            if (number + 1) * BLOCK >= count / 4 and not quarter:
                quarter = _status("VmHWM") - start
        found[way] = quarter, _status("VmHWM") - start
    return found


def _status(key: str) -> float:
    """MB, by Linux's account of this process."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return float(lines[key].split()[0]) / 1000


def measure(name: str, count: int) -> str:
    """One line of the table."""
    form = FORMATS[name]
    with tempfile.TemporaryDirectory(prefix="reading ") as place:
        folder = Path(place)
        form.make(folder, count)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        spent = seconds(form, folder, count)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
            peak = alone.submit(peaks, name, folder, count).result()
    rates = "".join(f"{count / spent[way]:9.0f}" for way in ("plain", "load", "shard"))
    ratios = "".join(f"{spent['plain'] / spent[way]:7.2f}" for way in ("load", "shard"))
    growth = "".join(f"{quarter:8.1f}{whole:7.1f}" for quarter, whole in peak.values())
    return f"{name:15} {form.told:32} {size / 1e6:6.0f}{rates}{ratios}{growth}"


def main() -> None:
    """Measure the formats and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", type=int, default=2000)
    parser.add_argument("--formats", default=",".join(FORMATS), help=f"of {', '.join(FORMATS)}")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.formats.split(",")) - set(FORMATS))
    if unknown or arguments.shapes < 1:
        parser.error(f"no such formats: {', '.join(unknown)}" if unknown else "at least one shape")
    print(f"{arguments.shapes} shapes a format; shapes/s of plain, load, shard; ratios of load and shard to plain;")
    print(f"peak MB above the start after {arguments.shapes // 4} and {arguments.shapes} shapes, by load and by shard")
    print(
        f"{'format':15} {'a shape':32} {'MB':>6}{'plain':>9}{'load':>9}{'shard':>9}{'load':>7}{'shard':>7}"
        f"{'load':>8}{'':7}{'shard':>8}"
    )
    for name in arguments.formats.split(","):
        print(measure(name, arguments.shapes), flush=True)


if __name__ == "__main__":
    main()
