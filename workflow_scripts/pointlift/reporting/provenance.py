"""What a page was drawn with: commit, Python, versions of the packages that decide numbers."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from pointlift.contracts.hashing import digest

_PACKAGES = ("numpy", "scipy", "torch", "torchvision", "open_clip_torch", "trimesh", "pyrender", "snakemake")


def gather(handed_in: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Commit, config digest and versions; what was handed in wins. No package is imported for it."""
    found: dict[str, Any] = {"commit": _commit(Path(__file__).parent)}
    if config:
        found["config digest"] = digest(config)
    found["python"] = platform.python_version()
    found["versions"] = {name: _version(name) for name in _PACKAGES}
    return {**found, **handed_in}


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """(dotted key, text) of a nested mapping, in its own order."""
    lines: list[tuple[str, str]] = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        lines += flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, str(value))]
    return lines


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _commit(folder: Path) -> str:
    """Commit of the checkout that holds the folder, and whether files differ from it."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return "unknown (not a git checkout)"
    return f"{commit} with uncommitted changes" if changed else commit


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
