"""One hash for the code a rule runs: what its entry point imports inside the package, and nothing else.

Comments, docstrings and formatting do not count, and Python 3.11 and 3.12 give the same hash. Members chosen by config
(``kind``) are invisible to imports and are named by the caller; so are files that are not Python.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
_SCRIPTS = PACKAGE.parent


def code_hash(entry_point: str, members: Iterable[str] = (), files: Iterable[str] = ()) -> str:
    """16 hex digits for an entry point (its rule's name), with every package module it reaches.

    members : modules chosen by config, e.g. ``students.pointnet``; files : paths below the package, hashed as bytes.
    """
    script = _SCRIPTS / f"{entry_point}.py"
    paths = {script}
    for module in {*_imported(script), *(f"pointlift.{member}" for member in members)}:
        paths |= _closure(module)
    state = hashlib.sha256()
    for path in sorted(paths):
        state.update(f"{path.relative_to(_SCRIPTS).as_posix()}\n{_meaning(path)}\n".encode())
    for name in sorted(files):
        state.update(f"{name}\n".encode() + (PACKAGE / name).read_bytes())
    return state.hexdigest()[:16]


@cache
def _closure(module: str) -> frozenset[Path]:
    """Files of a module and of everything it imports inside the package, packages' own files included."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if path is None or path in found:
            continue
        found.add(path)
        waiting += [name.rpartition(".")[0], *_imported(path)]
    return frozenset(found)


def _file(module: str) -> Path | None:
    if not module.startswith("pointlift"):
        return None
    path = _SCRIPTS.joinpath(*module.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


@cache
def _imported(path: Path) -> tuple[str, ...]:
    """Modules of the package that a file names in any import, at its top or inside its functions."""
    names: list[str] = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(sorted({name for name in names if _file(name) is not None}))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def _meaning(path: Path) -> str:
    return _serialise(_tree(path))


def _serialise(node: object) -> str:
    """Text of a syntax tree without positions, docstrings and empty fields (Python versions differ in the latter)."""
    if isinstance(node, ast.AST):
        fields = []
        for name, value in ast.iter_fields(node):
            kept = _without_docstring(value) if name == "body" and isinstance(value, list) else value
            if kept is not None and kept != []:
                fields.append(f"{name}={_serialise(kept)}")
        return f"{type(node).__name__}({','.join(fields)})"
    if isinstance(node, list):
        return f"[{','.join(_serialise(item) for item in node)}]"
    return repr(node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    return [
        statement
        for statement in body
        if not (
            isinstance(statement, ast.Expr)
            and isinstance(statement.value, ast.Constant)
            and isinstance(statement.value.value, str)
        )
    ]
