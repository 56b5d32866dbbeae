"""Tensors in every kind of weights file, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    """Write them as the name of the file says: safetensors, npz, else torch's own format. Returns the path."""
    if path.suffix == ".safetensors":
        save_file(dict(tensors), path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    else:
        torch.save(dict(tensors), path)
    return path
