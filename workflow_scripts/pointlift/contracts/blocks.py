"""The blocks of students, methods, tasks, runs and suites in config.yaml, and its paths.

A block's ``kind`` names a file of its room; members of a room add their own keys. Nothing here changes no result:
threads, device and paths stand elsewhere.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from pointlift.contracts.image_weights import IMAGE_ARMS, InflationSettings, Regime, Shortcut, image_arm_mistake
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.released import RELEASED_ARMS, ReleasedSettings, released_mistake
from pointlift.contracts.settings import Settings


class StudentSettings(Settings):
    """What every student block says."""

    kind: str

    def can_hide(self) -> bool:
        """Whether it can be shown part of a cloud alone."""
        return False

    def least_points(self) -> int:
        """Points that a cloud must have, as far as the block says it."""
        return 1

    def width_of_tokens(self) -> int | None:
        """Numbers of a token, where the block alone says it; None: known when it is built."""
        return None

    def image_source(self) -> str | None:
        """The 2D architecture whose stages its own may be filled from; None: it takes no 2D weights."""
        return None

    def shortcuts(self) -> tuple[str, ...]:
        """What an inflation may say of shortcuts, where it takes 2D weights."""
        return get_args(Shortcut)


#: What a method may read of a shape beside its points.
Reading = Literal["visibility", "features", "tokens", "cameras"]


class MethodSettings(Settings):
    """What every distillation method block says."""

    kind: str

    def reads(self) -> tuple[Reading, ...]:
        """What a batch holds beside points: ``visible``, ``target``, ``patch_tokens``, ``world_to_camera``."""
        return ("visibility", "features")

    def arms(self) -> tuple[str, ...] | None:
        """Arms that a run with this block may call itself; None: any. So no row says what it is not."""
        return None

    def projects(self) -> bool:
        """Whether its head puts a shape into the teacher's own space, where it can be asked in words."""
        return False

    def heads_over_tokens(self) -> int | None:
        """Heads of an attention as wide as the student's tokens, which they must divide; None: it has none."""
        return None

    def hides(self) -> bool:
        """Whether it hides part of each cloud from the student: not beside a task, which wants it whole."""
        return False


#: Kinds of shards that a task may judge.
Answers = Literal[
    "embeddings",
    "predictions",
    "part_predictions",
    "subset_predictions",
    "epoch_embeddings",
    "point_predictions",
    "box_predictions",
]


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
    answers: ClassVar[Answers] = "embeddings"
    """The kind of shard that it judges."""
    reads_scenes: ClassVar[bool] = False
    """True: it is met on datasets of scenes alone, whose clouds have labelled points or boxes. False: on shapes."""
    protocols: ClassVar[tuple[str, ...]] = ()
    """Published protocols that it knows."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Its keys that say what is asked of a student, not how it is trained: part of the protocol that a number has."""
    reads_prompts: ClassVar[bool] = False
    """Whether it reads what the run's teacher makes of the class names."""

    @model_validator(mode="after")
    def _known_protocol(self) -> TaskSettings:
        if self.protocol is not None and self.protocol not in self.protocols:
            known = ", ".join(self.protocols) or "none"
            raise ValueError(f"protocol {self.protocol!r} is not allowed: a task of this kind knows {known}")
        return self

    def protocol_words(self) -> tuple[str, ...]:
        """What stands in the name of a row's protocol beside the dataset and the run's form."""
        return () if self.protocol is None else (self.protocol,)

    def reads_projected(self) -> bool:
        """Whether it judges shapes in the teacher's space, as the run's method puts them there."""
        return False

    def files_used(self) -> tuple[str, ...]:
        """Files below the package, beside its code, that its results hang on: an edit of one makes them anew."""
        return ()


class FinetuningSettings(TaskSettings):
    """What every task says that trains the student with a head of its own, alone or jointly with distillation."""

    recipe: Recipe
    label_smoothing: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Probability taken from the label and shared by the K - 1 others (PointMCD: 0.2; parts of PointNet: 0.05)."""
    task_weight: float = Field(default=1.0, gt=0.0)
    """Of the task's loss, beside a distillation loss (PointMCD: 0.1; parts of DGCNN: 1)."""
    orthogonality_weight: float = Field(default=0.001, ge=0.0)
    """Of the student's orthogonality term, where it has one and no distillation method weights it already."""
    log_every: int = Field(default=10, ge=1)
    """Epochs between two looks at val and test; the last epoch is always looked at."""
    finetunes: ClassVar[bool] = True
    joint: ClassVar[bool] = True
    protocols: ClassVar[tuple[str, ...]] = ("pointmcd_authors",)
    judged_splits: ClassVar[tuple[str, ...]] = ("val", "test")
    """Of whose shapes the answers are kept."""
    looks_before: ClassVar[bool] = False
    """Whether it also looks before the first step: epoch -1 of its answers."""

    def casts_votes(self) -> bool:
        """Whether the trained student also answers augmented test shapes, for the inflation ladder alone."""
        return False


Arm = Literal[
    "scratch",
    "scratch_matched",
    "control",
    "mcd",
    "all_visible",
    "shuffled",
    "random_teacher",
    "random_visibility",
    "concept",
    "m1",
    "mean_pool",
    "same_class_shuffled",
    "other_teacher",
    "point_mae",
    "init_point_mae",
    "io",
    "ioms",
    "io_bn",
    "all",
    "frozen_random",
    "replayed",
    "init_released",
]


class RunSettings(Settings):
    """How an encoder's weights come about.

    ``form: transfer`` distils on ``dataset`` first and finetunes or probes afterwards; ``form: joint`` adds the
    distillation loss to the task's own training, on the task's train split (PointMCD's supervised protocol).
    """

    student: str
    init: str | None = None
    """A run of arm point_mae with this student and dataset: its weights of the same seed are the start."""
    method: str | None = None
    arm: Arm = "scratch"
    form: Literal["transfer", "joint"] = "transfer"
    teacher: str | None = None
    rig: str | None = None
    dataset: str | None = None
    recipe: Recipe | None = None
    inflation: InflationSettings | None = None
    """2D weights that the student's stages start from. None: random ones."""
    regime: Regime = "all"
    """What finetuning may change of a student with stages of a 2D network: io, its input layers and the head; ioms,
    also the statistics of the stages' batch norms; io_bn, also their weights and biases; all, everything."""
    recalibrate: bool = False
    """True: finetuning estimates those statistics anew on the task's train split. In regime io, which keeps them,
    before its first step; in the others before every look at val and test."""
    released: ReleasedSettings | None = None
    """A checkpoint of others that its student is filled with: as it is (arm replayed), or to be finetuned."""
    matches: str | None = None
    """Of arm scratch_matched: the distilled run whose time it is given. It starts from random weights and is finetuned
    for longer, so that it costs what distillation and finetuning of that run cost together."""
    longer: dict[str, Annotated[float, Field(ge=1.0, le=1000.0)]] = Field(default_factory=dict)
    """Of arm scratch_matched: by kind of task, how many times the epochs of its recipe it is finetuned for. Measured:
    the report shows the seconds of both runs, and their ratio."""
    added_later: ClassVar[tuple[str, ...]] = ("inflation", "regime", "recalibrate", "matches", "longer", "released")

    @property
    def replays(self) -> bool:
        """Whether a released classifier answers by its own head: it is not trained here."""
        return self.arm == "replayed"

    @property
    def image_model(self) -> str | None:
        """The teacher block behind its weights: what it is distilled from, or the source of its 2D weights."""
        return self.teacher if self.inflation is None else self.inflation.source

    @model_validator(mode="after")
    def _image_weights(self) -> RunSettings:
        mistake = image_arm_mistake(self.arm, self.inflation, self.regime, self.recalibrate)
        mistake = mistake or released_mistake(self.arm, self.released)
        if mistake is not None:
            raise ValueError(mistake)
        return self

    @model_validator(mode="after")
    def _matched(self) -> RunSettings:
        told = (self.arm == "scratch_matched", self.matches is not None, bool(self.longer))
        if any(told) and not all(told):
            raise ValueError("arm scratch_matched says which run it matches, and by kind of task how much longer it is")
        return self

    @model_validator(mode="after")
    def _whole(self) -> RunSettings:
        given = [key for key in ("init", "teacher", "rig", "dataset", "recipe") if getattr(self, key) is not None]
        own = {"transfer": ("dataset", "recipe"), "joint": ()}[self.form]
        if self.method is None:
            if (
                given
                or self.form == "joint"
                or self.arm not in ("scratch", "scratch_matched", *IMAGE_ARMS, *RELEASED_ARMS)
            ):
                raise ValueError(
                    "a run without a method is arm scratch, form transfer, without init, teacher, rig, dataset, recipe"
                    f"; or, where its student takes 2D weights, arm {', '.join(IMAGE_ARMS)}"
                    f"; or, with a released file, arm {' or '.join(RELEASED_ARMS)}"
                )
        elif sorted(set(given) & {"dataset", "recipe"}) != sorted(own):
            raise ValueError(
                "a transfer run with a method needs dataset and recipe"
                if self.form == "transfer"
                else "a joint run is trained on the task's dataset by its recipe; leave dataset and recipe out"
            )
        elif self.form == "joint" and self.init is not None:
            raise ValueError("init is for form transfer; a joint run starts from scratch")
        elif (self.arm == "init_point_mae") != (self.init is not None):
            raise ValueError(
                "arm init_point_mae is the one that starts from another run: it has init, no other arm has"
            )
        elif self.arm in ("scratch", "scratch_matched", *IMAGE_ARMS, *RELEASED_ARMS):
            raise ValueError(f"arm {self.arm} has no method")
        elif self.arm == "control" and self.form != "joint":
            raise ValueError("arm control (distillation weight 0) is for form joint; use arm scratch for transfer")
        return self


class TaskOfRuns(Settings):
    """A task that some runs of a suite meet, not all."""

    task: str
    runs: tuple[str, ...] = Field(min_length=1)


class SuiteSettings(Settings):
    """What ``snakemake --cores all`` builds: these runs, judged by these tasks, once per seed."""

    runs: tuple[str, ...] = Field(min_length=1)
    tasks: tuple[str | TaskOfRuns, ...] = Field(min_length=1)
    """Names of tasks that every run meets (joint runs: every one that trains jointly), or {task: name, runs: [...]}."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1)
    seeds_share_jobs: bool = False
    """True: one job trains a run with all seeds, one after another, to the same files. For runs of seconds, where the
    start of a process costs as much; with another seed such a run is made anew."""

    def task_names(self) -> tuple[str, ...]:
        """The tasks, in order."""
        return tuple(one if isinstance(one, str) else one.task for one in self.tasks)

    def runs_of(self, task: str) -> tuple[str, ...]:
        """The runs that are to meet a task."""
        named = [one.runs for one in self.tasks if isinstance(one, TaskOfRuns) and one.task == task]
        return named[0] if named else self.runs


class Paths(Settings):
    """Where raw data lies. Never part of a block's hash: moving data changes no result."""

    data: str = "data"
    archives: str | None = None
    """Folder of local archives and weights. A file of a dataset's `files` that lies there is not fetched."""
    mirror: str | None = None
    """Folder of files as they would be fetched, for machines without a network; POINTLIFT_MIRROR wins over it."""
