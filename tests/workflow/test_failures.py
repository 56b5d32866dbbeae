"""What a user reads when a run stops: the cause, last, without the commands around it."""

import pytest
import yaml

from pointlift.configuration import check_yaml
from pointlift.contracts.errors import ConfigError
from pointlift.failures import explain

SNAKEMAKE_LOG = """\
RuleException:
CalledProcessError in file "/a b/rules/shapes.smk", line 86:
Command 'python x.py --settings {"very": "long"} > {log} 2>&1' returned non-zero exit status 1.
[Fri Nov 20 10:52:23 2026]
Error in rule build_manifest:
    message: None
    jobid: 3
    log: {log} (check log file(s) for error details)
    shell:
        python x.py --settings {"very": "long"}
        (command exited with non-zero exit code)
Logfile {log}:
"""


def explained(tmp_path, job_log):
    path = tmp_path / "the job's.log"
    if job_log is not None:
        path.write_text(job_log, encoding="utf-8")
    (tmp_path / "snakemake.log").write_text(SNAKEMAKE_LOG.replace("{log}", str(path)) * 2, encoding="utf-8")
    return explain(tmp_path / "snakemake.log", tmp_path / "no such.log"), path


@pytest.mark.parametrize(
    ("job_log", "told"),
    [
        ("WARNING a: b\nerror: first\n  and second\n", "build_manifest: first\n    and second\n"),
        ('Traceback (most recent call last):\n  File "x.py"\nValueError: odd\n', "build_manifest: ValueError: odd\n"),
        (
            "INFO engine: epoch 3\n",
            "stopped from outside, often for want of memory; its log ends with: INFO engine: epo",
        ),
        ("", "stopped from outside"),
        (None, "it left no log"),
    ],
)
def test_a_failed_job_is_told_once_by_its_own_words(tmp_path, job_log, told):
    text, path = explained(tmp_path, job_log)
    assert "==== one job failed ====" in text
    assert text.count("build_manifest: ") == 1
    assert told in text
    assert f"its log: {path}\n" in text
    assert "--settings" not in text


def test_a_log_without_failed_jobs_is_silence(tmp_path):
    (tmp_path / "snakemake.log").write_text("Building DAG of jobs...\n", encoding="utf-8")
    assert explain(tmp_path / "snakemake.log") == ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("suite: mini\nruns: [a, b\npaths: x: y\n", r"config.yaml, line 3, column 6: not YAML: expected ','"),
        ("suite:\n\t- a\n", r"config.yaml, line 2, column 1: not YAML: found character '\\t'"),
        ("", r"config.yaml: must hold the keys suite, device"),
        ("- a\n", r"must hold the keys"),
        (
            "suite: a\nruns:\n  one: {}\n  two: {}\n  one: {}\n",
            r"runs\.one: stands there twice, in line 3 and in line 5",
        ),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}\n", None),
        (b"suite: \xff\n", r"must be UTF-8 text"),
        (None, r"no such file; run from the folder of the checkout"),
    ],
)
def test_a_config_that_is_no_yaml_is_told_with_its_line(tmp_path, content, message):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if message is None:
        check_yaml(path)
        return
    with pytest.raises(ConfigError, match=message):
        check_yaml(path)


def test_bad_shapes_stop_a_run_with_their_reasons_last_and_mending_them_lets_it_go_on(checkout):
    values = yaml.safe_load((checkout.folder / "config.yaml").read_text(encoding="utf-8"))
    values["datasets"]["mine"] = {"kind": "folder", "folder": "my 'meshes'", "num_points": 32, "shard_size": 2}
    values["tasks"]["probe"] = {"kind": "linear_probe", "dataset": "mine"}
    values["suites"]["mine"] = {"runs": ["nano_scratch"], "tasks": ["probe"], "seeds": [0]}
    (checkout.folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    meshes = checkout.folder / "data" / "my 'meshes'"
    for name in ('a "b"', "é\nf"):
        (meshes / name).mkdir(parents=True)
        for number in range(2):
            (meshes / name / f"{number}.off").write_text("OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", encoding="utf-8")
    bad = meshes / 'a "b"' / "0.off"
    bad.write_text("OFF\n3 1 0\n0 0 0\n", encoding="utf-8")

    failed = checkout.snakemake("stage_shapes", "--keep-going", suite="mine", check=False)
    assert failed.returncode
    end = failed.stderr[failed.stderr.index("==== one job failed") :]
    assert "build_manifest: dataset mine: 1 of 4 shapes cannot be used" in end
    assert 'first: a "b"/0.off: OFF header promises' in end
    assert "--settings" not in end and len(end) < 1500
    assert "Traceback" not in failed.stderr
    assert not (checkout.folder / "results/manifest/mine.csv").exists()
    assert len(list((checkout.folder / "results/points/mine").glob("*.safetensors"))) == 2  # the others went on

    # Read again even where nobody deletes what was made of it.
    bad.write_text((meshes / 'a "b"' / "1.off").read_text(encoding="utf-8"), encoding="utf-8")
    checkout.snakemake("stage_shapes", suite="mine")
    assert (checkout.folder / "results/manifest/mine.quarantine.csv").read_text() == "shape_id,stage,reason\n"
