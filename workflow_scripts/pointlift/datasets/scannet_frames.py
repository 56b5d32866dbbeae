"""Posed frames of ScanNet: every so-and-so-manieth RGB-D picture of its scans, each with the cloud seen in it.

Dai et al.: ScanNet, CVPR 2017. Layout of the public exporter of ``.sens`` files, for each scan a folder with
``color/<n>.jpg``, ``depth/<n>.png`` (16 bit, millimetres, 0 where nothing was measured), ``pose/<n>.txt`` (camera to
world, 4 x 4; -inf where the camera was lost) and ``intrinsic/intrinsic_{color,depth}.txt`` (4 x 4); beside them, for
the alignment, the scan's own ``<scan>.txt``. The lists of scans are those of ``meta_data``, as for kind ``scannet``.

Checked against public pages and threads, not against the files, which their owner alone gives: colour and depth are
registered already, so that one pose serves both and the extrinsics in ``<scan>.txt`` are not applied; sizes 1296 x 968
and 640 x 480; poses of -inf. Principal points such as 319.5 of 640 pixels count from the first pixel's centre: that is
inferred from the number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from pointlift.contracts.dataset import Entry, PointCloud, PosedViews
from pointlift.contracts.dataset_blocks import FrameSettings
from pointlift.contracts.errors import ArtifactError, ConfigError, UnusableShapeError
from pointlift.contracts.shards import Array
from pointlift.datasets.array_file import checksum_together
from pointlift.datasets.image_file import read_depth, read_keys, read_matrix, read_picture
from pointlift.datasets.scannet import LISTS, splits_of_scans
from pointlift.datasets.source_folder import SplitName, require_below, split_or_val
from pointlift.geometry.cameras import pixel_rays, project
from pointlift.geometry.posed_views import require_pinhole, require_rigid

_ID = re.compile(r"(scene\d{4}_\d{2})-(\d+)", re.ASCII)
_MILLIMETRES = 1000.0
_HALF_PIXEL = 0.5


class Settings(FrameSettings):
    """Frames of ScanNet's scans, split as the scans are by its official train and val lists."""

    frame_step: int = Field(default=25, ge=1)
    """Frames whose number this divides are taken: of a folder that was exported thinner, all that are left."""
    axis_aligned: bool = False
    """True: the world is turned as ``axisAlignment`` of the scan says, as the scans of kind scannet are."""
    val_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of the train rooms that go to val: the same rooms as for kind scannet."""
    partial: bool = False
    """True: the lists, or the folders, are a part of the set; the protocol says so."""
    needs_files: ClassVar[bool] = True
    place: ClassVar[str] = r"scene\d{4}"
    lists_its_folder: ClassVar[bool] = True

    def required_protocol(self) -> str:
        """Step, points, alignment: scannet/frames25-random4096-aligned."""
        words = ["-aligned"] * self.axis_aligned + ["-partial"] * self.partial
        return f"scannet/frames{self.frame_step}-{self._points_name()}{''.join(words)}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """Three files a frame, and those of its scan's cameras."""
        names = [shape_id.split("-") for shape_id in shape_ids]
        files = [
            f"{scan}/{file}"
            for scan, number in names
            for file in (f"color/{number}.jpg", f"depth/{number}.png", f"pose/{number}.txt")
        ]
        files += [
            f"{scan}/{file}"
            for scan in dict.fromkeys(scan for scan, _ in names)
            for file in ("intrinsic/intrinsic_color.txt", "intrinsic/intrinsic_depth.txt", f"{scan}.txt")
        ]
        return [place + file for place in ("", "scans/", "scannet_frames/", "scannet_frames/scans/") for file in files]


def list_ids(settings: Settings, folder: Path | None) -> tuple[str, ...]:
    """Ids ``scene0000_00-25``, the number as the files have it; by scan, then by number."""
    root = _root(folder)
    return _listed(settings, root, _splits(settings, root))


def build(settings: Settings, folder: Path | None) -> ScanNetFrames:
    """Open what the exporter wrote; ``folder`` holds a folder ``scannet_frames`` or is it."""
    return ScanNetFrames(settings, _root(folder))


@dataclass(frozen=True)
class _Camera:
    """One of the two cameras of a scan: a pinhole (3, 3) whose first pixel's centre is (0.5, 0.5)."""

    pinhole: Array

    def rays(self, height: int, width: int) -> Array:
        """Directions (H, W, 3) through the pixel centres, of depth 1, as the camera sees them."""
        return np.asarray(pixel_rays(np.eye(4)[None], self.pinhole, (height, width))[0])

    def pixels(self, local: Array, shape: tuple[int, ...]) -> tuple[Array, Array, Array]:
        """Row and column of the pixel that each of (..., 3) in front of the camera falls into, and whether it has one.

        Outside a picture of this (H, W) both are 0.
        """
        places, _ = project(local.reshape(-1, 3), np.eye(4)[None], self.pinhole)
        inside = ((places[0] >= 0) & (places[0] < (shape[1], shape[0]))).all(axis=1)
        column, row = np.where(inside[:, None], np.floor(places[0]), 0).astype(np.int64).T
        return row.reshape(local.shape[:-1]), column.reshape(local.shape[:-1]), inside.reshape(local.shape[:-1])


@dataclass(frozen=True)
class _Frame:
    """The files of one frame, read when they are asked for. depth : (h, w) float64 metres, 0 where there is none."""

    scan: Path
    number: str

    @cached_property
    def colour(self) -> Array:
        return read_picture(self.scan / "color" / f"{self.number}.jpg")

    @cached_property
    def depth(self) -> Array:
        return read_depth(self.scan / "depth" / f"{self.number}.png") / _MILLIMETRES

    def camera_to_world(self, axis_aligned: bool) -> Array:
        pose = read_matrix(self.scan / "pose" / f"{self.number}.txt")
        require_rigid(pose[None])
        if not axis_aligned:
            return pose
        return np.asarray(_alignment(self.scan / f"{self.scan.name}.txt") @ pose)

    def camera(self, name: Literal["color", "depth"]) -> _Camera:
        """Raises ``UnusableShapeError`` also for intrinsics that are of a picture of another size."""
        matrix = read_matrix(self.scan / "intrinsic" / f"intrinsic_{name}.txt")[:3, :3]
        try:
            require_pinhole(matrix[None])
        except UnusableShapeError as error:
            raise UnusableShapeError(f"intrinsic_{name}.txt: {error}") from None
        matrix[:2, 2] += _HALF_PIXEL
        height, width = (self.colour if name == "color" else self.depth).shape[:2]
        if not (0 <= matrix[0, 2] <= width and 0 <= matrix[1, 2] <= height):
            raise UnusableShapeError(
                f"intrinsic_{name}.txt: its principal point lies outside of the {name} picture of {width} x {height} "
                "pixels: the picture was made smaller, or the file is the other camera's; export both again"
            )
        return _Camera(matrix)


class ScanNetFrames:
    """The frames, on disk."""

    licence = "ScanNet terms of use, research only"
    source = "RGB-D frames of ScanNet v2 (Dai et al. 2017), exported from its .sens files"
    up_axis: Literal["z"] = "z"
    class_names: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    semantic_names: tuple[str, ...] = ()
    box_names: tuple[str, ...] = ()
    point_attributes = ("colour",)

    def __init__(self, settings: Settings, root: Path) -> None:
        self._settings, self._place = settings, _place(root)
        self._split_of = _splits(settings, root)
        self.ids = _listed(settings, root, self._split_of)
        self._known = frozenset(self.ids)

    def entry(self, shape_id: str) -> Entry:
        """Split by the lists and the stable hash of the room; checksum over picture, depth and pose."""
        frame = self._frame(shape_id)
        room = frame.scan.name.partition("_")[0]
        split = split_or_val(room, self._split_of[frame.scan.name] == "test", "scannet", self._settings.val_share)
        files = [f"{frame.scan.name}/{file}" for file in (f"color/{frame.number}.jpg", f"depth/{frame.number}.png")]
        pose = f"{frame.scan.name}/pose/{frame.number}.txt"
        return Entry("", split, files[0], checksum_together(self._place / file for file in (*files, pose)))

    def load_points(self, shape_id: str) -> PointCloud:
        """What the depth map shows within the picture, row by row, in metres. Raises ``UnusableShapeError``."""
        frame = self._frame(shape_id)
        transform = frame.camera_to_world(self._settings.axis_aligned)
        local = (frame.camera("depth").rays(*frame.depth.shape) * frame.depth[..., None])[frame.depth > 0]
        if not len(local):
            raise UnusableShapeError("nothing was measured in this frame: its depth is 0 everywhere")
        row, column, inside = frame.camera("color").pixels(local, frame.colour.shape[:2])
        if not inside.any():
            raise UnusableShapeError("nothing of what was measured lies within the picture; see its intrinsics")
        points = local[inside] @ transform[:3, :3].T + transform[:3, 3]
        return PointCloud(points, colour=frame.colour[row[inside], column[inside]])

    def load_views(self, shape_id: str) -> PosedViews:
        """The colour picture, each of its pixels with the depth that was measured there. ``UnusableShapeError``."""
        frame = self._frame(shape_id)
        transform = frame.camera_to_world(self._settings.axis_aligned)
        pinhole = frame.camera("color").pinhole
        rays = frame.camera("color").rays(*frame.colour.shape[:2])
        row, column, inside = frame.camera("depth").pixels(rays, frame.depth.shape)
        measured = np.where(inside, frame.depth[row, column], 0.0)
        depth = np.where(measured > 0, measured, np.inf).astype(np.float32)
        return PosedViews(frame.colour[None], depth[None], np.linalg.inv(transform)[None], pinhole[None])

    def _frame(self, shape_id: str) -> _Frame:
        match = _ID.fullmatch(shape_id)
        if match is None or shape_id not in self._known:
            raise ConfigError(f"{shape_id!r} is no frame of this folder; an id is e.g. scene0000_00-25")
        return _Frame(self._place / match[1], match[2])


def _root(folder: Path | None) -> Path:
    return require_below(folder, "scannet_frames", "scannet_frames", f"meta_data/{LISTS['train']}")


def _place(root: Path) -> Path:
    """Where the folders of the scans lie: in ``scans`` or beside ``meta_data``."""
    return root / "scans" if (root / "scans").is_dir() else root


def _splits(settings: Settings, root: Path) -> dict[str, SplitName]:
    return splits_of_scans(root, "scannet_frames", settings.partial)


def _listed(settings: Settings, root: Path, split_of: dict[str, SplitName]) -> tuple[str, ...]:
    """Frames of all listed scans. Raises ``ArtifactError`` for a scan without a folder, unless ``partial``."""
    found, place = [], _place(root)
    for scan in sorted(split_of):
        folder = place / scan / "color"
        if folder.is_dir():
            numbers = [path.stem for path in folder.glob("*.jpg") if path.stem.isascii() and path.stem.isdigit()]
            taken = [number for number in numbers if int(number) % settings.frame_step == 0]
            found += [f"{scan}-{number}" for number in sorted(taken, key=lambda number: (int(number), number))]
        elif not settings.partial:
            raise ArtifactError(
                f"{place}: {scan} of the lists has no folder {scan}/color; export its .sens file, or say "
                "`partial: true` in the dataset's block, which then stands in its protocol"
            )
    if not found:
        raise ArtifactError(f"{place}: no scan of the lists has a picture color/<n>.jpg that frame_step leaves")
    return tuple(found)


def _alignment(path: Path) -> Array:
    """The matrix ``axisAlignment`` (4, 4) of a scan's own file. Raises ``UnusableShapeError``."""
    words = read_keys(path).get("axisAlignment", "").split()
    try:
        matrix = np.array([float(word) for word in words])
    except ValueError:
        words = []
    if len(words) != 16:
        raise UnusableShapeError(f"{path.name}: has no axisAlignment of 16 numbers; say `axis_aligned: false`")
    require_rigid(matrix.reshape(1, 4, 4))
    return matrix.reshape(4, 4)
