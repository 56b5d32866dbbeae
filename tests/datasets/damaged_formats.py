"""Small valid files of every raw format, and how each is read; ``main`` reads files that a test damages.

One line of standard input per file: format, tab, folder. One line of JSON back: what came of it.
"""

import json
import resource
import shutil
import sys
import tarfile
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import layouts
import numpy as np
import trimesh

import point_layouts
from pointlift import rooms
from pointlift.contracts.errors import PointliftError
from pointlift.contracts.settings import parse
from pointlift.contracts.shards import Shard, check
from pointlift.contracts.stages import STAGES
from pointlift.datasets import archives, ingest, recorded
from pointlift.datasets.mesh_file import read_mesh
from pointlift.datasets.part_file import PartFile
from pointlift.geometry.meshes import clean, face_areas

MEMORY = 3 << 30  # bytes of address space beyond what the imports took


@dataclass(frozen=True)
class Format:
    """``write`` makes the valid files below a folder and names the one to damage; ``read`` reads them.

    ``read`` says how many shapes could be used. first : length of the file's head, see ``mutations.damaged``; kind : of
    the dataset whose file it is.
    """

    write: Callable[[Path], Path]
    read: Callable[[Path], int]
    first: int = 1_000_000
    kind: str = ""


def _mesh(kind: str, suffix: str, **options) -> Format:
    """One mesh file."""
    name = f"shape.{suffix}"

    def write(folder):
        mesh = trimesh.Trimesh(layouts.TETRAHEDRON, layouts.TETRAHEDRON_FACES, process=False)
        content = layouts.off_text() if kind == "off" else mesh.export(file_type=kind, **options)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    def read(folder):
        mesh = clean(read_mesh(folder / name))
        assert mesh.vertices.dtype == np.float64 and mesh.vertices.shape[1:] == (3,)
        assert mesh.faces.dtype == np.int64 and mesh.faces.shape[1:] == (3,) and len(mesh.faces)
        assert np.isfinite(mesh.vertices).all() and face_areas(mesh).min() > 0
        assert set(np.unique(mesh.faces)) == set(range(len(mesh.vertices)))
        return 1

    return Format(write, read, 200 if suffix in ("ply", "glb") else 1_000_000)


def member(kind: str, write: Callable[[Path], Path], first: int = 1_000_000, ids=None, **block) -> Format:
    """One file of a dataset, read as its shard is made: listed, opened, loaded, packed, checked."""

    @cache
    def opened():
        settings = parse(rooms.settings_class("datasets", kind), {"kind": kind, "folder": "x", **block}, "block")
        return settings, rooms.load("datasets", kind)

    def read(folder):
        settings, member = opened()
        listed = member.list_ids(settings, folder)
        dataset = member.build(settings, folder)
        assert listed == dataset.ids
        chosen = ids or dataset.ids[:3]
        if settings.has_meshes:
            stage, (arrays, attributes) = "meshes", ingest.load_shard(dataset, chosen)
        else:
            stage, (arrays, attributes) = "points", ingest.load_points_shard(dataset, chosen, settings)
        json.dumps(attributes, allow_nan=False).encode("utf-8")  # as it is stored
        check(stage, STAGES[stage], Shard(tuple(chosen), arrays, attributes))
        assert all("\n" not in reason and len(reason) < 400 for reason in attributes["quarantine"].values())
        return len(chosen) - len(attributes["quarantine"])

    return Format(write, read, first, kind)


def below(write: Callable[[Path], object], name: str) -> Callable[[Path], Path]:
    def written(folder):
        write(folder)
        return folder / name

    return written


def _archive(name: str) -> Format:
    """An archive as the published ones are: small text files in folders."""

    def write(folder):
        for place in ("psb/train.cla", "psb/meshes/m0.off", "psb/meshes/m1.off"):
            (folder / "content" / place).parent.mkdir(parents=True, exist_ok=True)
            (folder / "content" / place).write_text(layouts.off_text())
        shutil.rmtree(folder / "raw", ignore_errors=True)
        if name.endswith("zip"):
            with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as packed:
                for path in sorted((folder / "content").rglob("*.*")):
                    packed.write(path, path.relative_to(folder / "content"))
        else:
            with tarfile.open(folder / name, f"w:{name.rpartition('.tar')[2].strip('.')}") as packed:
                packed.add(folder / "content" / "psb", "psb")
        shutil.rmtree(folder / "content")
        return folder / name

    def read(folder):
        try:
            index = archives.unpack(folder / name, folder / "raw" / "set")
        finally:
            there = {path.name for path in folder.iterdir()} | {f"raw/{p.name}" for p in (folder / "raw").glob("*")}
            assert there <= {name, "raw", "raw/set"}, f"left behind: {there}"
        files = [path for path in (folder / "raw" / "set").rglob("*") if path.is_file() and not path.is_symlink()]
        assert len(files) <= index["files"] + 1
        shutil.rmtree(folder / "raw")
        return index["files"]

    return Format(write, read)


def _h5(path: Path, rows: int) -> None:
    """As ``point_layouts.write_h5``, in fewer bytes: most of the file is its structure."""
    clouds = np.tile(np.arange(16 * 3, dtype=np.float32).reshape(1, 16, 3), (rows, 128, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=clouds, chunks=(1, 1024, 3), compression="gzip")
        file.create_dataset("normal", data=clouds / 100, compression="gzip", fletcher32=True)
        file.create_dataset("label", data=np.arange(rows, dtype=np.uint8).reshape(-1, 1))


def _modelnet_h5(folder: Path) -> Path:
    root = folder / "modelnet40_ply_hdf5_2048"
    for split, rows in (("train", 3), ("test", 1)):
        _h5(root / f"{split}.h5", rows)
        (root / f"{split}_files.txt").write_text(f"data/modelnet40_ply_hdf5_2048/{split}.h5\n")
    (root / "shape_names.txt").write_text("\n".join(rooms.load("datasets", "modelnet_h5").ModelNetH5.class_names))
    return root


def _scanobjectnn(folder: Path) -> Path:
    for split, rows in (("training", 3), ("test", 1)):
        _h5(folder / "h5_files" / "main_split" / f"{split}_objectdataset.h5", rows)
    return folder / "h5_files" / "main_split" / "training_objectdataset.h5"


def _princeton(folder: Path) -> None:
    """One shape of it; the others are quarantined as missing."""
    human = folder / "lpsb" / "Human"
    human.mkdir(parents=True)
    (human / "1.off").write_text(layouts.off_text())
    (human / "1_labels.txt").write_text("head\n1 3 \nfoot\n2 4 \n")


def _resampled(folder: Path) -> Path:
    root = folder / "modelnet40_normal_resampled"
    for split, names in (("train", ("airplane_0001", "airplane_0002")), ("test", ("xbox_0104",))):
        for name in names:
            _table(root / name.rpartition("_")[0] / f"{name}.txt", ",", None)
        (root / f"modelnet40_{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return root


def _table(path: Path, delimiter: str, label: int | None) -> None:
    points, normals = point_layouts.cloud(1, 12)
    columns = [points, normals] if label is None else [points, normals, np.full((12, 1), label)]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savetxt(path, np.concatenate(columns, axis=1), fmt="%.6f", delimiter=delimiter)


def _split_folder(folder: Path) -> Path:
    layouts.write_folder(folder)
    rows = [f"chair/{split}/chair_{number}.off,{split}" for split in ("train", "test") for number in range(2)]
    (folder / "split.csv").write_text("\n".join(["path,split", *rows]) + "\n")
    return folder / "split.csv"


def _lock() -> Format:
    """data.lock.json."""

    def write(folder):
        recorded.record(folder / "data.lock.json", "a.zip", "0" * 64, 5)
        recorded.record(folder / "data.lock.json", "sets/b.zip", "1" * 64, 6)
        return folder / "data.lock.json"

    def read(folder):
        found = [recorded.recorded_sha256(folder / "data.lock.json", name) for name in ("a.zip", "sets/b.zip")]
        assert all(sha256 is None or isinstance(sha256, str) for sha256 in found)
        return 1

    return Format(write, read)


def _note() -> Format:
    """The note beside a part of a file: one that cannot be read is as good as none."""

    def write(folder):
        (folder / "a.part.json").write_text('{"url": "https://x/a", "validator": "one", "total": 12}')
        return folder / "a.part.json"

    def read(folder):
        version = PartFile(folder / "a.part").version("https://x/a")
        if version is not None:
            assert isinstance(version.total, int | None) and isinstance(version.validator, str | None)
        return int(version is not None)

    return Format(write, read)


_PSB_IDS = ("m0", "m1", "m5", "m8", "m9")
_LABELLED = {"ids": ("Human-001", "Human-002")}
_POINTS = {"protocol": "test/one", "partial": True, "num_points": 16}
_MESHES = {"protocol": "test/one"}
_PARTS = "shapenetcore_partanno_segmentation_benchmark_v0_normal"
FORMATS: dict[str, Format] = {
    "off": _mesh("off", "off"),
    "obj": _mesh("obj", "obj"),
    "ply binary": _mesh("ply", "ply"),
    "ply text": _mesh("ply", "ply", encoding="ascii"),
    "stl binary": _mesh("stl", "stl"),
    "stl text": _mesh("stl_ascii", "stl"),
    "glb": _mesh("glb", "glb"),
    "folder split file": member("folder", _split_folder, split_file="split.csv", **_MESHES),
    "psb classes": member("psb", below(layouts.write_psb, "psb/train.cla"), ids=_PSB_IDS, **_MESHES),
    "psb mesh": member("psb", below(layouts.write_psb, "psb/m1.off"), ids=_PSB_IDS, **_MESHES),
    "princeton labels": member("princeton", below(_princeton, "lpsb/Human/1_labels.txt"), **_LABELLED, **_MESHES),
    "princeton mesh": member("princeton", below(_princeton, "lpsb/Human/1.off"), **_LABELLED, **_MESHES),
    "modelnet_h5": member("modelnet_h5", lambda folder: _modelnet_h5(folder) / "train.h5", 3000, **_POINTS),
    "modelnet_h5 list": member("modelnet_h5", lambda folder: _modelnet_h5(folder) / "train_files.txt", **_POINTS),
    "modelnet_h5 names": member("modelnet_h5", lambda folder: _modelnet_h5(folder) / "shape_names.txt", **_POINTS),
    "scanobjectnn": member("scanobjectnn", _scanobjectnn, 3000, variant="obj_bg", **_POINTS),
    "resampled": member(
        "modelnet_resampled", lambda folder: _resampled(folder) / "airplane/airplane_0001.txt", **_POINTS
    ),
    "resampled list": member("modelnet_resampled", lambda f: _resampled(f) / "modelnet40_train.txt", **_POINTS),
    "shapenet_part": member(
        "shapenet_part", below(point_layouts.write_shapenet_part, f"{_PARTS}/03001627/a1.txt"), **_POINTS
    ),
    "shapenet_part list": member(
        "shapenet_part",
        below(point_layouts.write_shapenet_part, f"{_PARTS}/train_test_split/shuffled_train_file_list.json"),
        **_POINTS,
    ),
    "shapenet_part categories": member(
        "shapenet_part", below(point_layouts.write_shapenet_part, f"{_PARTS}/synsetoffset2category.txt"), **_POINTS
    ),
    **{f"archive {name}": _archive(name) for name in ("set.zip", "set.tar", "set.tar.gz", "set.tar.xz", "set.tar.bz2")},
    "checksums": _lock(),
    "note of a part": _note(),
}


def outcome(name: str, folder: Path) -> tuple[str, int | str]:
    """``read`` and the shapes that can be used, ``told`` and the message, ``broken`` and another exception's trace."""
    try:
        return "read", FORMATS[name].read(folder)
    except PointliftError as error:
        return ("told", str(error)) if str(error) else ("broken", "an error without words")
    except Exception:
        return "broken", traceback.format_exc()


def main() -> None:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    for line in sys.stdin:
        name, folder = line.rstrip("\n").split("\t")
        sys.stdout.write(json.dumps(outcome(name, Path(folder))) + "\n")
        sys.stdout.flush()
