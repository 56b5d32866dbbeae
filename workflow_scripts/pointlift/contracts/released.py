"""Checkpoints that others released: in which layout a file is, what its pretraining saw, which student is its network.

Pang et al., Point-MAE, ECCV 2022; Yu et al., Point-BERT, CVPR 2022; Wang et al., DGCNN, TOG 2019; Qi et al.,
PointNet++, NeurIPS 2017. Sizes that no weight tells (groups, neighbours, radii) are the student block's to say.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from pointlift.contracts.settings import Settings

#: Classifiers: point_mae, point_bert (finetuned), dgcnn (dgcnn.pytorch), pointnet2_ssg (Pointnet_Pointnet2_pytorch).
#: Encoders alone, as their pretraining left them: point_mae_pretrained, point_bert_pretrained.
Layout = Literal["point_mae", "point_mae_pretrained", "point_bert", "point_bert_pretrained", "dgcnn", "pointnet2_ssg"]
PRETRAINED: tuple[Layout, ...] = ("point_mae_pretrained", "point_bert_pretrained")
#: replayed: a released classifier as it is, its own head answers. init_released: a released encoder as the start.
RELEASED_ARMS = ("replayed", "init_released")
#: What its pretraining saw. The hybrid sets of some hold shapes, or shapes and labels, of the sets that are judged.
Saw = Literal["shapenet-only", "hybrid", "labelled-hybrid", "labelled"]

_GROUPS: dict[str, Any] = {"kind": "point_transformer", "centres": "farthest_off_origin"}
#: Keys of the student block that make it the network of a layout.
WANTED: dict[Layout, dict[str, Any]] = {
    "point_mae": {**_GROUPS, "pool": "class_max", "class_token": True},
    "point_mae_pretrained": _GROUPS,
    "point_bert": {**_GROUPS, "pool": "class_max", "class_token": True},
    "point_bert_pretrained": {**_GROUPS, "class_token": True},
    "dgcnn": {"kind": "dgcnn", "last_slope": 0.2, "pool": "max_mean"},
    "pointnet2_ssg": {"kind": "pointnet2", "centres": "farthest", "balls": "first"},
}


class ReleasedFile(Settings):
    """Where released weights lie, and how."""

    file: str
    """Below ``paths.archives``; a torch file of tensors, or safetensors. Nothing in it is run."""
    layout: Layout
    """Whose key names it has: a classifier's (arm replayed), or those of a pretrained encoder (arm init_released)."""
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    """Of the file; another one is refused."""
    head_classes: int | None = Field(default=None, ge=1)
    """Classes that its head names, where they are more than the dataset has: the first are the dataset's, and an answer
    among the others is wrong (Point-BERT's settings for the 15 classes of ScanObjectNN say 40). None: as many."""

    @field_validator("file")
    @classmethod
    def _below(cls, file: str) -> str:
        if not file or file.startswith(("/", "~")) or ".." in file.split("/"):
            raise ValueError("a released file is named from paths.archives on, e.g. released/modelnet_1k.pth")
        return file


class ReleasedSettings(ReleasedFile):
    """A released file that a run's student is filled with."""

    saw: Saw
    """What its pretraining saw, by its authors: shapenet-only, hybrid, labelled-hybrid; labelled: trained on the labels
    of one train split alone. Rows carry it: they are compared with others that saw the same."""


def released_mistake(arm: str, released: ReleasedSettings | None) -> str | None:
    """What an arm says wrongly of a released file; None where all is well."""
    if released is None:
        return f"arm {arm} needs released: {{file, layout, saw}}" if arm in RELEASED_ARMS else None
    wanted = RELEASED_ARMS[released.layout in PRETRAINED]
    if arm == wanted:
        return None
    holds = "an encoder without a head" if released.layout in PRETRAINED else "a classifier with its head"
    return f"layout {released.layout} is {holds}: its arm is {wanted}, this run says {arm}"


def student_mistakes(layout: Layout, block: dict[str, Any]) -> list[str]:
    """Keys of a student block, resolved, that make it another network than the layout's: "pool 'max', not 'class'"."""
    wanted = WANTED[layout]
    if block.get("kind") != wanted["kind"]:
        return [f"kind {block.get('kind')!r}, not {wanted['kind']!r}"]
    return [f"{key} {block.get(key)!r}, not {value!r}" for key, value in wanted.items() if block.get(key) != value]
