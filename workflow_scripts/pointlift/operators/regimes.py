"""Regimes of finetuning an inflated network: which tensors may change, and a proof of which did.

Xu et al., "Image2Point", ECCV 2022: input and output alone, with the statistics of batch norms, with batch norms, all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pointlift.contracts.image_weights import Regime

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True)
class TensorGroups:
    """Every tensor of a network's state in one of five groups, by name."""

    #: Stems, always new and always trained; heads, decoders and all else outside the stages, too.
    input: tuple[str, ...]
    output: tuple[str, ...]
    #: Of the stages: kernels; weights and biases of norms; running statistics and counters of batch norms.
    middle: tuple[str, ...]
    norm_affine: tuple[str, ...]
    norm_statistics: tuple[str, ...]

    @property
    def stages(self) -> tuple[str, ...]:
        """All that inflation fills."""
        return self.middle + self.norm_affine + self.norm_statistics

    def changing(self, regime: Regime) -> frozenset[str]:
        """All tensors that a step of training may change; what is not in it keeps every bit."""
        names = set(self.input + self.output)
        if regime != "io":
            names |= set(self.norm_statistics)
        if regime in ("io_bn", "all"):
            names |= set(self.norm_affine)
        if regime == "all":
            names |= set(self.middle)
        return frozenset(names)


def group_tensors(network: nn.Module, input_parts: Collection[str], stage_parts: Collection[str]) -> TensorGroups:
    """The groups of a network by its ``input_parts`` and ``stage_parts``.

    These are submodules (``layer1``, ``stem.0``) or single tensors (``class_token``). All outside both is output:
    heads and decoders. Raises ``ValueError`` for a part that has no tensors, or is both.
    """
    state = list(network.state_dict())
    inputs, stages = _inside(state, input_parts), _inside(state, stage_parts)
    if both := sorted(inputs & stages):
        raise ValueError(f"both input and stages: {', '.join(both)}")
    affine, statistics = _norm_tensors(network)
    return TensorGroups(
        input=tuple(name for name in state if name in inputs),
        output=tuple(name for name in state if name not in inputs | stages),
        middle=tuple(name for name in state if name in stages - affine - statistics),
        norm_affine=tuple(name for name in state if name in stages & affine),
        norm_statistics=tuple(name for name in state if name in stages & statistics),
    )


def freeze(network: nn.Module, groups: TensorGroups, regime: Regime) -> None:
    """Let gradients reach only the parameters that the regime trains. To be done before an optimiser is made."""
    changing = groups.changing(regime)
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name in changing)


def set_training(network: nn.Module, groups: TensorGroups, regime: Regime) -> None:
    """Training mode; in ``io`` the batch norms of the stages stay in eval mode, with the statistics they came with."""
    network.train()
    if regime == "io":
        owners = {name.rpartition(".")[0] for name in groups.norm_statistics}
        for name, module in network.named_modules():
            if name in owners:
                module.eval()


def num_trainable(network: nn.Module) -> int:
    """How many numbers the gradients reach."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def tensor_hashes(tensors: Mapping[str, Tensor], names: Collection[str] | None = None) -> dict[str, str]:
    """sha256 of type, shape and bits of each tensor, or of those of these names (``KeyError`` where one is missing).

    Negative and positive zero differ, and so do two NaNs of other bits: what hashes alike was not touched.
    """
    return {name: _sha256(tensors[name]) for name in (tensors if names is None else names)}


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> frozenset[str]:
    """Names whose hashes differ, or that stand on one side alone."""
    return frozenset(name for name in {*before, *after} if before.get(name) != after.get(name))


def _sha256(tensor: Tensor) -> str:
    values = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{values.dtype} {tuple(values.shape)} ".encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _inside(names: Collection[str], parts: Collection[str]) -> set[str]:
    found: set[str] = set()
    for part in parts:
        inside = {name for name in names if name == part or name.startswith(f"{part}.")}
        if not inside:
            raise ValueError(f"no tensors in {part!r}")
        found |= inside
    return found


def _norm_tensors(network: nn.Module) -> tuple[set[str], set[str]]:
    """Names of all weights and biases, and of all statistics, of the norms; those over layers have no statistics."""
    affine, statistics = set(), set()
    for module_name, module in network.named_modules():
        if isinstance(module, _BatchNorm | nn.LayerNorm):
            names = {f"{module_name}.{name}".removeprefix(".") for name in module.state_dict()}
            held = {name for name in names if name.endswith(_STATISTICS)}
            statistics |= held
            affine |= names - held
    return affine, statistics
