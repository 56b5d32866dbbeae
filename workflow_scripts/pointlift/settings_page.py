"""The page docs/configuration.md: every key of config.yaml with what it may be, from the settings classes themselves.

Read from the source, as ``rooms.settings_class`` does, so that the words under a key are the page's words too.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pointlift import rooms
from pointlift.configuration import FAMILY_ROOMS

_PACKAGE = Path(__file__).parent
_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than", "min_length": "length at least"}
_QUOTES = "'\""
#: What every block of a family is derived from.
_BASES = {
    "datasets": "DatasetSettings",
    "rigs": "RigSettings",
    "teachers": "TeacherSettings",
    "students": "StudentSettings",
    "methods": "MethodSettings",
    "tasks": "TaskSettings",
}
#: Files of the contracts with classes of settings that no one configures: what an evaluation writes.
_NOT_CONFIGURED = {"metrics"}
_HEADING = """# config.yaml, key by key

Made from the code by `make format`; a test holds the two together. Every block is checked before any job starts, and
every mistake is told at once with its key, its value and what is allowed. A key without a default must be given.
"""


@dataclass(frozen=True)
class Key:
    """One key of a block: how its type is written, its default ("" for none), and what is said of it."""

    name: str
    kind: str
    default: str
    text: str


@dataclass(frozen=True)
class Block:
    """A settings class: what it is derived from, what is said of it, its own keys."""

    name: str
    bases: tuple[str, ...]
    text: str
    keys: tuple[Key, ...]


def settings_page() -> str:
    """The whole page, Markdown."""
    paths = [path for path in sorted((_PACKAGE / "contracts").glob("*.py")) if path.stem not in _NOT_CONFIGURED]
    shared = {block.name: block for path in paths for block in _blocks(path)}
    lines = [_HEADING]
    for family, room in FAMILY_ROOMS.items():
        lines += _family(family, room, shared)
    for family, name in (("runs", "RunSettings"), ("suites", "SuiteSettings"), ("paths", "Paths")):
        lines += [f"## {family}", "", shared[name].text, "", *_keys(shared[name]), ""]
    lines += ["## Blocks within blocks", ""]
    for name in sorted(_mentioned(shared)):
        above = [f"As every {base}." for base in shared[name].bases if base in shared and base not in _BASES.values()]
        lines += [f"### {name}", "", " ".join([shared[name].text, *above]), "", *_keys(shared[name]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _family(family: str, room: str, shared: dict[str, Block]) -> list[str]:
    base = shared[_BASES[family]]
    lines = [f"## {family}", "", base.text, "", *_keys(base), ""]
    for kind in rooms.available(room):
        own = {block.name: block for block in _blocks(_PACKAGE / room / f"{kind}.py")}
        member = own.pop("Settings")
        lines += [f"### {family}: kind {kind}", "", member.text, ""]
        above = [name for name in member.bases if name in shared and name != base.name]
        lines += [f"As every {', '.join(f'[{name}](#{name.lower()})' for name in above)}; beside that:", ""] * bool(
            above
        )
        lines += [*_keys(member), ""]
        for name, block in sorted(own.items()):
            lines += [f"`{name}`: {block.text}", "", *_keys(block), ""]
    return lines


def _keys(block: Block) -> list[str]:
    return [_line(key) for key in block.keys if key.name != "kind"]


def _line(key: Key) -> str:
    default = f", default {key.default}" if key.default else ""
    text = f": {key.text}" if key.text else ""
    return f"- **{key.name}** ({key.kind}{default}){text}"


def _mentioned(shared: dict[str, Block]) -> set[str]:
    """Settings classes of the contracts that some key is of or some block is derived from."""
    sources = [path for room in rooms.ROOMS for path in (_PACKAGE / room).glob("*.py")]
    blocks = [block for path in sources for block in _blocks(path)] + list(shared.values())
    words = {word for block in blocks for key in block.keys for word in re.findall(r"\w+", key.kind)}
    words |= {base for block in blocks for base in block.bases}
    families = {*_BASES.values(), "RunSettings", "SuiteSettings", "Paths"}
    return {name for name in words & set(shared) if name not in families and shared[name].keys}


def _blocks(path: Path) -> Iterator[Block]:
    """The settings classes of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        bases = tuple(ast.unparse(base) for base in node.bases) if isinstance(node, ast.ClassDef) else ()
        if isinstance(node, ast.ClassDef) and any(base.endswith("Settings") for base in bases):
            yield Block(node.name, bases, _plain(ast.get_docstring(node) or ""), tuple(_fields(node)))


def _fields(node: ast.ClassDef) -> Iterator[Key]:
    for number, item in enumerate(node.body):
        if not isinstance(item, ast.AnnAssign) or not isinstance(item.target, ast.Name):
            continue
        kind = ast.unparse(item.annotation)
        if kind.startswith("ClassVar") or item.target.id.startswith("_"):
            continue
        after = node.body[number + 1] if number + 1 < len(node.body) else None
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        default, limits = _default(item.value)
        yield Key(item.target.id, ", ".join([_spoken(kind), *limits]), default, _plain(str(text)))


def _default(value: ast.expr | None) -> tuple[str, list[str]]:
    """How a default is written in YAML ("" for none), and the limits of what may be given."""
    if value is None:
        return "", []
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Field"):
        return _yaml(value), []
    given = {word.arg: word.value for word in value.keywords if word.arg}
    limits = [f"{told} {ast.unparse(given[word])}" for word, told in _LIMITS.items() if word in given]
    return (_yaml(given["default"]) if "default" in given else ""), limits


def _yaml(value: ast.expr) -> str:
    try:
        plain = ast.literal_eval(value)
    except ValueError:
        return "its own defaults"
    if isinstance(plain, str):
        return f"`{plain}`" if plain else "empty"
    words = {"None": "none", "True": "true", "False": "false", "()": "[]"}
    text = str(list(plain)) if isinstance(plain, tuple) else str(plain)
    return words.get(text, text)


def _spoken(kind: str) -> str:
    """A Python annotation in plain words: Literal['a', 'b'] is ``a`` or ``b``."""
    kind = re.sub(r"\w+", lambda found: _aliases().get(found[0], found[0]), kind)
    kind = re.sub(r"Annotated\[(\w+),.*?\](?=,|\]|$)", r"\1", kind)
    kind = re.sub(r"Literal\[([^\]]*)\]", lambda found: _either(found[1]), kind)
    kind = kind.replace(" | None", " or none").replace("bool", "true or false").replace(" | ", " or ")
    kind = re.sub(r"tuple\[(.+), \.\.\.\]", r"list of \1", kind)
    kind = re.sub(r"tuple\[(.+)\]", r"[\1]", kind)
    return re.sub(r"\bstr\b", "text", re.sub(r"\bfloat\b", "number", re.sub(r"\bint\b", "whole number", kind)))


@cache
def _aliases() -> dict[str, str]:
    """Types that the contracts give a name, spelt out: ``Arm = Literal[...]``."""
    nodes = [node for path in (_PACKAGE / "contracts").glob("*.py") for node in ast.parse(path.read_text("utf-8")).body]
    return {
        node.targets[0].id: ast.unparse(node.value)
        for node in nodes
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and ast.unparse(node.value).startswith("Literal[")
    }


def _either(values: str) -> str:
    return " or ".join(f"`{value.strip().strip(_QUOTES)}`" for value in values.split(","))


def _plain(text: str) -> str:
    """A docstring as Markdown in one line."""
    return re.sub(r"\s+", " ", text.replace("``", "`")).strip()
