"""DVC mirrors the graph: its stages are targets, its outputs go to a remote and come back as they were."""

import hashlib
import re
import shutil
from pathlib import Path

import pytest
import yaml

from pointlift.job_environment import VERSIONED

REPOSITORY = Path(__file__).parents[2]
DVC = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = DVC["stages"]


def rules_text() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((REPOSITORY / "rules").glob("*.smk")))


def names(entries) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def test_every_stage_is_a_target_of_the_snakefile():
    snakefile = (REPOSITORY / "Snakefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^rule (\w+):", snakefile, flags=re.MULTILINE))
    called = [stage["cmd"].removeprefix("snakemake --cores all").strip() or "all" for stage in STAGES.values()]
    assert set(called) == targets
    assert len(called) == len(set(called))


def test_outputs_of_stages_are_folders_that_rules_write_and_they_persist():
    unversioned = {"results/logs", "results/benchmarks", "results/episodes"}  # no suite asks for episodes
    written = set(re.findall(r'"(results/\w+)/', rules_text())) - unversioned
    listed = [name for stage in STAGES.values() for name in names(stage["outs"])]
    assert sorted(listed) == sorted(written) == sorted(VERSIONED)
    assert all(next(iter(out.values())) == {"persist": True} for stage in STAGES.values() for out in stage["outs"])


def test_dependencies_exist_and_parameters_are_keys_of_the_config():
    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text(encoding="utf-8"))
    made = {name for stage in STAGES.values() for name in names(stage["outs"])}
    for name, stage in STAGES.items():
        for dependency in stage["deps"]:
            assert dependency in made or (REPOSITORY / dependency).exists(), f"{name}: {dependency}"
        for key in stage["params"][0]["config.yaml"]:
            assert key in config, f"{name}: {key}"


def contents(folder: Path) -> dict[str, str]:
    """Checksum of every file by its name: of a difference the names are told, not all bytes."""
    skipped = ("logs", "benchmarks", "checkpoints", "tensorboard")
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not set(path.relative_to(folder).parts) & set(skipped)
    }


@pytest.fixture
def versioned(finished_nano, tmp_path):
    """The finished run under git and DVC, in a folder of its own."""
    folder = tmp_path / "a versioned run"
    shutil.copytree(finished_nano.folder, folder, symlinks=True)
    checkout = type(finished_nano)(folder)
    with (folder / "config.yaml").open("r+", encoding="utf-8") as stream:
        text = stream.read().replace("suite: mini #", "suite: nano #", 1)
        stream.seek(0)
        stream.write(text)
        stream.truncate()
    git(checkout, "init", "-q")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "run")
    return checkout


def git(checkout, *words):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    checkout.run(shutil.which("git"), *identity, *words)


def test_repro_push_and_pull_bring_back_every_byte(versioned, tmp_path):
    before = contents(versioned.folder / "results")
    versioned.run("dvc", "repro", "--quiet")
    assert contents(versioned.folder / "results") == before, "dvc repro over a finished run makes nothing anew"
    versioned.run("dvc", "remote", "add", "--quiet", "-d", "store", str(tmp_path / "a store"))
    versioned.run("dvc", "push", "--quiet")
    shutil.rmtree(versioned.folder / "results")
    shutil.rmtree(versioned.folder / ".dvc" / "cache")
    versioned.run("dvc", "pull", "--quiet")
    assert contents(versioned.folder / "results") == before
