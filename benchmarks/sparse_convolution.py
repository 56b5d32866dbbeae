"""Our sparse convolution beside dense ``conv3d`` and beside other ways to write it, in one run.

    python benchmarks/sparse_convolution.py                     dense: 32^3 with 1024 voxels, 64^3 with 2048
    python benchmarks/sparse_convolution.py --ways              other ways: 5,000 to 50,000 voxels, 16 to 64 channels
    python benchmarks/sparse_convolution.py --spconv            also spconv's CPU build, where it is installed

One 3^3 submanifold layer on ellipsoid shells (13 of 27 neighbours occupied), forward and backward to rows and weight,
kernel maps made before. Medians of turns; ``ratio`` is how many times longer than ours. Ways: ``loop`` (per offset,
gradient by autograd), ``wide`` (one gather of M x 27 x C, one product).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow_scripts"))

import torch
from torch import Tensor, nn
from torch.nn import functional

from pointlift.operators.kernel_maps import KernelMap
from pointlift.operators.sparse_convolution import SparseConvolution3d
from pointlift.operators.sparse_tensor import SparseTensor, sparse_tensor

Step = Callable[[], tuple[Tensor, Tensor, Tensor]]
SHELL_VOXELS = 2.57  # occupied voxels of the shell below over the square of the grid's edge


def shell(count: int, grid: int | None, channels: int, device: str) -> tuple[SparseTensor, int]:
    """About ``count`` voxels of an ellipsoid's surface, and the edge of the grid that holds them.

    Of a given grid, ``count`` voxels exactly: those nearest to one end of the ellipsoid.
    """
    edge = grid or round((count / SHELL_VOXELS) ** 0.5)
    direction = torch.randn(40 * edge * edge, 3, generator=torch.Generator().manual_seed(0))
    places = functional.normalize(direction, dim=1) * torch.tensor([1.0, 0.8, 0.6]) * 0.49 + 0.5
    voxels = (places * edge).long().unique(dim=0)[: count if grid else None]
    rows = torch.randn(len(voxels), channels, generator=torch.Generator().manual_seed(1))
    return sparse_tensor(functional.pad(voxels, (1, 0)).to(device), rows.to(device), 1), edge


def step_of(forward: Callable[[Tensor, Tensor], Tensor], rows: Tensor, weight: Tensor) -> Step:
    """Forward and backward: the output and both gradients. The gradient from above is the output itself."""
    rows, weight = rows.clone().requires_grad_(), weight.detach().clone().requires_grad_()

    def step() -> tuple[Tensor, Tensor, Tensor]:
        out = forward(rows, weight)
        return out.detach(), *torch.autograd.grad(out, (rows, weight), out.detach())

    return step


def dense(tensor: SparseTensor, edge: int) -> Callable[[Tensor, Tensor], Tensor]:
    """``conv3d`` on the whole grid; only the active voxels of its result are read."""
    _, x, y, z = tensor.coordinates.long().unbind(1)

    def forward(rows: Tensor, weight: Tensor) -> Tensor:
        grid = rows.new_zeros(edge, edge, edge, rows.shape[1]).index_put((x, y, z), rows)
        return functional.conv3d(grid.movedim(3, 0)[None], weight, padding=1)[0, :, x, y, z].T

    return forward


def pairs_by_offset(kernel_map: KernelMap) -> list[tuple[Tensor, Tensor]]:
    """(inputs, outputs) of each of the 27 offsets."""
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(27)]
    for offset, start, end in kernel_map.segments:
        found[offset].append((kernel_map.inputs[start:end], kernel_map.outputs[start:end]))
    everything = torch.arange(kernel_map.num_inputs, device=kernel_map.inputs.device)
    found[13] = [(everything, everything)]
    none = everything[:0], everything[:0]
    return [tuple(torch.cat(part) for part in zip(*(parts or [none]), strict=True)) for parts in found]  # type: ignore[misc]


def loop(tensor: SparseTensor) -> Callable[[Tensor, Tensor], Tensor]:
    pairs = pairs_by_offset(tensor.levels.kernel_map(1, 3))

    def forward(rows: Tensor, weight: Tensor) -> Tensor:
        matrices = weight.permute(2, 3, 4, 1, 0).flatten(0, 2)
        out = rows.new_zeros(len(rows), weight.shape[0])
        for (inputs, outputs), matrix in zip(pairs, matrices, strict=True):
            out = out.index_add_(0, outputs, rows.index_select(0, inputs) @ matrix)
        return out

    return forward


def wide(tensor: SparseTensor) -> Callable[[Tensor, Tensor], Tensor]:
    count = len(tensor.rows)
    table = torch.full((count, 27), count, device=tensor.rows.device)
    for offset, (inputs, outputs) in enumerate(pairs_by_offset(tensor.levels.kernel_map(1, 3))):
        table[outputs, offset] = inputs

    def forward(rows: Tensor, weight: Tensor) -> Tensor:
        padded = functional.pad(rows, (0, 0, 0, 1))
        gathered = padded.index_select(0, table.flatten()).view(count, -1)
        return gathered @ weight.permute(2, 3, 4, 1, 0).flatten(0, 3)

    return forward


def spconv_cpu(tensor: SparseTensor, edge: int) -> Callable[[Tensor, Tensor], Tensor]:
    """spconv's submanifold layer with our weight; its index pairs are kept from the first call on."""
    import spconv.pytorch as spconv
    from spconv.pytorch import ops

    ops.get_current_stream = lambda: 0  # its backward asks for a CUDA stream on a CPU too
    channels = tensor.rows.shape[1]
    layer = spconv.SubMConv3d(channels, channels, 3, bias=False, indice_key="one", algo=spconv.ConvAlgo.Native)
    del layer.weight
    base = spconv.SparseConvTensor(tensor.rows, tensor.coordinates, [edge] * 3, 1)

    def forward(rows: Tensor, weight: Tensor) -> Tensor:
        layer.weight = weight.permute(0, 2, 3, 4, 1).contiguous()
        return layer(base.replace_feature(rows)).features

    return forward


def ways_of(tensor: SparseTensor, edge: int, layer: nn.Module, words: argparse.Namespace) -> dict[str, Step]:
    """What is measured, ours first."""

    def ours(rows: Tensor, weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight}, (tensor.with_rows(rows),)).rows

    forwards = {"ours": ours}
    if words.ways:
        forwards |= {"loop": loop(tensor), "wide": wide(tensor)}
    else:
        forwards["dense"] = dense(tensor, edge)
    if words.spconv:
        forwards["spconv"] = spconv_cpu(tensor, edge)
    return {name: step_of(forward, tensor.rows, layer.weight) for name, forward in forwards.items()}


def interleaved(steps: dict[str, Step], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each, taken in turns, so that a busy machine slows all alike; all must give the same."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    wanted = steps["ours"]()
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            found = step()
            if device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
            else:
                for mine, theirs in zip(found, wanted, strict=True):
                    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-2)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def map_seconds(tensor: SparseTensor, repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        fresh = sparse_tensor(tensor.coordinates, tensor.rows, 1)
        start = time.perf_counter()
        fresh.levels.kernel_map(1, 3)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ways", action="store_true", help="other ways to write it, in place of dense conv3d")
    parser.add_argument("--spconv", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    words = parser.parse_args()
    torch.set_num_threads(words.threads)
    sizes = [(1024, 32, 64), (2048, 64, 64)]
    if words.ways:
        sizes = [(count, None, channels) for count in (5_000, 20_000, 50_000) for channels in (16, 32, 64)]
    print(f"{'voxels':>7} {'grid':>5} {'C':>3} {'map ms':>7}  ms forward and backward (ratio to ours)")
    for count, grid, channels in sizes:
        tensor, edge = shell(count, grid, channels, words.device)
        torch.manual_seed(0)
        layer = SparseConvolution3d(channels, channels, 3).to(words.device)
        seconds = interleaved(ways_of(tensor, edge, layer, words), words.repeats, words.device)
        cells = [f"{name} {taken * 1e3:8.2f} ({taken / seconds['ours']:6.2f}x)" for name, taken in seconds.items()]
        made = map_seconds(tensor, words.repeats) * 1e3
        print(f"{len(tensor.rows):7d} {edge:5d} {channels:3d} {made:7.2f}  {'  '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
