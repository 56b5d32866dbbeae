import layouts
import pytest

from pointlift import rooms
from pointlift.contracts.settings import parse

BLOCKS = {
    "procedural": {"series": "test", "shapes_per_class": 2},
    "folder": {"folder": "x"},
    "princeton": {"folder": "x"},
    "psb": {"folder": "x"},
}
WRITERS = {"folder": layouts.write_folder, "princeton": layouts.write_princeton, "psb": layouts.write_psb}


@pytest.fixture(scope="session")
def raw_folders(tmp_path_factory):
    folders = {}
    for kind, write in WRITERS.items():
        folders[kind] = tmp_path_factory.mktemp(kind)
        write(folders[kind])
    return folders


@pytest.fixture
def open_dataset(raw_folders):
    """Open a dataset of a kind on its small test layout, with other settings where named."""

    def opened(kind, **changes):
        block = {"kind": kind, "protocol": "test/one", **BLOCKS[kind], **changes}
        settings = parse(rooms.settings_class("datasets", kind), block, "block")
        return rooms.load("datasets", kind).build(settings, raw_folders.get(kind))

    return opened
