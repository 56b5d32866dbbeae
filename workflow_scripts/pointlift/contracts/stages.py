"""What each stage hands to the next: the arrays of every kind of shard, and reading many shards as one."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pointlift.contracts.errors import ArtifactError
from pointlift.contracts.shards import Array, ArraySpec, Shard
from pointlift.contracts.shards import read_shard as _read
from pointlift.contracts.shards import write_shard as _write

_VALID = ArraySpec("bool", ("S",))

#: What a point may have beside its place; where a shard holds one, all its shapes have it.
POINT_ATTRIBUTES: dict[str, ArraySpec] = {
    "normals": ArraySpec("float32", ("sum N", 3), optional=True),
    "part_label": ArraySpec("int16", ("sum N",), optional=True),
    "colour": ArraySpec("uint8", ("sum N", 3), optional=True),
    "intensity": ArraySpec("float32", ("sum N",), optional=True),
    "semantic_label": ArraySpec("int16", ("sum N",), optional=True),  # -1: a point that no score counts
    "instance_label": ArraySpec("int32", ("sum N",), optional=True),  # -1: of no object
}

#: Arrays by kind of shard. ``valid`` is False for a shape that a stage up to this one could not use: its rows are then
#: empty (packed arrays) or zero, and every consumer skips it.
STAGES: dict[str, Mapping[str, ArraySpec]] = {
    # Normalised meshes: bounding-box centre at the origin, farthest vertex at radius 1. original = v * scale + centre.
    "meshes": {
        "vertices": ArraySpec("float32", ("sum vertices", 3)),
        "vertex_offsets": ArraySpec("int64", ("S+1",)),
        "faces": ArraySpec("int32", ("sum faces", 3)),  # indices within the shape
        "face_offsets": ArraySpec("int64", ("S+1",)),
        "part_label": ArraySpec("int16", ("sum faces",), optional=True),
        "centre": ArraySpec("float32", ("S", 3)),
        "scale": ArraySpec("float32", ("S",)),
        "valid": _VALID,
    },
    "points": {
        "points": ArraySpec("float32", ("sum N", 3)),
        "point_offsets": ArraySpec("int64", ("S+1",)),
        **POINT_ATTRIBUTES,
        "face_index": ArraySpec("int32", ("sum N",), optional=True),  # where there is a mesh
        # Boxes of scenes: centre, whole edges, heading about z; and which of the dataset's box_names each is.
        "boxes": ArraySpec("float32", ("sum boxes", 7), optional=True),
        "box_offsets": ArraySpec("int64", ("S+1",), optional=True),
        "box_label": ArraySpec("int16", ("sum boxes",), optional=True),
        "valid": _VALID,
    },
    "views": {
        # PNG files, shape by shape, view by view; V empty ones for a shape that is not valid. Read by images.images_of.
        "image_bytes": ArraySpec("uint8", ("bytes",)),
        "image_offsets": ArraySpec("int64", ("S*V+1",)),
        # Of rigs with part_maps: 8-bit grey PNG files in the same order, an index in the attribute part_names for every
        # pixel, 255 for background and for what has no part. Read by images.unpack_maps.
        "part_map_bytes": ArraySpec("uint8", ("map bytes",), optional=True),
        "part_map_offsets": ArraySpec("int64", ("S*V+1",), optional=True),
        "foreground": ArraySpec("float32", ("S", "V")),  # share of pixels that show the shape
        # The cameras: of one rig for all shapes, or (of rigs of kind frames, whose pictures came with the clouds) of
        # every shape; zeros for a shape that is not valid. A shard has the ones or the others.
        "world_to_camera": ArraySpec("float32", ("V", 4, 4), optional=True),
        "intrinsics": ArraySpec("float32", (3, 3), optional=True),
        "posed_world_to_camera": ArraySpec("float32", ("S", "V", 4, 4), optional=True),
        "posed_intrinsics": ArraySpec("float32", ("S", "V", 3, 3), optional=True),
        "valid": _VALID,
    },
    "visibility": {
        "visible": ArraySpec("uint8", ("S", "V", "N/8")),  # bits along the points, np.packbits order
        "num_points": ArraySpec("int64", ("S",)),
        "valid": _VALID,
    },
    "features": {
        "embedding": ArraySpec("float16", ("S", "V", "D")),
        "world_to_camera": ArraySpec("float32", ("V", 4, 4), optional=True),  # of the views
        "posed_world_to_camera": ArraySpec("float32", ("S", "V", 4, 4), optional=True),  # of theirs, likewise
        "valid": _VALID,
    },
    # Patches row by row from the top left, in the space of the same teacher's embedding.
    "tokens": {"tokens": ArraySpec("float16", ("S", "V", "P", "D")), "valid": _VALID},
    # A student's embedding of every shape of a dataset, as one shard; projected: by the head of a method that has one,
    # in the space of its teacher.
    "embeddings": {
        "embedding": ArraySpec("float32", ("S", "C")),
        "projected": ArraySpec("float32", ("S", "D"), optional=True),
        "valid": _VALID,
    },
    # What a teacher that reads text says of a dataset's classes. The ids are class names; unit rows.
    "prompts": {"embedding": ArraySpec("float32", ("S", "D")), "label": ArraySpec("int64", ("S",))},
    # A finetuned student's answers on every val and test shape, at the logged epochs E; the last ends the training.
    "predictions": {
        "epoch": ArraySpec("int64", ("E",)),
        "logits": ArraySpec("float32", ("E", "S", "K")),
        "label": ArraySpec("int64", ("S",)),
        "split": ArraySpec("uint8", ("S",)),  # 0 train, 1 val, 2 test
        # Of R repetitions of test-time voting by the last weights, on the test shapes alone, in their order.
        "vote_logits": ArraySpec("float32", ("R", "S test", "K"), optional=True),
    },
    # The same of a student that labels points with one of P parts: how many points of each part, per shape. An answer
    # is the best of the parts of the shape's own class; ``free`` ones are the best of all parts.
    "part_predictions": {
        "epoch": ArraySpec("int64", ("E",)),
        "hits": ArraySpec("int32", ("E", "S", "P")),  # points of this part with this answer
        "answered": ArraySpec("int32", ("E", "S", "P")),
        "free_hits": ArraySpec("int32", ("E", "S", "P")),
        "free_answered": ArraySpec("int32", ("E", "S", "P")),
        "labelled": ArraySpec("int32", ("S", "P")),
        "own": ArraySpec("bool", ("S", "P")),  # whether the part is one of the shape's class
        "label": ArraySpec("int64", ("S",)),
        "split": ArraySpec("uint8", ("S",)),
    },
    # What neural collapse is seen in: predictions on every train and test shape, with the embedding that the head is
    # given and, of a head that is linear, its weights. Epoch -1: before the first step.
    "epoch_embeddings": {
        "epoch": ArraySpec("int64", ("E",)),
        "embedding": ArraySpec("float32", ("E", "S", "C")),
        "logits": ArraySpec("float32", ("E", "S", "K")),
        "class_weight": ArraySpec("float32", ("E", "K", "C"), optional=True),
        "label": ArraySpec("int64", ("S",)),
        "split": ArraySpec("uint8", ("S",)),
    },
    # Answers on every test shape of students that were finetuned on small sets: E trainings, each at its end.
    "subset_predictions": {
        "size": ArraySpec("float64", ("E",)),  # labelled shapes per class, or their share
        "draw": ArraySpec("int64", ("E",)),
        "phase": ArraySpec("uint8", ("E",)),  # 0: on the labelled set; 1: then on all shapes, without labels
        "logits": ArraySpec("float32", ("E", "S", "K")),
        "label": ArraySpec("int64", ("S",)),
        "split": ArraySpec("uint8", ("S",)),
    },
    # Part predictions of a student that labels the points of scenes, on every val and test scene: K classes, which all
    # scenes have, in place of parts. Points without a label are in none.
    "point_predictions": {
        "epoch": ArraySpec("int64", ("E",)),
        "hits": ArraySpec("int32", ("E", "S", "K")),
        "answered": ArraySpec("int32", ("E", "S", "K")),
        "labelled": ArraySpec("int32", ("S", "K")),
        "split": ArraySpec("uint8", ("S",)),
    },
    # Predictions of a detector on those scenes: Q boxes a scene, for each of R choices of its points. Boxes as those of
    # points.
    "box_predictions": {
        "epoch": ArraySpec("int64", ("E",)),
        "boxes": ArraySpec("float32", ("E", "R", "S", "Q", 7)),
        "scores": ArraySpec("float32", ("E", "R", "S", "Q", "K")),  # probability of each class
        "inside": ArraySpec("int32", ("E", "R", "S", "Q")),  # points of the choice that lie in the box
        "truth": ArraySpec("float32", ("S", "M", 7)),  # true boxes, filled up with zeros
        "truth_label": ArraySpec("int16", ("S", "M")),  # -1 where it is filled up
        "split": ArraySpec("uint8", ("S",)),
    },
}

_OFFSETS = {"vertex_offsets": "vertices", "face_offsets": "faces", "point_offsets": "points", "box_offsets": "boxes"}
_PER_SHAPE = {"S", "sum vertices", "sum faces", "sum N", "sum boxes"}


#: Arrays that describe the cameras of a ``views`` shard: all of one of the two, nothing of the other.
RIG_CAMERAS = ("world_to_camera", "intrinsics")
POSED_CAMERAS = ("posed_world_to_camera", "posed_intrinsics")


def write_stage(path: Path, kind: str, ids: Sequence[str], arrays: Mapping[str, Array], **attributes: Any) -> None:
    """Write one shard of the given kind. ``attributes`` are small JSON values, e.g. ``quarantine={id: reason}``."""
    _require_cameras(kind, arrays)
    _write(Path(path), kind, STAGES[kind], Shard(tuple(ids), dict(arrays), dict(attributes)))


def read_stage(path: Path, kind: str, ids: Sequence[str] | None = None) -> Shard:
    """Read and verify one shard of the given kind; see ``shards.read_shard``."""
    shard = _read(Path(path), kind, STAGES[kind], ids)
    _require_cameras(kind, shard.arrays)
    return shard


def _require_cameras(kind: str, arrays: Mapping[str, Array]) -> None:
    """Raise ``ArtifactError`` for views without cameras, or with those of a rig and others of their own."""
    held = tuple(name for name in (*RIG_CAMERAS, *POSED_CAMERAS) if name in arrays)
    if kind == "views" and held not in (RIG_CAMERAS, POSED_CAMERAS):
        allowed = " or ".join(", ".join(names) for names in (RIG_CAMERAS, POSED_CAMERAS))
        raise ArtifactError(f"views: they hold the cameras {', '.join(held) or 'of nobody'}; must be {allowed}")


def read_stages(paths: Iterable[Path], kind: str) -> Shard:
    """Read several shards as one, in the given order: per-shape and packed arrays are joined, offsets shifted.

    Arrays without a shape axis (cameras) must be equal in all shards; attributes are merged (``quarantine``) or must be
    equal. Not for ``views``, which are read shard by shard.
    """
    shards = [read_stage(path, kind) for path in paths]
    if not shards:
        raise ArtifactError(f"no {kind} shards were given")
    ids = tuple(shape_id for shard in shards for shape_id in shard.ids)
    if len(set(ids)) != len(ids):
        raise ArtifactError(f"{kind}: a shape id stands in two shards")
    if any(set(shard.arrays) != set(shards[0].arrays) for shard in shards):
        raise ArtifactError(f"{kind}: the shards of one dataset hold different arrays; delete them and make them anew")
    arrays = {name: _join(kind, name, shards) for name in shards[0].arrays}
    attributes: dict[str, Any] = {}
    for shard in shards:
        for key, value in shard.attributes.items():
            if isinstance(value, dict):
                attributes[key] = {**attributes.get(key, {}), **value}
            elif attributes.setdefault(key, value) != value:
                raise ArtifactError(
                    f"{kind}: {key} differs between shards of one dataset; delete them and make them anew"
                )
    return Shard(ids, arrays, attributes)


def _join(kind: str, name: str, shards: Sequence[Shard]) -> Array:
    parts = [shard[name] for shard in shards]
    if name in _OFFSETS:
        return join_offsets(parts)
    if STAGES[kind][name].axes[0] in _PER_SHAPE:
        return np.concatenate(_as_wide(parts, shards))
    if any(not np.array_equal(parts[0], part) for part in parts[1:]):
        raise ArtifactError(f"{kind}.{name} differs between shards that were made by one block")
    return parts[0]


def _as_wide(parts: Sequence[Array], shards: Sequence[Shard]) -> list[Array]:
    """A shard without any valid shape cannot know how many points or channels the others have: its zeros fit theirs."""
    known = {part.shape[1:] for part, shard in zip(parts, shards, strict=True) if _any_valid(shard)}
    if len(known) != 1:
        return list(parts)
    wide = known.pop()
    return [
        np.zeros((len(part), *wide), dtype=part.dtype) if part.shape[1:] != wide and not _any_valid(shard) else part
        for part, shard in zip(parts, shards, strict=True)
    ]


def _any_valid(shard: Shard) -> bool:
    return "valid" not in shard.arrays or bool(shard["valid"].any())


def join_offsets(parts: Sequence[Array]) -> Array:
    """Offsets of several packed arrays laid one after another."""
    lengths = np.concatenate([np.diff(part) for part in parts])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def pack(items: Sequence[Array]) -> tuple[Array, Array]:
    """Lay arrays of different lengths one after another: (values, offsets (len + 1,) int64)."""
    lengths = [len(item) for item in items]
    return np.concatenate(items), np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def unpack(values: Array, offsets: Array) -> list[Array]:
    """The inverse of ``pack``: views into ``values``, no copy."""
    return [values[start:stop] for start, stop in itertools.pairwise(offsets)]
