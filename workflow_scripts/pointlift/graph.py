"""The graph behind the Snakefile: which shards and files a config asks for.

Rules stay readable because everything that needs thought is here and in ``jobs``, testable without Snakemake.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pointlift import rooms
from pointlift.configuration import Config
from pointlift.contracts.blocks import FinetuningSettings, RunSettings, TaskSettings
from pointlift.contracts.duplicates import duplicates_name
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.manifest import shard_names
from pointlift.contracts.protocols import Protocol, protocol_of
from pointlift.contracts.recipe import Recipe
from pointlift.contracts.teacher_blocks import Training
from pointlift.job_environment import ARCHIVES
from pointlift.raw_data import gate_of, is_unlisted, missing_licensed, size_of


@dataclass(frozen=True)
class Targets:
    """Files of a suite by phase, in the order the phases run."""

    shapes: tuple[str, ...]
    views: tuple[str, ...]
    teachers: tuple[str, ...]
    students: tuple[str, ...]
    tasks: tuple[str, ...]
    report: tuple[str, ...]


class Graph:
    """Files of every job that ``config`` asks for. Paths are relative to the working folder."""

    def __init__(self, config: Config, results: str = "results") -> None:
        self.config = config
        self.results = results
        self._shards: dict[str, dict[str, tuple[str, ...]]] = {}

    def shards(self, dataset: str) -> dict[str, tuple[str, ...]]:
        """Shape ids of each shard of a dataset, in order. Cheap: no mesh is opened."""
        if dataset not in self._shards:
            block = self.config.datasets[dataset]
            if is_unlisted(self, dataset) or (block.lists_its_folder and missing_licensed(self, dataset)):
                return {"0000": ()}  # its ids are not known yet, and no job is planned or succeeds that asks for them
            ids = rooms.load("datasets", block.kind).list_ids(block, self.folder(dataset))
            if not ids:
                raise ConfigError(f"datasets.{dataset}: it has no shapes")
            size = block.shard_size
            names = shard_names(len(ids), size)
            self._shards[dataset] = {name: ids[i * size : (i + 1) * size] for i, name in enumerate(names)}
        return self._shards[dataset]

    def has_meshes(self, dataset: str) -> bool:
        """Whether a dataset's shapes are meshes, or come as points."""
        return self.config.datasets[dataset].has_meshes

    def named(self, family: str = "datasets", **traits: bool) -> str:
        """A pattern of the names of all blocks that are like this (has_meshes): no file is made by two rules."""
        blocks = getattr(self.config, family)
        names = [name for name in blocks if all(getattr(blocks[name], key) == traits[key] for key in traits)]
        return "|".join(map(re.escape, names)) or "(?!)"

    def first_shards(self, dataset: str) -> list[str]:
        """The shards that a dataset's raw files become: meshes, or points where there are none."""
        return self.shard_files("meshes" if self.has_meshes(dataset) else "points", dataset)

    def folder(self, dataset: str) -> Path | None:
        """Where a dataset's raw files lie, or None when it needs none."""
        folder = self.config.datasets[dataset].folder
        return None if folder is None else Path(self.config.paths.data) / folder

    def folders(self, dataset: str) -> list[str]:
        """The folder of raw files as a list: empty when the dataset needs none."""
        folder = self.folder(dataset)
        return [] if folder is None else [str(folder)]

    def file_sizes(self, dataset: str, ids: Iterable[str]) -> list[int]:
        """Bytes of the files and folders that hold these shapes below the dataset's own folder; 0 where there is none.

        So a file that was mended is read again. Unlike its time, its size stays when the folder is copied. What comes
        from an archive is known by the archive.
        """
        folder, block = self.folder(dataset), self.config.datasets[dataset]
        if folder is None or block.archive is not None or block.files:
            return []
        paths = (folder / name for name in block.source_files(tuple(ids)))
        return [size_of(path) for path in paths]

    def shard_files(self, stage: str, dataset: str, *between: str) -> list[str]:
        """All shards of a stage, e.g. ``shard_files("views", dataset, rig)``."""
        folder = "/".join([self.results, stage, dataset, *between])
        return [f"{folder}/{shard}.safetensors" for shard in self.shards(dataset)]

    def drawn_shard(self, dataset: str, rig: str, shard: str) -> str:
        """The shard whose shapes a rig photographs: of meshes, or of points where the rig draws those."""
        return f"{self.results}/{self.config.rigs[rig].draws}/{dataset}/{shard}.safetensors"

    def manifest(self, dataset: str) -> str:
        """Path of a dataset's manifest."""
        return f"{self.results}/manifest/{dataset}.csv"

    def raw_index(self, dataset: str) -> list[str]:
        """What says that a dataset's files are there: the index of ``download_data`` or of ``check_data``, or none."""
        block = self.config.datasets[dataset]
        if block.archive is not None or block.files:
            return [f"{self.folder(dataset)}/index.json"]
        return [f"{self.results}/manifest/{dataset}.raw.json"] if gate_of(block) is not None else []

    def archives(self, folder: str) -> list[str]:
        """The local archive that is unpacked into ``paths.data/folder``; none when its files are fetched."""
        fetched = any(block.folder == folder and block.files for block in self.config.datasets.values())
        return [] if fetched else [self.archive(folder)]

    def archive(self, folder: str) -> str:
        """The local archive that is unpacked into ``paths.data/folder``."""
        for name, block in self.config.datasets.items():
            if block.folder == folder and block.archive is not None:
                return self.below_archives(f"datasets.{name}.archive", block.archive)
        raise ConfigError(f"no dataset is unpacked into {folder!r}")

    def below_archives(self, key: str, name: str) -> str:
        """A file below ``paths.archives``, by its link; an error naming ``key`` when that path is not set."""
        if self.config.paths.archives is None:
            raise ConfigError(f"{key}: {name!r} lies below paths.archives, which is not set (make: DATA=<folder>)")
        return f"{ARCHIVES}/{name}"

    def teacher_weights(self, teacher: str) -> list[str]:
        """Weights a teacher needs: made by train_teacher, a local file, or none."""
        block = self.config.teachers[teacher]
        if block.training is not None:
            return [f"{self.results}/teachers/{teacher}/weights.safetensors"]
        if block.weights_file is not None:
            return [self.below_archives(f"teachers.{teacher}.weights_file", block.weights_file)]
        return []

    def teacher_backbone(self, teacher: str) -> list[str]:
        """The local weights that a teacher's training starts from, or none."""
        key = "backbone_file"
        files = self.config.teachers[teacher].local_files()
        return [self.below_archives(f"teachers.{teacher}.{key}", files[key])] if key in files else []

    def distillation_files(self, run: str, stage: str) -> list[str]:
        """Shards that a transfer run's distillation reads; none where its method does not read this stage."""
        block = self.config.runs[run]
        if block.method is None or block.form == "joint":
            return []
        return self._seen_files(block, str(block.dataset), stage)

    def joint_files(self, run: str, dataset: str, stage: str) -> list[str]:
        """Shards of the task's own dataset that a joint run reads beside its points."""
        block = self.config.runs[run]
        return self._seen_files(block, dataset, stage) if block.form == "joint" else []

    def _seen_files(self, run: RunSettings, dataset: str, stage: str) -> list[str]:
        if stage != "points" and stage not in self.config.methods[str(run.method)].reads():
            return []
        taught = (run.rig, run.teacher)
        between = {"points": (), "visibility": (run.rig,), "features": taught, "tokens": taught}[stage]
        return self.shard_files(stage, dataset, *(str(part) for part in between))

    def distillation_manifests(self, run: str) -> list[str]:
        """The distillation set's manifest."""
        block = self.config.runs[run]
        return [self.manifest(block.dataset)] if block.dataset is not None else []

    def initial_weights(self, run: str, seed: int) -> list[str]:
        """The student that a run's distillation starts from; none for a run from scratch."""
        start = self.config.runs[run].init
        return [] if start is None else [self.student_weights(start, seed)]

    def source_weights(self, run: str) -> list[str]:
        """2D or released weights that a run's student starts from; none, or none as torchvision's are fetched."""
        inflation, released = self.config.runs[run].inflation, self.config.runs[run].released
        if released is not None:
            return [self.below_archives(f"runs.{run}.released.file", released.file)]
        return [] if inflation is None else self.teacher_weights(inflation.source)

    def duplicates(self, run: str) -> list[str]:
        """Lists of shapes to leave out of a run's distillation: near-duplicates of downstream sets."""
        block = self.config.runs[run]
        if block.dataset is None:
            return []
        others = self.config.datasets[block.dataset].exclude_duplicates_of
        return [f"{self.results}/manifest/{duplicates_name(block.dataset, other)}" for other in others]

    def all_duplicates(self) -> list[str]:
        """Every list of near-duplicates that the suite's runs leave out."""
        return sorted({file for run in self.config.chosen.runs for file in self.duplicates(run)})

    def matched_meshes(self, dataset: str, other: str) -> list[str]:
        """Mesh shards of the dataset that ``meshes_of`` names; an error when it names another one or none."""
        named = getattr(self.config.datasets[dataset], "meshes_of", None)
        if named != other:
            told = "says nothing" if named is None else f"names {named!r}"
            raise ConfigError(f"datasets.{dataset}.meshes_of: it {told}; to be matched with {other!r} it must name it")
        return self.shard_files("meshes", other)

    def student_weights(self, run: str, seed: int) -> str:
        """Where a run's student lies. A joint run starts like a scratch run: initialised, not distilled."""
        return f"{self.results}/students/{run}/seed{seed}/weights.safetensors"

    def task_of(self, kind: str, dataset: str) -> TaskSettings:
        """The task block behind a row of the results (unique in a suite by kind and dataset)."""
        for name in self.config.chosen.task_names():
            block = self.config.tasks[name]
            if (block.kind, block.dataset) == (kind, dataset):
                return block
        raise ConfigError(f"suite {self.config.suite!r} has no task of kind {kind!r} on dataset {dataset!r}")

    def trained_task(self, run: str, kind: str, dataset: str) -> TaskSettings:
        """The task block as this run is trained on it: for longer where the run says so."""
        block, times = self.task_of(kind, dataset), self.config.runs[run].longer.get(kind)
        if times is None or not isinstance(block, FinetuningSettings):
            return block
        recipes = [(key, one) for key in type(block).model_fields if isinstance(one := getattr(block, key), Recipe)]
        longer = {key: one.model_copy(update={"epochs": round(times * one.epochs)}) for key, one in recipes}
        return block.model_copy(update=longer)

    def protocol(self, run: str, task: str, dataset: str) -> str:
        """Name of what is measured: the dataset's base and split, and whether the encoder came by transfer or joint.

        Between them stands what a task says: the published protocol that it follows instead of ours, for one.
        """
        return self.protocol_of(run, task, dataset).name

    def protocol_of(self, run: str, task: str, dataset: str) -> Protocol:
        """What is measured, whole."""
        return protocol_of(self.config.datasets[dataset], self.task_of(task, dataset), self.config.runs[run].form)

    def protocol_in_path(self, run: str, task: str, dataset: str) -> str:
        """The protocol as one path component."""
        return self.protocol(run, task, dataset).replace("/", "+")

    @cached_property
    def evaluations(self) -> list[tuple[str, str, str]]:
        """(run, task kind, dataset) of the suite's rows. A joint run meets only tasks that train jointly."""
        found, suite = [], self.config.chosen
        for run_name in suite.runs:
            for task_name in suite.task_names():
                task = self.config.tasks[task_name]
                fits = self.config.runs[run_name].form == "transfer" or task.joint
                if fits and run_name in suite.runs_of(task_name):
                    found.append((run_name, task.kind, task.dataset))
        return found

    def metrics_files(self, run: str, task: str, dataset: str) -> list[str]:
        """One metrics file per seed."""
        folder = f"{self.results}/metrics/{run}/{task}/{dataset}/{self.protocol_in_path(run, task, dataset)}"
        return [f"{folder}/seed{seed}.json" for seed in self.config.chosen.seeds]

    def finetuned_folder(self, run: str, task: str, dataset: str, seed: int | str) -> str:
        """Where a finetuned student lies."""
        protocol = self.protocol_in_path(run, task, dataset)
        return f"{self.results}/finetuned/{run}/{task}/{dataset}/{protocol}/seed{seed}"

    def finetunes(self, task: str, dataset: str) -> bool:
        """Whether a task trains the student, or judges its frozen embedding."""
        return self.task_of(task, dataset).finetunes

    @cached_property
    def datasets_used(self) -> list[str]:
        """Datasets that the suite touches, sorted."""
        found = {dataset for _, _, dataset in self.evaluations}
        for name in self.config.chosen.runs:
            run = self.config.runs[name]
            teacher = self.config.teachers[run.image_model] if run.image_model else None
            taught = teacher.training.dataset if teacher and teacher.training else None
            found |= {dataset for dataset in (run.dataset, taught) if dataset is not None}
        return sorted(found)

    @cached_property
    def points_used(self) -> list[str]:
        """Datasets whose points a student sees or a rig draws: a teacher's own may have meshes alone. Sorted."""
        distilled = {self.config.runs[run].dataset for run in self.config.chosen.runs}
        judged = {dataset for _, _, dataset in self.evaluations}
        drawn = {dataset for dataset, rig in self.views_used if self.config.rigs[rig].draws == "points"}
        return sorted(judged | drawn | {dataset for dataset in distilled if dataset is not None})

    @cached_property
    def views_used(self) -> list[tuple[str, str]]:
        """(dataset, rig) pairs that are rendered for the suite, sorted."""
        found = set()
        for run_name, _, dataset in self.evaluations:
            run = self.config.runs[run_name]
            if run.rig is not None:
                found.add((run.dataset or dataset, run.rig))
            teacher = self.config.teachers[run.image_model] if run.image_model else None
            if teacher is not None and teacher.training is not None:
                found.add((teacher.training.dataset, teacher.training.rig))
        return sorted(found)

    @cached_property
    def finetunings(self) -> list[tuple[str, str, str]]:
        """The evaluations whose task trains the student."""
        return [row for row in self.evaluations if self.finetunes(row[1], row[2])]

    def targets(self) -> Targets:
        """Everything the suite makes, by phase."""
        seeds = self.config.chosen.seeds
        datasets, views = self.datasets_used, self.views_used
        features = sorted({file for run in self.config.chosen.runs for file in self.feature_files(run)})
        return Targets(
            shapes=tuple(
                [self.manifest(dataset) for dataset in datasets]
                + [file for dataset in self.points_used for file in self.shard_files("points", dataset)]
            ),
            views=tuple(file for dataset, rig in views for file in self.shard_files("views", dataset, rig)),
            teachers=tuple(features),
            students=tuple(self.student_weights(run, seed) for run in self.config.chosen.runs for seed in seeds),
            tasks=tuple(file for row in self.evaluations for file in self.metrics_files(*row)),
            report=tuple(
                f"{self.results}/report/{self.config.suite}/{name}"
                for name in (
                    "summary.csv",
                    "leaderboard.csv",
                    "ladder.csv",
                    "cost.csv",
                    "quarantine.csv",
                    "report.html",
                )
            )
            + self.model_cards(),
        )

    def model_cards(self) -> tuple[str, ...]:
        """One card per run of the suite."""
        return tuple(f"{self.results}/report/{self.config.suite}/cards/{run}.md" for run in self.config.chosen.runs)

    def feature_files(self, run: str) -> list[str]:
        """Teacher embeddings and tokens that a run reads, for distillation or jointly."""
        return self._read_files(run, "features", "tokens")

    def visibility_files(self) -> list[str]:
        """Who sees which point, of all shards that the suite's runs read, sorted."""
        return sorted({file for run in self.config.chosen.runs for file in self._read_files(run, "visibility")})

    def _read_files(self, run: str, *stages: str) -> list[str]:
        block = self.config.runs[run]
        if block.method is None:
            return []
        own = [dataset for name, _, dataset in self.evaluations if name == run]
        datasets = [block.dataset] if block.dataset is not None else own
        return [file for dataset in datasets for stage in stages for file in self._seen_files(block, dataset, stage)]

    def prompts(self, run: str, task: str, dataset: str) -> list[str]:
        """What a run's teacher makes of a dataset's class names, where the task reads it."""
        if not self.task_of(task, dataset).reads_prompts:
            return []
        return [f"{self.results}/prompts/{dataset}/{self.config.runs[run].teacher}.safetensors"]

    def answers(self, run: str, task: str, dataset: str) -> list[str]:
        """What evaluate_task reads, one file per seed: predictions of a finetuned student, or frozen embeddings."""
        seeds = self.config.chosen.seeds
        if self.finetunes(task, dataset):
            folders = [self.finetuned_folder(run, task, dataset, seed) for seed in seeds]
            return [f"{folder}/predictions.safetensors" for folder in folders]
        return [f"{self.results}/embeddings/{run}/{dataset}/seed{seed}.safetensors" for seed in seeds]

    def histories(self) -> list[str]:
        """Training curves of the suite: teachers, students, finetuned students."""
        seeds = self.config.chosen.seeds
        distilled = [name for name in self.config.chosen.runs if self.distillation_manifests(name)]
        folders = [f"{self.results}/teachers/{teacher}" for teacher in self.trained_teachers]
        folders += [f"{self.results}/students/{run}/seed{seed}" for run in distilled for seed in seeds]
        trained = [row for row in self.finetunings if not self.config.runs[row[0]].replays]
        folders += [self.finetuned_folder(*row, seed) for row in trained for seed in seeds]
        return [f"{folder}/history.jsonl" for folder in folders]

    @cached_property
    def trained_teachers(self) -> list[str]:
        """Teachers of the suite that are trained in the graph, sorted."""
        named = {self.config.runs[run].image_model for run in self.config.chosen.runs}
        return sorted(name for name in named if name is not None and self.config.teachers[name].training is not None)

    def training_of(self, teacher: str) -> Training:
        """How a teacher is trained in the graph; an error when it is not."""
        training = self.config.teachers[teacher].training
        if training is None:
            raise ConfigError(f"teachers.{teacher}: it is not trained in the graph")
        return training

    def teacher_views(self, teacher: str) -> list[str]:
        """Views that a teacher is trained on."""
        training = self.training_of(teacher)
        return self.shard_files("views", training.dataset, training.rig)
