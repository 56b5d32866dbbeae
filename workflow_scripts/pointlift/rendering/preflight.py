"""Can this machine render? ``python -m pointlift.rendering.preflight`` names what pip could not bring, and the command.

One line per missing thing and exit status 1; nothing and 0 where all is there. With ``--install`` root on Debian gets
the packages installed. ``missing()`` says the same to Python, and is safe in any process: the trial render runs in one
of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

_LIBRARIES = {
    # file: (what it is, Debian package, conda-forge package)
    "libEGL.so.1": ("EGL, which opens OpenGL without a display", "libegl1", "libegl"),
    "libGL.so.1": ("OpenGL", "libgl1", "libgl"),
}
_NO_VENDOR = ("no EGL driver (Mesa's, or that of a GPU)", "libegl-mesa0 libgl1-mesa-dri", "mesalib")
_NO_DRAWING = ("no software OpenGL driver (Mesa's swrast)", "libgl1-mesa-dri", "mesalib")
#: All of them, as Debian calls them: what the trial render needs of the system.
_PACKAGES = ("libegl1", "libgl1", "libegl-mesa0", "libgl1-mesa-dri")
_PATIENCE = 120
#: What a failed trial render says, and what is then missing. The first match counts.
_SYMPTOMS = (
    ("Unable to load EGL library", _LIBRARIES["libEGL.so.1"]),
    ('Library "GL" not found', _LIBRARIES["libGL.so.1"]),
    ("Invalid device ID", _NO_VENDOR),
    ("failed to open swrast", _NO_DRAWING),
    ("eglInitialize", _NO_DRAWING),
)
_TRIAL = """
import numpy as np
from pointlift.rendering import mesh
_, foreground = mesh.build(mesh.Settings(kind="mesh")).photograph(np.eye(3), np.array([[0, 1, 2]]))
if foreground.max() == 0:
    raise SystemExit("OpenGL opens, but draws nothing")
"""


def missing() -> list[str]:
    """One line per thing this machine lacks for rendering, each with the apt and the conda command; empty: it renders.

    Settings in the environment (``PYOPENGL_PLATFORM``, ``EGL_DEVICE_ID``) count as they will count in the jobs.
    """
    absent = [_line(*told) for name, told in _LIBRARIES.items() if not has_library(name)]
    if absent:
        return absent
    trace = trial_failure()
    if trace is None:
        return []
    for symptom, told in _SYMPTOMS:
        if symptom in trace:
            hint = " (or EGL_DEVICE_ID names none)" if told is _NO_VENDOR and "EGL_DEVICE_ID" in os.environ else ""
            return [_line(*told) + hint]
    last = trace.strip().splitlines()[-1]
    return [f"a trial render failed ({last}); the libraries it may lack: apt-get install -y {' '.join(_PACKAGES)}"]


def has_library(name: str) -> bool:
    """Can the dynamic loader open this library?"""
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def trial_failure() -> str | None:
    """Open an OpenGL context in a process of its own; None when that works, else all that it said."""
    library = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [library, os.environ.get("PYTHONPATH")]))
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TRIAL],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return f"no picture within {_PATIENCE} seconds"
    if done.returncode == 0:
        return None
    return f"{done.stdout}{done.stderr}".strip() or f"it died without a word, exit status {done.returncode}"


def _line(what: str, debian: str, conda: str) -> str:
    return (
        f"missing: {what}; on Debian or Ubuntu: apt-get install -y {debian}; "
        f"with conda: conda install -y -c conda-forge {conda}"
    )


def can_install() -> bool:
    """Is this process root on a system with apt?"""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install() -> None:
    """Install the packages with apt; what apt says goes to standard error, and its failure shows in ``missing()``."""
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *_PACKAGES]):
        subprocess.run(["apt-get", *command], env=quiet, stdout=sys.stderr, check=False)


def main(arguments: list[str] | None = None) -> int:
    """Write one line per missing thing; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--install", action="store_true", help="as root on Debian: install what is missing with apt")
    wanted = parser.parse_args(arguments)
    lines = missing()
    if lines and wanted.install and can_install():
        sys.stdout.writelines(f"installing what is missing: {' '.join(_PACKAGES)}\n")
        sys.stdout.flush()
        install()
        lines = missing()
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
