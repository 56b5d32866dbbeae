"""Patches of an image in the joint space of images and texts, as open_clip's own image towers allow."""

from __future__ import annotations

import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from pointlift.contracts.errors import ConfigError


@torch.no_grad()
def project(tower: nn.Module, pixels_B3HW: Tensor) -> Tensor:
    """Patch tokens (B, P, D) in the space of the tower's embedding, row by row from the top left.

    VisionTransformer: every patch goes the way of the class token, through the last norm and the projection. With the
    mean over patches as its pooling, behind that norm, the embedding is their mean. ModifiedResNet: see ``_values``.
    Raises ``ConfigError`` for any other tower.
    """
    if isinstance(tower, VisionTransformer) and tower.attn_pool is None and tower.proj is not None:
        return _last(tower, pixels_B3HW) @ tower.proj
    if isinstance(tower, ModifiedResNet):
        return _values(tower.attnpool, _last(tower, pixels_B3HW))
    pooled = " with attentional pooling" if getattr(tower, "attn_pool", None) is not None else ""
    raise ConfigError(
        f"teacher clip: patches of an image tower {type(tower).__name__}{pooled} have no known way into the space of "
        "its embedding; VisionTransformer (ViT-B-32, say) without attentional pooling and ModifiedResNet (RN50) have"
    )


def _last(tower: VisionTransformer | ModifiedResNet, pixels_B3HW: Tensor) -> Tensor:
    """The last block's output, (B, P, width), behind the last norm where the tower has one."""
    found = tower.forward_intermediates(
        pixels_B3HW, indices=[-1], normalize_intermediates=True, intermediates_only=True, output_fmt="NCHW"
    )
    return found["image_intermediates"][0].flatten(2).transpose(1, 2)


def _values(pool: AttentionPool2d, rows_BPC: Tensor) -> Tensor:
    """Value and output projection of the attention pool, place by place, without its queries and keys.

    MaskCLIP (Zhou, Loy, Dai, "Extract Free Dense Labels from CLIP", ECCV 2022, section 3). The pool's output is the
    output projection of a mean of these values, weighted by head; places keep the positional embedding that the pool
    adds to them (chosen: the paper does not name it).
    """
    placed_BPC = rows_BPC + pool.positional_embedding[1:].to(rows_BPC.dtype)
    return pool.c_proj(pool.v_proj(placed_BPC))
