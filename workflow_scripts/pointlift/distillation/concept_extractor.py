"""Concepts of a cloud in a teacher's space: queries that look at a student's tokens, or a pool that asks nothing.

After arXiv 2212.08974 as far as its abstract says: a cross-attention module takes concepts from the cloud. Where the
queries come from and how large it is, the abstract does not say; all of it is ours, with keys in config.yaml. Letters
beside those of the house: M concepts, d their width inside, X rows that are looked at (tokens, and the class token).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pointlift.operators.student_output import StudentOutput
from pointlift.operators.transformer import Block, Mlp, start_small


def looked_at(output: StudentOutput) -> Tensor:
    """What a student says of its parts, (B, X, C): its class token, where it has one, then its tokens."""
    if output.summary is None:
        return output.tokens
    return torch.cat([output.summary[:, None], output.tokens], dim=1)


class LearnedQueries(nn.Module):
    """The same M trained rows for every shape."""

    def __init__(self, num_queries: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(nn.init.trunc_normal_(torch.empty(num_queries, width), std=0.02))

    def forward(self, batch_size: int) -> Tensor:
        """Returns (B, M, d)."""
        return self.rows.expand(batch_size, -1, -1)


class ImageQueries(nn.Module):
    """Each view's target, by one linear layer: M = V. Told the answer, so see ``Unanswered``."""

    def __init__(self, teacher_width: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(teacher_width, width)

    def forward(self, target_BVD: Tensor) -> Tensor:
        """Returns (B, V, d)."""
        rows: Tensor = self.layer(target_BVD)
        return rows


class ViewQueries(nn.Module):
    """Where each view was taken from, by an MLP: M = V."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = Mlp(6, width, width)

    def forward(self, world_to_camera_BV44: Tensor) -> Tensor:
        """Returns (B, V, d)."""
        rows: Tensor = self.mlp(place_and_direction(world_to_camera_BV44))
        return rows


def place_and_direction(world_to_camera_BV44: Tensor) -> Tensor:
    """Camera centre (unit-sphere radii) and viewing direction (unit) in the world, side by side: (B, V, 6)."""
    rotation, translation = world_to_camera_BV44[..., :3, :3], world_to_camera_BV44[..., :3, 3]
    centre = -(rotation.transpose(-1, -2) @ translation[..., None]).squeeze(-1)
    return torch.cat([centre, rotation[..., 2, :]], dim=-1)  # a camera looks along its +z axis


class Unanswered(Block):
    """A block whose rows are what the attention found alone: nothing of the query is added to it.

    A query that holds the answer can then say it only by where it looks.
    """

    def forward(self, rows_BGC: Tensor, context_BMX: Tensor | None = None) -> Tensor:
        """rows_BGC : (B, G, width), queries; context_BMX : (B, M, context_width). Returns (B, G, width)."""
        found_BGC: Tensor = self.attention(self.attention_norm(rows_BGC), context_BMX)
        answer: Tensor = found_BGC + self.mlp(self.mlp_norm(found_BGC))
        return answer


class AttendedConcepts(nn.Module):
    """U = Q + Attention(LN(Q), LN(H)); U = U + MLP(LN(U)); after ``depth`` such blocks LN(U) W is the concepts.

    ``leak_proof``: the first block adds no Q. Raises ``ValueError`` when the heads do not divide the width.
    """

    def __init__(
        self, token_width: int, width: int, teacher_width: int, *, heads: int, depth: int, leak_proof: bool
    ) -> None:
        super().__init__()
        kinds = [Unanswered if leak_proof and number == 0 else Block for number in range(depth)]
        self.context_norm = nn.LayerNorm(token_width)
        self.blocks = nn.ModuleList(kind(width, heads, context_width=token_width) for kind in kinds)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, teacher_width)
        self.apply(start_small)

    def forward(self, rows_BXC: Tensor, queries_BMd: Tensor) -> Tensor:
        """Returns the concepts (B, M, D)."""
        context_BXC = self.context_norm(rows_BXC)
        for block in self.blocks:
            queries_BMd = block(queries_BMd, context_BXC)
        concepts: Tensor = self.out(self.norm(queries_BMd))
        return concepts


class PooledConcepts(nn.Module):
    """The mean over LN(H), then an MLP that says M rows at once: as many concepts, and no attention."""

    def __init__(self, token_width: int, width: int, teacher_width: int, *, num_concepts: int) -> None:
        super().__init__()
        self.num_concepts = num_concepts
        self.context_norm, self.mlp = nn.LayerNorm(token_width), Mlp(token_width, 4 * width, num_concepts * width)
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, teacher_width)
        self.apply(start_small)

    def forward(self, rows_BXC: Tensor) -> Tensor:
        """Returns the concepts (B, M, D)."""
        pooled_BC = self.context_norm(rows_BXC).mean(dim=1)
        concepts: Tensor = self.out(self.norm(self.mlp(pooled_BC).unflatten(1, (self.num_concepts, -1))))
        return concepts
