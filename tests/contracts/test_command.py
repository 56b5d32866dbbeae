"""What an entry point says when it fails: one line for what a user can mend, a trace for a fault of the program."""

import argparse
import errno
import io
import json
import os
from pathlib import Path

import pytest

from pointlift.contracts.command import Parser, run
from pointlift.contracts.errors import ArtifactError


def said(error):
    def main(arguments):
        raise error

    with pytest.raises(SystemExit) as caught:
        run(main, argparse.Namespace())
    return caught.value.code


def test_a_users_mistake_is_one_line():
    assert said(ArtifactError("a.csv: no such file")) == "error: a.csv: no such file"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_machine_refuses_names_the_file(number):
    text = said(OSError(number, os.strerror(number), "results/a.safetensors"))
    assert text.startswith(f"error: results/a.safetensors: {os.strerror(number)}; ")


def test_a_fault_of_the_program_keeps_its_trace():
    def main(arguments):
        raise ValueError("odd")

    with pytest.raises(ValueError, match="odd"):
        run(main, argparse.Namespace())


def test_settings_too_long_for_an_argument_come_by_standard_input(monkeypatch):
    long = {"cost": ["x" * 100] * 2000}  # Linux: at most 128 KiB in one argument
    text = json.dumps(long)
    assert len(text) > 128 * 1024
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert Parser(None).parse_args(["--settings", "-"]).settings == long
    assert Parser(None).parse_args(["--settings", '{"a": 1}']).settings == {"a": 1}


def test_rules_whose_settings_grow_with_the_suite_hand_them_over_by_standard_input():
    text = (Path(__file__).parents[2] / "rules" / "report.smk").read_text(encoding="utf-8")
    for name in ("collect_metrics", "draw_report", "write_model_cards"):
        assert f"printf %s {{params.settings:q}} | python workflow_scripts/{name}.py --settings - " in text
