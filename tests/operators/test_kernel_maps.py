"""Keys and kernel maps against dictionaries of voxels."""

import itertools
from collections import Counter

import pytest
import torch
from voxel_clouds import random_tensor

from pointlift.operators import kernel_maps
from pointlift.operators.sparse_tensor import sparse_tensor
from pointlift.operators.voxel_keys import LIMIT, coarsen, pack, unpack


def voxels(*rows):
    return torch.tensor(rows, dtype=torch.int32)


def pairs_of(kernel_map):
    """(offset, input, output) of every pair, those of rows with themselves too."""
    found = []
    for offset, start, end in kernel_map.segments:
        rows = zip(kernel_map.inputs[start:end].tolist(), kernel_map.outputs[start:end].tolist(), strict=True)
        found += [(offset, *pair) for pair in rows]
    if kernel_map.same is not None:
        found += [(kernel_map.same, row, row) for row in range(kernel_map.num_inputs)]
    return found


def brute_force(inputs, outputs, kernel_size, stride):
    row_of = {tuple(voxel): row for row, voxel in enumerate(inputs.tolist())}
    first = -(kernel_size // 2) if kernel_size % 2 else 0
    found = []
    for offset, step in enumerate(itertools.product(range(first, first + kernel_size), repeat=3)):
        for row, (cloud, *place) in enumerate(outputs.tolist()):
            at = (cloud, *(coordinate + stride * part for coordinate, part in zip(place, step, strict=True)))
            if at in row_of:
                found.append((offset, row_of[at], row))
    return found


@pytest.mark.parametrize("block", [13, 8192])
@pytest.mark.parametrize(("kernel_size", "step"), [(3, 1), (1, 1), (2, 1), (5, 1), (3, 2), (2, 2), (1, 2), (5, 3)])
def test_pairs_are_those_found_one_by_one(monkeypatch, kernel_size, step, block):
    monkeypatch.setattr(kernel_maps, "BLOCK", block)
    tensor = random_tensor(6)
    found = tensor.levels.kernel_map(1, kernel_size, step)
    outputs = tensor.levels.coordinates(step)
    wanted = brute_force(tensor.coordinates, outputs, kernel_size, 1)
    assert Counter(pairs_of(found)) == Counter(wanted) and wanted
    coarse = tensor.levels.kernel_map(1, kernel_size, 2) and tensor.levels.kernel_map(2, kernel_size, 1)
    at_two = tensor.levels.coordinates(2)
    assert Counter(pairs_of(coarse)) == Counter(brute_force(at_two, at_two, kernel_size, 2))


@pytest.mark.parametrize("block", [13, 8192])
def test_within_a_segment_rows_ascend(monkeypatch, block):
    """So that no step of a convolution, forward or backward, writes one row twice: its bits do not depend on a race."""
    monkeypatch.setattr(kernel_maps, "BLOCK", block)
    tensor = random_tensor(8, share=0.5)
    for step in (1, 2):
        found = tensor.levels.kernel_map(1, 3, step)
        for _, start, end in found.segments:
            assert (found.inputs[start:end].diff() > 0).all() and (found.outputs[start:end].diff() > 0).all()
        assert found.longest == max(end - start for _, start, end in found.segments)
        assert len({offset for offset, _, _ in found.segments}) == 27 - (step == 1)


def test_a_full_grid_has_as_many_pairs_as_counted_by_hand():
    full = sparse_tensor(torch.ones(1, 5, 5, 5).nonzero(), torch.zeros(125, 1), 1)
    assert len(pairs_of(full.levels.kernel_map(1, 3))) == (3 * 5 - 2) ** 3
    assert len(pairs_of(full.levels.kernel_map(1, 2, 2))) == 125
    assert len(full.levels.coordinates(2)) == 27


def test_levels_are_unique_floors_whichever_way_they_are_reached():
    tensor = random_tensor(9)
    moved = sparse_tensor(tensor.coordinates - torch.tensor([0, 5, 4, 3]), tensor.rows, 2)
    cloud, places = moved.coordinates[:, :1], moved.coordinates[:, 1:]
    wanted = torch.cat([cloud, places.div(6, rounding_mode="floor") * 6], dim=1).unique(dim=0)
    moved.levels.kernel_map(1, 3, 2)
    moved.levels.kernel_map(2, 3, 3)
    straight = sparse_tensor(moved.coordinates, moved.rows, 2)
    straight.levels.kernel_map(1, 3, 6)
    assert torch.equal(moved.levels.coordinates(6), wanted) and torch.equal(straight.levels.coordinates(6), wanted)
    assert moved.levels.counts(6).tolist() == [(wanted[:, 0] == number).sum() for number in range(2)]


def test_maps_are_made_once():
    levels = random_tensor().levels
    assert levels.kernel_map(1, 3, 2) is levels.kernel_map(1, 3, 2)
    assert levels.kernel_map(1, 3, 1) is not levels.kernel_map(1, 3, 2)


def test_voxels_at_the_rim_of_what_is_allowed_do_not_meet_round_the_corner():
    """The last voxel of a row of the grid and the first of the next are neighbours as numbers alone."""
    low, high = -LIMIT, LIMIT - 1
    corners = [(cloud, *place) for cloud in (0, 1, 4095) for place in itertools.product((low, high), repeat=3)]
    tensor = sparse_tensor(voxels(*corners), torch.zeros(24, 1), 4096)
    for kernel_size, step in ((3, 1), (7, 1), (3, 2)):
        outputs = tensor.levels.kernel_map(1, kernel_size, step)
        assert len(pairs_of(outputs)) == len(
            brute_force(tensor.coordinates, tensor.levels.coordinates(step), kernel_size, 1)
        )
    assert tensor.levels.counts(1).tolist() == [8, 8] + [0] * 4093 + [8]


def test_keys_are_ordered_as_their_voxels_and_go_back():
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(-LIMIT, LIMIT, (500, 3), generator=generator, dtype=torch.int32)
    rows = torch.cat([torch.randint(4096, (500, 1), generator=generator, dtype=torch.int32), places], dim=1)
    assert torch.equal(unpack(pack(rows)), rows)
    assert unpack(pack(rows).sort()[0]).tolist() == sorted(rows.tolist())
    for stride in (1, 2, 3, 8):
        wanted = rows[:, 1:].long().div(stride, rounding_mode="floor") * stride
        assert torch.equal(unpack(coarsen(pack(rows), stride))[:, 1:].long(), wanted)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (voxels([0, LIMIT, 0, 0]), r"from 0 to 64512: allowed are -64512 to 64511; take larger voxels"),
        (voxels([0, 0, 0, -LIMIT - 1]), "from -64513"),
        (voxels([4096, 0, 0, 0]), "clouds 4096 to 4096"),
        (voxels([-1, 0, 0, 0]), "clouds -1 to -1"),
        (voxels([0, 0, 0]), r"must be \(M, 4\)"),
        (torch.tensor([[0, 2**62, 0, 0]]), "take larger voxels"),
    ],
)
def test_places_that_have_no_key_are_refused(rows, told):
    with pytest.raises(ValueError, match=told):
        pack(rows)


def test_coordinates_are_whole_numbers():
    with pytest.raises(TypeError, match=r"not torch\.float32"):
        pack(torch.zeros(1, 4))


def test_a_kernel_that_reaches_beyond_the_rim_is_refused():
    with pytest.raises(ValueError, match="at most 1024"):
        random_tensor().levels.kernel_map(1, 3, 1024)
