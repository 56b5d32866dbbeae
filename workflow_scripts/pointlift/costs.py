"""Where the cost of every job behind a suite is written, and which files it made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pointlift.contracts.duplicates import compared_datasets
from pointlift.graph import Graph
from pointlift.job_environment import gpus_per_job
from pointlift.seed_jobs import SeedJobs

Entry = dict[str, Any]


def cost_entries(graph: Graph) -> list[Entry]:
    """One entry per job: Snakemake's benchmark file, phase, run ("" for shared phases), files made, GPUs, weights.

    Of a run's jobs also the task and the dataset that they are for, and what of a teacher's cache they read.
    """
    entries = [*_shape_jobs(graph), *_view_jobs(graph), *_teacher_jobs(graph), *_run_jobs(graph)]
    return [entry for number, entry in enumerate(entries) if entry not in entries[:number]]


def speed_entries(graph: Graph) -> list[Entry]:
    """Where the time and the steps of every finetuning are written that looks for a target accuracy.

    None where seeds share jobs: the time is then that of all of them.
    """
    entries: list[Entry] = []
    if graph.config.chosen.seeds_share_jobs:
        return entries
    for run, task, dataset in graph.evaluations:
        if task == "speed_to_target":
            for seed in graph.config.chosen.seeds:
                words = [run, task, dataset, graph.protocol_in_path(run, task, dataset), f"seed{seed}"]
                paths = {
                    "benchmark": f"{graph.results}/benchmarks/finetune_student/{'.'.join(words)}.tsv",
                    "history": f"{graph.finetuned_folder(run, task, dataset, seed)}/history.jsonl",
                }
                about = {"run": run, "dataset": dataset, "protocol": graph.protocol(run, task, dataset), "seed": seed}
                entries.append({**about, **paths})
    return entries


def _entry(
    graph: Graph, phase: str, words: list[str], files: list[str], *, torch: bool = False, **of_a_run: Any
) -> Entry:
    """``of_a_run``: run, task, dataset and reads, where it is a job of one."""
    weights = next((file for file in files if file.endswith("weights.safetensors")), None)
    path = f"{graph.results}/benchmarks/{phase}/{'.'.join(words)}.tsv"
    gpus = float(gpus_per_job(graph.config)) if torch else 0.0
    return {"path": path, "phase": phase, "run": "", "files": files, "weights": weights, "gpus": gpus, **of_a_run}


def _shape_jobs(graph: Graph) -> Iterator[Entry]:
    for dataset in graph.datasets_used:
        yield _entry(graph, "build_manifest", [dataset], [graph.manifest(dataset)])
        phases = {"prepare_meshes": "meshes", "sample_points": "points"}
        for phase, stage in (phases if graph.has_meshes(dataset) else {"read_points": "points"}).items():
            for shard, file in zip(graph.shards(dataset), graph.shard_files(stage, dataset), strict=True):
                yield _entry(graph, phase, [dataset, shard], [file])
    for file in graph.all_duplicates():
        yield _entry(graph, "find_duplicates", list(compared_datasets(file)), [file])


def _view_jobs(graph: Graph) -> Iterator[Entry]:
    for dataset, rig in graph.views_used:
        phase = "read_views" if graph.config.rigs[rig].reads_frames else "render_views"
        for shard, file in zip(graph.shards(dataset), graph.shard_files("views", dataset, rig), strict=True):
            yield _entry(graph, phase, [dataset, rig, shard], [file])


def _teacher_jobs(graph: Graph) -> Iterator[Entry]:
    for teacher in graph.trained_teachers:
        yield _entry(graph, "train_teacher", [teacher], graph.teacher_weights(teacher), torch=True)
    for file in sorted({file for run in graph.config.chosen.runs for file in graph.feature_files(run)}):
        stage, dataset, rig, teacher, shard = file.removesuffix(".safetensors").split("/")[-5:]
        yield _entry(graph, f"extract_{stage}", [dataset, rig, teacher, shard], [file], torch=True)
    for file in graph.visibility_files():
        dataset, rig, shard = file.removesuffix(".safetensors").split("/")[-3:]
        if not graph.config.rigs[rig].reads_frames:  # read_views makes both
            yield _entry(graph, "compute_visibility", [dataset, rig, shard], [file])
    for file in sorted({file for row in graph.evaluations for file in graph.prompts(*row)}):
        dataset, teacher = file.removesuffix(".safetensors").split("/")[-2:]
        yield _entry(graph, "encode_class_prompts", [dataset, teacher], [file], torch=True)


def _run_jobs(graph: Graph) -> Iterator[Entry]:
    for run in graph.config.chosen.runs:
        yield from _seed_jobs(graph, "train_student", [run], _cache(graph, run), run=run)
    for run, task, dataset in graph.evaluations:
        protocol = graph.protocol_in_path(run, task, dataset)
        about: Entry = {"run": run, "task": task, "dataset": dataset}
        if graph.finetunes(task, dataset):
            words = [run, task, dataset, protocol]
            phase = "replay_student" if graph.config.runs[run].replays else "finetune_student"
            yield from _seed_jobs(graph, phase, words, _cache(graph, run, dataset), **about)
        else:
            answers = graph.answers(run, task, dataset)
            yield _entry(graph, "embed_shapes", [run, dataset], answers, torch=True, run=run, dataset=dataset)
        metrics = graph.metrics_files(run, task, dataset)
        yield _entry(graph, "evaluate_task", [run, task, dataset, protocol], metrics, **about)


def _seed_jobs(graph: Graph, phase: str, words: list[str], reads: list[str], **about: Any) -> Iterator[Entry]:
    """The jobs that train all seeds. They read the same files, which stand beside the first."""
    for number, (word, seeds) in enumerate(SeedJobs(graph.config.chosen).groups()):
        files = [file for seed in seeds for file in _trained(graph, seed, **about)]
        name = [*words[:-1], f"{words[-1]}{word}"]
        yield _entry(graph, phase, name, files, torch=True, **about, reads=reads if number == 0 else [])


def _trained(graph: Graph, seed: int, run: str, task: str = "", dataset: str = "") -> list[str]:
    """What the training of one seed leaves: a student, or one that was finetuned and its answers."""
    if not task:
        return [graph.student_weights(run, seed)]
    folder = graph.finetuned_folder(run, task, dataset, seed)
    return [f"{folder}/{name}.safetensors" for name in ("predictions", "weights")]


def _cache(graph: Graph, run: str, dataset: str | None = None) -> list[str]:
    """What a run reads of what teachers made, for its distillation, or jointly with the task on a dataset."""
    stages = ("features", "tokens", "visibility")
    if dataset is None:
        return [file for stage in stages for file in graph.distillation_files(run, stage)]
    return [file for stage in stages for file in graph.joint_files(run, dataset, stage)]
