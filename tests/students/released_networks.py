"""Classifiers of the field as their published sources define them, written out: tensors by the names of their files,
and class scores by sums and loops in float64. Nothing of the package is used here.

A file is a dict of tensors; ``scores`` takes it with one cloud (n, 3) and returns (K,). Furthest points begin at the
first of the cloud (pointnet2_ops does; Pointnet_Pointnet2_pytorch draws its first at random).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

CLASSES = 5
#: Sizes that no file tells.
GROUPS, SIZE, HEADS = 6, 5, 2
NEIGHBOURS = 4
BALLS = ((12, 0.7, 5), (5, 1.1, 4))  # centres, radius, points
WIDTH, DEPTH, BRIDGE = 12, 2, 10
Levels = tuple[tuple[int, ...], ...]
LEVELS: Levels = ((8, 8, 12), (12, 12, 16), (16, 24, 32))


def draw(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Numbers for every name; variances are above 0."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        fan_in = math.prod(shape[1:]) if len(shape) > 1 else 4
        found[name] = (values.abs() + 0.5 if name.endswith("running_var") else values / fan_in**0.5).float()
        if name.endswith("running_mean"):
            found[name.replace("running_mean", "num_batches_tracked")] = torch.tensor(7)
    return found


def _norm(name: str, width: int, batch: bool = True) -> dict[str, tuple[int, ...]]:
    kinds = ("weight", "bias", *(("running_mean", "running_var") if batch else ()))
    return {f"{name}.{kind}": (width,) for kind in kinds}


def _layer(name: str, wide: int, narrow: int, *ones: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (wide, narrow, *ones)} | ({f"{name}.bias": (wide,)} if bias else {})


def group_shapes(bridge: int | None = None, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Point-MAE's encoder without class token, or with ``bridge`` Point-BERT's."""
    p, tokens, width = prefix, bridge or WIDTH, WIDTH
    shapes = _layer(f"{p}encoder.first_conv.0", 128, 3, 1) | _norm(f"{p}encoder.first_conv.1", 128)
    shapes |= _layer(f"{p}encoder.first_conv.3", 256, 128, 1)
    shapes |= _layer(f"{p}encoder.second_conv.0", 512, 512, 1) | _norm(f"{p}encoder.second_conv.1", 512)
    shapes |= _layer(f"{p}encoder.second_conv.3", tokens, 512, 1)
    shapes |= _layer(f"{p}reduce_dim", width, bridge) if bridge else {}
    shapes |= _layer(f"{p}pos_embed.0", 128, 3) | _layer(f"{p}pos_embed.2", width, 128)
    for number in range(DEPTH):
        b = f"{p}blocks.blocks.{number}"
        shapes |= _norm(f"{b}.norm1", width, batch=False) | _norm(f"{b}.norm2", width, batch=False)
        shapes |= _layer(f"{b}.attn.qkv", 3 * width, width, bias=False) | _layer(f"{b}.attn.proj", width, width)
        shapes |= _layer(f"{b}.mlp.fc1", 4 * width, width) | _layer(f"{b}.mlp.fc2", width, 4 * width)
    return shapes | _norm(f"{p}norm", width, batch=False)


def _tokens(width: int, prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {f"{prefix}cls_token": (1, 1, width), f"{prefix}cls_pos": (1, 1, width)}


def point_mae(seed: int = 0) -> dict[str, Tensor]:
    """A finetuned Point-MAE classifier."""
    h = "cls_head_finetune"
    head = _layer(f"{h}.0", 256, 2 * WIDTH) | _norm(f"{h}.1", 256) | _layer(f"{h}.4", 256, 256)
    head |= _norm(f"{h}.5", 256) | _layer(f"{h}.8", CLASSES, 256)
    return draw(group_shapes() | _tokens(WIDTH) | head, seed)


def point_mae_pretrained(seed: int = 0) -> dict[str, Tensor]:
    """What Point-MAE's pretraining leaves: an encoder without class token, and a part of the decoder."""
    decoder = {"mask_token": (1, 1, WIDTH)} | _layer("decoder_pos_embed.0", 128, 3)
    decoder |= _layer("increase_dim.0", 3 * SIZE, WIDTH, 1) | _norm("MAE_decoder.norm", WIDTH, batch=False)
    return draw(group_shapes(prefix="MAE_encoder.") | decoder, seed)


def point_bert(seed: int = 0) -> dict[str, Tensor]:
    """A finetuned Point-BERT classifier."""
    h = "cls_head_finetune"
    head = _layer(f"{h}.0", 256, 2 * WIDTH) | _layer(f"{h}.3", CLASSES, 256)
    return draw(group_shapes(bridge=BRIDGE) | _tokens(WIDTH) | head, seed)


def point_bert_pretrained(seed: int = 0) -> dict[str, Tensor]:
    """What Point-BERT's pretraining leaves: the encoder twice, heads, a queue, a part of the dVAE."""
    q = "transformer_q."
    rest = {f"{q}mask_token": (1, 1, WIDTH)} | _layer(f"{q}lm_head", 20, WIDTH) | _layer(f"{q}cls_head.0", 8, WIDTH)
    rest |= _layer("transformer_k.lm_head", 20, WIDTH) | _layer("dvae.encoder.first_conv.0", 128, 3, 1)
    rest |= {"queue": (8, 16), "queue_ptr": (1,)}
    return draw(group_shapes(bridge=BRIDGE, prefix=q) | _tokens(WIDTH, q) | rest, seed)


def dgcnn(seed: int = 0, widths: tuple[int, ...] = (8, 8, 10, 12), wide: int = 16) -> dict[str, Tensor]:
    """A DGCNN classifier; the norms of its convolutions stand in the file twice."""
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (narrow, width) in enumerate(zip((3, *widths), widths, strict=False), start=1):
        shapes |= _layer(f"conv{number}.0", width, 2 * narrow, 1, 1, bias=False) | _norm(f"conv{number}.1", width)
    shapes |= _layer("conv5.0", wide, sum(widths), 1, bias=False) | _norm("conv5.1", wide)
    shapes |= _layer("linear1", 512, 2 * wide, bias=False) | _norm("bn6", 512)
    shapes |= _layer("linear2", 256, 512) | _norm("bn7", 256) | _layer("linear3", CLASSES, 256)
    found = draw(shapes, seed)
    return found | {f"bn{n[4]}.{n[8:]}": t.clone() for n, t in found.items() if n[:4] == "conv" and n[5:8] == ".1."}


def pointnet2(seed: int = 0, columns: int = 3, levels: Levels = LEVELS) -> dict[str, Tensor]:
    """A PointNet++ classifier with one scale."""
    shapes: dict[str, tuple[int, ...]] = {}
    before = (columns, *(widths[-1] + 3 for widths in levels))
    for level, widths in enumerate(((first, *rest) for first, rest in zip(before, levels, strict=False)), start=1):
        for number, (narrow, width) in enumerate(itertools.pairwise(widths)):
            shapes |= _layer(f"sa{level}.mlp_convs.{number}", width, narrow, 1, 1)
            shapes |= _norm(f"sa{level}.mlp_bns.{number}", width)
    shapes |= _layer("fc1", 512, levels[-1][-1]) | _norm("bn1", 512) | _layer("fc2", 256, 512) | _norm("bn2", 256)
    return draw(shapes | _layer("fc3", CLASSES, 256), seed)


class Formula:
    """A file's tensors in float64, and the few operations that all of these networks are made of."""

    def __init__(self, tensors: dict[str, Tensor], prefix: str = "") -> None:
        self.tensors = {name: value.double() for name, value in tensors.items()}
        self.prefix = prefix

    def of(self, name: str) -> Tensor:
        return self.tensors[self.prefix + name]

    def layer(self, name: str, rows: Tensor) -> Tensor:
        """W x + b of every row."""
        kernel = self.of(f"{name}.weight")
        out = rows @ kernel.reshape(len(kernel), -1).T
        return out + self.of(f"{name}.bias") if f"{self.prefix}{name}.bias" in self.tensors else out

    def batch_norm(self, name: str, rows: Tensor) -> Tensor:
        mean, variance = self.of(f"{name}.running_mean"), self.of(f"{name}.running_var")
        return (rows - mean) / torch.sqrt(variance + 1e-5) * self.of(f"{name}.weight") + self.of(f"{name}.bias")

    def layer_norm(self, name: str, rows: Tensor) -> Tensor:
        centred = rows - rows.mean(dim=1, keepdim=True)
        spread = torch.sqrt((centred**2).mean(dim=1, keepdim=True) + 1e-5)
        return centred / spread * self.of(f"{name}.weight") + self.of(f"{name}.bias")


def bent(rows: Tensor, slope: float = 0.0) -> Tensor:
    """ReLU or LeakyReLU."""
    return torch.where(rows > 0, rows, slope * rows)


def gelu(rows: Tensor) -> Tensor:
    """x times the normal distribution's share below x."""
    return rows * 0.5 * (1.0 + torch.erf(rows / math.sqrt(2.0)))


def farthest(points: Tensor, count: int, hole: float = 0.0) -> list[int]:
    """Greedy; points within ``hole`` (squared) of the origin are passed over."""
    chosen = [0]
    while len(chosen) < count:
        best, farthest_so_far = 0, -1.0
        for number, point in enumerate(points):
            if hole and float((point**2).sum()) <= hole:
                continue
            distance = min(float(((point - points[other]) ** 2).sum()) for other in chosen)
            if distance > farthest_so_far:
                best, farthest_so_far = number, distance
        chosen.append(best)
    return chosen


def nearest(query: Tensor, points: Tensor, count: int) -> list[int]:
    """By distance, then number."""
    distances = [float(((query - point) ** 2).sum()) for point in points]
    return sorted(range(len(points)), key=lambda number: (distances[number], number))[:count]


def group_rows(file: Formula, cloud: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens of groups (G, C) and what their centres add before every block."""
    cloud = cloud.double()
    centres = cloud[farthest(cloud, GROUPS, hole=1e-3)]
    tokens = []
    for centre in centres:
        points = cloud[nearest(centre, cloud, SIZE)] - centre
        rows = bent(file.batch_norm("encoder.first_conv.1", file.layer("encoder.first_conv.0", points)))
        rows = file.layer("encoder.first_conv.3", rows)
        rows = torch.cat([rows.amax(dim=0).expand_as(rows), rows], dim=1)
        rows = bent(file.batch_norm("encoder.second_conv.1", file.layer("encoder.second_conv.0", rows)))
        tokens.append(file.layer("encoder.second_conv.3", rows).amax(dim=0))
    found = torch.stack(tokens)
    if f"{file.prefix}reduce_dim.weight" in file.tensors:
        found = file.layer("reduce_dim", found)
    return found, file.layer("pos_embed.2", gelu(file.layer("pos_embed.0", centres)))


def blocks(file: Formula, rows: Tensor, places: Tensor) -> Tensor:
    """Places are added before every block; the last norm."""
    for number in range(DEPTH):
        name = f"blocks.blocks.{number}"
        rows = rows + places
        normed = file.layer_norm(f"{name}.norm1", rows)
        query, key, value = file.layer(f"{name}.attn.qkv", normed).chunk(3, dim=1)
        heads = []
        for q, k, v in zip(query.chunk(HEADS, dim=1), key.chunk(HEADS, dim=1), value.chunk(HEADS, dim=1), strict=True):
            weight = torch.exp(q @ k.T / math.sqrt(q.shape[1]))
            heads.append(weight / weight.sum(dim=1, keepdim=True) @ v)
        rows = rows + file.layer(f"{name}.attn.proj", torch.cat(heads, dim=1))
        hidden = gelu(file.layer(f"{name}.mlp.fc1", file.layer_norm(f"{name}.norm2", rows)))
        rows = rows + file.layer(f"{name}.mlp.fc2", hidden)
    return file.layer_norm("norm", rows)


def group_embedding(tensors: dict[str, Tensor], cloud: Tensor, prefix: str = "", token: bool = True) -> Tensor:
    """[class token, maximum of the others] behind the last norm, or the maximum alone."""
    file = Formula(tensors, prefix)
    rows, places = group_rows(file, cloud)
    if token:
        rows, places = torch.cat([file.of("cls_token")[0], rows]), torch.cat([file.of("cls_pos")[0], places])
    rows = blocks(file, rows, places)
    return torch.cat([rows[0], rows[1:].amax(dim=0)]) if token else rows.amax(dim=0)


def point_mae_scores(tensors: dict[str, Tensor], cloud: Tensor) -> Tensor:
    """Point-MAE: two hidden layers with batch norms."""
    file, row, h = Formula(tensors), group_embedding(tensors, cloud)[None], "cls_head_finetune"
    row = bent(file.batch_norm(f"{h}.1", file.layer(f"{h}.0", row)))
    row = bent(file.batch_norm(f"{h}.5", file.layer(f"{h}.4", row)))
    return file.layer(f"{h}.8", row)[0]


def point_bert_scores(tensors: dict[str, Tensor], cloud: Tensor) -> Tensor:
    """Point-BERT: one hidden layer."""
    file, row = Formula(tensors), group_embedding(tensors, cloud)[None]
    return file.layer("cls_head_finetune.3", bent(file.layer("cls_head_finetune.0", row)))[0]


def dgcnn_scores(tensors: dict[str, Tensor], cloud: Tensor) -> Tensor:
    """Edges [x_j - x_i, x_i] of a graph drawn anew in every layer's space; maximum beside mean over the points."""
    file, rows, levels = Formula(tensors), cloud.double(), []
    for number in range(1, 5):
        wide = []
        for row in rows:
            edges = torch.stack([torch.cat([rows[j] - row, row]) for j in nearest(row, rows, NEIGHBOURS)])
            hidden = bent(file.batch_norm(f"conv{number}.1", file.layer(f"conv{number}.0", edges)), 0.2)
            wide.append(hidden.amax(dim=0))
        rows = torch.stack(wide)
        levels.append(rows)
    rows = bent(file.batch_norm("conv5.1", file.layer("conv5.0", torch.cat(levels, dim=1))), 0.2)
    row = torch.cat([rows.amax(dim=0), rows.mean(dim=0)])[None]
    row = bent(file.batch_norm("bn6", file.layer("linear1", row)), 0.2)
    row = bent(file.batch_norm("bn7", file.layer("linear2", row)), 0.2)
    return file.layer("linear3", row)[0]


def pointnet2_scores(tensors: dict[str, Tensor], cloud: Tensor) -> Tensor:
    """Balls hold their first points of the cloud, filled up with the first of these; the last level sees all."""
    file, places, rows = Formula(tensors), cloud.double(), None
    for level, (count, radius, size) in enumerate(BALLS, start=1):
        centres, pooled = places[farthest(places, count)], []
        for centre in centres:
            inside = [n for n, p in enumerate(places) if float(((p - centre) ** 2).sum()) <= radius**2][:size]
            inside += inside[:1] * (size - len(inside))
            hidden = places[inside] - centre
            hidden = hidden if rows is None else torch.cat([hidden, rows[inside]], dim=1)
            pooled.append(_abstract(file, f"sa{level}", hidden))
        places, rows = centres, torch.stack(pooled)
    row = _abstract(file, "sa3", torch.cat([places, rows], dim=1))[None]
    row = bent(file.batch_norm("bn1", file.layer("fc1", row)))
    row = bent(file.batch_norm("bn2", file.layer("fc2", row)))
    return file.layer("fc3", row)[0]


def _abstract(file: Formula, name: str, hidden: Tensor) -> Tensor:
    for number in range(3):
        hidden = bent(file.batch_norm(f"{name}.mlp_bns.{number}", file.layer(f"{name}.mlp_convs.{number}", hidden)))
    return hidden.amax(dim=0)
