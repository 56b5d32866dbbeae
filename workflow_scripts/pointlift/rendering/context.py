"""The one OpenGL context of a process: EGL through pyrender, no display, no torch."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

import numpy as np

from pointlift.contracts.errors import MachineError

#: A Mesa context followed by an import of triton, which torch brings along, kills the process: both carry an LLVM.
FORBIDDEN = ("torch", "triton")

_renderers: dict[int, Any] = {}  # by size; never more than one


def offscreen_renderer(image_size: int) -> Any:
    """The process's ``pyrender.OffscreenRenderer`` of square pictures.

    There is never a second one: all contexts of a process share one EGL display, so that deleting one would end the
    others, and a new one for every mesh costs many times the drawing. Nor does it change its size: processes
    that did so back and forth died in Mesa now and then (in ``glBlitFramebuffer``; two of about twenty).

    Raises ``MachineError`` when torch has been imported, when there is no OpenGL to draw with, or when the process has
    drawn pictures of another size.
    """
    if image_size in _renderers:
        return _renderers[image_size]
    if _renderers:
        raise MachineError(
            f"this process draws pictures of {next(iter(_renderers))} pixels; draw those of {image_size} pixels in "
            "another one: changing the size within a process can crash it"
        )
    refuse_torch()
    try:
        _renderers[image_size] = import_pyrender().OffscreenRenderer(image_size, image_size)
    except Exception as error:  # pyrender and PyOpenGL raise anything, from ImportError to GLError
        raise MachineError(
            f"no OpenGL context could be made ({type(error).__name__}: {error}); "
            "`python -m pointlift.rendering.preflight` names what is missing"
        ) from error

    return _renderers[image_size]


def close() -> None:
    """Take the context down; what was drawn with is not to be used again."""
    for size in list(_renderers):
        _renderers.pop(size).delete()


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
