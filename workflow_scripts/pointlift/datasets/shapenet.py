"""ShapeNetCore v2 as meshes, with the lists of ShapeNet-55: what the literature distils and pretrains on. y is up.

Chang et al.: ShapeNet: An Information-Rich 3D Model Repository, arXiv:1512.03012. Layout
``<synset>/<model>/models/model_normalized.obj``. The lists are those that Point-BERT (Yu et al., CVPR 2022) publishes
in its repository as ``data/ShapeNet55-34/ShapeNet-55/{train,test}.txt``; the user puts both into the dataset's folder,
beside ``ShapeNetCore.v2``. A line is ``<synset>-<model>.npy``. Two lines of the published train list name no model:
these, and listed models that ShapeNetCore lacks, are quarantined. Some models stand in two or three synsets, and 380 of
them in both lists, with another label in each. That is left as published; train and val share no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from pointlift.contracts.dataset import Entry
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.datasets.mesh_file import read_mesh
from pointlift.datasets.source_folder import (
    SplitName,
    checksum,
    read_lines,
    require_counts,
    require_folder,
    split_or_val,
)
from pointlift.geometry.meshes import Mesh, clean

FOLDER = "ShapeNetCore.v2"
COUNTS: dict[SplitName, int] = {"train": 41952, "test": 10518}
#: Name by synset (WordNet 3.0 noun offset), as in the dictionary that is published with the lists.
CLASSES = {
    "02691156": "airplane", "02747177": "trash bin", "02773838": "bag", "02801938": "basket", "02808440": "bathtub",
    "02818832": "bed", "02828884": "bench", "02843684": "birdhouse", "02871439": "bookshelf", "02876657": "bottle",
    "02880940": "bowl", "02924116": "bus", "02933112": "cabinet", "02942699": "camera", "02946921": "can",
    "02954340": "cap", "02958343": "car", "02992529": "cellphone", "03001627": "chair", "03046257": "clock",
    "03085013": "keyboard", "03207941": "dishwasher", "03211117": "display", "03261776": "earphone",
    "03325088": "faucet", "03337140": "file cabinet", "03467517": "guitar", "03513137": "helmet", "03593526": "jar",
    "03624134": "knife", "03636649": "lamp", "03642806": "laptop", "03691459": "loudspeaker", "03710193": "mailbox",
    "03759954": "microphone", "03761084": "microwaves", "03790512": "motorbike", "03797390": "mug",
    "03928116": "piano", "03938244": "pillow", "03948459": "pistol", "03991062": "flowerpot", "04004475": "printer",
    "04074963": "remote", "04090263": "rifle", "04099429": "rocket", "04225987": "skateboard", "04256520": "sofa",
    "04330267": "stove", "04379243": "table", "04401088": "telephone", "04460130": "tower", "04468005": "train",
    "04530566": "watercraft", "04554684": "washer",
}  # fmt: skip
_LISTED = re.compile(r"(\d{8})-([A-Za-z0-9-]*)\.npy", re.ASCII)


class Settings(DatasetSettings):
    """ShapeNetCore v2 with the lists of ShapeNet-55, or all of both lists as a set without labels to distil on."""

    unlabelled: bool = False
    """True: no shape has a class, and all are train but those that go to val, those of the test list too, as where
    Point-BERT and ACT pretrain on the whole set; the protocol says so."""
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train shapes that go to val, chosen by a stable hash of the model: all its synsets stay together."""
    partial: bool = False
    """True: the lists name a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    lists_its_folder: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Set, base, split, and points that are not 1,024 of the whole surface: shapenet55/v2-obj."""
        words = ["-unlabelled"] * self.unlabelled + ["-partial"] * self.partial
        return f"shapenet55/v2-obj{self._sampling_name()}{''.join(words)}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """One OBJ file a shape, and the lists, which say its split."""
        places = ("", "ShapeNetCore.v2/")
        meshes = [f"{place}{shape_id}/models/model_normalized.obj" for place in places for shape_id in shape_ids]
        return ["train.txt", "test.txt", *meshes]


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Ids ``<synset>/<model>`` in the order of the lists, train before test; no mesh is looked for."""
    return tuple(_splits(settings, require_folder(folder, "shapenet")))


def build(settings: Settings, folder: Path | None) -> ShapeNet:
    """Open the folder of the lists, which holds ``ShapeNetCore.v2`` or is it."""
    return ShapeNet(settings, require_folder(folder, "shapenet"))


class ShapeNet:
    """The OBJ files, on disk."""

    licence = "ShapeNet terms of use, research only"
    source = "ShapeNetCore v2 (Chang et al. 2015), lists of ShapeNet-55"
    up_axis: Literal["y"] = "y"
    part_names: tuple[str, ...] = ()

    def __init__(self, settings: Settings, folder: Path) -> None:
        self._settings = settings
        self._split_of = _splits(settings, folder)
        self._root = _root(folder, {shape_id.partition("/")[0] for shape_id in self._split_of})
        self.ids = tuple(self._split_of)
        self.class_names = () if settings.unlabelled else tuple(sorted(CLASSES.values()))

    def entry(self, shape_id: str) -> Entry:
        """Class by synset (none when unlabelled), split by the lists and the stable hash of the model."""
        path = self._path(shape_id)
        class_name = "" if self._settings.unlabelled else CLASSES[shape_id.partition("/")[0]]
        is_test = self._split_of[shape_id] == "test" and not self._settings.unlabelled
        split = split_or_val(shape_id.partition("/")[2], is_test, "shapenet", self._settings.val_share)
        return Entry(class_name, split, path.relative_to(self._root).as_posix(), checksum(path))

    def load(self, shape_id: str) -> Mesh:
        """The cleaned mesh, z up. Materials and textures are never opened."""
        path = self._path(shape_id)
        if shape_id.endswith("/"):
            raise UnusableShapeError("its line in the list names a synset, but no model")
        if not path.is_file():
            raise UnusableShapeError(f"it is listed, but its file {path.relative_to(self._root)} is not there")
        return clean(read_mesh(path, self.up_axis))

    def _path(self, shape_id: str) -> Path:
        if shape_id not in self._split_of:
            raise ConfigError(f"{shape_id!r} is no shape of ShapeNet-55; an id is <synset>/<model>")
        return self._root / shape_id / "models" / "model_normalized.obj"


def _root(folder: Path, synsets: Iterable[str]) -> Path:
    """``folder/ShapeNetCore.v2`` or ``folder`` itself; it must have a folder for every synset that the lists name."""
    inside = folder / FOLDER
    root = inside if inside.is_dir() else folder
    missing = sorted(synset for synset in synsets if not (root / synset).is_dir())
    if missing:
        raise ArtifactError(
            f"{root}: holds no folder {missing[0]} ({CLASSES[missing[0]]}), {len(missing)} of the synsets that the "
            f"lists name are not there; unpack ShapeNetCore v2 into {inside}"
        )
    return root


def _splits(settings: Settings, folder: Path) -> dict[str, SplitName]:
    """Official split by shape id, from the two lists, which share no shape."""
    found: dict[str, SplitName] = {}
    for split in COUNTS:
        path = folder / f"{split}.txt"
        ids = _read_list(path)
        if not ids:
            raise ArtifactError(f"{path}: lists no shape; get the list of ShapeNet-55 again")
        repeated = [shape_id for shape_id, count in Counter(ids).items() if count > 1 or shape_id in found]
        if repeated:
            raise ArtifactError(f"{path}: {repeated[0]} stands twice, here or in the other list; get both again")
        found.update(dict.fromkeys(ids, split))
    counts = Counter(found.values())
    by_split = {split: counts[split] for split in COUNTS}
    require_counts("shapenet", folder, by_split, COUNTS, settings.partial, checked=True)
    return found


def _read_list(path: Path) -> list[str]:
    ids = []
    for line in read_lines(path):
        match = _LISTED.fullmatch(line)
        if match is None or match[1] not in CLASSES:
            raise ArtifactError(
                f"{path}: {line[:80]!r} is not <synset>-<model>.npy with one of the {len(CLASSES)} synsets; get the "
                "list of ShapeNet-55 again"
            )
        ids.append(f"{match[1]}/{match[2]}")
    return ids
