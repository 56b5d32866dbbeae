"""The blocks of datasets in config.yaml: where raw files come from, which shapes and points are taken of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.raw_data import Licence, RawFile
from pointlift.contracts.settings import Settings

#: sampled: as they were taken. farthest_first: each point is farthest from all before it, from the first one on.
PointOrder = Literal["sampled", "farthest_first"]


class Scan(Settings):
    """How points are taken from a mesh. Lengths are unit-sphere radii."""

    num_views: int = Field(default=0, ge=0, le=32)
    """0: the whole surface, by area. Else only what this many random viewpoints see, as a depth sensor would."""
    noise: float = Field(default=0.0, ge=0.0, le=0.2)
    """Standard deviation of Gaussian noise added to every coordinate."""


class DatasetSettings(Settings):
    """What every dataset block says."""

    kind: str
    protocol: str = Field(default="unnamed", pattern=r"^[a-z0-9]+([/_.-][a-z0-9]+)*$")
    """Names the base and split of every number made on it, e.g. ``lpsb/12-8``."""
    folder: str | None = None
    """Where its raw files lie, below ``paths.data``. None: it needs no files."""
    archive: str | None = None
    """Local archive below ``paths.archives`` that ``download_data`` unpacks into ``folder``."""
    archive_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    files: tuple[RawFile, ...] = ()
    """Raw files that ``download_data`` fetches; together they become ``folder``."""
    licence: Licence | str | None = None
    """Its name; or the terms under which the owner alone gives the files, which are then never fetched."""
    shard_size: int = Field(default=256, ge=1, le=4096)
    num_points: int = Field(default=1024, ge=16, le=65536)
    scan: Scan = Scan()
    order: PointOrder = "sampled"
    """In which its points are stored. sampled: as they were taken. farthest_first: each is farthest from all before it,
    so that students with `centres: first` need not look for farthest points in every step."""
    max_quarantined: float = Field(default=0.02, ge=0.0, le=1.0)
    """Largest share of unusable shapes with which a run goes on."""
    exclude_duplicates_of: tuple[str, ...] = ()
    """Datasets whose near-duplicates are taken out of this one before distillation."""
    seed: int = Field(default=0, ge=0)
    needs_files: ClassVar[bool] = False
    lists_its_folder: ClassVar[bool] = False
    """True: its ids are known only when its files are there, so that it cannot come from an archive."""
    listing: ClassVar[tuple[str, ...]] = ()
    """Keys (with defaults) that only say which ids there are: more shapes leave the shards that are there alone."""
    id_base: ClassVar[str] = ""
    """Names the list its ids are of, where other sets may share them (mn40). Else they are the block's own."""
    place: ClassVar[str] = ""
    """Regular expression of the part of an id that says where it was seen. Of sets with the same one no place may be in
    the test split of one and among what is learnt from another."""
    has_meshes: ClassVar[bool] = True
    """False: its shapes come as points, from ``load_points``; only rigs that draw points photograph it."""
    has_views: ClassVar[bool] = False
    """True: its clouds come with pictures they were seen in, from ``load_views``; rigs of kind frames read them."""
    has_parts: ClassVar[bool] = False
    """True: its faces, or its points, have named parts."""

    def required_protocol(self) -> str | None:
        """What ``protocol`` must begin with under these settings; None where any name will do."""
        return None

    def _sampling_name(self) -> str:
        """How points are taken from meshes, where it is not 1,024 of the whole surface: -512, -scan1-noise0.01-1024."""
        if self.scan == Scan():
            return "" if self.num_points == 1024 else f"-{self.num_points}"
        noise = f"-noise{self.scan.noise:f}".rstrip("0").rstrip(".") if self.scan.noise else ""
        views = f"-scan{self.scan.num_views}" if self.scan.num_views else ""
        return f"{views}{noise}-{self.num_points}"

    def source_files(self, shape_ids: Sequence[str]) -> Sequence[str]:
        """Files and folders of files below ``folder`` that hold these shapes; names that do not exist do no harm."""
        return shape_ids


class PointDatasetSettings(DatasetSettings):
    """What every block of a dataset without meshes says beside that: which points are taken, and in which units."""

    subsample: Literal["all", "first", "random", "farthest"] = "first"
    """Which ``num_points`` of a cloud's points: the first of the file, a seeded random choice, or seeded farthest point
    sampling. A cloud that has fewer is filled up with seeded repeats of its own points. all: every point, however many,
    for scenes alone."""
    keep_coordinates: bool = False
    """True: points keep the units and origin of the file. Else the bounding-box centre of the whole cloud is the
    origin, and its farthest point has radius 1, as for meshes."""
    meshes_of: str | None = None
    """The dataset that holds the meshes its clouds were sampled from: ``match_shapes`` finds out which are."""
    has_meshes: ClassVar[bool] = False
    has_scenes: ClassVar[bool] = False
    """True: a cloud is a scene of labelled points, not one object."""

    @model_validator(mode="after")
    def _as_many_points(self) -> PointDatasetSettings:
        if self.subsample == "all" and not self.has_scenes:
            raise ValueError("subsample: all is for scenes; objects have num_points each: first, random or farthest")
        if self.subsample == "all" and self.order == "farthest_first":
            raise ValueError("order: farthest_first takes minutes a scene; it goes with clouds of num_points alone")
        return self

    def _points_name(self) -> str:
        """How the points are taken, as it stands in the protocol: first1024, fps1024-raw."""
        rule = {"all": "all", "first": "first", "random": "random", "farthest": "fps"}[self.subsample]
        return f"{rule}{'' if rule == 'all' else self.num_points}{'-raw' if self.keep_coordinates else ''}"


class SceneSettings(PointDatasetSettings):
    """What every block of a dataset of scenes says beside that. Its clouds stay in metres where the source is."""

    subsample: Literal["all", "first", "random", "farthest"] = "all"
    keep_coordinates: bool = True
    shard_size: int = Field(default=16, ge=1, le=4096)
    """Scenes have up to millions of points: small shards keep a job's memory small."""
    has_scenes: ClassVar[bool] = True

    def _points_name(self) -> str:
        """How the points are taken, as it stands in the protocol: all, random4096, all-unit."""
        name = super()._points_name().removesuffix("-raw")
        return name if self.keep_coordinates else f"{name}-unit"


class FrameSettings(SceneSettings):
    """What every block of a dataset of posed frames says beside that: one cloud, and the one picture it was seen in.

    Its clouds stay in metres, where its cameras stand, and have ``num_points`` each: students distil from them.
    """

    subsample: Literal["first", "random", "farthest"] = "random"
    keep_coordinates: Literal[True] = True
    num_points: int = Field(default=4096, ge=16, le=65536)
    shard_size: int = Field(default=64, ge=1, le=4096)
    has_views: ClassVar[bool] = True
    unlabelled: ClassVar[bool] = True
    """A frame shows many things: it has no class of its own."""
