"""Mistakes between the blocks of config.yaml: blocks that do not exist, and combinations that cannot be meant."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointlift.contracts.blocks import RunSettings, SuiteSettings, TaskSettings
from pointlift.contracts.dataset_blocks import DatasetSettings, Scan
from pointlift.contracts.procedural_blocks import RoomSettings
from pointlift.contracts.rig_blocks import CameraRigSettings, RigSettings
from pointlift.contracts.teacher_blocks import TeacherSettings
from pointlift.raw_data import raw_data_mistakes
from pointlift.released_mistakes import asked_mistakes
from pointlift.run_mistakes import (
    frozen_mistakes,
    idle_mistakes,
    matching_mistakes,
    missing_starts,
    order_mistakes,
    projection_mistakes,
    run_mistakes,
)
from pointlift.task_mistakes import cloud_mistakes, protocol_mistakes, task_mistakes

if TYPE_CHECKING:
    from pointlift.configuration import Config


def reference_mistakes(config: Config) -> list[str]:
    """Every name a block mentions must be a block of its family."""
    mentions: list[tuple[str, str | None, str]] = []
    for name, run in config.runs.items():
        for key in ("student", "method", "teacher", "rig", "dataset"):
            mentions.append((f"runs.{name}.{key}", getattr(run, key), f"{key}s"))
        mentions += [(f"runs.{name}.init", run.init, "runs"), (f"runs.{name}.matches", run.matches, "runs")]
        if run.inflation is not None:
            mentions.append((f"runs.{name}.inflation.source", run.inflation.source, "teachers"))
    for name, task in config.tasks.items():
        mentions.append((f"tasks.{name}.dataset", task.dataset, "datasets"))
    for name, teacher in config.teachers.items():
        if teacher.training is not None:
            mentions.append((f"teachers.{name}.training.dataset", teacher.training.dataset, "datasets"))
            mentions.append((f"teachers.{name}.training.rig", teacher.training.rig, "rigs"))
    for name, dataset in config.datasets.items():
        mentions += [(f"datasets.{name}.exclude_duplicates_of", o, "datasets") for o in dataset.exclude_duplicates_of]
        mentions.append((f"datasets.{name}.meshes_of", getattr(dataset, "meshes_of", None), "datasets"))
    for name, suite in config.suites.items():
        mentions += [(f"suites.{name}.runs", run_name, "runs") for run_name in suite.runs]
        mentions += [(f"suites.{name}.tasks", task_name, "tasks") for task_name in suite.task_names()]
    return [
        f"{key}: there is no block {mentioned!r} in {family}; there are: {', '.join(getattr(config, family)) or 'none'}"
        for key, mentioned, family in mentions
        if mentioned is not None and mentioned not in getattr(config, family)
    ]


def combination_mistakes(config: Config) -> list[str]:
    """Combinations that cannot be meant: files from nowhere, a table row that would stand twice, a leaking split."""
    found = raw_data_mistakes(config.datasets)
    for name, dataset in config.datasets.items():
        if dataset.needs_files and dataset.folder is None:
            found.append(f"datasets.{name}.folder: missing; kind {dataset.kind!r} reads files below paths.data")
        if dataset.archive is not None and dataset.folder is None:
            found.append(f"datasets.{name}.folder: missing; the archive is unpacked into it")
        elif dataset.archive is not None:
            found += _archive_mistakes(config, name, dataset)
        found += _points_mistakes(config, name, dataset)
        if name in dataset.exclude_duplicates_of:
            found.append(f"datasets.{name}.exclude_duplicates_of: names {name!r} itself; nothing would be left of it")
    for name, run in config.runs.items():
        found += run_mistakes(config, name, run)
        found += _name_mistakes(config, f"runs.{name}", name, run.rig)
        if run.dataset is not None:
            found += _render_mistakes(config, f"runs.{name}.dataset", run.dataset, str(run.rig), distils=True)
            found += order_mistakes(config, f"runs.{name}.dataset", run, run.dataset)
    for name, teacher in config.teachers.items():
        taught = teacher.training
        if taught is not None:
            found += _name_mistakes(config, f"teachers.{name}", name, taught.rig)
            found += _render_mistakes(config, f"teachers.{name}.training.dataset", taught.dataset, taught.rig)
            found += _label_mistakes(config, name, teacher, taught.dataset)
            found += _part_mistakes(config, name, teacher, taught.rig)
    for name, task in config.tasks.items():
        found += task_mistakes(config, name, task)
    for name, suite in config.suites.items():
        if suite.runs and suite.tasks:
            found += _suite_mistakes(config, name, suite)
    return found


def _label_mistakes(config: Config, name: str, teacher: TeacherSettings, dataset: str) -> list[str]:
    """A teacher that learns from classes needs a dataset that has them."""
    if not teacher.learns_from_labels() or not getattr(config.datasets.get(dataset), "unlabelled", False):
        return []
    return [
        f"teachers.{name}.training.dataset: {dataset!r} is unlabelled, and this teacher (kind {teacher.kind!r}) learns "
        "from labels; name a labelled one, or take kind 'view_autoencoder' with sampler uniform"
    ]


def _part_mistakes(config: Config, name: str, teacher: TeacherSettings, rig: str) -> list[str]:
    """A teacher that learns from parts needs a rig that draws maps of them."""
    if not teacher.learns_from_parts() or rig not in config.rigs or _draws_parts(config.rigs[rig]):
        return []
    fitting = [other for other, block in config.rigs.items() if _draws_parts(block)]
    return [
        f"teachers.{name}.training.rig: {rig!r} draws no maps of parts, and this teacher (kind {teacher.kind!r}) "
        f"learns from them; say part_maps: true in the rig, or name another ({', '.join(fitting) or 'there is none'})"
    ]


def _name_mistakes(config: Config, key: str, name: str, rig: str | None) -> list[str]:
    """What its pictures show, where that is not meshes, is one of the words of a name; no name says so wrongly."""
    if rig is not None and rig not in config.rigs:
        return []  # told as a missing block
    own = config.rigs[rig].image_source() if rig is not None else None
    words = re.split("[_-]", name)
    if own is not None and own not in words:
        return [f"{key}: its pictures (rig {rig!r}) are {own}, and its name must have that word, as {name}_{own} has"]
    others = {block.image_source() for block in config.rigs.values()} - {own, None}
    found = sorted(word for word in set(words) if word in others)
    shown = "it has no pictures" if rig is None else f"its pictures (rig {rig!r}) are {own or 'of meshes'}"
    return [f"{key}: the word {word!r} in its name says what pictures show, and {shown}; rename it" for word in found]


def _render_mistakes(config: Config, key: str, dataset: str, rig: str, *, distils: bool = False) -> list[str]:
    """Every rig that draws points serves every dataset, the others need meshes; students need clouds of one length."""
    block, drawn_by = config.datasets.get(dataset), config.rigs.get(rig)
    if block is None or drawn_by is None:
        return []  # told as a missing block
    if drawn_by.reads_frames != block.has_views:
        return [_frame_mistake(config, key, dataset, rig)]
    if drawn_by.draws == "meshes" and not block.has_meshes:
        fitting = [name for name, other in config.rigs.items() if other.draws == "points" and not other.reads_frames]
        return [
            f"{key}: {dataset!r} (kind {block.kind!r}) comes as points, and rig {rig!r} draws meshes; name a rig that "
            f"draws points ({', '.join(fitting) or 'there is none'}), or a dataset with meshes"
        ]
    if _draws_parts(drawn_by) and not block.has_parts:
        return [
            f"{key}: {dataset!r} (kind {block.kind!r}) has no named parts, and rig {rig!r} draws maps of them; name a "
            "rig without part_maps, or a dataset with named parts"
        ]
    if distils and getattr(block, "subsample", None) == "all":
        return [
            f"{key}: {dataset!r} has clouds of any length (subsample: all); a student learns from equally long ones"
        ]
    return []


def _frame_mistake(config: Config, key: str, dataset: str, rig: str) -> str:
    """Pictures that come with clouds go with a rig that reads them, and that rig with such clouds alone."""
    kind = config.datasets[dataset].kind
    if config.rigs[rig].reads_frames:
        fitting = [name for name, block in config.datasets.items() if block.has_views]
        told = (
            f"reads pictures that come with clouds, and {dataset!r} (kind {kind!r}) has none; name a dataset with some"
        )
    else:
        fitting = [name for name, block in config.rigs.items() if block.reads_frames]
        told = f"draws pictures, and {dataset!r} (kind {kind!r}) comes with its own; name a rig of kind frames"
    return f"{key}: rig {rig!r} {told} ({', '.join(fitting) or 'there is none'})"


def _draws_parts(rig: RigSettings) -> bool:
    return isinstance(rig, CameraRigSettings) and rig.part_maps


def _points_mistakes(config: Config, name: str, dataset: DatasetSettings) -> list[str]:
    """A protocol that is not what the settings do, and keys that need meshes or single shapes."""
    found, required = [], dataset.required_protocol()
    if required is not None and dataset.protocol != required and not dataset.protocol.startswith(f"{required}/"):
        found.append(
            f"datasets.{name}.protocol: {dataset.protocol!r} is not allowed: with this block's settings it is "
            f"{required!r}, or begins with {required + '/'!r}"
        )
    if not dataset.has_meshes and dataset.scan != Scan():
        found.append(f"datasets.{name}.scan: kind {dataset.kind!r} comes as points; a scan needs meshes, leave it out")
    for other in dataset.exclude_duplicates_of:
        scenes = [each for each in (other, name) if getattr(config.datasets.get(each), "has_scenes", False)]
        if scenes:
            found.append(
                f"datasets.{name}.exclude_duplicates_of: {scenes[0]!r} has scenes; only single shapes are compared"
            )
    named = getattr(dataset, "meshes_of", None)
    if named is not None and named in config.datasets and not config.datasets[named].has_meshes:
        found.append(f"datasets.{name}.meshes_of: {named!r} comes as points itself; name a dataset with meshes")
    if named is not None and getattr(dataset, "has_scenes", False):
        found.append(f"datasets.{name}.meshes_of: kind {dataset.kind!r} has scenes, not shapes; leave it out")
    return found


def _archive_mistakes(config: Config, name: str, dataset: DatasetSettings) -> list[str]:
    folder, found = Path(str(dataset.folder)), []
    if dataset.lists_its_folder:
        found.append(
            f"datasets.{name}.archive: kind {dataset.kind!r} lists the files of its folder at the very start; "
            f"unpack {dataset.archive!r} into the folder yourself and leave `archive` out"
        )
    if folder.is_absolute() or ".." in folder.parts:
        found.append(
            f"datasets.{name}.folder: {dataset.folder!r} is not allowed: an archive is unpacked below paths.data"
        )
    for other, block in config.datasets.items():
        same = block.folder == dataset.folder and block.archive is not None
        if same and other < name and (block.archive, block.archive_sha256) != (dataset.archive, dataset.archive_sha256):
            found.append(
                f"datasets.{name}.folder: another archive, that of {other!r}, is unpacked into the same folder"
            )
    return found


def _suite_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    task_names = suite.task_names()
    if not all(run in config.runs for run in suite.runs) or not all(task in config.tasks for task in task_names):
        return []  # told as missing blocks
    listed: dict[str, tuple[Any, ...]] = {"runs": suite.runs, "tasks": task_names, "seeds": suite.seeds}
    found = [
        f"suites.{name}.{key}: {value!r} stands there twice"
        for key, values in listed.items()
        for value in sorted({value for value in values if values.count(value) > 1})
    ]
    for mistakes in (
        missing_starts,
        idle_mistakes,
        matching_mistakes,
        projection_mistakes,
        frozen_mistakes,
        cloud_mistakes,
        protocol_mistakes,
        asked_mistakes,
    ):
        found += mistakes(config, name, suite)
    tasks = [config.tasks[task] for task in task_names]
    rows = [(task.kind, task.dataset) for task in (config.tasks[task] for task in dict.fromkeys(task_names))]
    for row in sorted({row for row in rows if rows.count(row) > 1}):
        found.append(f"suites.{name}.tasks: two tasks of kind {row[0]!r} on dataset {row[1]!r} would share one row")
    for run_name in suite.runs:
        run = config.runs[run_name]
        met = [task for task_name, task in zip(task_names, tasks, strict=True) if run_name in suite.runs_of(task_name)]
        for dataset in dict.fromkeys(task.dataset for task in met if task.joint or run.form == "transfer"):
            found += order_mistakes(config, f"suites.{name}.runs: {run_name!r} and its task's dataset", run, dataset)
        if run.form == "joint" and not any(task.joint for task in tasks):
            found.append(f"suites.{name}.runs: {run_name!r} is joint, and no task of the suite trains jointly")
        if run.form == "joint":
            for dataset in dict.fromkeys(task.dataset for task in tasks if task.joint):
                told = f"suites.{name}.runs: {run_name!r} is joint, its task's"
                found += _render_mistakes(config, told, dataset, str(run.rig), distils=True)
        if run.form == "transfer":
            found += _overlaps(config, f"suites.{name}.runs: {run_name!r}", run, tasks)
    return found


def _overlaps(config: Config, key: str, run: RunSettings, tasks: list[TaskSettings]) -> list[str]:
    """Transfer rows: teacher training, distillation and downstream sets are different blocks (design: disjointness)."""
    teacher = config.teachers.get(run.image_model) if run.image_model else None
    taught = teacher.training.dataset if teacher is not None and teacher.training is not None else None
    used = [dataset for dataset in (taught, run.dataset) if dataset is not None]
    shared = sorted({dataset for dataset in used if dataset in {task.dataset for task in tasks}})
    if taught is not None and taught == run.dataset:
        shared.append(taught)
    found = [f"{key} is a transfer run, and dataset {dataset!r} stands in two of its phases" for dataset in shared]
    return found + _shared_rooms(config, key, used, sorted({task.dataset for task in tasks}))


def _shared_rooms(config: Config, key: str, used: list[str], asked: list[str]) -> list[str]:
    """Made rooms of one series and seed are the same rooms, though the ids of their frames and scans differ."""
    rooms = {
        name: (block.series, block.seed) for name, block in config.datasets.items() if isinstance(block, RoomSettings)
    }
    pairs = dict.fromkeys([*itertools.combinations(used, 2), *itertools.product(used, asked)])
    return [
        f"{key} is a transfer run, and its datasets {first!r} and {second!r} are of the same rooms; "
        "give one of them another series"
        for first, second in pairs
        if first != second and first in rooms and rooms[first] == rooms.get(second)
    ]
