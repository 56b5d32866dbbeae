"""The house keeps its plan: arrows point one way, entry points stay thin, rules and programs come in pairs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pointlift import rooms

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = REPOSITORY / "workflow_scripts"
PACKAGE = SCRIPTS / "pointlift"
FLOORS = {
    "contracts": set(),
    "geometry": {"contracts"},
    "operators": {"contracts", "geometry"},
    "training": {"contracts", "geometry", "operators"},
}
TORCH_ROOMS = {"teachers", "students", "distillation", "tasks"}
NUMPY_ROOMS = {"datasets", "rendering", "reporting"}
TOOLS = {
    "run_benchmark",
    "show_leaderboard",
    "import_episodes",
    "describe_settings",
}  # called by people and make, not by a rule


def allowed_neighbours(room: str) -> set[str]:
    if room in FLOORS:
        return FLOORS[room] | {room}
    floors = {"contracts", "geometry"} | ({"operators", "training"} if room in TORCH_ROOMS else set())
    return floors | {room}


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            names |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_reached(path: Path) -> set[str]:
    folders = {folder.name for folder in PACKAGE.iterdir() if folder.is_dir()}
    parts = [name.split(".") for name in imported_modules(path) if name.startswith("pointlift.")]
    return {part[1] for part in parts if part[1] in folders}


LIBRARY = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_arrows_point_one_way(path):
    room = path.relative_to(PACKAGE).parts[0]
    assert rooms_reached(path) <= allowed_neighbours(room)


@pytest.mark.parametrize("room", sorted({"contracts", "geometry"} | NUMPY_ROOMS))
def test_ground_floor_and_numpy_rooms_never_name_torch(room):
    for path in (PACKAGE / room).rglob("*.py"):
        heavy = {name.split(".")[0] for name in imported_modules(path)} & {"torch", "torchvision", "open_clip"}
        assert not heavy, f"{path} imports {heavy}"


def test_geometry_does_no_input_or_output():
    for path in (PACKAGE / "geometry").glob("*.py"):
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not names & {"open", "Path"}, path


def entry_points() -> set[str]:
    return {path.stem for path in SCRIPTS.glob("*.py")}


def rules() -> dict[str, str]:
    """Rule name -> text, for every rule that runs something."""
    found = {}
    for path in sorted((REPOSITORY / "rules").glob("*.smk")):
        for block in re.split(r"^(?=rule )", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            found[re.match(r"rule (\w+):", block).group(1)] = block
    return found


def test_every_rule_runs_the_entry_point_of_its_name_and_every_entry_point_has_a_rule():
    assert entry_points() - TOOLS == set(rules())
    for name, text in rules().items():
        entry = f"python workflow_scripts/{name}.py --settings "
        by_argument, by_pipe = f"{entry}{{params.settings:q}}", f"printf %s {{params.settings:q}} | {entry}- "
        assert by_argument in text or by_pipe in text, name


@pytest.mark.parametrize("name", sorted(rules()))
def test_every_rule_says_all_a_rule_must_say(name):
    text = rules()[name]
    for directive in ("input", "output", "log", "benchmark", "params", "threads", "resources", "conda", "message"):
        assert re.search(rf"^    {directive}:", text, flags=re.MULTILINE), f"{name} lacks {directive}"
    assert re.search(r"^        settings=", text, flags=re.MULTILINE), "settings decide reruns"
    assert re.search(r"^        code=", text, flags=re.MULTILINE), "the code hash decides reruns"
    assert not re.search(r"^    (script|notebook|run):", text, flags=re.MULTILINE), (
        "a script's time would decide reruns"
    )
    environment = re.search(r'"\.\./(envs/\w+\.yaml)"', text).group(1)
    assert (REPOSITORY / environment).is_file()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.py")), ids=lambda path: path.stem)
def test_entry_points_are_thin(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60, f"{path.name} has {len(lines)} lines: its work belongs in the library"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_file_is_two_things(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("room", rooms.ROOMS)
def test_members_offer_settings_and_build(room):
    assert rooms.available(room), f"{room} is empty"
    for kind in rooms.available(room):
        member = rooms.load(room, kind)
        assert callable(member.build)
        # The cheap way to the settings (no torch) must be the same class in all that it accepts.
        assert rooms.settings_class(room, kind).model_json_schema() == member.Settings.model_json_schema()


def test_settings_come_without_torch():
    program = (
        "import sys\nfrom pointlift import rooms\n"
        "for room in rooms.ROOMS:\n    for kind in rooms.available(room):\n        rooms.settings_class(room, kind)\n"
        "assert not {'torch', 'pyrender', 'trimesh', 'open_clip'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=SCRIPTS, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
