"""The blocks of config.yaml: what every dataset, rig, teacher ... says; members of a room add their own keys.

A block's ``kind`` names a file of its room. Nothing here changes no result: threads, device and paths stand elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pointlift.contracts.raw_data import Licence, RawFile
from pointlift.contracts.recipe import Augmentation, Recipe
from pointlift.contracts.settings import Settings


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
    has_meshes: ClassVar[bool] = True
    """False: its shapes come as points, from ``load_points``; only rigs that draw points photograph it."""
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


class Cameras(Settings):
    """Where the cameras of a rig stand. They look at the origin; distances are unit-sphere radii."""

    layout: Literal["ring", "sphere", "pointmcd12", "pointmcd16"] = "ring"
    num_views: int = Field(default=6, ge=1, le=64)
    elevation_degrees: float = Field(default=30.0, gt=-90.0, lt=90.0)
    distance: float = Field(default=2.7, gt=1.0, le=20.0)
    field_of_view_degrees: float = Field(default=45.0, gt=1.0, lt=120.0)


class Visibility(Settings):
    """How it is decided which points a camera sees."""

    method: Literal["rays", "z_buffer", "hidden_points"] = "rays"
    tolerance: float = Field(default=0.005, gt=0.0, le=0.1)
    """Rays and z-buffer: a surface this much nearer (radii) hides a point."""
    radius_factor: float = Field(default=10.0, ge=2.0, le=100.0)
    """Hidden point removal: flipping radius over the largest distance (Katz et al. 2007); 10 to 100 is a plateau."""


class CloudVisibility(Visibility):
    """The same for points without a surface: by the points alone, for discs have holes and stand out over edges."""

    method: Literal["rays", "z_buffer", "hidden_points"] = "hidden_points"
    """rays and z_buffer: against the discs that are drawn."""
    tolerance: float = Field(default=0.02, gt=0.0, le=0.1)
    radius_factor: float = Field(default=30.0, ge=2.0, le=100.0)
    """30 is best for 1,024 points; 10 for 256, 100 for 4,096 (tests/rendering/test_splat_visibility.py)."""


class RigSettings(Settings):
    """What every rig block says: cameras, picture size, visibility."""

    kind: str
    cameras: Cameras = Cameras()
    image_size: int = Field(default=96, ge=16, le=1024)
    visibility: Visibility = Visibility()
    min_foreground: float = Field(default=0.002, ge=0.0, lt=1.0)
    """Smallest share of pixels that must show the shape, in every view."""
    min_contrast: float = Field(default=0.001, ge=0.0, lt=1.0)
    """Smallest standard deviation of the grey values in [0, 1], in every view: a constant picture is no render."""
    part_maps: bool = False
    """True: every view comes with a map of named parts, for teachers that learn them; the dataset must have some."""
    draws: ClassVar[Literal["meshes", "points"]] = "meshes"
    """The stage whose shards it photographs. Rigs that draw points serve every dataset, with meshes or without."""

    def image_source(self) -> str | None:
        """One word for what its pictures are made of, for the names of runs; None for pictures of meshes."""
        return None


class Light(Settings):
    """A light infinitely far away that stands still in the world."""

    azimuth_degrees: float = Field(ge=-360.0, le=360.0)
    elevation_degrees: float = Field(ge=-90.0, le=90.0)
    strength: float = Field(ge=0.0, le=10.0)


class LitRigSettings(RigSettings):
    """What every rig says whose surfaces are lit: matt grey on white, by Lambert's law."""

    albedo: float = Field(default=0.8, gt=0.0, le=1.0)
    """Grey of the surface; the background is white."""
    ambient: float = Field(default=0.25, ge=0.0, le=1.0)
    lights: tuple[Light, ...] = (
        Light(azimuth_degrees=65.0, elevation_degrees=50.0, strength=0.7),
        Light(azimuth_degrees=150.0, elevation_degrees=15.0, strength=0.1),
    )


class PointRigSettings(LitRigSettings):
    """What every rig says that photographs points: each as a small disc in its tangent plane."""

    visibility: CloudVisibility = CloudVisibility()
    splat_size: float = Field(default=0.8, ge=0.1, le=3.0)
    """Radius of a disc, in local spacings of the points. Larger ones close holes and thicken what is thin."""
    num_neighbours: int = Field(default=8, ge=3, le=64)
    """Neighbours that tell the local spacing and, where the source has no normals, the tangent plane."""
    max_points: int = Field(default=65536, ge=16, le=1048576)
    """At most so many points of a cloud are drawn: a random choice, seeded by the shape's id."""
    draws: ClassVar[Literal["meshes", "points"]] = "points"


class Training(Settings):
    """A teacher that is trained inside the graph: on which shapes, seen by which rig, how."""

    dataset: str
    rig: str
    recipe: Recipe

    @model_validator(mode="after")
    def _of_pictures(self) -> Training:
        if self.recipe.augmentation != Augmentation():
            raise ValueError("recipe.augmentation changes clouds; a teacher looks at pictures, leave it out")
        return self


class TeacherSettings(Settings):
    """What every teacher block says."""

    kind: str
    weights_file: str | None = None
    """Local weights below ``paths.archives``."""
    batch_size: int = Field(default=64, ge=1)
    training: Training | None = None

    def local_files(self) -> dict[str, str]:
        """Files below ``paths.archives`` that it needs, by the key that names them."""
        return {} if self.weights_file is None else {"weights_file": self.weights_file}

    def learns_from_labels(self) -> bool:
        """Whether its training needs the class of every shape."""
        return False

    def learns_from_parts(self) -> bool:
        """Whether its training needs part maps beside the views."""
        return False


#: ImageNet classifiers of torchvision.
ImagenetArchitecture = Literal[
    "alexnet", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "resnet18",
    "resnet34", "resnet50", "resnet101", "resnet152", "vgg11", "vgg11_bn", "vgg16", "vgg16_bn", "efficientnet_b0",
    "convnext_tiny",
]  # fmt: skip


class ViewTeacherSettings(TeacherSettings):
    """What every teacher says that is made by training a network on views alone."""

    initialisation: Literal["pretrained", "random"] = "pretrained"
    """Of what there is before ``training``. pretrained: the backbone has ImageNet weights, the rest random ones. random
    without ``training``: the random-teacher arm."""
    backbone_file: str | None = None
    """Local ImageNet weights with torchvision's key names, below ``paths.archives``. None: torchvision's default ones,
    fetched once."""
    random_seed: int = Field(default=0, ge=0)
    """Of a network that is never trained."""
    input_size: int = Field(default=224, ge=32, le=1024)
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """RGB, subtracted from pixels in [0, 1]. PointMCD gives plain pixels even to ImageNet weights: 0 and std 1."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: Literal["bicubic", "bilinear"] = "bilinear"

    @model_validator(mode="after")
    def _one_source(self) -> ViewTeacherSettings:
        given = {
            "training": self.training is not None,
            "weights_file": self.weights_file is not None,
            "initialisation: random": self.initialisation == "random" and self.training is None,
        }
        chosen = [name for name, is_given in given.items() if is_given]
        if len(chosen) != 1:
            told = ", ".join(chosen) or "none"
            raise ValueError(f"weights come from exactly one of {', '.join(given)}; given: {told}")
        if self.backbone_file is not None and (self.training is None or self.initialisation == "random"):
            raise ValueError(
                "backbone_file is where training starts from: with training, and initialisation pretrained"
            )
        if min(self.std) <= 0.0:
            raise ValueError("std must be above 0")
        return self

    def local_files(self) -> dict[str, str]:
        """The weights, and those its training starts from."""
        start = {} if self.backbone_file is None else {"backbone_file": self.backbone_file}
        return {**super().local_files(), **start}


class StudentSettings(Settings):
    """What every student block says."""

    kind: str


class MethodSettings(Settings):
    """What every distillation method block says."""

    kind: str


class TaskSettings(Settings):
    """What every downstream task block says."""

    kind: str
    dataset: str
    protocol: str | None = None
    """A published protocol that selects on the test split. Its numbers stand under its name, as ``oracle_test``, never
    among the headlines: they show what such a selection adds. None: ours."""
    finetunes: ClassVar[bool] = False
    """True: the student is trained on the task (finetune_student). False: its frozen embedding is judged."""
    joint: ClassVar[bool] = False
    """True: can be trained together with a distillation method."""
    answers: ClassVar[Literal["embeddings", "predictions", "part_predictions"]] = "embeddings"
    """The kind of shard that it judges."""
    protocols: ClassVar[tuple[str, ...]] = ()
    """Published protocols that it knows."""

    @model_validator(mode="after")
    def _known_protocol(self) -> TaskSettings:
        if self.protocol is not None and self.protocol not in self.protocols:
            known = ", ".join(self.protocols) or "none"
            raise ValueError(f"protocol {self.protocol!r} is not allowed: a task of this kind knows {known}")
        return self

    def files_used(self) -> tuple[str, ...]:
        """Files below the package, beside its code, that its results hang on: an edit of one makes them anew."""
        return ()


Arm = Literal[
    "scratch",
    "control",
    "mcd",
    "all_visible",
    "shuffled",
    "random_teacher",
    "random_visibility",
]


class RunSettings(Settings):
    """How an encoder's weights come about.

    ``form: transfer`` distils on ``dataset`` first and finetunes or probes afterwards; ``form: joint`` adds the
    distillation loss to the task's own training, on the task's train split (PointMCD's supervised protocol).
    """

    student: str
    method: str | None = None
    arm: Arm = "scratch"
    form: Literal["transfer", "joint"] = "transfer"
    teacher: str | None = None
    rig: str | None = None
    dataset: str | None = None
    recipe: Recipe | None = None

    @model_validator(mode="after")
    def _whole(self) -> RunSettings:
        needed = {"transfer": ("teacher", "rig", "dataset", "recipe"), "joint": ("teacher", "rig")}[self.form]
        given = [key for key in ("teacher", "rig", "dataset", "recipe") if getattr(self, key) is not None]
        if self.method is None:
            if given or self.form == "joint" or self.arm != "scratch":
                raise ValueError(
                    "a run without a method is arm scratch, form transfer, without teacher, rig, dataset and recipe"
                )
        elif sorted(given) != sorted(needed):
            raise ValueError(f"a {self.form} run with a method needs {', '.join(needed)}, and no other of the four")
        elif self.arm == "scratch":
            raise ValueError("arm scratch has no method")
        elif self.arm == "control" and self.form != "joint":
            raise ValueError("arm control (distillation weight 0) is for form joint; use arm scratch for transfer")
        return self


class SuiteSettings(Settings):
    """What ``snakemake --cores all`` builds: these runs, judged by these tasks, once per seed."""

    runs: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)


class Paths(Settings):
    """Where raw data lies. Never part of a block's hash: moving data changes no result."""

    data: str = "data"
    archives: str | None = None
    """Folder of local archives and weights. A file of a dataset's `files` that lies there is not fetched."""
    mirror: str | None = None
    """Folder of files as they would be fetched, for machines without a network; POINTLIFT_MIRROR wins over it."""
