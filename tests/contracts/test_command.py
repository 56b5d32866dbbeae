"""What an entry point says when it fails: one line for what a user can mend, a trace for a fault of the program."""

import argparse
import errno
import os

import pytest

from pointlift.contracts.command import run
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
