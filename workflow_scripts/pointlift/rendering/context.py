"""The one OpenGL context of a process: EGL through pyrender, no display, no torch."""

from __future__ import annotations

import logging
import os
import sys
from functools import cache
from typing import Any

import numpy as np

from pointlift.contracts.errors import MachineError

#: A Mesa context followed by an import of triton, which torch brings along, kills the process: both carry an LLVM.
FORBIDDEN = ("torch", "triton")


@cache
def offscreen_renderer() -> Any:
    """The process's ``pyrender.OffscreenRenderer``; whoever draws sets its viewport first.

    There is never a second one: all contexts of a process share one EGL display, so that deleting one would end the
    others, and a new one for every mesh costs many times the drawing.

    Raises ``MachineError`` when torch has been imported, or when there is no OpenGL to draw with.
    """
    refuse_torch()
    try:
        return import_pyrender().OffscreenRenderer(64, 64)
    except Exception as error:  # pyrender and PyOpenGL raise anything, from ImportError to GLError
        raise MachineError(
            f"no OpenGL context could be made ({type(error).__name__}: {error}); "
            "`python -m pointlift.rendering.preflight` names what is missing"
        ) from error


def import_pyrender() -> Any:
    """Import pyrender for EGL, one drawing thread per process, under numpy 2."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    os.environ.setdefault("LP_NUM_THREADS", "1")
    if not hasattr(np, "infty"):
        np.infty = np.inf  # type: ignore[attr-defined]  # pyrender 0.1.45 still asks for it
    logging.getLogger("OpenGL.acceleratesupport").setLevel(logging.WARNING)  # its absence costs nothing here
    import pyrender

    return pyrender


def refuse_torch() -> None:
    """Raise ``MachineError`` in a process that has imported torch: it could die without a word."""
    found = [name for name in FORBIDDEN if name in sys.modules]
    if found:
        raise MachineError(
            f"{', '.join(found)} is imported in this process, and a process that renders must not hold it "
            "(two LLVMs in one process crash); render in a process of its own, as the rule render_views does"
        )
