"""config.yaml, read once and strictly: every block typed, every name it mentions existing, every combination meant.

All mistakes are told at once, each with its key path, the value and what is allowed, before any job starts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from pointlift import rooms
from pointlift.config_mistakes import combination_mistakes, reference_mistakes
from pointlift.contracts.blocks import MethodSettings, Paths, RunSettings, StudentSettings, SuiteSettings, TaskSettings
from pointlift.contracts.dataset_blocks import DatasetSettings
from pointlift.contracts.errors import ConfigError
from pointlift.contracts.rig_blocks import RigSettings
from pointlift.contracts.settings import Settings, mistakes, parse
from pointlift.contracts.teacher_blocks import TeacherSettings

#: Family of blocks in config.yaml -> the room whose files are its kinds.
FAMILY_ROOMS = {
    "datasets": "datasets",
    "rigs": "rendering",
    "teachers": "teachers",
    "students": "students",
    "methods": "distillation",
    "tasks": "tasks",
}
_PLAIN_FAMILIES: dict[str, type[Settings]] = {"runs": RunSettings, "suites": SuiteSettings}
_TOP_LEVEL = ("suite", "device", "paths", *FAMILY_ROOMS, *_PLAIN_FAMILIES)
_NAME = re.compile(r"[A-Za-z0-9_-]+")  # as the Snakefile's wildcards
Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True)
class Config:
    """The whole configuration, validated. Blocks by family and name."""

    suite: str
    device: Device
    paths: Paths
    datasets: Mapping[str, DatasetSettings]
    rigs: Mapping[str, RigSettings]
    teachers: Mapping[str, TeacherSettings]
    students: Mapping[str, StudentSettings]
    methods: Mapping[str, MethodSettings]
    tasks: Mapping[str, TaskSettings]
    runs: Mapping[str, RunSettings]
    suites: Mapping[str, SuiteSettings]

    @property
    def chosen(self) -> SuiteSettings:
        """The suite to build."""
        return self.suites[self.suite]


def check_yaml(path: Path) -> None:
    """Raise ``ConfigError`` with the line when the file is no YAML mapping, or says a key twice: the last would win."""
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; run from the folder of the checkout, which holds it") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: it must be UTF-8 text ({error.reason} at byte {error.start})") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        raise ConfigError(f"{path}{place}: not YAML: {error.problem}; mend this line or the one before it") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: must hold the keys {', '.join(_TOP_LEVEL)}")
    _raise(_twice(node, ""))


def _twice(node: yaml.Node, key: str) -> list[str]:
    if isinstance(node, yaml.SequenceNode):
        return [line for place, item in enumerate(node.value) for line in _twice(item, f"{key}{place}.")]
    if not isinstance(node, yaml.MappingNode):
        return []
    found, lines = [], dict[str, int]()
    for name, value in node.value:
        line = name.start_mark.line + 1
        if name.value in lines and name.value != "<<":
            found.append(f"{key}{name.value}: stands there twice, in line {lines[name.value]} and in line {line}")
        lines[str(name.value)] = line
        found += _twice(value, f"{key}{name.value}.")
    return found


def read_config(values: Mapping[str, Any]) -> Config:
    """Validate the content of config.yaml. Raises ``ConfigError`` with every mistake, one a line."""
    _raise(_unwritable(values))
    found = _top_level_mistakes(values)
    for family in FAMILY_ROOMS:
        found += _family_mistakes(family, _blocks(values, family))
    for family, settings_class in _PLAIN_FAMILIES.items():
        for name, block in _blocks(values, family).items():
            found += mistakes(settings_class, block, f"{family}.{name}")
    found += mistakes(Paths, values.get("paths", {}), "paths")
    _raise(found)
    config = _build(values)
    _raise(reference_mistakes(config) + combination_mistakes(config))
    return config


def _raise(found: list[str]) -> None:
    if found:
        heading = f"config.yaml: {len(found)} mistake{'s' if len(found) > 1 else ''}"
        raise ConfigError("\n  ".join([heading, *found]))


def _top_level_mistakes(values: Mapping[str, Any]) -> list[str]:
    found = [f"{key}: unknown key; allowed: {', '.join(_TOP_LEVEL)}" for key in values if key not in _TOP_LEVEL]
    for family in (*FAMILY_ROOMS, *_PLAIN_FAMILIES):
        if not isinstance(values.get(family, {}), Mapping):
            found.append(f"{family}: {values[family]!r} is not allowed: must be named blocks")
        found += [
            f"{family}.{name}: {name!r} is not allowed as a name: letters, digits, _ and - (it becomes a file name)"
            for name in _blocks(values, family)
            if not _NAME.fullmatch(str(name))
        ]
    suites = list(_blocks(values, "suites"))
    if values.get("suite") not in suites:
        found.append(f"suite: {values.get('suite')!r} is not allowed: must be one of {', '.join(suites) or 'no suite'}")
    if values.get("device", "auto") not in ("auto", "cpu", "cuda"):
        found.append(f"device: {values['device']!r} is not allowed: must be auto, cpu or cuda")
    return found


def _unwritable(values: Any, key: str = "") -> list[str]:
    """What YAML reads and JSON, in which settings travel, cannot say: dates, nan, infinity, keys that are no text."""
    if isinstance(values, Mapping):
        found = [
            f"{key}{name}: this name is read as {type(name).__name__}: quote it to make it text"
            for name in values
            if not isinstance(name, str)
        ]
        return found + [line for name, value in values.items() for line in _unwritable(value, f"{key}{name}.")]
    if isinstance(values, list | tuple):
        return [line for place, value in enumerate(values) for line in _unwritable(value, f"{key}{place}.")]
    if isinstance(values, float) and not math.isfinite(values):
        return [f"{key[:-1]}: {values} is not allowed: must be a finite number"]
    if values is None or isinstance(values, str | int | float):
        return []
    return [f"{key[:-1]}: {values!s} is read as {type(values).__name__}: quote it to make it text"]


def _blocks(values: Mapping[str, Any], family: str) -> Mapping[str, Any]:
    blocks = values.get(family, {})
    return blocks if isinstance(blocks, Mapping) else {}


def _family_mistakes(family: str, blocks: Mapping[str, Any]) -> list[str]:
    room, found = FAMILY_ROOMS[family], []
    for name, block in blocks.items():
        key = f"{family}.{name}"
        kind = block.get("kind") if isinstance(block, Mapping) else None
        if kind not in rooms.available(room):
            found.append(f"{key}.kind: {kind!r} is not allowed: must be one of {', '.join(rooms.available(room))}")
        else:
            found += mistakes(rooms.settings_class(room, kind), block, key)
    return found


def _build(values: Mapping[str, Any]) -> Config:
    families: dict[str, Any] = {}
    for family, room in FAMILY_ROOMS.items():
        families[family] = {
            name: parse(rooms.settings_class(room, block["kind"]), block, f"{family}.{name}")
            for name, block in _blocks(values, family).items()
        }
    for family, settings_class in _PLAIN_FAMILIES.items():
        families[family] = {
            name: parse(settings_class, block, f"{family}.{name}") for name, block in _blocks(values, family).items()
        }
    paths = parse(Paths, values.get("paths", {}), "paths")
    return Config(suite=values["suite"], device=values.get("device", "auto"), paths=paths, **families)
