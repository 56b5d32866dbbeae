"""Small files of every raw format, and how each is read without this project; for ``reading.py``.

Contents repeat after ``_DISTINCT`` shapes; every shape has a file, or a row, of its own.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import trimesh

from pointlift import rooms
from pointlift.datasets import modelnet40

Array = np.ndarray[Any, Any]
_DISTINCT = 20
_PER_H5 = 2048  # rows of a file, as in the published ones


@dataclass(frozen=True)
class Format:
    """``make`` writes so many shapes below a folder; ``plain`` gives the plain way to read some ids of it.

    kind, block : of the dataset that reads it; told : what one shape is.
    """

    kind: str
    told: str
    make: Callable[[Path, int], None]
    plain: Callable[[Path], Callable[[Sequence[str]], object]]
    block: dict[str, Any] = field(default_factory=dict)


def _meshes() -> Iterator[trimesh.Trimesh]:
    """Ellipsoids of 642 vertices and 1,280 faces."""
    for number in range(_DISTINCT):
        mesh = trimesh.creation.icosphere(subdivisions=3)
        mesh.vertices *= [1.0, 1.0 + number / 10, 0.7]
        yield mesh


def _written(paths: Sequence[Path], contents: Sequence[bytes]) -> None:
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % len(contents)])


def _mesh_files(suffix: str) -> Format:
    def make(folder: Path, count: int) -> None:
        contents = [mesh.export(file_type=suffix) for mesh in _meshes()]
        paths = [folder / "ball" / f"{number:05d}.{suffix}" for number in range(count)]
        _written(paths, [content if isinstance(content, bytes) else content.encode() for content in contents])

    def plain(folder: Path) -> Callable[[Sequence[str]], object]:
        return lambda ids: [trimesh.load_mesh(folder / shape_id, process=False) for shape_id in ids]

    return Format("folder", "642 vertices, 1,280 faces", make, plain)


def _make_princeton(folder: Path, _count: int) -> None:
    member = rooms.load("datasets", "princeton")
    contents = [mesh.export(file_type="off").encode() for mesh in _meshes()]
    half = "body\n" + " ".join(map(str, range(1, 641))) + "\nhandle\n" + " ".join(map(str, range(641, 1281))) + "\n"
    for name, first in member.FIRST_NUMBER.items():
        parts = [part.split("/")[1] for part in member.PART_NAMES if part.startswith(f"{name}/")]
        paths = [folder / "lpsb" / name / f"{number}.off" for number in range(first, first + member.PER_CLASS)]
        _written(paths, contents)
        text = half.replace("body", parts[0]).replace("handle", parts[1])
        _written([path.with_name(f"{path.stem}_labels.txt") for path in paths], [text.encode()])


def _plain_princeton(folder: Path) -> Callable[[Sequence[str]], object]:
    def read(shape_id: str) -> object:
        name, number = shape_id.split("-")
        path = folder / "lpsb" / name / f"{int(number)}.off"
        words = path.with_name(f"{path.stem}_labels.txt").read_text().split()
        faces = [int(word) for word in words if word.isdigit()]
        return trimesh.load_mesh(path, process=False), faces

    return lambda ids: [read(shape_id) for shape_id in ids]


def _cloud(count: int, number: int) -> tuple[Array, Array]:
    """Points and normals of an ellipsoid, float32."""
    normals = np.random.default_rng(number).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals * [1.0, 1.0 + number / 10, 0.7]).astype(np.float32), normals.astype(np.float32)


def _write_h5(path: Path, count: int, normals: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    clouds = [_cloud(2048, number) for number in range(_DISTINCT)]
    with h5py.File(path, "w") as file:
        for place, name in enumerate(("data", "normal")[: 1 + normals]):
            rows = np.stack([clouds[number % _DISTINCT][place] for number in range(count)])
            file.create_dataset(name, data=rows, compression="gzip", compression_opts=1)
        file.create_dataset("label", data=np.arange(count, dtype=np.uint8)[:, None] % 15)


def _make_modelnet_h5(folder: Path, count: int) -> None:
    root = folder / "modelnet40_ply_hdf5_2048"
    for split, total in (("train", max(count - 1, 1)), ("test", 1)):
        parts = [min(_PER_H5, total - start) for start in range(0, total, _PER_H5)]
        for number, rows in enumerate(parts):
            _write_h5(root / f"{split}{number}.h5", rows, normals=True)
        (root / f"{split}_files.txt").write_text("".join(f"{split}{number}.h5\n" for number in range(len(parts))))


def _make_scanobjectnn(folder: Path, count: int) -> None:
    for split, rows in (("training", max(count - 1, 1)), ("test", 1)):
        _write_h5(folder / "h5_files" / "main_split" / f"{split}_objectdataset.h5", rows, normals=False)


def _plain_h5(pattern: str, names: Sequence[str]) -> Callable[[Path], Callable[[Sequence[str]], object]]:
    """A block's rows at once, as a loader that knows the layout would."""

    def plain(folder: Path) -> Callable[[Sequence[str]], object]:
        paths = {split: sorted(folder.glob(pattern.format(split))) for split in ("train", "test")}

        def read(ids: Sequence[str]) -> object:
            found = []
            for split in ("train", "test"):
                rows = np.array([int(shape_id[-5:]) for shape_id in ids if f"-{split}-" in shape_id])
                for number in np.unique(rows // _PER_H5):
                    own = rows[rows // _PER_H5 == number] % _PER_H5
                    with h5py.File(paths[split][number]) as file:
                        found += [file[name][own.min() : own.max() + 1] for name in names]
            return found

        return read

    return plain


def _text(table: Array, fmt: str, delimiter: str) -> bytes:
    return "".join(delimiter.join(fmt % value for value in row) + "\n" for row in table.tolist()).encode()


def _make_resampled(folder: Path, count: int) -> None:
    root = folder / "modelnet40_normal_resampled"
    ids = modelnet40.split_ids("train")[:count]
    contents = [_text(np.concatenate(_cloud(1024, number), axis=1), "%.6f", ",") for number in range(_DISTINCT)]
    test = "xbox_0104"
    _written([root / shape_id.rpartition("_")[0] / f"{shape_id}.txt" for shape_id in (*ids, test)], contents)
    (root / "modelnet40_train.txt").write_text("\n".join(ids))
    (root / "modelnet40_test.txt").write_text(test)


def _plain_resampled(folder: Path) -> Callable[[Sequence[str]], object]:
    root = folder / "modelnet40_normal_resampled"
    return lambda ids: [np.loadtxt(root / i.rpartition("_")[0] / f"{i}.txt", delimiter=",") for i in ids]


def _make_shapenet_part(folder: Path, count: int) -> None:
    root = folder / "shapenetcore_partanno_segmentation_benchmark_v0_normal"
    part = 12 + np.arange(1024)[:, None] % 4
    clouds = [np.concatenate([*_cloud(1024, number), part], axis=1) for number in range(_DISTINCT)]
    _written(
        [root / "03001627" / f"{number:05d}.txt" for number in range(count)], [_text(c, "%.6f", " ") for c in clouds]
    )
    member = rooms.load("datasets", "shapenet_part")
    lines = [f"{name}\t{synset}\n" for name, (synset, _) in member.CATEGORIES.items()]
    (root / "synsetoffset2category.txt").write_text("".join(lines))
    (root / "train_test_split").mkdir()
    for split in ("train", "val", "test"):
        listed = [f"shape_data/03001627/{number:05d}" for number in range(count)] if split == "train" else []
        (root / "train_test_split" / f"shuffled_{split}_file_list.json").write_text(json.dumps(listed))


def _plain_shapenet_part(folder: Path) -> Callable[[Sequence[str]], object]:
    root = folder / "shapenetcore_partanno_segmentation_benchmark_v0_normal"
    return lambda ids: [np.loadtxt(root / f"{shape_id}.txt") for shape_id in ids]


def _scene(count: int, number: int) -> tuple[Array, Array]:
    """Places in a room, to the millimetre, and whole colours."""
    rng = np.random.default_rng(number)
    return np.round(rng.random((count, 3)) * [5, 4, 3], 3), rng.integers(256, size=(count, 3))


def _saved(array: Array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _make_s3dis(folder: Path, count: int) -> None:
    root = folder / "Stanford3dDataset_v1.2_Aligned_Version"
    tables = [np.column_stack(_scene(256, number)) for number in range(_DISTINCT)]
    texts = [_text(table, "%.3f", " ").replace(b".000", b"") for table in tables]
    rooms_ = [root / f"Area_{1 + number % 6}" / f"office_{number}" / "Annotations" for number in range(count)]
    for name in ("ceiling_1", "chair_1", "chair_2", "wall_1"):
        _written([room / f"{name}.txt" for room in rooms_], texts)


def _plain_s3dis(folder: Path) -> Callable[[Sequence[str]], object]:
    root = folder / "Stanford3dDataset_v1.2_Aligned_Version"

    def read(shape_id: str) -> object:
        paths = sorted((root / shape_id / "Annotations").glob("*.txt"))
        return np.concatenate([np.loadtxt(path) for path in paths]), [path.stem for path in paths]

    return lambda ids: [read(shape_id) for shape_id in ids]


def _make_s3dis_npy(folder: Path, count: int) -> None:
    tables = [np.column_stack([*_scene(4096, number), np.arange(4096) % 13]) for number in range(_DISTINCT)]
    names = [f"Area_{1 + number % 6}_office_{number}.npy" for number in range(count)]
    _written([folder / "stanford_indoor3d" / name for name in names], [_saved(table) for table in tables])


def _plain_s3dis_npy(folder: Path) -> Callable[[Sequence[str]], object]:
    root = folder / "stanford_indoor3d"
    return lambda ids: [np.load(root / f"{shape_id.replace('/', '_')}.npy") for shape_id in ids]


def _make_semantickitti(folder: Path, count: int) -> None:
    root = folder / "dataset" / "sequences" / "00"
    scans = [np.column_stack([_scene(16384, n)[0], np.ones(16384)]).astype("<f4").tobytes() for n in range(_DISTINCT)]
    labels = (np.array([40, 10, 50, 99])[np.arange(16384) % 4] + ((np.arange(16384) % 4 == 1) << 16)).astype("<u4")
    _written([root / "velodyne" / f"{number:06d}.bin" for number in range(count)], scans)
    _written([root / "labels" / f"{number:06d}.label" for number in range(count)], [labels.tobytes()])


def _plain_semantickitti(folder: Path) -> Callable[[Sequence[str]], object]:
    def read(shape_id: str) -> object:
        sequence, _, scan = shape_id.partition("/")
        root = folder / "dataset" / "sequences" / sequence
        rows = np.fromfile(root / "velodyne" / f"{scan}.bin", "<f4").reshape(-1, 4)
        return rows, np.fromfile(root / "labels" / f"{scan}.label", "<u4")

    return lambda ids: [read(shape_id) for shape_id in ids]


def _make_scannet(folder: Path, count: int) -> None:
    ids = [f"scene{number:04d}_00" for number in range(count + 1)]
    (folder / "meta_data").mkdir()
    for split, listed in (("train", ids[:count]), ("val", ids[count:])):
        (folder / "meta_data" / f"scannetv2_{split}.txt").write_text("\n".join(listed))
    boxes = np.array([[1.0, 1, 1, 1, 1, 1, 5], [3.0, 2, 1, 1, 1, 2, 39]])
    contents = {
        "vert": [_saved(np.column_stack(_scene(4096, number)).astype(np.float32)) for number in range(_DISTINCT)],
        "sem_label": [_saved(np.array([1, 2, 5, 39], np.uint32)[np.arange(4096) % 4])],
        "ins_label": [_saved((np.arange(4096) % 4).astype(np.uint32))],
        "bbox": [_saved(boxes)],
    }
    for part, content in contents.items():
        _written([folder / "scannet_train_detection_data" / f"{scan}_{part}.npy" for scan in ids], content)


def _plain_scannet(folder: Path) -> Callable[[Sequence[str]], object]:
    root, parts = folder / "scannet_train_detection_data", ("vert", "sem_label", "ins_label", "bbox")
    return lambda ids: [[np.load(root / f"{shape_id}_{part}.npy") for part in parts] for shape_id in ids]


def _make_sunrgbd(folder: Path, count: int) -> None:
    clouds = []
    for number in range(_DISTINCT):
        points, colour = _scene(4096, number)
        stream = io.BytesIO()
        np.savez_compressed(stream, pc=np.column_stack([points, colour / 255]))
        clouds.append(stream.getvalue())
    boxes = _saved(np.array([[1.0, 1, 1, 1, 1, 1, 0.3, 2], [3.0, 2, 1, 1, 1, 2, -1.0, 9]]))
    for split, numbers in (("val", range(1, 2)), ("train", range(2, count + 1))):
        root = folder / f"sunrgbd_pc_bbox_votes_50k_v1_{split}"
        root.mkdir()
        _written([root / f"{number:06d}_pc.npz" for number in numbers], clouds)
        _written([root / f"{number:06d}_bbox.npy" for number in numbers], [boxes])


def _plain_sunrgbd(folder: Path) -> Callable[[Sequence[str]], object]:
    def read(shape_id: str) -> object:
        root = folder / f"sunrgbd_pc_bbox_votes_50k_v1_{'val' if shape_id == '000001' else 'train'}"
        return np.load(root / f"{shape_id}_pc.npz")["pc"], np.load(root / f"{shape_id}_bbox.npy")

    return lambda ids: [read(shape_id) for shape_id in ids]


_PART = {"partial": True}
FORMATS: dict[str, Format] = {
    **{suffix: _mesh_files(suffix) for suffix in ("off", "obj", "ply", "stl", "glb")},
    "princeton": Format("princeton", "380 x 642 vertices, 1,280 labels", _make_princeton, _plain_princeton),
    "modelnet_h5": Format(
        "modelnet_h5", "2,048 points, normals", _make_modelnet_h5, _plain_h5("*/{}*.h5", ("data", "normal")), _PART
    ),
    "scanobjectnn": Format(
        "scanobjectnn", "2,048 points", _make_scanobjectnn, _plain_h5("*/*/{}*.h5", ("data",)),
        {"variant": "obj_bg", **_PART},
    ),
    "resampled": Format(
        "modelnet_resampled", "1,024 points, normals", _make_resampled, _plain_resampled,
        {"subsample": "first", **_PART},
    ),
    "s3dis": Format("s3dis", "4 objects of 256 points", _make_s3dis, _plain_s3dis, _PART),
    "s3dis_npy": Format("s3dis", "4,096 points", _make_s3dis_npy, _plain_s3dis_npy, {"format": "npy", **_PART}),
    "semantickitti": Format("semantickitti", "16,384 points", _make_semantickitti, _plain_semantickitti, _PART),
    "scannet": Format("scannet", "4,096 points, 2 boxes", _make_scannet, _plain_scannet, _PART),
    "sunrgbd": Format("sunrgbd", "4,096 points, 2 boxes", _make_sunrgbd, _plain_sunrgbd, {"labels": "v1", **_PART}),
    "shapenet_part": Format(
        "shapenet_part", "1,024 points, normals, parts", _make_shapenet_part, _plain_shapenet_part, _PART
    ),
}  # fmt: skip
