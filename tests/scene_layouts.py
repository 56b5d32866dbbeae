"""Small datasets of scenes in the layout of the real ones, for tests."""

import numpy as np

SCANNET_LISTS = {"train": ("scene0000_00", "scene0000_01", "scene0007_00"), "val": ("scene0011_00", "scene0011_01")}


def scannet_scan(seed, count=400):
    """(vert, sem_label, ins_label, bbox) of one scan: floor, wall, three objects, and points that nobody labelled."""
    rng = np.random.default_rng([21, seed])
    part = rng.integers(6, size=count)
    nyu40 = np.array([2, 1, 5, 39, 13, 0])[part]  # floor, wall, chair, other furniture, blinds, unannotated
    instance = np.array([1, 2, 4, 5, 6, 0])[part]
    low = np.array([[0, 0, 0], [0, 0, 0], [1, 1, 0], [3, 1, 0], [2, 3.9, 1], [0, 0, 0]])[part]
    high = np.array([[5, 4, 0.02], [0.05, 4, 2.5], [1.6, 1.5, 1], [3.4, 1.4, 0.6], [3, 4, 2], [5, 4, 2.5]])[part]
    points = low + rng.random((count, 3)) * (high - low) - [2.5, 2.0, 0.0]
    colour = rng.integers(256, size=(count, 3))
    boxes = []
    for number, nyu in ((4, 5), (5, 39)):
        own = points[instance == number]
        boxes.append([*(own.min(axis=0) + own.max(axis=0)) / 2, *np.ptp(own, axis=0), nyu])
    vert = np.concatenate([points, colour], axis=1).astype(np.float32)
    return vert, nyu40.astype(np.uint32), instance.astype(np.uint32), np.array(boxes)


def write_scannet(root, lists=SCANNET_LISTS, skipped=()):
    """Scans in the published layout, numbered through the lists; ``skipped`` ones are listed and have no files."""
    folder = root / "scannet"
    (folder / "meta_data").mkdir(parents=True, exist_ok=True)
    (folder / "scannet_train_detection_data").mkdir(exist_ok=True)
    for split, scans in lists.items():
        (folder / "meta_data" / f"scannetv2_{split}.txt").write_text("".join(f"{scan}\n" for scan in scans))
    for seed, scan in enumerate(scan for scans in lists.values() for scan in scans):
        if scan not in skipped:
            arrays = zip(("vert", "sem_label", "ins_label", "bbox"), scannet_scan(seed), strict=True)
            for name, array in arrays:
                np.save(folder / "scannet_train_detection_data" / f"{scan}_{name}.npy", array)
    return folder


SUNRGBD_NUMBERS = {"train": (5051, 5052, 10335), "val": (1, 2)}


def sunrgbd_picture(seed, count=300):
    """(pc, bbox) of one depth picture; every second one has no object of the ten classes."""
    rng = np.random.default_rng([22, seed])
    points = rng.random((count, 3)) * [4, 5, 2.5] - [2, -0.5, 1.2]
    cloud = np.concatenate([points, rng.integers(256, size=(count, 3)) / 255], axis=1)
    if seed % 2:
        return cloud, np.zeros((0, 8))
    boxes = [[0.3, 2.0, -0.5, 0.9, 0.4, 0.5, 0.7, 2], [-1.0, 3.0, -0.6, 0.3, 0.35, 0.45, -2.1, 9]]
    return cloud, np.array(boxes)


def write_sunrgbd(root, labels="v1", numbers=None):
    """Pictures in the published layout; their votes are files that nobody reads."""
    folder = root / "sunrgbd"
    for split, listed in (numbers or SUNRGBD_NUMBERS).items():
        place = folder / f"sunrgbd_pc_bbox_votes_50k_{labels}_{split}"
        place.mkdir(parents=True, exist_ok=True)
        for number in listed:
            cloud, boxes = sunrgbd_picture(number)
            np.savez_compressed(place / f"{number:06d}_pc.npz", pc=cloud)
            np.save(place / f"{number:06d}_bbox.npy", boxes)
            np.savez_compressed(place / f"{number:06d}_votes.npz", point_votes=np.zeros((len(cloud), 10)))
    return folder


S3DIS_ROOMS = (
    "Area_1/conferenceRoom_1", "Area_1/office_2", "Area_2/auditorium_1", "Area_5/hallway_6", "Area_5/office_1",
)  # fmt: skip
S3DIS_CLASSES = [
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
]  # fmt: skip


def s3dis_room(seed, objects=("ceiling_1", "chair_1", "chair_2", "stairs_1"), count=60):
    """(file name, points, colours) of every object of a room, as they are written: millimetres, whole colours."""
    rng = np.random.default_rng([23, seed])
    made = []
    for place, name in enumerate(objects):
        points = np.round(rng.random((count + place, 3)) * 2 + [place, -3.0, 0.0], 3)
        made.append((name, points, rng.integers(256, size=(count + place, 3))))
    return made


def write_s3dis(root, rooms=S3DIS_ROOMS):
    """Rooms in the raw layout, aligned; beside what is in the real folders and is no object."""
    folder = root / "Stanford3dDataset_v1.2_Aligned_Version"
    for seed, room in enumerate(rooms):
        place = folder / room / "Annotations"
        place.mkdir(parents=True, exist_ok=True)
        made = s3dis_room(seed)
        for name, points, colours in made:
            np.savetxt(place / f"{name}.txt", np.concatenate([points, colours], axis=1), fmt="%.3f %.3f %.3f %d %d %d")
        (place / ".DS_Store").write_bytes(b"\x00\x01")
        (place.parent / f"{place.parent.name}.txt").write_text("the whole room without labels, which nobody reads\n")
    (folder / ".DS_Store").write_bytes(b"\x00\x01")
    return folder


def write_s3dis_arrays(root, rooms=S3DIS_ROOMS):
    """The same rooms as the field's preprocessing writes them: corner at the origin, stairs as clutter."""
    folder = root / "stanford_indoor3d"
    folder.mkdir(parents=True, exist_ok=True)
    for seed, room in enumerate(rooms):
        rows = []
        for name, points, colours in s3dis_room(seed):
            word = name.partition("_")[0]
            label = S3DIS_CLASSES.index(word if word in S3DIS_CLASSES else "clutter")
            rows.append(np.column_stack([points, colours, np.full(len(points), label)]))
        table = np.concatenate(rows)
        table[:, :3] -= table[:, :3].min(axis=0)
        np.save(folder / f"{room.replace('/', '_', 1)}.npy", table)
    return folder


KITTI_SCANS = {"00": (0, 1, 2, 3), "07": (0, 1), "08": (0, 10)}
KITTI_RAW = (0, 1, 10, 252, 30, 254, 40, 60, 48, 50, 52, 70, 72, 81, 99, 20, 259)


def kitti_scan(sequence, number, count=150):
    """(points with remission, raw label, object number) of one scan; objects of two classes share their numbers."""
    rng = np.random.default_rng([24, int(sequence), number])
    rows = np.column_stack([rng.normal(size=(count, 3)) * [20, 20, 1], rng.random(count)]).astype("<f4")
    raw = np.array(KITTI_RAW)[rng.integers(len(KITTI_RAW), size=count)]
    thing = np.isin(raw, [10, 252, 30, 254, 20, 259])
    return rows, raw, np.where(thing, rng.integers(4, size=count), 0)


def write_semantickitti(root, scans=None):
    """Scans with labels in the published layout, beside a sequence that has none and the files of the cameras."""
    folder = root / "dataset" / "sequences"
    for sequence, numbers in (scans or KITTI_SCANS).items():
        for part in ("velodyne", "labels"):
            (folder / sequence / part).mkdir(parents=True, exist_ok=True)
        (folder / sequence / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
        for number in numbers:
            rows, raw, objects = kitti_scan(sequence, number)
            rows.tofile(folder / sequence / "velodyne" / f"{number:06d}.bin")
            (raw + (objects << 16)).astype("<u4").tofile(folder / sequence / "labels" / f"{number:06d}.label")
    (folder / "11" / "velodyne").mkdir(parents=True, exist_ok=True)
    kitti_scan("11", 0)[0].tofile(folder / "11" / "velodyne" / "000000.bin")
    return folder.parent
