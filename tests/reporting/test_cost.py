from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from pointlift.reporting.cost import cost_rows, job_costs
from pointlift.reporting.slices import CostEntry

HEADER = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def _benchmark(path: Path, *lines: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(line + "\n" for line in lines), encoding="utf-8")
    return str(path)


def test_jobs_of_a_run_and_phase_are_added_up(tmp_path: Path) -> None:
    first = _benchmark(tmp_path / "a.tsv", "3600.0\t1:00:00\t100.5\t0\t0\t0\t0\t0\t90\t1800.0")
    second = _benchmark(tmp_path / "b.tsv", "1800.0\t0:30:00\t300.0\t0\t0\t0\t0\t0\t90\t900.0")
    entries = [CostEntry(path=path, phase="train_student", run="mcd", gpus=2.0) for path in (first, second)]
    assert cost_rows(job_costs(entries, [])) == [
        {
            "run": "mcd",
            "phase": "train_student",
            "task": "",
            "dataset": "",
            "jobs": "2",
            "measured": "2",
            "wall_s": "5400",
            "cpu_hours": "0.75",
            "gpu_hours": "3",
            "peak_rss_mb": "300",
            "bytes": "",
            "cache_bytes": "0",
            "parameters": "",
        }
    ]


def test_what_was_not_measured_stays_empty(tmp_path: Path) -> None:
    short = _benchmark(tmp_path / "short.tsv", "0.4\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA")
    dashes = _benchmark(tmp_path / "dashes.tsv", "-\t-\t-\t-\t-\t-\t-\t-\t-\t-")
    missing = str(tmp_path / "missing.tsv")
    for path, wall in ((short, "0.4"), (dashes, ""), (missing, "")):
        (row,) = cost_rows(job_costs([CostEntry(path=path, phase="p")], []))
        assert (row["wall_s"], row["cpu_hours"], row["peak_rss_mb"]) == (wall, "", "")


def test_repetitions_are_averaged(tmp_path: Path) -> None:
    lines = (f"{seconds}\t0\t{rss}\t0\t0\t0\t0\t0\t0\t36" for seconds, rss in ((10, 50), (20, 70)))
    (row,) = cost_rows(job_costs([], [Path(_benchmark(tmp_path / "render_views" / "x.tsv", *lines))]))
    assert (row["phase"], row["run"], row["wall_s"], row["peak_rss_mb"]) == ("render_views", "", "15", "60")


def test_a_file_named_twice_counts_once(tmp_path: Path) -> None:
    path = _benchmark(tmp_path / "a.tsv", "10\t0\t1\t0\t0\t0\t0\t0\t0\t1")
    (row,) = cost_rows(job_costs([CostEntry(path=path, phase="p", run="r")], [Path(path)]))
    assert (row["jobs"], row["wall_s"]) == ("1", "10")


def test_bytes_and_parameters_come_from_the_artifacts(tmp_path: Path) -> None:
    weights = tmp_path / "student.safetensors"
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float32)}, weights)
    (tmp_path / "note").write_bytes(b"12345")
    files = (str(weights), str(tmp_path / "note"), str(tmp_path / "gone"))
    entry = CostEntry(path="none", phase="p", files=files, weights=str(weights))
    (row,) = cost_rows(job_costs([entry], []))
    assert row["parameters"] == "17"
    assert row["bytes"] == str(weights.stat().st_size + 5)


def test_a_cache_that_is_not_whole_is_not_taken_for_a_small_one(tmp_path: Path) -> None:
    (tmp_path / "here").write_bytes(b"12345")
    here, gone = str(tmp_path / "here"), str(tmp_path / "gone")
    for reads, told in (([here], "5"), ([here, gone], ""), ([gone], ""), ([], "0")):
        entries = [
            CostEntry(path="none", phase="p", run="r", reads=tuple(reads)),
            CostEntry(path="no", phase="p", run="r"),
        ]
        (row,) = cost_rows(job_costs(entries, []))
        assert (row["jobs"], row["cache_bytes"]) == ("2", told)


def test_processor_time_of_some_seeds_is_not_that_of_all(tmp_path: Path) -> None:
    long = _benchmark(tmp_path / "long.tsv", "10\t0\t1\t0\t0\t0\t0\t0\t0\t3600")
    short = _benchmark(tmp_path / "short.tsv", "0.4\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA")
    (row,) = cost_rows(job_costs([CostEntry(path=path, phase="p", run="r") for path in (long, short)], []))
    assert (row["wall_s"], row["cpu_hours"]) == ("10.4", "")
    (row,) = cost_rows(job_costs([CostEntry(path=path, phase="p", run="r") for path in (long, "none")], []))
    assert (row["wall_s"], row["measured"], row["cpu_hours"]) == ("10", "1", "1")
