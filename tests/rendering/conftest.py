"""What the tests of this room share: a process to render in, and what it photographed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def render_process():
    """Run Python in a process of its own, where no torch can have been imported; returns the finished process."""

    def run(*arguments):
        path = os.pathsep.join([str(HERE.parents[1] / "workflow_scripts"), str(HERE)])
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def photos(render_process, tmp_path_factory):
    """Two independent runs of photo_session.py, each a dict of arrays."""
    return [_photos(render_process, tmp_path_factory.mktemp("photos")) for _ in range(2)]


def _photos(render_process, folder):
    arrays = {}
    for size in ("64", "96", "224"):
        path = folder / f"{size}.npz"
        done = render_process(HERE / "photo_session.py", size, path)
        assert done.returncode == 0, done.stderr
        with np.load(path) as taken:
            arrays.update(taken)
    return arrays
