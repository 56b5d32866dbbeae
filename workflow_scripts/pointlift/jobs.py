"""The exact settings and code of every job: what decides whether Snakemake makes it again.

A job's settings are one canonical JSON string of exactly the config slice that can change its result; the rest of a
block is set back to its default, so that editing it reruns nothing. Methods are named after their rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pointlift.audit import audit_settings
from pointlift.code_hash import PACKAGE, code_hash
from pointlift.configuration import FAMILY_ROOMS
from pointlift.contracts.blocks import RunSettings
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.episodes import plan_of
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.hashing import canonical_json, digest, file_sha256
from pointlift.contracts.image_weights import IMAGE_ARMS
from pointlift.contracts.raw_data import licence_name
from pointlift.contracts.released import ReleasedFile
from pointlift.contracts.settings import Settings
from pointlift.costs import cost_entries, speed_entries
from pointlift.graph import Graph
from pointlift.model_cards import cards_settings
from pointlift.origins import origins
from pointlift.raw_data import gate_of


class Jobs:
    """Settings (canonical JSON) and code hashes of the jobs of ``graph``."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.config = graph.config

    def download_data(self, folder: str) -> str:
        """download_data: which bytes are wanted, not where they come from."""
        blocks = [b for b in self.config.datasets.values() if b.folder == folder and (b.archive or b.files)]
        files = [file.model_dump(mode="json", exclude={"urls"}) for file in blocks[0].files]
        return canonical_json({"files": files} if files else {"archive_sha256": blocks[0].archive_sha256})

    def check_data(self, dataset: str) -> str:
        """check_data: whom to ask for what."""
        licence = gate_of(self.config.datasets[dataset])
        return canonical_json({"dataset": dataset, "licence": licence.model_dump(mode="json") if licence else None})

    def data_status(self) -> str:
        """data_status: every dataset block, as it stands."""
        return canonical_json({"blocks": {n: b.model_dump(mode="json") for n, b in self.config.datasets.items()}})

    def prepare_meshes(self, dataset: str, shard: str) -> str:
        """prepare_meshes: the dataset without how points are taken, this shard's own ids, their files' sizes."""
        return self._ingest(dataset, shard, without=_POINT_KEYS)

    def read_points(self, dataset: str, shard: str) -> str:
        """read_points: the dataset with how its points are taken, this shard's own ids, their files' sizes."""
        return self._ingest(dataset, shard, without=())

    def read_views(self, dataset: str, rig: str, shard: str) -> str:
        """read_views: the rig, the dataset without how its points are taken, this shard's ids, their files' sizes."""
        told = json.loads(self._ingest(dataset, shard, without=(*_POINT_KEYS, "subsample")))
        return canonical_json({**told, "rig": _dump(self.config.rigs[rig])})

    def _ingest(self, dataset: str, shard: str, without: tuple[str, ...]) -> str:
        listing = self.config.datasets[dataset].listing
        block = _dump(self.config.datasets[dataset], without=(*without, *_MANIFEST_KEYS, *listing))
        ids = self.graph.shards(dataset)[shard]
        settings = {"block": block, "ids": list(ids)}
        sizes = self.graph.file_sizes(dataset, ids)
        return canonical_json({**settings, "files": digest(sizes)} if any(sizes) else settings)

    def build_manifest(self, dataset: str) -> str:
        """build_manifest: what of the block its text and its limit depend on."""
        unused = (*_POINT_KEYS, "exclude_duplicates_of", "protocol", "shard_size", "meshes_of")
        block = _dump(self.config.datasets[dataset], without=unused)
        return canonical_json({"block": block, "dataset": dataset})

    def sample_points(self, dataset: str) -> str:
        """sample_points: number, scan, order and seed."""
        block = self.config.datasets[dataset].model_dump(mode="json")
        return canonical_json({key: block[key] for key in (*_POINT_KEYS, "seed")})

    def render_views(self, rig: str) -> str:
        """render_views: the rig without its visibility."""
        return canonical_json({"block": _dump(self.config.rigs[rig], without=("visibility",))})

    def compute_visibility(self, rig: str) -> str:
        """compute_visibility: the rig without its part maps."""
        return canonical_json({"block": _dump(self.config.rigs[rig], without=("part_maps",))})

    def train_teacher(self, teacher: str) -> str:
        """train_teacher: the whole block."""
        return canonical_json({"block": _dump(self.config.teachers[teacher]), "class_names": None, "seed": 0})

    def extract_features(self, teacher: str) -> str:
        """extract_features: the whole block."""
        return canonical_json({"block": _dump(self.config.teachers[teacher])})

    def extract_tokens(self, teacher: str) -> str:
        """extract_tokens: the whole block, as for the same teacher's embeddings."""
        return self.extract_features(teacher)

    def train_student(self, run: str) -> str:
        """train_student: the run with the blocks it names. Seeds are told beside it: each makes files of its own."""
        block = self.config.runs[run]
        distils = block.method is not None and block.form == "transfer"
        limit = self.config.datasets[block.dataset].max_quarantined if block.dataset is not None else 0.0
        return canonical_json(
            {
                "run": run,
                "init": block.init,
                "student": _dump(self.config.students[block.student]),
                "method": _dump(self.config.methods[str(block.method)]) if distils else None,
                "recipe": _dump(block.recipe) if block.recipe is not None else None,
                "arm": block.arm,
                "max_quarantined": limit,
                **self._source(block),
            }
        )

    def _source(self, run: RunSettings) -> dict[str, Any]:
        """How a run's student is filled with 2D weights, and the teacher block that has them; or with released ones."""
        if run.released is not None:
            told = _dump(run.released)
            return {"released": {key: told[key] for key in ReleasedFile.model_fields}}
        if run.inflation is None:
            return {}
        source = self.config.teachers[run.inflation.source]
        return {"inflation": _dump(run.inflation), "source": _dump(source, without=("batch_size",))}

    def encode_class_prompts(self, teacher: str, dataset: str) -> str:
        """encode_class_prompts: the teacher, and the prompts of the task that reads them.

        Raises ``ConfigError`` where no task of the suite reads any of this dataset.
        """
        tasks = [self.config.tasks[name] for name in self.config.chosen.task_names()]
        reading = [task for task in tasks if task.reads_prompts and task.dataset == dataset]
        if not reading:
            raise ConfigError(f"suite {self.config.suite!r} has no task that reads prompts of dataset {dataset!r}")
        prompts = _dump(reading[0])["prompts"]
        return canonical_json({"block": _dump(self.config.teachers[teacher]), "prompts": prompts})

    def embed_shapes(self, run: str) -> str:
        """embed_shapes: the student."""
        return canonical_json({"student": _dump(self.config.students[self.config.runs[run].student])})

    def finetune_student(self, run: str, task: str, dataset: str) -> str:
        """finetune_student: student, task and, for a joint run, its method and arm."""
        block = self.config.runs[run]
        joint = block.form == "joint"
        regime = {"regime": block.regime, "recalibrate": block.recalibrate} if block.arm in IMAGE_ARMS else {}
        return canonical_json(
            {
                "run": run,
                "student": _dump(self.config.students[block.student]),
                "task": _dump(self.graph.trained_task(run, task, dataset)),
                "method": _dump(self.config.methods[str(block.method)]) if joint else None,
                "arm": block.arm,
                "form": block.form,
                "max_quarantined": self.config.datasets[dataset].max_quarantined,
                **regime,
            }
        )

    def replay_student(self, run: str) -> str:
        """replay_student: the student and the released file."""
        block = self.config.runs[run]
        return canonical_json(
            {"run": run, "student": _dump(self.config.students[block.student]), **self._source(block)}
        )

    def draw_episodes(self, dataset: str, episodes: str) -> str:
        """draw_episodes: how many of which size, as the file's name says, and whose ids they are."""
        plan = plan_of(episodes)
        if plan is None:
            raise ConfigError(f"episodes {episodes!r}: a name is e.g. 5w10s (5 ways of 10 shots) or 1-5-10shot")
        base = self.config.datasets[dataset].id_base or dataset
        return canonical_json({"plan": plan.model_dump(mode="json"), "base": base})

    def evaluate_task(self, run: str, task: str, dataset: str) -> str:
        """evaluate_task: the task, the row's words, and one hash of all that made the number."""
        block = self.config.runs[run]
        row = {
            "method": self._method(block),
            "arm": block.arm,
            "student": block.student,
            "teacher": block.image_model or "",
            "pretrain_dataset": block.dataset or "",
            "dataset": dataset,
        }
        return canonical_json(
            {
                "run": run,
                "row": row,
                "protocol": self.graph.protocol_of(run, task, dataset).model_dump(mode="json"),
                "task": _dump(self.graph.task_of(task, dataset)),
                "seeds": list(self.config.chosen.seeds),
                "settings_hash": digest(self._made_of(block, task, dataset)),
            }
        )

    def _method(self, run: RunSettings) -> str:
        """The word in the column method: a scratch run is supervised, and frozen_random a control of image2point."""
        if run.released is not None:
            return "released"
        if run.method is not None:
            return self.config.methods[run.method].kind
        return "image2point" if run.arm in IMAGE_ARMS else "supervised"

    def _made_of(self, run: RunSettings, task: str, dataset: str) -> dict[str, Any]:
        """Every block a number rests on."""
        config = self.config
        block = self.graph.task_of(task, dataset)
        used: dict[str, Any] = {"run": _dump(run), "task": _dump(block)}
        if run.init is not None:
            used["init"] = self._made_of(config.runs[run.init], task, dataset)
        if block.files_used():
            used["task_files"] = {name: file_sha256(PACKAGE / name) for name in block.files_used()}
        teacher = config.teachers.get(run.image_model) if run.image_model else None
        taught = teacher.training if teacher is not None else None
        left_out = config.datasets[run.dataset].exclude_duplicates_of if run.dataset else ()
        named: dict[str, list[str | None]] = {
            "students": [run.student],
            "methods": [run.method],
            "teachers": [run.image_model],
            "rigs": [run.rig, taught.rig if taught else None],
            "datasets": [run.dataset, dataset, taught.dataset if taught else None, *left_out],
        }
        for family, names in named.items():
            blocks = getattr(config, family)
            used[family] = {name: _dump(blocks[name], without=("meshes_of",)) for name in names if name is not None}
        fetched = {n: [(f.name, f.sha256) for f in config.datasets[n].files] for n in used["datasets"]}
        return {**used, "files": fetched} if any(fetched.values()) else used

    def find_duplicates(self, dataset: str, other: str) -> str:
        """find_duplicates: whether each set has meshes or points. Raises ``ConfigError`` for scenes."""
        for name in (dataset, other):
            if getattr(self.config.datasets[name], "has_scenes", False):
                raise ConfigError(f"datasets.{name}: it has scenes; only single shapes are compared for duplicates")
        kinds = ["meshes" if self.graph.has_meshes(name) else "points" for name in (dataset, other)]
        return canonical_json({"shapes": kinds[0], "others": kinds[1], "same": dataset == other})

    def audit_duplicates(self) -> str:
        """audit_duplicates: the sets that are compared, and what distillation leaves out of them."""
        return canonical_json(audit_settings(self.graph))

    def collect_metrics(self) -> str:
        """The suite and its seeds, where each job's cost was written, and what must be disjoint."""
        suite, seeds = self.config.suite, list(self.config.chosen.seeds)
        costs, disjoint = cost_entries(self.graph), self.disjoint_sets()
        told = {"suite": suite, "seeds": seeds, "cost": costs, "disjoint": disjoint}
        matches = {
            run: self.config.runs[run].matches for run in self.config.chosen.runs if self.config.runs[run].longer
        }
        return canonical_json({**told, "matches": matches} if matches else told)

    def draw_report(self) -> str:
        """The suite, its seeds, one digest of every block it rests on, what its runs' weights saw, and where steps to a
        target were timed."""
        config = self.config
        chosen = {name: _dump(config.runs[name]) for name in config.chosen.runs}
        used = {"runs": chosen, "rows": [self._made_of(config.runs[r], t, d) for r, t, d in self.graph.evaluations]}
        provenance = {"config": digest(used)}
        speeds = speed_entries(self.graph)
        told = {"suite": config.suite, "seeds": list(config.chosen.seeds), "provenance": provenance}
        told["origins"] = origins(self.graph)
        return canonical_json({**told, "speeds": speeds} if speeds else told)

    def write_model_cards(self) -> str:
        """write_model_cards: the suite's runs with the blocks they rest on, and whose terms those stand under."""
        return canonical_json(cards_settings(self.graph))

    def disjoint_sets(self) -> list[dict[str, Any]]:
        """What must not share a shape, per run and downstream dataset; see ``reporting.slices.Disjoint``."""
        rows = []
        for run_name, task, dataset in self.graph.evaluations:
            run = self.config.runs[run_name]
            teacher = self.config.teachers[run.image_model] if run.image_model else None
            taught = teacher.training.dataset if teacher and teacher.training else None
            others = [name for name in (run.dataset, taught) if name not in (None, dataset)]
            sets = [[dataset, ["train", "val"]], [dataset, ["test"]]]
            sets += [[name, ["train", "val", "test"]] for name in others]
            name = f"{run_name} on {self.graph.protocol(run_name, task, dataset)}"
            row: dict[str, Any] = {"row": name, "sets": sets, "distilled": run.dataset or ""}
            places = {one: place for one in (dataset, *others) if (place := self.config.datasets[one].place)}
            row |= {"places": places} if dataset in places and len(places) > 1 else {}
            if row not in rows:
                rows.append(row)
        return rows

    def code(self, rule: str, *members: tuple[str, str | None], files: Iterable[str] = ()) -> str:
        """Hash of the code a rule runs; ``members`` are (family, block name) chosen by config."""
        modules = [
            f"{FAMILY_ROOMS[family]}.{getattr(self.config, family)[name].kind}"
            for family, name in members
            if name is not None
        ]
        return code_hash(rule, modules, files)

    def run_code(self, rule: str, run: str) -> str:
        """Hash of the code of a rule that trains or uses a run's student."""
        block = self.config.runs[run]
        source = block.inflation.source if block.inflation is not None and rule == "train_student" else None
        return self.code(rule, ("students", block.student), ("methods", block.method), ("teachers", source))

    def task_code(self, rule: str, task: str, dataset: str, run: str | None = None) -> str:
        """Hash of the code of a rule that runs a task, with the run's student and method where it trains them."""
        name = next(n for n, block in self.config.tasks.items() if block == self.graph.task_of(task, dataset))
        block = self.config.runs[run] if run is not None else None
        members = [("students", block.student), ("methods", block.method)] if block is not None else []
        return self.code(rule, ("tasks", name), *members, files=self.config.tasks[name].files_used())

    @staticmethod
    def arguments(**paths: Iterable[str]) -> list[str]:
        """Command-line words ``--name path path ...`` for every name that has paths."""
        words: list[str] = []
        for name, values in paths.items():
            given = [str(value) for value in values]
            words += [f"--{name}", *given] if given else []
        return words


_POINT_KEYS = ("num_points", "scan", "order")
_MANIFEST_KEYS = ("shard_size", "max_quarantined", "exclude_duplicates_of", "protocol", "meshes_of")


def _dump(block: Settings, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """A block as JSON values, the keys in ``without`` set back to their defaults."""
    values = block.model_dump(mode="json")
    _leave_out_later(block, values)
    if isinstance(block, DatasetSettings):
        _leave_out_origin(block, values)
    for key in [name for name in without if name in values]:
        values[key] = type(block).model_fields[key].get_default(call_default_factory=True)
        if isinstance(values[key], Settings):
            values[key] = values[key].model_dump(mode="json")
    return values


def _leave_out_later(block: Settings, values: dict[str, Any]) -> None:
    """Keys that came later, at their defaults, also of the blocks within, such as a recipe."""
    for key in type(block).model_fields:
        value = getattr(block, key)
        if key in block.added_later and value == type(block).model_fields[key].get_default(call_default_factory=True):
            del values[key]
        elif isinstance(value, Settings):
            _leave_out_later(value, values[key])


def _leave_out_origin(block: DatasetSettings, values: dict[str, Any]) -> None:
    """Where raw files come from changes no result; what they are stands in the index that ``download_data`` writes."""
    del values["files"]
    values["licence"] = licence_name(block.licence)
    if type(block).model_fields["licence"].default is None:  # else (a folder's) it has no other, and goes on with it
        del values["licence"]
