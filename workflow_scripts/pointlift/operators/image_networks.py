"""2D residual networks whose weights are inflated: what their stages hold, their files, and the small ones whole.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016: table 1 (ImageNet), section 4.2 (CIFAR-10, with
shortcuts that have no parameters). The ImageNet ones are torchvision's, strides in the 3x3 convolutions of bottlenecks.
Every one names its stages' tensors alike: ``layer1.0.conv1.weight``, ``layer1.0.bn1.running_mean``, and
``layer2.0.downsample.0.weight`` (convolution) and ``.1.*`` (batch norm) where a shortcut is a convolution.
Letters: B images, C channels, H W pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor, nn
from torch.nn import functional

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.operators.initialisation import initialised
from pointlift.operators.weight_files import listed, misfits, read_weights, without_counters

_NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class ImageArchitecture:
    """The stages of a residual network: blocks and inner widths of each, and what its blocks are like."""

    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    stem_width: int
    bottleneck: bool = False
    #: Shortcuts between widths are 1x1 convolutions; otherwise every second pixel and channels of zeros on both sides.
    convolved_shortcuts: bool = True

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the first block of each stage."""
        return (1, *(2 for _ in self.blocks[1:]))

    @property
    def out_widths(self) -> tuple[int, ...]:
        """Channels that leave each stage."""
        return tuple(width * (4 if self.bottleneck else 1) for width in self.widths)


def _small(blocks: int) -> ImageArchitecture:
    return ImageArchitecture((blocks,) * 3, (16, 32, 64), stem_width=16, convolved_shortcuts=False)


_WIDTHS = (64, 128, 256, 512)
#: Every 2D source by name. ``resnet8`` is the CIFAR network with one block per stage, small enough to train in a graph.
ARCHITECTURES: Mapping[str, ImageArchitecture] = MappingProxyType(
    {
        "resnet18": ImageArchitecture((2, 2, 2, 2), _WIDTHS, 64),
        "resnet34": ImageArchitecture((3, 4, 6, 3), _WIDTHS, 64),
        "resnet50": ImageArchitecture((3, 4, 6, 3), _WIDTHS, 64, bottleneck=True),
        "resnet101": ImageArchitecture((3, 4, 23, 3), _WIDTHS, 64, bottleneck=True),
        "resnet152": ImageArchitecture((3, 8, 36, 3), _WIDTHS, 64, bottleneck=True),
        "cifar_resnet20": _small(3),
        "cifar_resnet56": _small(9),
        "resnet8": _small(1),
    }
)


def architecture_of(name: str) -> ImageArchitecture:
    """The architecture of this name. Raises ``ConfigError`` that lists all there are."""
    if name not in ARCHITECTURES:
        raise ConfigError(f"no 2D source {name!r}; there are {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def stage_shapes(architecture: ImageArchitecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the stages, in the order of the network, without the counters of batch norms.

    Convolutions are (out, in, rows, columns).
    """
    shapes: dict[str, tuple[int, ...]] = {}
    width = architecture.stem_width
    for stage, (blocks, inner, wider) in enumerate(
        zip(architecture.blocks, architecture.widths, architecture.out_widths, strict=True), start=1
    ):
        for block in range(blocks):
            for layer, shape in _block_layers(architecture, width, inner, wider, strided=stage > 1 and block == 0):
                name = f"layer{stage}.{block}.{layer}"
                shapes |= {f"{name}.weight": shape} if len(shape) == 4 else {f"{name}.{part}": shape for part in _NORM}
            width = wider
    return shapes


def _block_layers(
    architecture: ImageArchitecture, width: int, inner: int, wider: int, *, strided: bool
) -> Iterator[tuple[str, tuple[int, ...]]]:
    kernels = (1, 3, 1) if architecture.bottleneck else (3, 3)
    for number, kernel in enumerate(kernels, start=1):
        out = wider if number == len(kernels) else inner
        yield f"conv{number}", (out, width if number == 1 else inner, kernel, kernel)
        yield f"bn{number}", (out,)
    if architecture.convolved_shortcuts and (strided or width != wider):
        yield "downsample.0", (wider, width, 1, 1)
        yield "downsample.1", (wider,)


def is_shortcut(name: str) -> bool:
    """Whether a stage tensor is the 1x1 convolution of a shortcut."""
    return name.endswith("downsample.0.weight")


def stage_of(name: str) -> int:
    """Number of the stage that a stage tensor belongs to, from 1."""
    return int(name.partition(".")[0].removeprefix("layer"))


def read_stages(path: Path, name: str) -> dict[str, Tensor]:
    """Stage tensors of the 2D network ``name`` in a local file (safetensors, npz, or torch's, read without pickle).

    Stem and classifier are left out: nothing is inflated from them. Raises ``ArtifactError`` when the stages are not
    exactly this architecture's, listing what is missing, unexpected and of another shape, or hold a number that is not
    finite; ``ConfigError`` for an architecture that does not exist.
    """
    return stages_of(read_weights(path), name, str(path))


def stages_of(weights: Mapping[str, Tensor], name: str, source: str) -> dict[str, Tensor]:
    """The stage tensors among all ``weights`` of a 2D network, checked; see ``read_stages``. source : for the error."""
    wanted = stage_shapes(architecture_of(name))
    found = {key: value for key, value in weights.items() if key.startswith("layer")}
    problems = misfits(wanted, without_counters(found))
    problems += listed("not finite", [key for key in wanted if key in found and not found[key].isfinite().all()])
    if problems:
        raise ArtifactError(
            f"{source}: does not hold the stages of {name}: {'; '.join(problems)}; "
            f"give a file of {name}, or the architecture the file was made with ({', '.join(ARCHITECTURES)})"
        )
    return found


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions with batch norms beside a shortcut without parameters."""

    def __init__(self, width: int, wider: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, wider - width
        self.conv1 = nn.Conv2d(width, wider, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(wider)
        self.conv2 = nn.Conv2d(wider, wider, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(wider)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """maps_BCHW : (B, width, H, W). Returns (B, wider, H / stride, W / stride), rounded up."""
        inner = functional.relu(self.bn1(self.conv1(maps_BCHW)))
        kept = maps_BCHW[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(kept, (0, 0, 0, 0, self.added // 2, self.added - self.added // 2))
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


class SmallImageNetwork(nn.Sequential):
    """A CIFAR residual network, or the smaller one of that kind: images (B, 3, H, W) to logits (B, K).

    Its tensors have the names of the published CIFAR weights: ``conv1``, ``bn1``, ``layer1`` to ``layer3``, ``linear``.
    All but its last two parts, pooling and classifier, is its trunk. Raises ``ValueError`` for an architecture with
    convolutions in its shortcuts.
    """

    def __init__(self, architecture: ImageArchitecture, num_classes: int) -> None:
        if architecture.convolved_shortcuts or architecture.bottleneck:
            raise ValueError("a network with convolved shortcuts or bottlenecks is torchvision's")
        width = architecture.stem_width
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            conv1=nn.Conv2d(3, width, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(width), relu=nn.ReLU()
        )
        stages = zip(architecture.blocks, architecture.widths, architecture.strides, strict=True)
        for number, (blocks, wider, stride) in enumerate(stages, start=1):
            first = PaddedBlock(width, wider, stride)
            parts[f"layer{number}"] = nn.Sequential(first, *(PaddedBlock(wider, wider, 1) for _ in range(blocks - 1)))
            width = wider
        parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        parts["linear"] = nn.Linear(width, num_classes)
        super().__init__(parts)


def small_network(name: str, num_classes: int, seed: int) -> SmallImageNetwork:
    """``cifar_resnet20``, ``cifar_resnet56`` or ``resnet8`` with the weights of this seed.

    Convolutions are drawn as in He et al., "Delving Deep into Rectifiers", ICCV 2015 (normal, by the inputs); batch
    norms start as identities. Raises ``ConfigError`` for a network that is not one of these.
    """
    architecture = architecture_of(name)
    if architecture.convolved_shortcuts:
        small = [key for key, value in ARCHITECTURES.items() if not value.convolved_shortcuts]
        raise ConfigError(f"{name} is torchvision's; networks defined here are {', '.join(small)}")
    return initialised(lambda: _he_drawn(SmallImageNetwork(architecture, num_classes)), "image_network", name, seed)


def _he_drawn(network: SmallImageNetwork) -> SmallImageNetwork:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return network


def inflatable_stages(name: str, excluded: Collection[int] = ()) -> list[str]:
    """Names of the stage tensors that are inflated when the stages ``excluded`` keep their own weights.

    Raises ``ConfigError`` for a stage that the architecture does not have.
    """
    architecture = architecture_of(name)
    stages = range(1, len(architecture.blocks) + 1)
    if unknown := sorted(set(excluded) - set(stages)):
        raise ConfigError(f"{name} has stages {', '.join(map(str, stages))}, not {', '.join(map(str, unknown))}")
    return [key for key in stage_shapes(architecture) if stage_of(key) not in excluded]
