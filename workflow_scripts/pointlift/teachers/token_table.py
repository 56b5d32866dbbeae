"""A text tower's token table cut down to the rows that training uses."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CompactTokenTable:
    """Inside ``with``, the token table holds only the rows the captions use, and ids are those of ``ids_KTL``.

    A step of AdamW on the whole table of open_clip's vocabulary (49,408 x 64) takes 30 ms, on the rows of a few
    captions nothing. Rows that no caption uses have no gradient, so only their weight decay is lost. Renumbering keeps
    the order of the ids: the end-of-text token stays the largest, where the text tower looks for it. On leaving, the
    trained rows are written back. A text tower without one ``token_embedding`` is left as it is.
    """

    def __init__(self, network: nn.Module, ids_KTL: Tensor) -> None:
        self.ids_KTL = ids_KTL
        names = [name for name, _ in network.named_modules() if name.split(".")[-1] == "token_embedding"]
        self._parts: tuple[nn.Module, nn.Embedding, nn.Embedding, Tensor] | None = None
        if len(names) != 1:
            return
        full = network.get_submodule(names[0])
        if isinstance(full, nn.Embedding):
            used, self.ids_KTL = torch.unique(ids_KTL, sorted=True, return_inverse=True)
            rows = full.weight[used.to(full.weight.device)].detach().clone()
            small = nn.Embedding.from_pretrained(rows, freeze=False)
            self._parts = (network.get_submodule(names[0].rpartition(".")[0]), full, small, used)

    def __enter__(self) -> CompactTokenTable:
        if self._parts is not None:
            parent, _, small, _ = self._parts
            parent.token_embedding = small
        return self

    def __exit__(self, *_: object) -> None:
        if self._parts is not None:
            parent, full, small, used = self._parts
            with torch.no_grad():
                full.weight[used.to(full.weight.device)] = small.weight.to(full.weight.device)
            parent.token_embedding = full
