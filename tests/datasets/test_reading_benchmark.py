"""benchmarks/reading.py makes files of every format that both sides read, and prints its table."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # behind the entry points: one of them has the name of a benchmark

import reading  # noqa: E402
from reading_formats import FORMATS  # noqa: E402


@pytest.mark.parametrize("name", FORMATS)
def test_every_shape_of_a_format_can_be_used_and_its_plain_reader_reads_it(name, tmp_path):
    FORMATS[name].make(tmp_path, 5)
    ids, read = reading.ways(FORMATS[name], tmp_path)
    assert list(read) == ["plain", "load", "shard"] and len(ids) >= 5
    ids = ids[:5]
    assert read["plain"](ids)
    read["load"](ids)  # an unusable shape raises
    arrays, attributes = read["shard"](ids)
    assert arrays["valid"].all() and not attributes["quarantine"]


def test_it_prints_a_line_a_format(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "reading.py"), "--shapes", "6", "--formats", "off,scanobjectnn"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.split()[0] for line in printed[-2:]] == ["off", "scanobjectnn"]
    for line in printed[-2:]:
        numbers = [float(word) for word in line[48:].split()]
        assert len(numbers) == 10 and all(number > 0 for number in numbers[1:6])
    wrong = subprocess.run([*command[:2], "--formats", "of"], check=False, capture_output=True, text=True)
    assert wrong.returncode == 2 and "no such formats: of" in wrong.stderr
