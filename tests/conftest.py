"""Fixtures that every test may use."""

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
