"""Synthetic metrics, written and read through the contract like real ones."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from pointlift.contracts.images import pack_images
from pointlift.contracts.manifest import COLUMNS, write_manifest
from pointlift.contracts.metrics import Metrics, write_metrics
from pointlift.contracts.stages import write_stage
from pointlift.reporting.leaderboard import leaderboard_rows
from pointlift.reporting.page import render_page
from pointlift.reporting.slices import PageSettings
from pointlift.reporting.summary import summary_rows
from pointlift.reporting.task_curves import task_curves

TEST_IDS = tuple(f"chair-down-{index:05d}" for index in range(60))
ABOUT = {"task": "classification", "dataset": "down", "protocol": "down/12-8/transfer"}


def make_metrics(run: str, arm: str, seed: int, items: Iterable[float], /, **changes: object) -> Metrics:
    """Metrics of one run and seed whose accuracy is the mean of the outcomes."""
    found = tuple(float(outcome) for outcome in items)
    values = {
        "run": run,
        "arm": arm,
        "method": "supervised" if arm.startswith("scratch") else "pointmcd",
        "student": "pointnet",
        "teacher": "" if arm.startswith("scratch") else "tiny_clip",
        "pretrain_dataset": "",
        **ABOUT,
        "seed": seed,
        "settings_hash": "0123456789abcdef",
        "n_train": 100,
        "n_test": len(found),
        "values": ({"metric": "accuracy", "value": float(np.mean(found)), "selection": "last"},),
        "test_ids": TEST_IDS[: len(found)],
        "outcomes": {"accuracy": found},
    }
    return Metrics.model_validate({**values, **changes})


def draw_outcomes(rate: float, seed: int, count: int = 60) -> list[float]:
    """Right or wrong per item: harder items are harder for every run, as on a real test set."""
    difficulty = np.random.default_rng(0).random(count)
    noise = np.random.default_rng(seed).normal(0, 0.15, count)
    return [float(value) for value in (difficulty + noise) < rate]


def suite_metrics(seeds: Iterable[int], rates: dict[str, float] | None = None) -> list[Metrics]:
    """Four runs under a transfer protocol; the run's name is its arm, but for mcd."""
    rates = rates or {"mcd": 0.8, "scratch": 0.6, "shuffled": 0.62, "random_teacher": 0.59}
    return [
        make_metrics(arm, arm, seed, draw_outcomes(rate, 100 * index + seed))
        for seed in seeds
        for index, (arm, rate) in enumerate(rates.items())
    ]


def write_all(folder: Path, metrics: Iterable[Metrics]) -> list[Path]:
    """Write every item where the workflow puts it."""
    paths = []
    for item in metrics:
        paths.append(folder / item.run / item.task / item.dataset / item.protocol / f"seed{item.seed}.json")
        write_metrics(paths[-1], item)
    return paths


def manifest_table(ids: Iterable[str], split: str = "train", salt: str = "") -> pd.DataFrame:
    """A manifest of these ids; the class is the id's first word, the hash a function of id and salt."""
    rows = [(i, i.split("-")[0], 0, split, "0000", f"{i}.off", f"{salt}{i}") for i in ids]
    return pd.DataFrame(rows, columns=COLUMNS)


def write_dataset(folder: Path, dataset: str, ids: Iterable[str], split: str = "train") -> Path:
    """Write a manifest."""
    path = folder / "manifest" / f"{dataset}.csv"
    write_manifest(path, manifest_table(ids, split, salt=dataset))
    return path


def write_views(folder: Path, dataset: str, ids: tuple[str, ...], unusable: dict[str, str], size: int = 24) -> Path:
    """Write a shard of two coloured views per shape."""
    rng = np.random.default_rng(7)
    images = rng.integers(0, 255, (2 * len(ids), 1, 1, 3)).repeat(size, 1).repeat(size, 2).astype(np.uint8)
    image_bytes, offsets = pack_images(images)
    arrays = {
        "image_bytes": image_bytes,
        "image_offsets": offsets,
        "foreground": np.full((len(ids), 2), 0.5, np.float32),
        "world_to_camera": np.tile(np.eye(4, dtype=np.float32), (2, 1, 1)),
        "intrinsics": np.eye(3, dtype=np.float32),
        "valid": np.array([shape_id not in unusable for shape_id in ids]),
    }
    path = folder / "views" / dataset / "ring6" / "0000.safetensors"
    write_stage(path, "views", ids, arrays, quarantine=unusable)
    return path


def render_with(metrics: list[Metrics], settings: PageSettings | None = None) -> str:
    """The page of these metrics alone."""
    return render_page(
        settings or PageSettings(suite="mini", seeds=(0, 1)),
        summary=summary_rows("mini", metrics),
        leaderboard=leaderboard_rows("mini", metrics),
        cost=[],
        quarantine=[],
        trainings=[],
        sheets=[],
        provenance={},
        curves=task_curves(metrics),
    )
