import layouts
import mesh_layouts
import pytest

import frame_layouts
import point_layouts
import scene_layouts
from pointlift import rooms
from pointlift.contracts.settings import parse

BLOCKS = {
    "procedural": {"series": "test", "shapes_per_class": 2},
    "procedural_frames": {"series": "test", "num_rooms": 2, "num_frames": 2},
    "procedural_rooms": {"series": "test", "num_rooms": 3},
    "folder": {"folder": "x"},
    "princeton": {"folder": "x"},
    "psb": {"folder": "x"},
    "modelnet": {"folder": "x", "partial": True, "variant": "modelnet40"},
    "modelnet_h5": {"folder": "x", "partial": True},
    "modelnet_resampled": {"folder": "x", "partial": True},
    "s3dis": {"folder": "x", "partial": True},
    "scannet": {"folder": "x", "partial": True},
    "scannet_frames": {"folder": "x", "partial": True},
    "scanobjectnn": {"folder": "x", "partial": True, "variant": "obj_bg"},
    "semantickitti": {"folder": "x", "partial": True},
    "shapenet": {"folder": "x", "partial": True},
    "shapenet_part": {"folder": "x", "partial": True},
    "sunrgbd": {"folder": "x", "partial": True, "labels": "v1"},
}
WRITERS = {
    "folder": layouts.write_folder,
    "princeton": layouts.write_princeton,
    "psb": layouts.write_psb,
    "modelnet": mesh_layouts.write_modelnet,
    "modelnet_h5": point_layouts.write_modelnet_h5,
    "modelnet_resampled": point_layouts.write_modelnet_resampled,
    "s3dis": scene_layouts.write_s3dis,
    "scannet": scene_layouts.write_scannet,
    "scannet_frames": frame_layouts.write_scannet_frames,
    "scanobjectnn": point_layouts.write_scanobjectnn,
    "semantickitti": scene_layouts.write_semantickitti,
    "shapenet": mesh_layouts.write_shapenet,
    "shapenet_part": point_layouts.write_shapenet_part,
    "sunrgbd": scene_layouts.write_sunrgbd,
}


@pytest.fixture(scope="session")
def raw_folders(tmp_path_factory):
    folders = {}
    for kind, write in WRITERS.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        write(folders[kind])
    return folders


@pytest.fixture(scope="session")
def settings_of():
    """Settings of a kind for its small test layout, with other values where named."""

    def settings(kind, **changes):
        block = {"kind": kind, "protocol": "test/one", **BLOCKS[kind], **changes}
        return parse(rooms.settings_class("datasets", kind), block, "block")

    return settings


@pytest.fixture
def open_dataset(raw_folders, settings_of):
    """Open a dataset of a kind on its small test layout, with other settings where named."""

    def opened(kind, **changes):
        return rooms.load("datasets", kind).build(settings_of(kind, **changes), raw_folders.get(kind))

    return opened
