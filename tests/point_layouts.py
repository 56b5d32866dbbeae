"""Small datasets of points in the layout of the real ones, for tests."""

import json

import h5py
import numpy as np

from pointlift.datasets.shapenet_part import CATEGORIES

SHAPENET_TOKENS = {"train": ["a1", "b2", "c3"], "val": ["d4"], "test": ["e5", "f6"]}


def cloud(seed, count=2048, stretch=1.0):
    """Points of an ellipsoid's surface with their directions as normals, float32."""
    normals = np.random.default_rng(seed).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals * [1.0, stretch, 0.5]).astype(np.float32), normals.astype(np.float32)


def write_h5(path, labels, *, seed=0, flat=False, normals=True, stretch=None):
    """A file of one cloud per label; ``stretch`` by label makes classes differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made = [cloud([seed, row], stretch=1.0 if stretch is None else stretch[label]) for row, label in enumerate(labels)]
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=np.stack([points for points, _ in made]), compression="gzip")
        file.create_dataset("label", data=np.array(labels, np.uint8).reshape((-1,) if flat else (-1, 1)))
        if normals:
            file.create_dataset("normal", data=np.stack([directions for _, directions in made]), compression="gzip")
    return made


def write_modelnet_h5(root, train=((0, 5, 39), (1, 2)), test=((0, 39),), **options):
    """Files of these labels, with the lists that name them as the published ones do."""
    folder = root / "modelnet40_ply_hdf5_2048"
    folder.mkdir(parents=True, exist_ok=True)
    for split, files in (("train", train), ("test", test)):
        names = [f"ply_data_{split}{number}.h5" for number in range(len(files))]
        for number, (name, labels) in enumerate(zip(names, files, strict=True)):
            write_h5(folder / name, labels, seed=10 * (split == "test") + number, **options)
        lines = [f"data/modelnet40_ply_hdf5_2048/{name}\n" for name in names]
        (folder / f"{split}_files.txt").write_text("".join(lines))
    return folder


def write_scanobjectnn(root):
    """All three variants; which one a file is, its first label tells: 0, 1, 2."""
    for label, (folder, end) in enumerate(
        [("main_split", ""), ("main_split_nobg", ""), ("main_split", "_augmentedrot_scale75")]
    ):
        for split, rest in (("training", [14, 10, 3]), ("test", [14])):
            path = root / "h5_files" / folder / f"{split}_objectdataset{end}.h5"
            write_h5(path, [label, *rest], seed=label + 5 * (split == "test"), flat=True, normals=False)


def write_modelnet_resampled(root, train=("airplane_0001", "airplane_0002", "tv_stand_0001"), test=("xbox_0104",)):
    """Files of 300 points, with lists that name them."""
    folder = root / "modelnet40_normal_resampled"
    for split, ids in (("train", train), ("test", test)):
        for number, shape_id in enumerate(ids):
            path = folder / shape_id.rpartition("_")[0] / f"{shape_id}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savetxt(path, np.concatenate(cloud([7, number], 300), axis=1), fmt="%.6f", delimiter=",")
        (folder / f"modelnet40_{split}.txt").write_text("".join(f"{shape_id}\n" for shape_id in ids))
    return folder


def write_shapenet_part(root, layout="v0_normal"):
    """Files of 100 to 105 points in chairs and tables, with lists in the published form."""
    folder = root / f"shapenetcore_partanno_segmentation_benchmark_{layout}"
    (folder / "train_test_split").mkdir(parents=True)
    lines = [f"{name}\t{synset}\n" for name, (synset, _) in CATEGORIES.items()]
    (folder / "synsetoffset2category.txt").write_text("".join(lines))
    count = 100
    for split, tokens in SHAPENET_TOKENS.items():
        listed = []
        for token, (synset, first) in zip(tokens, [("03001627", 12), ("04379243", 47)] * 2, strict=False):
            part = np.arange(count)[:, None] % 3
            (folder / synset).mkdir(exist_ok=True)
            if layout == "v0":
                for name, end, table in (
                    ("points", "pts", cloud([8, count], count)[0]),
                    ("points_label", "seg", part + 1),
                ):
                    (folder / synset / name).mkdir(exist_ok=True)
                    np.savetxt(folder / synset / name / f"{token}.{end}", table, fmt="%.6f" if end == "pts" else "%d")
            else:
                table = np.concatenate([*cloud([8, count], count), first + part], axis=1)
                np.savetxt(folder / synset / f"{token}.txt", table, fmt="%.6f")
            listed.append(f"shape_data/{synset}/{token}")
            count += 1
        (folder / "train_test_split" / f"shuffled_{split}_file_list.json").write_text(json.dumps(listed))
    return folder
