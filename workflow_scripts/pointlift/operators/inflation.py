"""Inflation: 2D filters repeated along one axis become 3D filters; batch norms are copied.

Xu et al., "Image2Point: 3D Point-Cloud Understanding with 2D Image Pretrained Models", ECCV 2022. Kernels are
(out, in, rows, columns) in 2D and (out, in, x, y, z) in 3D: the weight of ``torch.nn.Conv3d`` on a grid
[batch, channel, x, y, z], and of ``SparseConvolution3d``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.contracts.image_weights import Axis, Scale, Shortcut
from pointlift.operators.image_networks import is_shortcut
from pointlift.operators.weight_files import COUNTER, listed, without_counters

#: Where rows and columns of an image go when its kernel is repeated along an axis.
_PLANES = {"x": ("y", "z"), "y": ("z", "x"), "z": ("y", "x")}
#: The axis along which the authors' code repeats for each of its option's values: y and z change places.
_AUTHORS_AXES: Mapping[Axis, Axis] = {"x": "x", "y": "z", "z": "y"}


@dataclass(frozen=True)
class Inflation:
    """How a 2D network becomes a 3D one."""

    axis: Axis
    scale: Scale
    shortcut: Shortcut
    #: ``axis`` is meant as the option of the authors' code, which calls y what is z and z what is y.
    authors_axis_names: bool = False

    @property
    def along(self) -> Axis:
        """The axis along which filters are repeated."""
        return _AUTHORS_AXES[self.axis] if self.authors_axis_names else self.axis


@dataclass(frozen=True)
class Origin:
    """Where a tensor of a 3D network came from."""

    source: str
    how: str


def inflate(weight_OIhw: Tensor, axis: Axis, scale: Scale) -> Tensor:
    """A 2D kernel (out, in, k, k) repeated k times along ``axis``: (out, in, k, k, k), axes x, y, z.

    Rows and columns become y and x along z, z and x along y, y and z along x. Raises ``ConfigError`` for ``center`` of
    an even kernel, which has no middle, ``ValueError`` for what is no square 2D kernel.
    """
    if weight_OIhw.ndim != 4 or weight_OIhw.shape[2] != weight_OIhw.shape[3]:
        raise ValueError(f"a square 2D kernel is (out, in, k, k), not {tuple(weight_OIhw.shape)}")
    size = weight_OIhw.shape[2]
    if scale == "center":
        if size % 2 == 0:
            raise ConfigError(f"scale center: a kernel of {size}x{size} has no middle slice; choose none or mean")
        slices = weight_OIhw.new_zeros(*weight_OIhw.shape[:2], size, size, size)
        slices[:, :, size // 2] = weight_OIhw.detach()
    else:
        one = weight_OIhw.detach() / size if scale == "mean" else weight_OIhw.detach()
        slices = one.unsqueeze(2).expand(-1, -1, size, -1, -1)
    return _placed(slices, axis).clone(memory_format=torch.contiguous_format)


def _placed(slices: Tensor, axis: Axis) -> Tensor:
    """(out, in, repetition, rows, columns) in the layout of 3D kernels, (out, in, x, y, z)."""
    rows, columns = _PLANES[axis]
    place = {axis: 2, rows: 3, columns: 4}
    return slices.permute(0, 1, place["x"], place["y"], place["z"])


def spread_shortcut(weight_OI11: Tensor, shortcut: Shortcut) -> Tensor:
    """The 1x1 kernel of a shortcut in 3D: (out, in, 1, 1, 1), or repeated over (out, in, 2, 2, 2).

    Raises ``ValueError`` for a kernel that is not 1x1.
    """
    if weight_OI11.ndim != 4 or weight_OI11.shape[2:] != (1, 1):
        raise ValueError(f"the kernel of a shortcut is (out, in, 1, 1), not {tuple(weight_OI11.shape)}")
    point = weight_OI11.detach().unsqueeze(4)
    if shortcut == "single":
        return point.clone()
    return (point / 8 if shortcut == "mean" else point).expand(-1, -1, 2, 2, 2).clone()


def inflated(name: str, tensor: Tensor, inflation: Inflation) -> tuple[Tensor, str]:
    """What the stage tensor ``name`` of a 2D network becomes in 3D, a tensor of its own, and how, in words.

    Kernels are inflated, those of shortcuts spread; what belongs to batch norms is copied.
    """
    if tensor.ndim != 4:
        return tensor.detach().clone(), "copied"
    if is_shortcut(name):
        words = {"single": "kept 1x1x1", "sum": "spread over 2x2x2", "mean": "spread over 2x2x2, divided by 8"}
        return spread_shortcut(tensor, inflation.shortcut), words[inflation.shortcut]
    if tensor.shape[2:] == (1, 1):
        return inflate(tensor, inflation.along, "none"), "kept 1x1x1"
    words = {"none": "", "mean": f", divided by {tensor.shape[2]}", "center": ", in the middle slice alone"}
    how = f"inflated along {inflation.along}{words[inflation.scale]}"
    return inflate(tensor, inflation.along, inflation.scale), how


def inflate_stages(
    source: Mapping[str, Tensor], names: Mapping[str, str], inflation: Inflation | None
) -> tuple[dict[str, Tensor], dict[str, Origin]]:
    """Tensors of the 3D network by their names there, and where each came from.

    source : stage tensors of the 2D network. names : from the name in 3D to the name in 2D. Names that ``source`` lacks
    give nothing. Counters of batch norms come along where ``source`` has them. inflation : None copies all as it is,
    for a network whose stages are those of the source.
    """
    tensors: dict[str, Tensor] = {}
    origins: dict[str, Origin] = {}
    for target, name in _with_counters(names).items():
        if name in source:
            tensor = source[name]
            tensors[target], how = (
                inflated(name, tensor, inflation) if inflation else (tensor.detach().clone(), "copied")
            )
            origins[target] = Origin(name, how)
    return tensors, origins


def load_inflated(
    network: nn.Module,
    stage_tensors: Collection[str],
    source: Mapping[str, Tensor],
    names: Mapping[str, str],
    inflation: Inflation | None,
) -> dict[str, Origin]:
    """Fill the stages of a 3D network, in place, from those of a 2D one; says where each tensor came from.

    stage_tensors : names of all tensors of the network that must be filled. source, names : as in ``inflate_stages``.
    Raises ``ArtifactError`` when one of them finds no source or one of another shape, or when ``names`` gives a source
    to something else; it lists what was found, missing and of another shape, and the network is left as it was.
    """
    tensors, origins = inflate_stages(source, names, inflation)
    wanted = {name: tensor for name, tensor in network.state_dict().items() if name in stage_tensors}
    problems = _problems(wanted, tensors, names) + listed("not of this network", sorted({*stage_tensors} - {*wanted}))
    if problems:
        number, found = len(without_counters(wanted)), len(without_counters(tensors).keys() & wanted.keys())
        raise ArtifactError(
            f"inflation: found sources of {found} of {number} stage tensors; {'; '.join(problems)}; "
            "give the 2D architecture and the names that this network was made for"
        )
    network.load_state_dict(tensors, strict=False)
    return origins


def _problems(wanted: Mapping[str, Tensor], tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> list[str]:
    missing = [
        f"{name} (from {names[name]})" if name in names else name
        for name in without_counters(wanted)
        if name not in tensors
    ]
    reshaped = [
        f"{name} {tuple(wanted[name].shape)} from {tuple(tensor.shape)}"
        for name, tensor in tensors.items()
        if name in wanted and wanted[name].shape != tensor.shape
    ]
    needless = sorted(set(names) - set(wanted))
    return listed("missing", missing) + listed("of another shape", reshaped) + listed("no stage tensors", needless)


def _with_counters(names: Mapping[str, str]) -> dict[str, str]:
    last = "running_mean"
    counters = {
        target.removesuffix(last) + COUNTER: name.removesuffix(last) + COUNTER
        for target, name in names.items()
        if target.endswith(last)
    }
    return {**names, **counters}
