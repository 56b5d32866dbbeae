"""Reading one mesh file, whatever it holds: what cannot be read has a reason, never a stack trace."""

from __future__ import annotations

import io
import stat
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pointlift.contracts.errors import UnusableShapeError
from pointlift.datasets.off_file import is_off, read_off
from pointlift.geometry.meshes import TO_Z_UP, Mesh, rotate

SUFFIXES = (".off", ".obj", ".ply", ".stl", ".glb")
LARGEST_FILE = 1 << 30  # bytes

#: What files that are no mesh begin with.
_NO_MESH = {
    b"version https://git-lfs": "it is a Git LFS pointer; fetch the real file",
    b"<": "it is a web page or XML, perhaps a failed download",
    b"PK\x03\x04": "it is a zip archive; unpack it",
    b"\x1f\x8b": "it is gzip-compressed; unpack it",
    b"\xfd7zXZ": "it is xz-compressed; unpack it",
    b"\x89PNG": "it is a picture",
    b"\xff\xd8\xff": "it is a picture",
}


def read_mesh(path: Path, up_axis: Literal["x", "y", "z"] | None = "z") -> Mesh:
    """Read a triangle mesh by what the file holds, not by its name, and turn its ``up_axis`` to z.

    It is as in the file otherwise: ``geometry.meshes.clean`` comes after. Raises ``UnusableShapeError``.
    """
    content = read_bytes(path)
    if kind_of(content, path.suffix) == "off":
        vertices, faces, _ = read_off(content)
        mesh = Mesh(vertices, faces)
    else:
        mesh = _read_by_trimesh(content, kind_of(content, path.suffix))
    return turn_up(mesh, up_axis)


def turn_up(mesh: Mesh, up_axis: Literal["x", "y", "z"] | None) -> Mesh:
    """The mesh with its up axis along z; None (no common pose) leaves it as it is."""
    return rotate(mesh, TO_Z_UP[up_axis]) if up_axis in TO_Z_UP else mesh


def read_bytes(path: Path) -> bytes:
    """The file's content, or ``UnusableShapeError``: not there, not readable, no plain file, empty, too large."""
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):  # reading a pipe or a device need never end
            raise UnusableShapeError("the file cannot be read: it is a folder, a pipe or a device")
        if state.st_size > LARGEST_FILE:
            raise UnusableShapeError(f"the file has {state.st_size} bytes, at most {LARGEST_FILE} are read")
        content = path.read_bytes()
    except OSError as error:
        raise UnusableShapeError(f"the file cannot be read: {error.strerror}") from None
    if not content.strip():
        raise UnusableShapeError("the file is empty")
    return content


def kind_of(content: bytes, suffix: str) -> str:
    """``off``, ``ply``, ``glb``, ``stl`` or ``obj``. Raises ``UnusableShapeError`` when it is no mesh file."""
    for start, reason in _NO_MESH.items():
        if content.lstrip()[: len(start)].lower() == start.lower():
            raise UnusableShapeError(f"the file is no mesh: {reason}")
    if is_off(content):
        return "off"
    if content.startswith(b"ply"):
        return "ply"
    if content.startswith(b"glTF"):
        return "glb"
    if _is_binary_stl(content) or (content.lstrip().startswith(b"solid") and b"facet" in content[:4096]):
        return "stl"
    if b"\x00" in content[:4096]:
        truncated = suffix.lower() == ".stl"
        raise UnusableShapeError(
            "a truncated binary STL file" if truncated else "the file is binary, of no known format"
        )
    if any(line.split()[:1] == [b"v"] for line in content[:65536].splitlines()):
        return "obj"
    if suffix.lower() == ".off" and content.split()[0].isdigit():
        return "off"
    raise UnusableShapeError(
        f"the file holds no mesh that can be recognised (OFF, OBJ, PLY, STL, GLB), name {suffix!r}"
    )


def _is_binary_stl(content: bytes) -> bool:
    return len(content) >= 84 and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")


def _read_by_trimesh(content: bytes, kind: str) -> Mesh:
    """All bodies of the file as one mesh. Any failure of the parser is a reason, not an error of ours."""
    import trimesh

    options: Any = {"skip_materials": True, "split_objects": False} if kind == "obj" else {}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            scene = trimesh.load_scene(io.BytesIO(content), file_type=kind, process=False, **options)
            bodies = [body for body in _bodies(scene, kind) if isinstance(body, trimesh.Trimesh)]
    except Exception as error:
        first_line = str(error).split("\n")[0][:120]
        raise UnusableShapeError(f"{kind.upper()} file cannot be read ({type(error).__name__}: {first_line})") from None
    if not any(len(body.faces) for body in bodies):
        raise UnusableShapeError(f"{kind.upper()} file holds no faces")
    if any(body.vertices.shape[1:] != (3,) or body.faces.shape[1:] != (3,) for body in bodies):
        raise UnusableShapeError(f"{kind.upper()} file cannot be read (its vertices have not three coordinates)")
    starts = np.cumsum([0] + [len(body.vertices) for body in bodies])
    vertices = np.concatenate([np.asarray(body.vertices, dtype=np.float64) for body in bodies])
    faces = [np.asarray(body.faces, dtype=np.int64) + start for body, start in zip(bodies, starts, strict=False)]
    return Mesh(vertices, np.concatenate(faces))


def _bodies(scene: Any, kind: str) -> list[Any]:
    """Placed where the scene has them, which copies them; only GLB files say where."""
    if kind == "glb" or len(scene.geometry) != 1:
        return list(scene.dump())
    return list(scene.geometry.values())
