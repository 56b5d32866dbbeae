"""The one lookup of the house: which members a room has, and loading one by name.

``kind: clip`` in config.yaml is the file ``teachers/clip.py``; there is no registry to keep. Every member offers
``Settings`` and ``build(settings, ...)``.
"""

from __future__ import annotations

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pointlift.contracts.errors import ConfigError
from pointlift.contracts.settings import Settings

ROOMS = ("datasets", "rendering", "teachers", "students", "distillation", "tasks")
_HERE = Path(__file__).parent


def available(room: str) -> tuple[str, ...]:
    """Names of the members of a room: its files, sorted."""
    return tuple(sorted(path.stem for path in _folder(room).glob("[a-z]*.py") if _is_member(path)))


def load(room: str, kind: str) -> ModuleType:
    """Import a member. Raises ``ConfigError`` listing what exists when there is no such kind."""
    _require(room, kind)
    return importlib.import_module(f"pointlift.{room}.{kind}")


@cache
def settings_class(room: str, kind: str) -> type[Settings]:
    """The ``Settings`` of a member without importing what the member imports (torch alone costs seconds).

    Only the top-level classes of the file that derive from a settings class are run, with the imports they may use:
    ``typing``, ``pydantic`` and ``pointlift.contracts``. The contract test holds every member to that.
    """
    _require(room, kind)
    path = _folder(room) / f"{kind}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    kept = [node for node in tree.body if _is_cheap_import(node) or _is_settings(node)]
    namespace: dict[str, Any] = {"__name__": f"pointlift.{room}.{kind}"}
    exec(compile(ast.Module(body=kept, type_ignores=[]), str(path), "exec"), namespace)  # noqa: S102
    found: type[Settings] = namespace["Settings"]
    found.model_rebuild(_types_namespace=namespace)
    return found


def _folder(room: str) -> Path:
    if room not in ROOMS:
        raise ConfigError(f"there is no room {room!r}; rooms: {', '.join(ROOMS)}")
    return _HERE / room


def _require(room: str, kind: str) -> None:
    if kind not in available(room):
        raise ConfigError(f"{room} has no kind {kind!r}; available: {', '.join(available(room))}")


def _is_member(path: Path) -> bool:
    return "\nclass Settings(" in path.read_text(encoding="utf-8")


def _is_cheap_import(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        module = node.module or ""
        return module in ("__future__", "typing", "pydantic") or module.startswith("pointlift.contracts")
    return False


def _is_settings(node: ast.stmt) -> bool:
    if not isinstance(node, ast.ClassDef):
        return False
    return any(isinstance(base, ast.Name) and base.id.endswith("Settings") for base in node.bases)
