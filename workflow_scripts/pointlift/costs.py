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
    """One entry per job: Snakemake's benchmark file, phase, run ("" for shared phases), files made, GPUs, weights."""
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
    graph: Graph, phase: str, words: list[str], files: list[str], *, run: str = "", torch: bool = False
) -> Entry:
    weights = next((file for file in files if file.endswith("weights.safetensors")), None)
    path = f"{graph.results}/benchmarks/{phase}/{'.'.join(words)}.tsv"
    gpus = float(gpus_per_job(graph.config)) if torch else 0.0
    return {"path": path, "phase": phase, "run": run, "files": files, "weights": weights, "gpus": gpus}


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
    jobs = SeedJobs(graph.config.chosen).groups()
    for run in graph.config.chosen.runs:
        for word, seeds in jobs:
            weights = [graph.student_weights(run, seed) for seed in seeds]
            yield _entry(graph, "train_student", [f"{run}{word}"], weights, run=run, torch=True)
    for run, task, dataset in graph.evaluations:
        protocol = graph.protocol_in_path(run, task, dataset)
        answers = graph.answers(run, task, dataset)
        if graph.finetunes(task, dataset):
            for word, seeds in jobs:
                words = [run, task, dataset, f"{protocol}{word}"]
                folders = [graph.finetuned_folder(run, task, dataset, seed) for seed in seeds]
                files = [f"{folder}/{name}.safetensors" for folder in folders for name in ("predictions", "weights")]
                yield _entry(graph, "finetune_student", words, files, run=run, torch=True)
        else:
            yield _entry(graph, "embed_shapes", [run, dataset], answers, run=run, torch=True)
        metrics = graph.metrics_files(run, task, dataset)
        yield _entry(graph, "evaluate_task", [run, task, dataset, protocol], metrics, run=run)
