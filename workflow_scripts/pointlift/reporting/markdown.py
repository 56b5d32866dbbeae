"""Markdown of words that come from elsewhere: nothing in them is taken for a mark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.+/:-]+")
_MARKS = re.compile(r"([\\`*_{}\[\]()<>#|~&!@$^=])")


def name_of(text: str) -> str:
    """A name as code where it is made of a name's letters, else its escaped text."""
    return f"`{text}`" if _PLAIN_NAME.fullmatch(text) else escaped(text)


def escaped(text: str) -> str:
    """Text on one line in which every mark stands for itself."""
    return _MARKS.sub(r"\\\1", " ".join("".join(letter if letter.isprintable() else " " for letter in text).split()))


def fenced(text: str, language: str) -> list[str]:
    """Lines of a block of code, behind a fence that is longer than any in the text."""
    longest = max((len(found) for found in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}{language}", *text.rstrip("\n").split("\n"), fence]


def as_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their own order."""
    return yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=False, default_flow_style=None, width=110)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; cells come escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]
