"""Small valid files of scenes, ShapeNet, ModelNet's meshes and few-shot episodes; see ``damaged_formats``."""

import pickle

import damaged_formats
import mesh_layouts
import numpy as np
from damaged_formats import Format, below, member

import frame_layouts
import point_layouts
import scene_layouts
from pointlift.contracts.episodes import EpisodePlan, draw, read_episodes, write_episodes
from pointlift.datasets.episode_import import read_fold

_SCENE = {"protocol": "test/one", "partial": True}
_MESH = {"protocol": "test/one", "partial": True}
_SCAN = "scannet/scannet_train_detection_data/scene0000_00"
_PICTURES = "sunrgbd/sunrgbd_pc_bbox_votes_50k_v1_train"
_ROOM = "Area_1/conferenceRoom_1"
_SEQUENCE = "dataset/sequences/00"
_POINTS = {"protocol": "test/one", "partial": True, "num_points": 16}


def _scannet(part: str, first: int = 1_000_000) -> Format:
    return member("scannet", below(scene_layouts.write_scannet, part), first, ids=("scene0000_00",), **_SCENE)


def _frames(name: str, first: int = 1_000_000) -> Format:
    write = below(_write_frames, f"scannet_frames/{name}")
    ids = ("scene0000_00-25",)
    return member("scannet_frames", write, first, ids=ids, num_points=16, axis_aligned=True, **_SCENE)


def _write_frames(folder) -> None:
    frame_layouts.write_scannet_frames(folder, {"train": ("scene0000_00",), "val": ()}, (25,))


def _sunrgbd(name: str) -> Format:
    write = below(scene_layouts.write_sunrgbd, f"{_PICTURES}/{name}")
    return member("sunrgbd", write, 150, ids=("005052", "010335"), labels="v1", **_SCENE)


def _s3dis(write, name: str, form: str, first: int = 1_000_000) -> Format:
    return member("s3dis", below(write, name), first, ids=(_ROOM, "Area_1/office_2"), format=form, **_SCENE)


def _kitti(name: str) -> Format:
    ids = ("00/000000", "00/000001")
    return member("semantickitti", below(scene_layouts.write_semantickitti, f"{_SEQUENCE}/{name}"), ids=ids, **_SCENE)


def _fold(protocol: int) -> Format:
    """A few-shot fold of the literature."""

    def write(folder):
        clouds = {"train": [(0, 3), (1, 7)], "test": [(0, 3), (1, 7)]}
        made = {
            role: [(np.ones((64, 6)) * way, np.int64(way), number) for way, number in rows]
            for role, rows in clouds.items()
        }
        (folder / "0.pkl").write_bytes(pickle.dumps(made, protocol=protocol))
        return folder / "0.pkl"

    def read(folder):
        fold = read_fold(folder / "0.pkl")
        for cloud in (cloud for role in ("train", "test") for cloud in fold[role]):
            assert cloud.points.dtype == np.float64 and cloud.points.shape[1:] == (3,) and len(cloud.points) >= 64
            assert np.isfinite(cloud.points).all() and isinstance(cloud.class_number, int)
        return len(fold["train"]) + len(fold["test"])

    return Format(write, read, 200)


def _episodes() -> Format:
    """A committed file of few-shot episodes."""

    def write(folder):
        ids = {role: {name: [f"{name}_{role}{number}" for number in range(3)] for name in "abc"} for role in ("r", "e")}
        plan = EpisodePlan(ways=2, shots=(1, 2), queries=2, folds=2)
        write_episodes(folder / "2w1-2s.json", draw(f"drawn/{plan.name}", "mn40", ids["r"], ids["e"], plan))
        return folder / "2w1-2s.json"

    def read(folder):
        episodes = read_episodes(folder / "2w1-2s.json")
        assert all(len(way.support) == 2 and len(way.queries) == 2 for fold in episodes.folds for way in fold.values())
        return len(episodes.folds)

    return Format(write, read)


def _v0(name: str) -> Format:
    """ShapeNetPart in its layout without normals."""

    def write(folder):
        return point_layouts.write_shapenet_part(folder, layout="v0") / name

    return member("shapenet_part", write, layout="v0", **_POINTS)


damaged_formats.FORMATS |= {
    "modelnet": member(
        "modelnet", below(mesh_layouts.write_modelnet, "ModelNet40/airplane/train/airplane_0001.off"),
        variant="modelnet40", **_MESH,
    ),
    "shapenet mesh": member(
        "shapenet",
        below(mesh_layouts.write_shapenet, "ShapeNetCore.v2/02691156/1a2b/models/model_normalized.obj"), **_MESH,
    ),
    "shapenet list": member("shapenet", below(mesh_layouts.write_shapenet, "train.txt"), **_MESH),
    "shapenet_part v0 points": _v0("03001627/points/a1.pts"),
    "shapenet_part v0 labels": _v0("03001627/points_label/a1.seg"),
    "scannet points": _scannet(f"{_SCAN}_vert.npy", 150),
    "scannet classes": _scannet(f"{_SCAN}_sem_label.npy", 150),
    "scannet objects": _scannet(f"{_SCAN}_ins_label.npy", 150),
    "scannet boxes": _scannet(f"{_SCAN}_bbox.npy", 150),
    "scannet list": _scannet("scannet/meta_data/scannetv2_train.txt"),
    "scannet_frames picture": _frames("scans/scene0000_00/color/25.jpg", 150),
    "scannet_frames depth": _frames("scans/scene0000_00/depth/25.png"),
    "scannet_frames pose": _frames("scans/scene0000_00/pose/25.txt"),
    "scannet_frames intrinsics": _frames("scans/scene0000_00/intrinsic/intrinsic_depth.txt"),
    "scannet_frames alignment": _frames("scans/scene0000_00/scene0000_00.txt"),
    "sunrgbd points": _sunrgbd("005052_pc.npz"),
    "sunrgbd boxes": _sunrgbd("005052_bbox.npy"),
    "s3dis text": _s3dis(
        scene_layouts.write_s3dis,
        f"Stanford3dDataset_v1.2_Aligned_Version/{_ROOM}/Annotations/chair_1.txt", "txt",
    ),
    "s3dis array": _s3dis(
        scene_layouts.write_s3dis_arrays, "stanford_indoor3d/Area_1_conferenceRoom_1.npy", "npy", 150
    ),
    "semantickitti scan": _kitti("velodyne/000000.bin"),
    "semantickitti labels": _kitti("labels/000000.label"),
    "few-shot fold, protocol 2": _fold(2),
    "few-shot fold, protocol 4": _fold(4),
    "few-shot fold, protocol 5": _fold(5),
    "episodes": _episodes(),
}  # fmt: skip
FORMATS = damaged_formats.FORMATS

if __name__ == "__main__":
    damaged_formats.main()
