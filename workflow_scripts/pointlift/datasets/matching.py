"""Which mesh of another dataset a cloud was sampled from: named by its id, and then seen to be so."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from pointlift.contracts.dataset_blocks import Scan
from pointlift.contracts.errors import UnusableShapeError
from pointlift.contracts.hashing import stable_seed
from pointlift.contracts.shards import Array
from pointlift.datasets.mesh_file import SUFFIXES
from pointlift.geometry.alignment import MATCH_THRESHOLD, ROTATIONS, Alignment, align_axes
from pointlift.geometry.meshes import Mesh
from pointlift.geometry.sampling import sample_scan, sample_surface

COLUMNS = ["shape_id", "other_id", "accepted", "chamfer_spacings", "rotation", "scale", "shift", "reason"]
NO_MESH = "no such mesh"
_NUM_POINTS, _OUTSIDE = 2048, Scan(num_views=20)
_SYNSET = re.compile(r"\d{8}", re.ASCII)


@dataclass(frozen=True)
class Match:
    """A cloud and the mesh that its id names: how they lie, and the reason why the mesh is not taken ("": it is)."""

    shape_id: str
    other_id: str
    alignment: Alignment | None
    reason: str

    @property
    def order(self) -> tuple[bool, float, bool]:
        """Of several meshes with one name the least is kept: accepted ones first, then the nearest; none comes last."""
        distance = np.inf if self.alignment is None else self.alignment.chamfer
        return bool(self.reason), distance, not self.other_id

    def row(self) -> list[str]:
        """The match as ``COLUMNS``: rotation (nine numbers, row by row), scale and shift where it is accepted."""
        found, placed = self.alignment, [""] * 3
        if found is not None and not self.reason:
            rotation = " ".join(f"{number:.0f}" for number in (ROTATIONS[found.rotation] + 0.0).ravel())
            placed = [rotation, f"{found.scale:.5f}", " ".join(f"{number:.5f}" for number in found.shift)]
        chamfer = "" if found is None else f"{found.chamfer:.4f}"
        return [self.shape_id, self.other_id, "no" if self.reason else "yes", chamfer, *placed, self.reason]


def token_of(shape_id: str) -> str:
    """The last component of an id, without a mesh file's suffix: the model in ShapeNet, the shape in ModelNet."""
    name = shape_id.rpartition("/")[2]
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)


def named_alike(shape_id: str, other_id: str) -> bool:
    """Whether two ids name one shape: equal tokens, and equal synsets (eight digits) where both have one.

    ShapeNetCore holds some models in two synsets.
    """
    synsets = {next(filter(_SYNSET.fullmatch, each.split("/")[:-1]), "") for each in (shape_id, other_id)} - {""}
    return token_of(shape_id) == token_of(other_id) and len(synsets) < 2


def match(shape_id: str, cloud: Array, other_id: str, mesh: Mesh) -> Match:
    """Compare a cloud (n, 3) with the normalised mesh that it names; see ``align_axes`` for the distance."""
    rng = np.random.default_rng(stable_seed(other_id, "match_shapes"))
    try:
        surface = sample_surface(mesh, _NUM_POINTS, rng)[0]
        outside = sample_scan(mesh, _OUTSIDE, _NUM_POINTS, rng)[0]
    except UnusableShapeError as error:
        return Match(shape_id, other_id, None, f"mesh unusable: {error}")
    try:
        found = align_axes(cloud, surface, outside)
    except UnusableShapeError as error:
        return Match(shape_id, other_id, None, f"cloud unusable: {error}")
    reason = "too far" if found.chamfer >= MATCH_THRESHOLD else ""
    if found.is_mirrored and found.mirrored_chamfer < MATCH_THRESHOLD:
        reason = f"mirror image: {found.mirrored_chamfer:.4f} spacings when mirrored"
    return Match(shape_id, other_id, found, reason)
