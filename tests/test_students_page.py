"""docs/students.md: its example runs as it stands, on a student like those that train_student leaves."""

import re

import pytest
import torch

from test_encoder import METHOD, write_student

PAGE = "docs/students.md"


@pytest.fixture
def example(repository):
    """The page's Python, and the folder it opens."""
    text = (repository / PAGE).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    return code, re.search(r'pointlift\.load\("([^"]+)"\)', code).group(1)


def test_the_example_of_the_page_runs(example, tmp_path, monkeypatch, capsys):
    code, folder = example
    (tmp_path / folder).mkdir(parents=True)
    write_student(tmp_path / folder, method=METHOD, run="mini_mcd")
    monkeypatch.chdir(tmp_path)
    found = {}
    exec(compile(code, PAGE, "exec"), found)  # noqa: S102
    assert found["embedding"].shape == (1, 16) and found["embedding"].dtype == torch.float32
    assert found["batch"].shape == (2, 16)
    torch.testing.assert_close(found["batch"][:1], found["embedding"])
    assert found["in_teachers_space"].shape == (1, 7)
    assert found["output"].tokens.shape == (1, 500, 16)
    assert "mini_mcd" in capsys.readouterr().out


def test_the_first_two_lines_are_the_ones_that_cards_show(example):
    lines = example[0].splitlines()
    assert lines[0] == "import pointlift"
    assert lines[1].startswith('encoder = pointlift.load("results/students/')
