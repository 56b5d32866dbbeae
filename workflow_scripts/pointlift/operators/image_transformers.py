"""Vision transformers whose blocks students take over: their shapes, and the tensors of a local file, by timm's names.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; the sizes of Touvron et al., "Training data-efficient
image transformers", ICML 2021 (DeiT; tiny 192 wide, small 384, base 768, each 12 blocks deep, heads 64 wide). timm
names their tensors ``cls_token``, ``blocks.0.norm1.weight``, ``blocks.0.attn.qkv.weight``, ``blocks.0.mlp.fc1.bias``,
``norm.weight``. Patches, positions and classifier are not taken over.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from torch import Tensor

from pointlift.contracts.errors import ArtifactError, ConfigError
from pointlift.operators.weight_files import listed, misfits, read_weights


@dataclass(frozen=True)
class TransformerArchitecture:
    """Sizes of a vision transformer. The MLP of a block is four times as wide as its rows."""

    width: int
    depth: int
    heads: int


#: Every source by name. ``vit_nano`` is small enough for tests.
TRANSFORMERS: Mapping[str, TransformerArchitecture] = MappingProxyType(
    {
        "vit_tiny": TransformerArchitecture(192, 12, 3),
        "vit_small": TransformerArchitecture(384, 12, 6),
        "vit_base": TransformerArchitecture(768, 12, 12),
        "vit_nano": TransformerArchitecture(48, 3, 3),
    }
)
#: From the name of a part of our block (``operators.transformer.Block``) to timm's.
_PARTS = {
    "attention_norm": "norm1",
    "attention.query_key_value": "attn.qkv",
    "attention.out": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.first": "mlp.fc1",
    "mlp.second": "mlp.fc2",
}


def transformer_of(name: str) -> TransformerArchitecture:
    """The architecture of this name. Raises ``ConfigError`` that lists all there are."""
    if name not in TRANSFORMERS:
        raise ConfigError(f"no transformer {name!r}; there are {', '.join(TRANSFORMERS)}")
    return TRANSFORMERS[name]


def block_names(name: str, excluded: Collection[int] = ()) -> dict[str, str]:
    """From the names in a ``GroupTransformer`` to those of timm: class token, blocks, last norm.

    excluded : numbers of blocks, from 1, to leave out. Raises ``ConfigError`` for a block that there is not.
    """
    depth = transformer_of(name).depth
    if unknown := sorted(set(excluded) - set(range(1, depth + 1))):
        raise ConfigError(f"{name} has blocks 1 to {depth}, not {', '.join(map(str, unknown))}")
    names = {"class_token": "cls_token"}
    for number in range(depth):
        if number + 1 not in excluded:
            for ours, theirs in _PARTS.items():
                for part in ("weight", "bias"):
                    names[f"blocks.{number}.{ours}.{part}"] = f"blocks.{number}.{theirs}.{part}"
    return names | {"norm.weight": "norm.weight", "norm.bias": "norm.bias"}


def block_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Name, as timm has it, and shape of every tensor that is taken over."""
    architecture = transformer_of(name)
    width, wider = architecture.width, 4 * architecture.width
    matrices = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    matrices |= {"mlp.fc1": (wider, width), "mlp.fc2": (width, wider)}
    shapes: dict[str, tuple[int, ...]] = {"cls_token": (1, 1, width)}
    for key in block_names(name).values():
        if key != "cls_token":
            part, _, kind = key.rpartition(".")
            matrix = matrices.get(part.split(".", 2)[-1], (width,))
            shapes[key] = matrix if kind == "weight" else matrix[:1]
    return shapes


def read_blocks(path: Path, name: str) -> dict[str, Tensor]:
    """The tensors that are taken over of the transformer ``name``, from a local file (safetensors, npz or torch's).

    Raises ``ArtifactError`` when they are not exactly this architecture's, listing what is missing, unexpected and of
    another shape, or hold a number that is not finite; ``ConfigError`` for an architecture that does not exist.
    """
    return blocks_of(read_weights(path), name, str(path))


def blocks_of(weights: Mapping[str, Tensor], name: str, source: str) -> dict[str, Tensor]:
    """The tensors that are taken over, among all ``weights`` of a transformer, checked; see ``read_blocks``.

    source : for the error.
    """
    wanted = block_shapes(name)
    found = {key: value for key, value in weights.items() if key in wanted or key.startswith("blocks.")}
    problems = misfits(wanted, found)
    problems += listed("not finite", [key for key in wanted if key in found and not found[key].isfinite().all()])
    if problems:
        raise ArtifactError(
            f"{source}: does not hold the blocks of {name}: {'; '.join(problems)}; "
            f"give a file of {name} with timm's names, or the architecture it was made with ({', '.join(TRANSFORMERS)})"
        )
    return found
