"""The code hash: what changes a result changes it, what does not leaves it alone, on every Python version."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow_scripts"


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(SCRIPTS, tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "scripts"


def hashes(scripts: Path, *calls: str, python: str = sys.executable) -> list[str]:
    program = "from pointlift.code_hash import code_hash\n" + "\n".join(f"print(code_hash({call}))" for call in calls)
    printed = subprocess.check_output([python, "-c", program], cwd=scripts, text=True)
    return printed.split()


CALLS = (
    "'sample_points'",
    "'train_student', ['students.pointnet', 'distillation.pointmcd']",
    "'draw_report', [], ['reporting/templates/report.html.j2']",
)


def test_comments_docstrings_formatting_and_times_do_not_count(copy):
    before = hashes(copy, *CALLS)
    for path in copy.rglob("*.py"):
        text = path.read_text(encoding="utf-8").replace('"""', '"""Another word. ', 1)
        path.write_text(f"# a comment\n\n\n{text}\n# another\n", encoding="utf-8")
    assert hashes(copy, *CALLS) == before


def test_a_change_is_seen_exactly_where_it_is_reached(copy):
    before = hashes(copy, *CALLS)
    path = copy / "pointlift" / "students" / "pointnet.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n_NEW = 1\n", encoding="utf-8")
    after = hashes(copy, *CALLS)
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert after[2] == before[2]


def test_the_ground_floor_is_reached_by_all(copy):
    before = hashes(copy, *CALLS)
    path = copy / "pointlift" / "contracts" / "shards.py"
    path.write_text(path.read_text(encoding="utf-8") + "\n_NEW = 1\n", encoding="utf-8")
    assert all(a != b for a, b in zip(hashes(copy, *CALLS), before, strict=True))


def test_files_that_are_not_python_count(copy):
    before = hashes(copy, *CALLS)
    path = copy / "pointlift" / "reporting" / "templates" / "report.html.j2"
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    after = hashes(copy, *CALLS)
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def other_python() -> str | None:
    """A Python of the other supported version, with nothing installed but itself."""
    name = "python3.12" if sys.version_info[:2] == (3, 11) else "python3.11"
    candidates = [
        shutil.which(name),
        *sorted(Path.home().glob(f".pyenv/versions/{name.removeprefix('python')}*/bin/python")),
    ]
    for candidate in filter(None, candidates):
        if subprocess.run([candidate, "--version"], capture_output=True, check=False).returncode == 0:
            return str(candidate)
    return None


def test_the_other_python_version_gives_the_same_hash(copy):
    python = other_python()
    if python is None:
        pytest.skip("the other supported Python version is not on this machine")
    (copy / "pointlift" / "__init__.py").write_text("")  # the bare interpreter has no pydantic
    assert hashes(copy, *CALLS, python=python) == hashes(copy, *CALLS)
