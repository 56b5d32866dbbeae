"""2D weights as the start of a point encoder: how they become 3D ones, and what finetuning may change afterwards.

Xu et al., "Image2Point: 3D Point-Cloud Understanding with 2D Image Pretrained Models", ECCV 2022.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pointlift.contracts.settings import Settings

Axis = Literal["x", "y", "z"]
#: none: copies as they are (the authors'). mean: copies divided by their number. center: the middle one, zeros beside.
Scale = Literal["none", "mean", "center"]
#: Of a 1x1 shortcut. single: stays 1x1x1. sum: 2x2x2 copies as they are (the authors'). mean: 2x2x2 copies, each an
#: eighth.
Shortcut = Literal["single", "sum", "mean"]
#: io: input and output layers. ioms: and running statistics of the stages. io_bn: and the batch norms' weights and
#: biases. all: everything. From random weights, ``all`` is the arm scratch and ``io`` is frozen_random.
Regime = Literal["io", "ioms", "io_bn", "all"]
#: Arms of runs without a method whose student has stages of a 2D network. All but the last start from 2D weights.
IMAGE_ARMS = ("io", "ioms", "io_bn", "all", "frozen_random")


class InflationSettings(Settings):
    """Which 2D weights a student starts from, and how they become 3D ones."""

    source: str
    """A teacher whose weights hold stages of the student's 2D architecture; it is not asked for embeddings."""
    axis: Axis = "z"
    """Filters are repeated along it. Transformers and networks that stay 2D take weights as they are."""
    scale: Scale = "none"
    """none: copies as they are (the authors'). mean: divided by their number. center: the middle one, zeros beside."""
    shortcut: Shortcut = "sum"
    """Of a 1x1 shortcut. single: stays 1x1x1. sum: 2x2x2 copies as they are (the authors'). mean: each an eighth. It
    goes with the student's ``shortcut_kernel``; without meaning where shortcuts have no weights."""
    authors_axis_names: bool = False
    """True: ``axis`` is meant as the option of the authors' code, which calls y what is z and z what is y."""
    excluded_stages: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Numbers of stages that keep their own random weights."""


def image_arm_mistake(arm: str, inflation: InflationSettings | None, regime: Regime, recalibrate: bool) -> str | None:
    """What an arm of a run without a method says wrongly of its weights and regime; None where all is well."""
    if arm not in IMAGE_ARMS:
        if inflation is not None:
            return f"a run with inflation is one of the arms {', '.join(IMAGE_ARMS[:-1])}, as its regime is"
        if regime != "all" or recalibrate:
            return f"regime {regime} and recalibrate are for the arms {', '.join(IMAGE_ARMS)}"
        return None
    if arm == "frozen_random":
        ok = inflation is None and regime == "io"
        return None if ok else "arm frozen_random is regime io without inflation"
    if inflation is None:
        return f"arm {arm} starts from 2D weights: it needs inflation (without it: scratch; in regime io frozen_random)"
    return None if arm == regime else f"arm {arm} is regime {arm}; this run says {regime}"
