"""Numbers that must keep their digits where the network around them computes in half precision."""

from __future__ import annotations

import torch
from torch import Tensor


def full(values: Tensor) -> Tensor:
    """In float32, where they are not float64 already."""
    return values if values.dtype == torch.float64 else values.float()


def full_precision(like: Tensor) -> torch.autocast:
    """Within: torch rounds no product to half precision on the device of ``like``, whatever holds around it."""
    return torch.autocast(like.device.type, enabled=False)


def as_around(values: Tensor) -> Tensor:
    """In the precision that products have here: half where torch is told so, else as they are."""
    device = values.device.type
    return values.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else values
