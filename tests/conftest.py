"""Fixtures that every test may use."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real meshes and weights beside the checkout; the test is skipped where there is none."""
    folder = REPOSITORY.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("real data is not beside this checkout (../shared/realdata)")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(autouse=True)
def _same_weights_in_every_order() -> None:
    """Networks that a test builds without a seed of their own are the same whichever tests ran before."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A disk of 512 KiB; the test is skipped where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no small disk: mount says {mounted.stderr.strip()!r} (only root may)")
    yield folder
    subprocess.run(["umount", folder], check=True)
