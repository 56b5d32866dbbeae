"""Typed, frozen, strict settings: what config.yaml may say, and how its mistakes are told."""

from __future__ import annotations

import json
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pointlift.contracts.errors import ConfigError


class Settings(BaseModel):
    """Base of every settings class: immutable, no unknown key, no silent conversion between types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, protected_namespaces=())
    added_later: ClassVar[tuple[str, ...]] = ()
    """Keys that came when there were results already: at their defaults they stand in no job's settings."""


AnySettings = TypeVar("AnySettings", bound=Settings)


def mistakes(settings_class: type[Settings], values: Any, key: str) -> list[str]:
    """Every mistake in ``values``, one line each: key path, the value, what is allowed. Empty when there is none."""
    try:
        settings_class.model_validate_json(json.dumps(values))
    except ValidationError as error:
        return [_line(settings_class, key, dict(detail)) for detail in error.errors(include_url=False)]
    return []


def parse(settings_class: type[AnySettings], values: Any, key: str) -> AnySettings:
    """Make the settings, or raise ``ConfigError`` with every mistake.

    JSON is the one source form: lists become tuples, integers are accepted where a float is asked for, nothing else
    is converted.
    """
    found = mistakes(settings_class, values, key)
    if found:
        raise ConfigError("\n".join(found))
    return settings_class.model_validate_json(json.dumps(values))


def _line(settings_class: type[Settings], key: str, detail: dict[str, Any]) -> str:
    path = ".".join([key, *(str(part) for part in detail["loc"])])
    if detail["type"] == "extra_forbidden":
        allowed = ", ".join(sorted(settings_class.model_fields)) if len(detail["loc"]) == 1 else "see the docs"
        return f"{path}: unknown key; allowed: {allowed}"
    if detail["type"] == "missing":
        return f"{path}: missing; it has no default"
    value = detail.get("input")
    return f"{path}: {value!r} is not allowed: {detail['msg'].removeprefix('Value error, ')}"
