"""An edit of what the report looks like draws the report anew, and nothing else."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "workflow_scripts"
REPORTING = "pointlift/reporting"
RULES = (REPOSITORY / "rules" / "report.smk").read_text(encoding="utf-8")
PROGRAM = """
import sys
from pathlib import Path
from pointlift import rooms
from pointlift.code_hash import code_hash
members = [f"{room}.{kind}" for room in rooms.ROOMS for kind in rooms.available(room)]
for script in sorted(Path().glob("*.py")):
    files = sys.argv[1:] if script.stem == "draw_report" else []
    print(script.stem, code_hash(script.stem, members, files))
"""


def files_of_draw_report() -> list[str]:
    """Files beside its code that the rule's hash holds."""
    rule = RULES[RULES.index("rule draw_report:") : RULES.index("rule write_model_cards:")]
    return re.findall(r'"([^"]+)"', re.search(r"files=\[(.*?)\]", rule, flags=re.DOTALL).group(1))


def hashes(scripts: Path) -> dict[str, str]:
    """Of every entry point, with every member of every room: more than any rule runs."""
    words = [sys.executable, "-c", PROGRAM, *files_of_draw_report()]
    printed = subprocess.check_output(words, cwd=scripts, text=True)
    return dict(line.split() for line in printed.splitlines())


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("presentation") / "scripts"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def before(copy):
    return hashes(copy)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("templates/report.html.j2", "<p>Another caption.</p>\n"),
        ("templates/ladder.html.j2", "<p>Another caption.</p>\n"),
        ("templates/ladder.css.j2", ".audit { opacity: 1; }\n"),
        ("ladder_page.py", "\n_ANOTHER_WORD = 1\n"),
        ("reported.csv", "\n"),
        ("figures.py", "\n_ANOTHER_COLOUR = 1\n"),
        ("page.py", "\n_ANOTHER_ORDER = 1\n"),
        ("run_cost.py", "\n_ANOTHER_UNIT = 1\n"),
        ("contamination.py", "\n_ANOTHER_WORD = 1\n"),
        ("reported.py", "\n_ANOTHER_WORD = 1\n"),
    ],
)
def test_only_the_report_is_drawn_anew(copy, before, name, more):
    path = copy / REPORTING / name
    text = path.read_text(encoding="utf-8")
    path.write_text(text + more, encoding="utf-8")
    try:
        after = hashes(copy)
    finally:
        path.write_text(text, encoding="utf-8")
    assert {script for script in before if before[script] != after[script]} == {"draw_report"}


def test_every_file_that_the_page_reads_is_in_its_rule():
    inside = (SCRIPTS / REPORTING).rglob("*")
    read = {str(path.relative_to(SCRIPTS / "pointlift")) for path in inside if path.suffix in (".j2", ".csv")}
    assert read == set(files_of_draw_report())
