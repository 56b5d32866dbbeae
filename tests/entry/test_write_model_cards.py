"""write_model_cards: one page per run, of the students as they are, the same bytes every time."""

import hashlib
import json
import re
import subprocess
import sys

import pytest

import labelled_clouds
from pointlift import rooms
from pointlift.contracts.settings import parse
from pointlift.operators.checkpoint import save_student
from reporting.fixture_metrics import draw_outcomes, make_metrics, write_all

SEEDS = (0, 1)
RUNS = ("mcd", "scratch")
BLOCKS = {
    "runs": {"mcd": {"student": "small", "method": "md"}, "scratch": {"student": "small"}},
    "students": {"small": labelled_clouds.STUDENT},
    "methods": {"md": {"kind": "pointmcd"}},
}
CARDS = [
    {"run": "mcd", "form": "transfer", "arm": "mcd", "student": "small", "method": "md", "dataset": "psb"},
    {"run": "scratch", "form": "transfer", "arm": "scratch", "student": "small"},
]
SETTINGS = {"suite": "mini", "seeds": list(SEEDS), "command": "make", "blocks": BLOCKS, "runs": CARDS}


@pytest.fixture
def weights(tmp_path):
    module = rooms.load("students", "pointnet")
    settings = parse(module.Settings, labelled_clouds.STUDENT, "student")
    paths = []
    for run in RUNS:
        for seed in SEEDS:
            paths.append(tmp_path / "students" / run / f"seed{seed}" / "weights.safetensors")
            save_student(paths[-1], module.build(settings), settings.model_dump(mode="json"))
    return paths


@pytest.fixture
def metrics(tmp_path):
    return write_all(
        tmp_path, [make_metrics(run, run, seed, draw_outcomes(0.6, seed)) for run in RUNS for seed in SEEDS]
    )


def write(repository, folder, weights, metrics, settings=SETTINGS, outputs=RUNS):
    script = repository / "workflow_scripts" / "write_model_cards.py"
    words = ["--settings", json.dumps(settings), "--metrics", *metrics, "--weights", *weights, "--output"]
    words += [folder / run / "README.md" for run in outputs]
    command = [sys.executable, script, *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)


def without_commit(path):
    """A card's text; somebody may commit to this checkout while the test runs."""
    return re.sub(r"(?m)^- commit: .*$", "- commit", path.read_text(encoding="utf-8"))


def test_cards_tell_of_the_very_files_and_come_out_the_same(repository, tmp_path, weights, metrics):
    for name, given in (("one", metrics), ("two", metrics[::-1])):
        done = write(repository, tmp_path / name, weights, given)
        assert (done.returncode, done.stderr) == (0, "")
    for number, run in enumerate(RUNS):
        text, again = (without_commit(tmp_path / name / run / "README.md") for name in ("one", "two"))
        assert text == again
        own = [hashlib.sha256(path.read_bytes()).hexdigest() for path in weights[2 * number : 2 * number + 2]]
        assert re.findall(r"`seed(\d)/weights.safetensors` \| `([0-9a-f]{64})`", text) == list(
            zip("01", own, strict=True)
        )
        assert re.search(r"\d+ trained numbers, one embedding of width 16 ", text)
        assert "| `classification` | `down` |" in text
        assert f'pointlift.load("results/students/{run}/seed0")' in text


def test_the_number_of_trained_numbers_is_counted_from_the_student(repository, tmp_path, weights, metrics):
    write(repository, tmp_path, weights, metrics)
    module = rooms.load("students", "pointnet")
    student = module.build(parse(module.Settings, labelled_clouds.STUDENT, "student"))
    told = re.search(r"([\d,]+) trained numbers", (tmp_path / "mcd" / "README.md").read_text(encoding="utf-8")).group(1)
    assert int(told.replace(",", "")) == sum(values.numel() for values in student.parameters())


def test_mistakes_are_one_line_and_leave_no_card(repository, tmp_path, weights, metrics):
    wrong = {
        "one --output per run": {"outputs": RUNS[:1]},
        "write_model_cards.colour: unknown key": {"settings": {**SETTINGS, "colour": "red"}},
        "has metrics and is not of suite": {
            "settings": {**SETTINGS, "runs": CARDS[:1]}, "weights": weights[:2], "outputs": RUNS[:1],
        },
        "no such file": {"metrics": [tmp_path / "nowhere.json"]},
    }  # fmt: skip
    for message, changes in wrong.items():
        done = write(repository, tmp_path / "out", **{"weights": weights, "metrics": metrics, **changes})
        assert done.returncode == 1
        assert message in done.stderr and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_weights_that_are_not_there_are_told(repository, tmp_path, weights, metrics):
    weights[0].unlink()
    done = write(repository, tmp_path / "out", weights, metrics)
    assert done.returncode == 1
    assert done.stderr == f"error: {weights[0]}: no such file; run snakemake to make it\n"
