"""Key names of released checkpoints, and what each of their tensors is in our students: facts of the files alone.

Point-MAE and Point-BERT: a convolution of width 1 is a linear layer over rows. A bias before a batch norm moves only
its running mean: running_mean - bias is the same network without it. DGCNN: their edges are [x_j - x_i, x_i], ours
[x_i, x_j - x_i]. PointNet++: the first three columns of a level's first layer act on places. Names and shapes were
read in the published sources of Point-BERT, Point-MAE and Pointnet_Pointnet2_pytorch, those of dgcnn.pytorch in
programs that carry its classifier; no released file was at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pointlift.contracts.released import Layout


class Piece(NamedTuple):
    """A tensor of ours, the tensors of the file it is made of, and how."""

    ours: str
    theirs: tuple[str, ...]
    make: Callable[..., Tensor]


def rows(kernel: Tensor) -> Tensor:
    """The weight (out, in) of a linear layer or of a convolution of width 1."""
    return kernel.flatten(1) if kernel.ndim > 2 and kernel[0, 0].numel() == 1 else kernel


def as_it_is(tensor: Tensor) -> Tensor:
    """The tensor."""
    return tensor


def linear(ours: str, theirs: str, *, bias: bool = True, make: Callable[[Tensor], Tensor] = rows) -> Iterator[Piece]:
    """A linear layer."""
    yield Piece(f"{ours}.weight", (f"{theirs}.weight",), make)
    if bias:
        yield Piece(f"{ours}.bias", (f"{theirs}.bias",), as_it_is)


def norm(ours: str, theirs: str, *, bias_before: str | None = None, batch: bool = True) -> Iterator[Piece]:
    """A norm; ``bias_before``: the bias of the layer before a batch norm, which ours has not."""
    for kind in ("weight", "bias", *(("running_var",) if batch else ())):
        yield Piece(f"{ours}.{kind}", (f"{theirs}.{kind}",), as_it_is)
    mean = f"{theirs}.running_mean"
    if bias_before is not None:
        yield Piece(f"{ours}.running_mean", (mean, bias_before), torch.sub)
    elif batch:
        yield Piece(f"{ours}.running_mean", (mean,), as_it_is)


def block(ours: str, theirs: str, *, bias: bool, their_norm: str | None = None) -> Iterator[Piece]:
    """``shared_layers`` of one width: ours at ``ours`` (its number, a linear layer) and the next number (its norm)."""
    place, _, number = ours.rpartition(".")
    yield from linear(ours, theirs, bias=False)
    after = f"{place}.{int(number) + 1}"
    yield from norm(after, their_norm or theirs, bias_before=f"{theirs}.bias" if bias else None)


def group_transformer(student: Any, prefix: str = "") -> Iterator[Piece]:
    """Point-MAE's encoder; with a layer ``reduce`` Point-BERT's. ``prefix``: of the names in a pretraining's file."""
    encoder = f"{prefix}encoder."
    yield from block("tokenizer.before.0", f"{encoder}first_conv.0", bias=True, their_norm=f"{encoder}first_conv.1")
    yield from linear("tokenizer.before.3", f"{encoder}first_conv.3")
    yield from linear("tokenizer.joined", f"{encoder}second_conv.0", bias=False)
    bias = f"{encoder}second_conv.0.bias"
    yield from norm("tokenizer.after.0", f"{encoder}second_conv.1", bias_before=bias)
    yield from linear("tokenizer.after.2", f"{encoder}second_conv.3")
    if student.reduce is not None:
        yield from linear("reduce", f"{prefix}reduce_dim")
    yield from linear("position.first", f"{prefix}pos_embed.0")
    yield from linear("position.second", f"{prefix}pos_embed.2")
    for number in range(len(student.blocks)):
        yield from _attention_block(f"blocks.{number}", f"{prefix}blocks.blocks.{number}")
    yield from norm("norm", f"{prefix}norm", batch=False)


def _attention_block(ours: str, theirs: str) -> Iterator[Piece]:
    yield from norm(f"{ours}.attention_norm", f"{theirs}.norm1", batch=False)
    yield from linear(f"{ours}.attention.query_key_value", f"{theirs}.attn.qkv", bias=False)
    yield from linear(f"{ours}.attention.out", f"{theirs}.attn.proj")
    yield from norm(f"{ours}.mlp_norm", f"{theirs}.norm2", batch=False)
    yield from linear(f"{ours}.mlp.first", f"{theirs}.mlp.fc1")
    yield from linear(f"{ours}.mlp.second", f"{theirs}.mlp.fc2")


def class_tokens(prefix: str = "") -> Iterator[Piece]:
    """The class token and its place."""
    yield Piece("class_token", (f"{prefix}cls_token",), as_it_is)
    yield Piece("class_position", (f"{prefix}cls_pos",), as_it_is)


def dgcnn(student: Any) -> Iterator[Piece]:
    """The classifier's encoder: conv1 to conv4 on edges, conv5 on points."""
    number = 0
    for number in range(len(student.edges)):
        yield from linear(f"edges.{number}.linear", f"conv{number + 1}.0", bias=False, make=_edges_turned)
        yield from norm(f"edges.{number}.norm", f"conv{number + 1}.1")
    yield from linear("last.0", f"conv{number + 2}.0", bias=False)
    yield from norm("last.1", f"conv{number + 2}.1")


def _edges_turned(kernel: Tensor) -> Tensor:
    ahead, own = rows(kernel).chunk(2, dim=1)
    return torch.cat([own, ahead], dim=1)


def dgcnn_twins(name: str) -> str | None:
    """``conv3.1.weight`` of ``bn3.weight``: the file tells the norms of convolutions twice."""
    first, _, rest = name.partition(".")
    number = first.removeprefix("bn")
    return f"conv{number}.1.{rest}" if first != number and number.isdigit() else None


def pointnet2(student: Any) -> Iterator[Piece]:
    """Set abstraction levels sa1, sa2, and the layers of the last, which takes all points."""
    number = 0
    for number, level in enumerate(student.levels):
        ours, theirs = f"levels.{number}", f"sa{number + 1}"
        first = f"{theirs}.mlp_convs.0.weight"
        split = level.row is not None
        yield Piece(f"{ours}.place.weight", (first,), _place if split else rows)
        if split:
            yield Piece(f"{ours}.row.weight", (first,), _row)
        yield from norm(f"{ours}.norm.0", f"{theirs}.mlp_bns.0", bias_before=f"{theirs}.mlp_convs.0.bias")
        yield from _layers(f"{ours}.rest", theirs, len(level.rest) // 3, first=1)
    yield from _layers("last", f"sa{number + 2}", len(student.last) // 3, first=0)


def _layers(ours: str, theirs: str, count: int, first: int) -> Iterator[Piece]:
    for number in range(count):
        convolution, their_norm = (f"{theirs}.{kind}.{number + first}" for kind in ("mlp_convs", "mlp_bns"))
        yield from block(f"{ours}.{3 * number}", convolution, bias=True, their_norm=their_norm)


def _place(kernel: Tensor) -> Tensor:
    return rows(kernel)[:, :3]


def _row(kernel: Tensor) -> Tensor:
    return rows(kernel)[:, 3:]


def encoder_pieces(layout: Layout, student: nn.Module) -> list[Piece]:
    """Every tensor of the student that a file of this layout holds."""
    if layout == "dgcnn":
        return list(dgcnn(student))
    if layout == "pointnet2_ssg":
        return list(pointnet2(student))
    prefix = {"point_mae_pretrained": "MAE_encoder.", "point_bert_pretrained": "transformer_q."}.get(layout, "")
    tokens = [] if layout == "point_mae_pretrained" else list(class_tokens(prefix))
    return [*group_transformer(student, prefix), *tokens]


#: Names in our head and in the file, by layout; each head is that of ``build_head``.
HEADS: dict[Layout, dict[str, str]] = {
    "point_mae": {str(number): f"cls_head_finetune.{number}" for number in (0, 1, 4, 5, 8)},
    "point_bert": {str(number): f"cls_head_finetune.{number}" for number in (0, 3)},
    "dgcnn": {"0": "linear1", "1": "bn6", "4": "linear2", "5": "bn7", "8": "linear3"},
    "pointnet2_ssg": {"0": "fc1", "1": "bn1", "4": "fc2", "5": "bn2", "8": "fc3"},
}
#: What of a pretraining's file was there for the pretraining alone: how names begin.
LEFT_OUT: dict[Layout, tuple[str, ...]] = {
    "point_mae_pretrained": ("MAE_decoder.", "decoder_pos_embed.", "increase_dim.", "mask_token"),
    "point_bert_pretrained": (
        *("transformer_k.", "dvae.", "queue", "transformer_q.lm_head.", "transformer_q.cls_head."),
        *("transformer_q.mask_token", "group_divider."),
    ),
}


def build_head(layout: Layout, width: int, num_classes: int) -> nn.Sequential:
    """The classifier's head over an embedding; in training with its dropout."""
    if layout == "point_bert":
        return nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_classes))
    first, second = (256, 256) if layout == "point_mae" else (512, 256)
    slope, dropped = 0.2 if layout == "dgcnn" else 0.0, 0.4 if layout == "pointnet2_ssg" else 0.5
    layers: list[nn.Module] = []
    for narrow, wide in ((width, first), (first, second)):
        bias = layout != "dgcnn" or narrow == first
        layers += [nn.Linear(narrow, wide, bias=bias), nn.BatchNorm1d(wide), nn.LeakyReLU(slope), nn.Dropout(dropped)]
    return nn.Sequential(*layers, nn.Linear(second, num_classes))
