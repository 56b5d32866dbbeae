"""Prompts of classes: what they may say, and of which classes they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.manifest import labelled_classes
from pointlift.contracts.settings import Settings


def one_place(prompts: tuple[str, ...]) -> tuple[str, ...]:
    """The prompts, when each names the class once, as {}. Raises ``ValueError``."""
    wrong = [prompt for prompt in prompts if prompt.count("{}") != 1 or set("{}") & set(prompt.replace("{}", ""))]
    if wrong:
        raise ValueError(f"a prompt names the class once, as {{}}; these do not: {wrong}")
    return prompts


class EncodingSettings(Settings):
    """What ``encode_class_prompts`` is told: a teacher's block, and what is said of every class."""

    block: dict[str, Any]
    prompts: tuple[str, ...] = Field(min_length=1)
    _one_place = field_validator("prompts")(one_place)


def read_classes(manifest: Path) -> dict[int, str]:
    """Names of the classes of a manifest by their number, rising; a class without any shape is not among them.

    Raises ``ArtifactError`` when no shape has a class, or names and numbers do not go together.
    """
    pairs = labelled_classes(manifest)
    classes = dict(pairs)
    if not classes:
        raise ArtifactError(f"{manifest}: none of its shapes has a class; prompts of classes need a labelled dataset")
    if len(classes) < len(pairs) or len(set(classes.values())) < len(classes):
        raise ArtifactError(f"{manifest}: a class has two numbers or a number two classes; make it anew")
    return classes
