"""The environment files, the lock and pyproject.toml tell the same story, and no story about any machine."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
LOCK = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")


def locked() -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9._-]+)==([^ ;\\]+)", LOCK, flags=re.MULTILINE))


def wanted() -> list[tuple[str, str]]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["develop"]]
    return [re.match(r"([A-Za-z0-9._-]+)(.*)", line).groups() for line in lines]


def release(version: str) -> tuple[int, ...]:
    public = re.split(r"\+|\.post", version)[0]
    return tuple(int(part) for part in public.split("."))


@pytest.mark.parametrize(("name", "limit"), wanted(), ids=lambda value: value)
def test_every_dependency_is_locked_within_its_limit(name, limit):
    version = locked()[name.lower().replace("_", "-")]
    if limit:
        lowest = release(limit.removeprefix(">="))
        assert release(version)[: len(lowest)] >= lowest, f"{name} {version} is not {limit}"


def test_the_lock_pins_hashes_and_names_no_address():
    assert LOCK.count("--hash=sha256:") > 500
    assert "://" not in LOCK
    assert "--index" not in LOCK
    assert "--find-links" not in LOCK


@pytest.mark.parametrize("path", sorted((REPOSITORY / "envs").glob("*.yaml")), ids=lambda path: path.stem)
def test_conda_environments_install_the_lock(path):
    environment = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"pip": ["-r ../requirements.lock"]} in environment["dependencies"]
    assert "python=3.11" in environment["dependencies"]


def test_the_fixed_packages_are_there():
    names = {name.lower().replace("_", "-") for name, _ in wanted()}
    assert {"snakemake", "torch", "open-clip-torch", "dvc", "pandas", "trimesh", "pyrender"} <= names
